"""What stands before and after a user's turn in a model's own format: for prompts that end where a user would begin."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

from curation.errors import OperatorError

Family = Literal["chatml", "qwen-2.5", "llama-3", "gemma", "phi-3", "mistral"]
FAMILIES: tuple[Family, ...] = get_args(Family)
_SENTINEL, _SYSTEM = "a3f1user9c", "b7e2system4d"
_SPECIAL = re.compile(r"<\|[^|<>\s]{1,40}\|>|<｜[^｜\n]{1,40}｜>|<[a-z_]{1,24}>|</s>|\[/?[A-Z_]{2,24}\]")


@dataclass(frozen=True, slots=True)
class Opening:
    """The text up to where a user's first turn begins, and what ends the turn."""

    text: str
    """Without the token that begins every sequence: the server puts that before it."""
    stops: tuple[str, ...]


_CHATML = ("<|im_start|>system\n{}<|im_end|>\n", "<|im_start|>user\n", ("<|im_end|>",))
_KNOWN: dict[Family, tuple[str, str, tuple[str, ...]]] = {
    "chatml": _CHATML,
    "qwen-2.5": _CHATML,
    "llama-3": (
        "<|start_header_id|>system<|end_header_id|>\n\n{}<|eot_id|>",
        "<|start_header_id|>user<|end_header_id|>\n\n",
        ("<|eot_id|>",),
    ),
    "gemma": ("", "<start_of_turn>user\n", ("<end_of_turn>",)),
    "phi-3": ("<|system|>\n{}<|end|>\n", "<|user|>\n", ("<|end|>",)),
    "mistral": ("", "[INST] ", ("[/INST]",)),
}
"""System turn (empty: the format has none), beginning of a user's turn, what ends it."""
_QWEN = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
"""Qwen2.5 was trained with this system turn wherever no other was given."""


def opening_of(family: Family, system: str | None = None) -> Opening:
    """How a conversation begins in the format of a known family.

    Raises:
        OperatorError: a system turn is asked for, and the format has none.
    """
    turn, user, stops = _KNOWN[family]
    if system and not turn:
        raise _no_system(family)
    system = system or (_QWEN if family == "qwen-2.5" else None)
    return Opening((turn.replace("{}", system) if system else "") + user, stops)


@lru_cache(maxsize=32)
def opening_from(folder: Path, system: str | None = None) -> Opening:
    """The same from the chat template of a tokenizer: a conversation is rendered and cut where the user's text stands.

    Args:
        folder: of a model or a tokenizer on this machine.
        system: the system turn; without one what the template itself puts there.

    Raises:
        OperatorError: there is no tokenizer or no chat template, or it takes no system turn.
    """
    rendered, beginning = _rendered(folder, system)
    if system and _SYSTEM not in rendered:
        raise _no_system(str(folder))
    if rendered.count(_SENTINEL) != 1:
        raise OperatorError(
            f"The chat template of {folder} does not show a user's turn once.", fix="name a family instead of it"
        )
    before, after = rendered.split(_SENTINEL)
    before = before.replace(_SYSTEM, system or "")
    if beginning and before.startswith(beginning):
        before = before.removeprefix(beginning)
    marks = _SPECIAL.search(after)
    stop = marks.group() if marks else after.strip().split("\n")[0]
    return Opening(before, (stop,) if stop else ())


def _rendered(folder: Path, system: str | None) -> tuple[str, str]:
    """A conversation of the two sentinels as text, and the token that begins a sequence."""
    from transformers import AutoTokenizer

    turns = [{"role": "user", "content": _SENTINEL}]
    turns = [{"role": "system", "content": _SYSTEM}, *turns] if system else turns
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder.expanduser()), local_files_only=True)
    except (OSError, ValueError) as error:
        raise OperatorError(
            f"{folder} holds no tokenizer: {str(error).splitlines()[0][:200]}.", fix="give the folder of the model"
        ) from None
    if not tokenizer.chat_template:
        raise OperatorError(f"The tokenizer in {folder} has no chat template.", fix="name a family instead of it")
    try:
        text = str(tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))
    except Exception as error:  # a template is a program: it raises what it likes
        if system:
            raise _no_system(str(folder)) from None
        raise OperatorError(f"The chat template of {folder} fails: {error}.", fix="name a family instead") from None
    return text, tokenizer.bos_token or ""


def _no_system(what: str) -> OperatorError:
    return OperatorError(
        f"The chat format of {what} has no system turn, which steers the domain.", fix="leave domains and system out"
    )
