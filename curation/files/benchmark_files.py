"""Benchmark files: the questions and answers that must not be in training data, whatever shape they come in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from curation.errors import IngestError, OperatorError
from curation.files.reading import read_chunks
from curation.files.shapes import to_sample
from curation.files.turns import Unreadable
from curation.sample import instruction_of, response_of
from curation.texts.overlap import KnownTexts

QUESTIONS = ("turns", "question", "prompt", "instruction", "problem", "query", "goal", "text", "sentence")
"""Columns that hold what is asked; the first that a row has counts."""
ANSWERS = ("canonical_solution", "solution", "answer", "output", "response", "completion", "target", "reference")


@dataclass(frozen=True, slots=True)
class Question:
    """One row of a benchmark."""

    file: str
    row: int
    """Line of a text file or row of a table, counted from 1."""
    asked: tuple[str, ...]
    """The turns of a conversation are asked one by one."""
    answer: str

    @property
    def text(self) -> str:
        """Everything that is asked."""
        return "\n\n".join(self.asked)


@dataclass(frozen=True, slots=True)
class Part:
    """A turn of a question, or an answer."""

    question: Question
    text: str
    is_answer: bool


@dataclass(frozen=True, slots=True)
class Benchmarks:
    """What is looked for; equal texts once, as the first question that has them."""

    questions: tuple[Question, ...]
    parts: tuple[Part, ...]
    known: KnownTexts
    """`known` text i is part i."""
    names: dict[str, str]
    """Path -> what to call the file: its name, or its path where another one is called the same."""


def named_benchmarks(paths: Sequence[str], n: int) -> Benchmarks:
    """The benchmarks of these files with their n-grams: read once, and again when a file has changed.

    Raises:
        OperatorError: a file can't be read, or holds no question.
    """
    return _read(tuple((path, _stamp(Path(path).expanduser())) for path in paths), n)


def _stamp(file: Path) -> tuple[int, int]:
    status = file.stat() if file.exists() else None
    return (status.st_mtime_ns, status.st_size) if status else (0, 0)


@lru_cache(maxsize=4)
def _read(files: tuple[tuple[str, tuple[int, int]], ...], n: int) -> Benchmarks:
    questions = tuple(question for path, _ in files for question in questions_of(path))
    parts: dict[tuple[bool, str], Part] = {}
    for question in questions:
        texts = [(False, asked) for asked in question.asked] + [(True, question.answer)] * bool(question.answer)
        for is_answer, text in texts:
            parts.setdefault((is_answer, " ".join(text.lower().split())), Part(question, text, is_answer))
    names = [Path(path).name for path, _ in files]
    called = {path: name if names.count(name) == 1 else path for (path, _), name in zip(files, names, strict=True)}
    return Benchmarks(questions, tuple(parts.values()), KnownTexts([p.text for p in parts.values()], n), called)


def questions_of(path: str) -> list[Question]:
    """The questions of a JSON, JSONL, Parquet, CSV or plain text file (`.txt`: one on each line).

    A row is read by the usual names of columns (GSM8K, HumanEval, MT-Bench, Alpaca); else as a sample of any shape that
    can be ingested; else its longest text is the question.

    Raises:
        OperatorError: the file can't be read, or holds no question.
    """
    try:
        found = [
            Question(path, number, asked, answer)
            for number, row in _rows(Path(path).expanduser())
            for asked, answer in [_question(row)]
            if asked
        ]
    except IngestError as error:
        raise OperatorError(f"A benchmark can't be read: {error.message}", fix=error.fix) from None
    if not found:
        raise OperatorError(
            f"The benchmark {path} holds no question.",
            fix="give rows with a column question, prompt, instruction, turns or text",
        )
    return found


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    if path.suffix == ".txt":
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise IngestError(f"{path}: {error}.", fix="check the name, and that it is UTF-8 text") from None
        yield from ((number, {"text": line}) for number, line in enumerate(lines, 1))
        return
    for chunk in read_chunks(path):
        yield from ((number, row) for number, row in chunk if isinstance(row, dict))


def _question(row: dict[str, Any]) -> tuple[tuple[str, ...], str]:
    asked = next((turns for name in QUESTIONS if (turns := _turns(row.get(name)))), ())
    if asked and isinstance(row.get("input"), str) and "instruction" in row and row["input"].strip():
        asked = (f"{asked[0]}\n\n{row['input']}",)
    answer = next((row[name] for name in ANSWERS if isinstance(row.get(name), str)), "")
    if asked:
        return asked, answer
    try:
        messages = to_sample(row, "").messages
    except Unreadable:
        texts = sorted((value for value in row.values() if isinstance(value, str) and value.strip()), key=len)
        return tuple(texts[-1:]), answer if texts and answer != texts[-1] else ""
    turns = tuple(m.content for m in messages if m.role == "user" and m.content.strip())
    return turns or tuple(filter(None, [instruction_of(messages)])), response_of(messages)


def _turns(value: Any) -> tuple[str, ...]:
    texts = value if isinstance(value, list) else _listed(value)
    return tuple(text for text in texts if isinstance(text, str) and text.strip())


def _listed(value: Any) -> list[Any]:
    # A CSV file holds a list as text.
    if isinstance(value, str) and value.startswith('["'):
        try:
            return list(json.loads(value))
        except ValueError:
            pass
    return [value]
