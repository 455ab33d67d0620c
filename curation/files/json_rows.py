"""Rows of JSON: one object per line, or a document whose elements are read piece by piece.

Covers: an array, objects one after the other, an object that wraps the list of rows; a broken line or element never
costs the others. A piece of an array is parsed as a whole where it can be, which is as fast as parsing all of it;
element by element only where something in it is damaged.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from curation.files.decoding import BOM
from curation.files.rows import BrokenRow, Numbered, shown

NO_OBJECT = "not an object"

WHOLE = 32 << 20
"""Bytes up to which a document is parsed as a whole, and of the pieces in which a longer one is read."""

LENIENT = json.JSONDecoder(parse_constant=lambda _: None)
"""Takes what orjson refuses: lone surrogates, 1,000 levels, and NaN and Infinity, which JSON does not have: null."""

DIGITS, LONG = bytes.maketrans(b"123456789", b"0" * 9), b"0" * 19
LONG_INTEGER = re.compile(rb"(?<=[-:,\[\s])\d{19,}\s*[,}\]]")


def _has_long_integer(text: bytes) -> bool:
    # orjson makes floats of integers over 64 bits. To look for the digits first is ten times faster than the pattern.
    zeros = text.translate(DIGITS)
    at = zeros.find(LONG)
    while at >= 0 and not LONG_INTEGER.match(text, at):
        at = zeros.find(LONG, at + len(LONG))
    return at >= 0


def json_lines(_: Path, file: io.BufferedReader) -> Iterator[Numbered]:
    """A row for each line that is not blank."""
    for number, line in enumerate(file, 1):
        row = row_of(line)
        if isinstance(row, dict) or line.strip(BOM + b" \t\r\n"):
            yield number, row


def row_of(line: bytes) -> dict[str, Any] | BrokenRow:
    """The object that a text is, or why it is none."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return _second_try(line, str(error))
    if _has_long_integer(line):
        return _second_try(line, "")
    return row if isinstance(row, dict) else _no_object(row, line.decode())


def _no_object(row: Any, text: str) -> BrokenRow:
    return BrokenRow(text.strip(), f"{NO_OBJECT} but {type(row).__name__}")


def _second_try(line: bytes, reason: str) -> dict[str, Any] | BrokenRow:
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        return BrokenRow(line.decode("utf-8", "replace").strip(), "not valid UTF-8")
    try:
        row = LENIENT.decode(text)
    except json.JSONDecodeError as error:
        return BrokenRow(text.strip(), f"not valid JSON: {reason or error}")
    except RecursionError:
        return BrokenRow(text.strip(), "it is nested too deeply")
    except ValueError:
        return BrokenRow(text.strip(), "an integer has more than 4,300 digits")
    return _checked(row)


def _checked(row: Any) -> dict[str, Any] | BrokenRow:
    if not isinstance(row, dict):
        return _no_object(row, shown(row))
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return BrokenRow(shown(row), "it has half a surrogate pair, which is no text")
    except RecursionError:
        return BrokenRow(shown(row), "it is nested too deeply")
    return row


# -------------------------------------------------------------------- documents

ROW_NAMES = {"messages", "conversations", "instruction", "prompt", "question", "chosen", "rejected"}
"""An object with one of these is a row, not the wrapper of a list of rows."""

STRING = rb'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"?'
"""A string of JSON; one that is not closed ends with its line."""

BRACKETS = re.compile(STRING + rb"|([{}\[\]])", re.DOTALL)
SCALAR = re.compile(rb"(?:" + STRING + rb'|[^,\[\]{}"])++', re.DOTALL)
FIRST_FIRST_KEY = re.compile(rb"\{\s*(" + STRING + rb")\s*:", re.DOTALL)
ROWS = re.compile(rb"\[\s*\{")
NOTHING = re.compile(rb"(?!)")
KEY = re.compile(rb"\{\s*(" + STRING + rb")\s*:", re.DOTALL)
FIRST_KEY = re.compile(rb"\{\s*(" + STRING + rb")\s*:", re.DOTALL)
ROWS = re.compile(rb"\[\s*\{")
NOTHING = re.compile(rb"(?!)")
KEY = re.compile(rb"[\s,]*(" + STRING + rb")\s*:\s*", re.DOTALL)
VALUE = re.compile(rb"[^\s,}]")
BEGINNINGS = 200
"""How many elements may seem to begin inside one before we hold its brackets for damaged."""


class _Window:
    """The part of a document that is in memory: grown at its end, cut at its beginning."""

    ended: bool
    """Whether the document ends with it."""

    def __init__(self, file: io.BufferedReader) -> None:
        self._file = file
        self.data = b""
        self.ended = False
        self.grow(0)
        self.data = self.data.removeprefix(BOM)

    def grow(self, keep_from: int) -> bool:
        """Forget what comes before a place and read on, at least as much as stays; false at the end of the file."""
        if self.ended:
            return False
        kept = self.data[keep_from:]
        self.data = kept + self._file.read(max(WHOLE, len(kept)))
        self.ended = not self._file.peek(1)
        return True


def json_document(_: Path, file: io.BufferedReader) -> Iterator[Numbered]:
    """The elements of an array, the objects of a stream of them, or the rows of the list that an object wraps."""
    window = _Window(file)
    if window.ended:
        try:
            whole, strict = _whole(window.data)
        except (ValueError, RecursionError):
            yield from _elements(window)
            return
        yield from _rows(_unwrapped(whole) if isinstance(whole, dict) else whole, strict, 1)
    else:
        yield from _elements(window)


def _unwrapped(whole: dict[str, Any]) -> list[Any]:
    lists = [v for v in whole.values() if isinstance(v, list) and any(isinstance(row, dict) for row in v)]
    return lists[0] if len(lists) == 1 and not ROW_NAMES & whole.keys() else [whole]


def _rows(rows: list[Any], strict: bool, first: int) -> Iterator[Numbered]:
    for number, row in enumerate(rows, first):
        yield number, row if strict and isinstance(row, dict) else _checked(row)


def _whole(data: bytes) -> tuple[Any, bool]:
    """What a document says, and whether it is JSON by the letter."""
    try:
        whole = orjson.loads(data)
    except orjson.JSONDecodeError:
        return LENIENT.decode(data.decode()), False
    return LENIENT.decode(data.decode()) if _has_long_integer(data) else whole, True


def _elements(window: _Window) -> Iterator[Numbered]:
    # Elements are told from nested objects by their brackets, and where those are damaged too by their first key: rows
    # begin with the same one, and turns with another.
    at, number, fresh = _first_element(window.data), 0, not window.ended
    key = FIRST_KEY.search(window.data, at)
    begins = re.compile(rb"(?=\{\s*" + (re.escape(key[1]) + rb"\s*:" if key else b"") + rb")")
    after_another = re.compile(rb"\}\s*,?\s*" + begins.pattern)
    between = re.compile(rb"\}\s*,\s*" + begins.pattern)
    while True:
        if fresh:
            rows, strict, at = _piece(window.data, at, between)
            yield from _rows(rows, strict, number + 1)
            number += len(rows)
            fresh = bool(rows) and window.grow(at)
            at = 0 if fresh else at
            if fresh:
                continue
        found = VALUE.search(window.data, at)
        if found and found[0] == b"]":  # the end of the list, unless more rows follow
            at = _next_beginning(window, found.start(), begins)
            continue
        row, end = _element(window, found.start(), begins, after_another) if found else (None, None)
        fresh = (end is None or end == len(window.data)) and window.grow(found.start() if found else at)
        if fresh:
            at = 0
            continue
        if not found:
            return
        end = len(window.data) if end is None else end
        number, at = number + 1, end
        yield number, row_of(window.data[found.start() : end].strip(b" ,\t\r\n")) if row is None else row


def _first_element(data: bytes) -> int:
    """Where the first element of an array begins, or the first row of the list that an object wraps."""
    start = len(data) - len(data.lstrip())
    if data[start : start + 1] == b"[":
        return start + 1
    at = start + 1
    while key := KEY.match(data, at):
        if key[1].strip(b'"').decode(errors="replace") in ROW_NAMES:
            break
        if ROWS.match(data, key.end()):
            return key.end() + 1
        end = _end_of(data, key.end(), NOTHING) if key.end() < len(data) else None
        if end in (None, UNFINISHED):
            break
        at = end
    return start


TAILS = (1 << 16, 1 << 20, 1 << 40)
"""Bytes from the end of a piece in which the last whole element is looked for."""


def _piece(data: bytes, at: int, between: re.Pattern[bytes]) -> tuple[list[Any], bool, int]:
    """The elements up to the last one that ends in the data, whether they are JSON by the letter, and where they end.

    None of them if that is not JSON. If it is, the place was no string and no nested object, so they are the elements.
    """
    for tail in TAILS:
        found = list(between.finditer(data, max(at, len(data) - tail)))
        if found:
            break
    for last in found[:-3:-1]:
        try:
            rows, strict = _whole(b"[%s]" % data[at : last.start() + 1])
        except (ValueError, RecursionError):
            continue
        return rows, strict, last.end()
    return [], True, at


def _next_beginning(window: _Window, at: int, begins: re.Pattern[bytes]) -> int:
    """Where the next row begins, read on for if need be; the end of the file if none does."""
    while not (more := begins.search(window.data, at)):
        at = max(at, len(window.data) - 1000)
        if not window.grow(at):
            return len(window.data)
        at = 0
    return more.start()


Element = tuple["dict[str, Any] | BrokenRow | None", int | None]


def _element(window: _Window, at: int, begins: re.Pattern[bytes], after_another: re.Pattern[bytes]) -> Element:
    """The element that begins at a place and where it ends; null for what the data does not tell."""
    data, end = window.data, _end_of(window.data, at, begins)
    if end == UNFINISHED:
        if not window.ended:
            return None, None
        end = None
    row = row_of(data[at:end].strip()) if end else None
    if isinstance(row, dict):
        return row, end
    again = after_another.search(data, at + 1, end) if end else begins.search(data, at + 1)
    if again:
        return row_of(data[at : again.end()].strip(b" ,\t\r\n")), again.end()
    return row, end


UNFINISHED = -1


def _end_of(data: bytes, at: int, begins: re.Pattern[bytes]) -> int | None:
    """Where the value that begins at `at` ends; null if its brackets don't match, `UNFINISHED` if they don't close."""
    if data[at] not in b"[{":
        scalar = SCALAR.match(data, at)
        return scalar.end() if scalar else at + 1
    opened, seen = bytearray(), 0
    for found in BRACKETS.finditer(data, at):
        bracket = found[1]
        if bracket is None:
            continue
        if bracket in b"[{":
            opened += bracket
            seen += begins.match(data, found.start()) is not None
            if seen > BEGINNINGS:
                return None
        elif opened.pop() != bracket[0] - 2:  # in ASCII, ] and } come two after [ and {
            return None
        if not opened:
            return found.end()
    return UNFINISHED
