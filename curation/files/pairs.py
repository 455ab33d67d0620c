"""Rows of one question and one answer: Alpaca, prompt/completion, question/answer."""

from __future__ import annotations

from collections.abc import Container

from curation.files.turns import Row, Unreadable, message, system_turn, text
from curation.sample import Message

PAIRS = (
    ("alpaca", "instruction", ("output", "response")),
    ("prompt-completion", "prompt", ("completion", "response")),
    ("question-answer", "question", ("answer", "response")),
)
"""(shape, column of the question, columns that may be the answer)."""


def is_given(row: Row, name: str) -> bool:
    """Whether the row has something in this column."""
    return row.get(name) is not None


def answered_pair(row: Row) -> tuple[str, str, str] | None:
    """(shape, column of the question, column of the answer) of the first pair that a row has both of."""
    for shape, asked, answers in PAIRS:
        answer = next((a for a in answers if is_given(row, a)), None)
        if is_given(row, asked) and answer is not None:
            return shape, asked, answer
    return None


def question_alone(row: Row, named: Container[str] = ()) -> str | None:
    """The shape of a row that asks and has no answer; null beside a column that may hold one.

    Args:
        row: with its columns under the names they are mapped to.
        named: columns that the user named: such a question may stand beside anything.
    """
    for shape, asked, answers in PAIRS:
        if is_given(row, asked):
            known = {asked, "input", "system", "tags", "tools", *answers}
            others = (value for name, value in row.items() if name not in known)
            return shape if asked in named or not any(map(is_passage, others)) else None
    return None


def is_passage(value: object) -> bool:
    """Whether a value may be more than a mark: words, or a list or object with something in it."""
    return (isinstance(value, str) and " " in value.strip()) or (isinstance(value, list | dict) and bool(value))


def from_pair(shape: str, row: Row, used: set[str]) -> list[Message]:
    """The turns of a pair, after its system text and history; `used` is told the columns that were read.

    Raises:
        Unreadable: a value is not what the shape says.
    """
    asked, answers = next((asked, answers) for name, asked, answers in PAIRS if name == shape)
    used.update((asked, "system", "history"))
    turns = system_turn(row) + _history(row.get("history") or [])
    prompt = row[asked]
    if shape == "alpaca":
        used.add("input")
        prompt = with_input(row) if row.get("input") else prompt
    turns += [message(m) for m in prompt] if isinstance(prompt, list) else [Message("user", text(prompt, asked))]
    answer = next((a for a in answers if is_given(row, a)), None)
    if answer is None:
        return turns
    used.add(answer)
    value = row[answer]
    return turns + (
        [message(m) for m in value] if isinstance(value, list) else [Message("assistant", text(value, answer))]
    )


def with_input(row: Row) -> str:
    """An Alpaca question and its input as one text."""
    return f"{text(row['instruction'], 'instruction')}\n\n{text(row['input'], 'input')}"


def _history(history: object) -> list[Message]:
    pairs = history if isinstance(history, list | tuple) else [None]
    turns: list[Message] = []
    for old in pairs:
        if not isinstance(old, list | tuple) or len(old) != 2:
            raise Unreadable("history is not a list of [question, answer] pairs")
        turns += [Message("user", text(old[0], "history")), Message("assistant", text(old[1], "history"))]
    return turns
