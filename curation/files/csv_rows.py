"""Rows of CSV and its kin: the separator is found in the header, and a quote that is never closed costs its line."""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curation.errors import IngestError
from curation.files.rows import BrokenRow, Numbered, printable

LONGEST = 64_000_000
"""Characters of one row, beyond which a quote is held to be open."""
UNCLOSED = "a quote is not closed"


class _Lines:
    """The lines of a file, one of which can be asked for again."""

    def __init__(self, lines: Iterator[str], number: int) -> None:
        self._lines, self._again = lines, deque[str]()
        self.taken: list[str] = []
        """Lines since the last row began."""
        self.number = number
        """Lines before that row."""
        self._size = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._size > LONGEST:
            raise csv.Error(UNCLOSED)
        line = self._again.popleft() if self._again else next(self._lines)
        self.taken.append(line)
        self._size += len(line)
        return line

    def begin(self) -> None:
        """Call what comes next a new row."""
        self.number += len(self.taken)
        self.taken, self._size = [], 0

    def return_all_but_one(self) -> str:
        """Give back the lines of this row except the first, which is returned."""
        first, *rest = self.taken
        self._again.extendleft(reversed(rest))
        self.taken = [first]
        return first


def csv_rows(path: Path, file: io.BufferedReader) -> Iterator[Numbered]:
    """The rows below the header, with the number of the line each begins on.

    Raises:
        IngestError: there is no header, or two columns share a name.
    """
    csv.field_size_limit(1 << 30)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    skipped, start = next(((n, line) for n, line in enumerate(text) if line.strip()), (0, ""))
    delimiter = max(",\t;", key=lambda d: len(next(csv.reader([start], delimiter=d), [])))
    spaced = 0 < start.count(delimiter) == start.count(delimiter + " ")
    lines = _Lines(_then(start, text), skipped)
    dialect: dict[str, Any] = {"delimiter": delimiter, "skipinitialspace": spaced}
    columns = _header(path, csv.reader(lines, **dialect))
    rows = csv.reader(lines, strict=True, **dialect)
    while True:
        lines.begin()
        number = lines.number + 1
        row = _next_row(rows, lines, columns, dialect)
        if row is None:
            return
        if row:
            yield number, row


def _then(start: str, rest: Iterator[str]) -> Iterator[str]:
    yield start
    yield from rest


def _next_row(
    rows: Iterator[list[str]], lines: _Lines, columns: list[str], dialect: dict[str, Any]
) -> dict[str, Any] | BrokenRow | None:
    """The next row, empty for a line without one; null at the end."""
    values: list[str] | None
    try:
        values = next(rows)
    except StopIteration:
        return None
    except csv.Error:
        values = None
    if values is not None and (len(values) == len(columns) or len(lines.taken) == 1):
        return _row(columns, values, dialect["delimiter"]) if values else {}
    loose = _loosely(lines.taken, columns, dialect) if values is None else None
    if loose is not None:
        return _row(columns, loose, dialect["delimiter"])
    if values is not None and not _swallows(lines.taken, columns, dialect):
        return _row(columns, values, dialect["delimiter"])
    first = lines.return_all_but_one()
    return BrokenRow(first.strip("\r\n").encode(errors="replace").decode(), UNCLOSED)


def _loosely(taken: list[str], columns: list[str], dialect: dict[str, Any]) -> list[str] | None:
    """The fields of a row with a bare quote inside quotes; null if it may as well have swallowed others."""
    if "".join(taken).count('"') % 2 or _swallows(taken, columns, dialect):
        return None
    read = csv.reader(taken, **dialect)
    values = next(read, [])
    return values if len(values) == len(columns) and next(read, None) is None else None


def _swallows(taken: list[str], columns: list[str], dialect: dict[str, Any]) -> bool:
    """Whether a line after the first is a row by itself."""
    return any(len(_alone(line, dialect)) == len(columns) for line in taken[1:])


def _alone(line: str, dialect: dict[str, Any]) -> list[str]:
    try:
        return next(csv.reader([line], strict=True, **dialect), [])
    except csv.Error:
        return []


def _header(path: Path, reader: Iterator[list[str]]) -> list[str]:
    try:
        columns = [printable(column.strip()) for column in next(reader)]
    except (StopIteration, csv.Error):
        columns = []
    if len(columns) < 2 and not any(c.isidentifier() for c in columns):
        raise IngestError(
            f"{path} is in no format that is known here.", fix="give JSON, JSONL, CSV or Parquet, or plain text as .txt"
        )
    twice = next((c for c in columns if columns.count(c) > 1), None)
    if twice is not None:
        raise IngestError(f"{path} has two columns {twice!r}.", fix="give each column a name of its own")
    return columns


def _row(columns: list[str], values: list[str], delimiter: str) -> dict[str, Any] | BrokenRow:
    text = delimiter.join(values)
    try:
        text.encode()
    except UnicodeEncodeError:
        return BrokenRow(text.encode(errors="replace").decode(), "not valid UTF-8")
    if len(values) != len(columns):
        return BrokenRow(text, f"{len(values)} fields where the header has {len(columns)}")
    return dict(zip(columns, values, strict=True))
