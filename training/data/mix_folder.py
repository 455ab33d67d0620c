"""The mix as files: what training reads, and how every format becomes one kind of conversation.

A mix folder holds `train.jsonl`, and where there are some `eval.jsonl` (held-out rows), `random.jsonl` (random samples
of the same pool, in random order) and `manifest.json`. Any trainer can use a mix; this one can use any such folder.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curation.errors import WinnowError
from curation.files.called_functions import calls_of, loaded, tools_of

FORMATS = {
    "unpaired-preference": ("prompt", "completion", "label"),
    "messages": ("messages",),
    "prompt-completion": ("prompt", "completion"),
    "preference": ("prompt", "chosen", "rejected"),
    "sharegpt": ("conversations",),
    "alpaca": ("instruction", "output"),
    "text": ("text",),
}
"""Format -> the columns that a row must have; the first that fits is meant."""

_WITH_TURNS = tuple(columns for name, columns in FORMATS.items() if name != "text")
_SHAREGPT_ROLES = {
    "human": "user",
    "gpt": "assistant",
    "bing": "assistant",
    "chatgpt": "assistant",
    "function_call": "assistant",
    "observation": "tool",
}

CHECKS = ("reference", "tests", "entry_point")
NO_SOURCE = "(no source)"


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a mix as a conversation."""

    id: str
    source: str
    messages: tuple[dict[str, Any], ...]
    """Chat messages as templates take them; the chosen ones where there is a preference."""
    answers_from: int = 0
    """Only assistant turns from this message on carry loss: what comes before is the prompt."""
    rejected: tuple[dict[str, Any], ...] | None = None
    """What was not preferred after `messages[:answers_from]`."""
    tools: tuple[dict[str, Any], ...] | None = None
    label: bool | None = None
    """Whether the answer is a good one, in mixes of single judged answers."""
    text: str | None = None
    """A document without turns; then there are no messages."""
    stage: str | None = None
    """The stage of a staged mix; null where it has none."""
    checks: dict[str, Any] = field(default_factory=dict)
    """What an answer can be verified by, where the row has it: `reference`, `tests`, `entry_point`."""

    @property
    def question(self) -> str:
        """What the first user turn says, or the document, in one line."""
        asked = next((str(m["content"]) for m in self.messages if m["role"] == "user"), self.text or "")
        return " ".join(asked.split())


@dataclass(frozen=True, slots=True)
class MixFolder:
    """A folder with `train.jsonl`; nothing is read until asked."""

    path: Path

    @property
    def format(self) -> str:
        """The format by the columns of the first training row.

        Raises:
            WinnowError: there is no training file, it is empty, or its columns are of no known format.
        """
        _, row = next(self._rows("train.jsonl"), (0, None))
        if row is None:
            raise WinnowError(f"The mix {self.path} has no rows to train on.", fix="export a mix that has samples")
        for name, columns in FORMATS.items():
            if all(column in row for column in columns):
                return name
        raise WinnowError(
            f"{self.path / 'train.jsonl'}:1 has the columns {', '.join(row)}, which no known format has.",
            fix=f"export the mix again as one of: {', '.join(FORMATS)}",
        )

    def has(self, name: str) -> bool:
        """Whether `name`.jsonl is there and not empty."""
        path = self.path / f"{name}.jsonl"
        return path.is_file() and path.stat().st_size > 0

    def examples(self, name: str) -> Iterator[Example]:
        """The rows of `name`.jsonl in their order; none where the file is missing.

        Raises:
            WinnowError: a line is no JSON object, or its columns are of no known format.
        """
        if not self.has(name):
            return
        file = f"{name}.jsonl"
        for line, row in self._rows(file):
            try:
                yield example(row, default_id=f"{file}:{line}")
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                raise WinnowError(
                    f"{self.path / file}:{line} is not a row of a known format ({type(error).__name__}: {error}).",
                    fix="export the mix again, or mend or remove the line",
                ) from None

    def stages(self) -> list[str]:
        """The stages of a staged mix in their order: the manifest's, else as they appear; none where it has none."""
        try:
            told = json.loads((self.path / "manifest.json").read_text(encoding="utf-8")).get("stages") or ()
            named = [str(stage["stage"]) for stage in told]
        except (OSError, ValueError, AttributeError, KeyError, TypeError):
            named = []
        seen = (str(row["stage"]) for _, row in self._rows("train.jsonl") if row.get("stage") is not None)
        return named or list(dict.fromkeys(seen))

    def hashes(self, names: tuple[str, ...]) -> dict[str, str | None]:
        """SHA-256 of the files `names`.jsonl as they are now; null for one that is not there."""
        return {name: _sha256(self.path / f"{name}.jsonl") for name in names}

    def manifest_sha256(self) -> str | None:
        """SHA-256 of the manifest; null where the mix has none."""
        return _sha256(self.path / "manifest.json")

    def _rows(self, file: str) -> Iterator[tuple[int, dict[str, Any]]]:
        path = self.path / file
        if not path.is_file():
            raise WinnowError(f"There is no {file} in {self.path}.", fix="give a folder written by: winnow export")
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise WinnowError(f"{path}:{number} is not JSON: {error}.", fix="export the mix again") from None
                yield number, row if isinstance(row, dict) else {"value": row}


def example(row: dict[str, Any], *, default_id: str = "") -> Example:
    """A row of any format as a conversation.

    Raises:
        KeyError, TypeError, ValueError: the row has none of the known formats.
    """
    if set(row) >= {"text"} and not any(all(c in row for c in columns) for columns in _WITH_TURNS):
        return Example(*_named(row, default_id), messages=(), text=str(row["text"]), stage=_stage(row))
    messages, answers_from, rejected = _turns(row)
    if not messages:
        raise ValueError("it has no messages")
    return Example(
        *_named(row, default_id),
        messages=tuple(messages),
        answers_from=answers_from,
        rejected=None if rejected is None else tuple(rejected),
        tools=tuple(tools_of(row.get("tools"))) or None,
        label=bool(row["label"]) if row.get("label") is not None else None,
        stage=_stage(row),
        checks={name: row[name] for name in CHECKS if row.get(name)},
    )


def _stage(row: dict[str, Any]) -> str | None:
    return None if row.get("stage") is None else str(row["stage"])


def _named(row: dict[str, Any], default_id: str) -> tuple[str, str]:
    return str(row.get("id") or default_id), str(row.get("source") or NO_SOURCE)


def _turns(row: dict[str, Any]) -> tuple[list[dict[str, Any]], int, list[dict[str, Any]] | None]:
    if "messages" in row:
        return [_message(m) for m in row["messages"]], 0, None
    if "chosen" in row:
        prompt = [_message(m) for m in row["prompt"]]
        chosen = [_message(m) for m in row["chosen"]]
        return prompt + chosen, len(prompt), [_message(m) for m in row["rejected"]]
    if "completion" in row:
        prompt = [_message(m) for m in row["prompt"]]
        return prompt + [_message(m) for m in row["completion"]], len(prompt), None
    if "conversations" in row:
        return _sharegpt(row), 0, None
    return _alpaca(row), 0, None


def _message(message: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in message.items() if value is not None}
    if kept.get("tool_calls"):
        kept["tool_calls"] = calls_of(kept["tool_calls"])
    if isinstance(kept.get("reasoning"), str):
        # `reasoning_content` is what the published chat templates read.
        kept["reasoning_content"] = kept.pop("reasoning")
    return {**kept, "role": str(message["role"]), "content": kept.get("content", "")}


def _sharegpt(row: dict[str, Any]) -> list[dict[str, Any]]:
    system = [{"role": "system", "content": row["system"]}] if row.get("system") else []
    return system + [_sharegpt_turn(t) for t in row["conversations"]]


def _sharegpt_turn(turn: dict[str, Any]) -> dict[str, Any]:
    role = _SHAREGPT_ROLES.get(turn["from"], turn["from"])
    if turn["from"] == "function_call" and not isinstance(loaded(turn["value"]), str):
        return {"role": role, "content": "", "tool_calls": calls_of(turn["value"])}
    return {"role": role, "content": turn["value"]}


def _alpaca(row: dict[str, Any]) -> list[dict[str, Any]]:
    messages = [{"role": "system", "content": row["system"]}] if row.get("system") else []
    for question, answer in row.get("history") or ():
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    # As ingestion joins them: a mix reads the same in every format.
    question = "\n\n".join(part for part in (row["instruction"], row.get("input")) if part)
    return [*messages, {"role": "user", "content": question}, {"role": "assistant", "content": row["output"]}]


def _sha256(path: Path) -> str | None:
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
