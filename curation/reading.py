"""Reading files of rows: JSON, JSON Lines, Parquet and CSV, plain or compressed, told apart by their content.

Covers: broken rows (one unreadable line or array element never costs the others), gzip and zstd, a JSON object that
wraps the list of rows. Does not cover: broken Parquet files and truncated archives, which are refused as a whole.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import zstandard

from curation.errors import IngestError

CHUNK_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """A row that could not be parsed."""

    text: str
    reason: str


Numbered = tuple[int, "dict[str, Any] | BrokenRow"]
"""(line of a text file or row of a table, counted from 1; what stands there)."""


def read_chunks(path: Path) -> Iterator[list[Numbered]]:
    """The rows of a file in order, up to `CHUNK_ROWS` at a time; memory stays at one chunk for JSONL, Parquet and CSV.

    Raises:
        IngestError: the file is missing, empty, damaged as a whole, or of no known format.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        if not magic:
            raise IngestError(f"{path} is empty.", fix="give a file with rows")
        yield from _chunked(_parquet(path) if magic == b"PAR1" else _text_rows(path, magic))
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> IngestError:
    if isinstance(error, FileNotFoundError):
        return IngestError(
            f"There is no file {path}.", fix="check the name; folders are not read, use a pattern: data/*.jsonl"
        )
    if isinstance(error, IsADirectoryError):
        return IngestError(f"{path} is a folder.", fix=f"name the files in it: {path}/*.jsonl")
    return IngestError(f"{path} can't be read: {error}.", fix="check that the file is whole and that you may read it")


def _chunked(rows: Iterator[Numbered]) -> Iterator[list[Numbered]]:
    chunk: list[Numbered] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) >= CHUNK_ROWS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _text_rows(path: Path, magic: bytes) -> Iterator[Numbered]:
    with _opened(path, magic) as file:
        first = b"\n"
        blank = -1
        while first and not first.strip(b"\xef\xbb\xbf \t\r\n"):
            first, blank = file.readline(), blank + 1
        head = first.removeprefix(b"\xef\xbb\xbf").lstrip()
        if head.startswith(b"{") and _is_lines(head, file.peek(1024)):
            yield from _json_lines(itertools.chain([first], file), 1 + blank)
        elif head.startswith((b"[", b"{")):
            yield from _json(first.removeprefix(b"\xef\xbb\xbf") + file.read())
        elif b"\x00" in first:
            raise _no_format(path)
        else:
            yield from _csv(path, magic)


def _no_format(path: Path) -> IngestError:
    return IngestError(f"{path} is in no format that is known here.", fix="give JSON, JSONL, CSV or Parquet")


def _opened(path: Path, magic: bytes) -> io.BufferedReader:
    stream: Any
    if magic[:2] == b"\x1f\x8b":
        stream = gzip.open(path)  # noqa: SIM115
    elif magic == b"\x28\xb5\x2f\xfd":
        stream = _Zstandard(path)
    else:
        stream = path.open("rb")
    return io.BufferedReader(stream, buffer_size=1 << 20)


class _Zstandard(io.RawIOBase):
    """The content of a .zst file; unlike the library's own reader it raises where the file was cut."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._new_frame = zstandard.ZstdDecompressor().decompressobj
        self._frame: Any = self._new_frame()
        self._left = b""
        self._begun = False

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            if self._frame.eof:
                rest, self._frame, self._begun = self._frame.unused_data, self._new_frame(), False
                data = rest or self._file.read(1 << 17)
            else:
                data = self._file.read(1 << 17)
            if not data:
                if self._begun:
                    raise EOFError("the compressed file ends in the middle")
                return 0
            self._begun = True
            self._left = self._frame.decompress(data)
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size


def _is_lines(first: bytes, following: bytes) -> bool:
    # One object per line: the first line parses and another one follows, or it is broken but the next begins an object.
    following = following.lstrip()
    if _parsed(first) is not None:
        return bool(following)
    return following.startswith(b"{")


def _parsed(line: bytes) -> Any:
    try:
        return _loads(line)
    except ValueError:
        return None


LONG_NUMBER = re.compile(rb"[:\[,]\s*-?\d{19,}\s*[,}\]]")


def _loads(data: bytes) -> Any:
    # orjson makes a float of an integer over 64 bits.
    return json.loads(data) if LONG_NUMBER.search(data) else orjson.loads(data)


def _json_lines(lines: Iterable[bytes], first: int) -> Iterator[Numbered]:
    for number, line in enumerate(lines, first):
        try:
            row = _loads(line)
        except (ValueError, RecursionError) as error:
            if line.strip(b"\xef\xbb\xbf \t\r\n"):
                yield number, _second_try(line, error)
            continue
        yield number, row if isinstance(row, dict) else _no_object(row, line)


def _no_object(row: Any, line: bytes | str) -> BrokenRow:
    text = line.decode(errors="replace") if isinstance(line, bytes) else line
    return BrokenRow(text.strip(), f"not an object but {type(row).__name__}")


def _second_try(line: bytes, error: Exception) -> dict[str, Any] | BrokenRow:
    # Python's own parser takes NaN, Infinity and control characters, which orjson refuses.
    try:
        return _checked(line.decode("utf-8-sig").rstrip("\r\n"), str(error))
    except UnicodeDecodeError:
        return BrokenRow(line.decode("utf-8", "replace").rstrip("\r\n"), "not valid UTF-8")


def _checked(text: str, error: str) -> dict[str, Any] | BrokenRow:
    """The row that a text is, or why it is none."""
    if any("\ud800" <= c <= "\udfff" for c in text):
        return BrokenRow(text.encode(errors="replace").decode(), "not valid UTF-8")
    try:
        row = json.loads(text)
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return BrokenRow(text, "it has half a surrogate pair, which is no text")
    except RecursionError:
        return BrokenRow(text, "it is nested too deeply")
    except ValueError as reason:
        return BrokenRow(text, f"not valid JSON: {error or reason}")
    return row if isinstance(row, dict) else _no_object(row, text)


def _json(data: bytes) -> Iterator[Numbered]:
    try:
        whole = _loads(data)
    except (ValueError, RecursionError):
        yield from _elements(data.decode("utf-8", "surrogateescape"))
        return
    if isinstance(whole, dict):
        lists = [v for v in whole.values() if isinstance(v, list) and v and all(isinstance(r, dict) for r in v)]
        whole = lists[0] if len(lists) == 1 and not _is_row(whole) else [whole]
    for number, row in enumerate(whole, 1):
        yield number, row if isinstance(row, dict) else _no_object(row, json.dumps(row, ensure_ascii=False))


def _is_row(whole: dict[str, Any]) -> bool:
    return bool({"messages", "conversations"} & set(whole))


WRAPPED = re.compile(r'\s*\{\s*"[^"]*"\s*:\s*(?=\[)')
TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)


def _elements(text: str) -> Iterator[Numbered]:
    """The elements of an array that does not parse as a whole, one by one: a broken one does not cost the others."""
    wrapped = WRAPPED.match(text)
    start = wrapped.end() if wrapped else len(text) - len(text.lstrip())
    if text[start : start + 1] != "[":
        yield 1, _checked(text[start:], "")
        return
    depth, at, number = 0, start + 1, 0
    for token in TOKEN.finditer(text, start):
        mark = token.group()
        depth += (mark in "[{") - (mark in "]}") if len(mark) == 1 else 0
        if (mark == "," and depth == 1) or depth == 0:
            number += 1
            yield number, _checked(text[at : token.start()].strip(), "")
            at = token.end()
        if depth == 0:
            return
    if text[at:].strip():
        yield number + 1, _checked(text[at:].strip(), "")


def _csv(path: Path, magic: bytes) -> Iterator[Numbered]:
    csv.field_size_limit(1 << 30)
    file = _opened(path, magic)
    with io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        start = text.readline()
        delimiter = max(",;\t", key=start.count)
        columns = [name.strip() for name in next(csv.reader([start], delimiter=delimiter), [])]
        if len(columns) < 2 and not any(name.isidentifier() for name in columns):
            raise _no_format(path)
        if len(set(columns)) < len(columns):
            twice = next(name for name in columns if columns.count(name) > 1)
            raise IngestError(f"{path} has two columns {twice!r}.", fix="give each column a name of its own")
        yield from _csv_rows(columns, csv.reader(text, delimiter=delimiter))


def _csv_rows(columns: list[str], reader: Any) -> Iterator[Numbered]:
    while True:
        line = reader.line_num + 2
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, BrokenRow("", f"not valid CSV: {error}")
            continue
        if values:
            yield line, _csv_row(columns, values)


def _csv_row(columns: list[str], values: list[str]) -> dict[str, Any] | BrokenRow:
    if len(values) != len(columns):
        return BrokenRow(",".join(values), f"{len(values)} fields where the header has {len(columns)}")
    if any("\udc80" <= c <= "\udcff" for v in values for c in v if c > "\ud7ff"):
        return BrokenRow(",".join(values).encode(errors="replace").decode(), "not valid UTF-8")
    return dict(zip(columns, values, strict=True))


def _parquet(path: Path) -> Iterator[Numbered]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(CHUNK_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except pa.ArrowException as error:
        raise IngestError(f"{path} is a damaged Parquet file: {error}.", fix="write the file again") from None
