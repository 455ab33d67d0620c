"""Rules for a new conversation that need no other sample and no model. Each returns what it saw, or null."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Literal

from curation.sample import Message, script_of
from curation.texts.phrases import REFUSAL
from synthesis.elimination import refusal

_TEMPLATE = re.compile(
    r"<\|[A-Za-z_]{2,40}\|>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|</s>\s*$|<｜[^｜\n]{2,40}｜>"
)
_THINKING = re.compile(r"</?(?:think|thinking|thought)>", re.IGNORECASE)
_REFUSAL = re.compile(REFUSAL)
REFUSED_WITHIN = 200
"""Characters from the beginning of an answer in which a refusal counts: later ones are about something else."""
_SCRIPT_CODES = {"Chinese": "zh", "Japanese": "ja", "Korean": "ko"}


def broken_turns(messages: Sequence[Message]) -> str | None:
    """What makes the turns no whole conversation: an empty turn, marks of a template, an open code block."""
    if not messages or messages[-1].role != "assistant":
        return f"the last of {len(messages)} turns is not an answer"
    for place, (one, after) in enumerate(zip(messages, [*messages[1:], None], strict=True), 1):
        if not one.content.strip() and not one.tool_calls:
            return f"turn {place} ({one.role}) is empty"
        if after is not None and one.role == after.role and one.role in ("user", "assistant"):
            return f"turns {place} and {place + 1} are both of the {one.role}"
        if marks := _TEMPLATE.search(one.content):
            return f"turn {place} holds {marks.group().strip()!r}, a mark of a chat template"
        if one.role == "assistant" and (thinking := _THINKING.search(one.content)):
            return f"turn {place} holds {thinking.group()!r}"
        fences = len(re.findall(r"(?m)^\s*```", one.content))
        if one.role == "assistant" and fences % 2:
            return f"turn {place} has {fences} code fences: one is not closed"
    return None


def other_format(answer: str, wanted: Literal["json", "python"]) -> str | None:
    """Why an answer is not JSON, or holds no Python program."""
    if wanted == "python":
        from curation.texts.code_answers import program_of

        program = program_of("", answer)
        try:
            compile(program.source or "", "answer", "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            return f"the Python code does not compile: {error}"
        return None if program.source and program.source.strip() else program.reason or "there is no Python code"
    inside = re.fullmatch(r"\s*```(?:json)?[ \t]*\n(.*?)\n?\s*```\s*", answer, re.DOTALL)
    try:
        json.loads(inside[1] if inside else answer)
    except (ValueError, RecursionError) as error:
        return f"the answer is no JSON: {error}"
    return None


def refused(answer: str) -> str | None:
    """A refusal at the beginning, in English or Chinese."""
    if seen := refusal(answer):
        return seen
    said = _REFUSAL.search(answer[:REFUSED_WITHIN])
    return f"says {said.group().strip()!r}" if said else None


def other_language(instruction: str, answer: str, seed: str, wanted: str) -> str | None:
    """Why the languages are not those that are wanted; what can't be told is no objection.

    An answer may be in another language than its instruction where that names a language, or holds a part in it.

    Args:
        instruction: the new one.
        answer: to it.
        seed: what it was made from; its language counts where `wanted` is `same`.
        wanted: `same`, or codes with commas (`zh`, `en,zh`).
    """
    import polars as pl

    from curation.scorers.language import Language

    texts = {"instruction": [instruction, seed], "response": [answer, ""]}
    told = Language().score(pl.DataFrame(texts)).to_dicts()
    asked, of_seed = (
        _script_code(text) or row["instruction_language"] for text, row in zip(texts["instruction"], told, strict=True)
    )
    allowed = {of_seed} if wanted == "same" else {code.strip() for code in wanted.split(",")}
    if asked and None not in allowed and asked not in allowed:
        return f"the instruction is in {asked!r}, not in {' or '.join(repr(code) for code in sorted(allowed))}"
    if told[0]["language_mismatch"]:
        answered = told[0]["language"] or script_of(answer)
        return f"the answer is in {answered!r}, the instruction in {told[0]['instruction_language'] or asked!r}"
    return None


def _script_code(text: str) -> str | None:
    """The language of a text whose script tells it, however short; null where that is Latin, Cyrillic and so on."""
    return _SCRIPT_CODES.get(script_of(text))
