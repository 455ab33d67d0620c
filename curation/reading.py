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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from curation.errors import IngestError

CHUNK_ROWS = 50_000

BOM = b"\xef\xbb\xbf"
NO_OBJECT = "not an object"


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
    magic = magic_of(path)
    try:
        yield from _chunked(_parquet(path) if magic == b"PAR1" else _text_rows(path, magic))
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from None


def magic_of(path: Path) -> bytes:
    """The first four bytes of a file.

    Raises:
        IngestError: it is missing, a folder, empty, or may not be read.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise _unreadable(path, error) from None
    if not magic:
        raise IngestError(f"{path} is empty.", fix="give a file with rows")
    return magic


def shown(value: Any) -> str:
    """A row as JSON for people to look at; half characters are written as escapes."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (RecursionError, ValueError, TypeError):
        return f"{{{', '.join(map(str, value))}: ...}}" if isinstance(value, dict) else f"{type(value).__name__}: ..."
    return printable(text)


def printable(text: str) -> str:
    """The text with half characters (lone surrogates) written as escapes, so that it can be stored and shown."""
    return text.encode("utf-8", "backslashreplace").decode()


def _unreadable(path: Path, error: Exception) -> IngestError:
    if isinstance(error, FileNotFoundError):
        return IngestError(
            f"There is no file {path}.", fix="check the name; folders are not read, use a pattern: data/*.jsonl"
        )
    if isinstance(error, IsADirectoryError):
        return IngestError(f"{path} is a folder.", fix=f"name the files in it: {path}/*.jsonl")
    return IngestError(f"{path} can't be read: {error}.", fix="check that the file is whole and that you may read it")


def _chunked(rows: Iterator[Numbered]) -> Iterator[list[Numbered]]:
    while chunk := list(itertools.islice(rows, CHUNK_ROWS)):
        yield chunk


def _text_rows(path: Path, magic: bytes) -> Iterator[Numbered]:
    with _opened(path, magic) as file:
        rows = _rows_as(path, file)
    with _opened(path, magic) as file:
        yield from rows(path, file)


def _rows_as(path: Path, file: io.BufferedReader) -> Callable[[Path, io.BufferedReader], Iterator[Numbered]]:
    # A line may be longer than any buffer: what decides is whether the first line is a whole value, and what follows.
    start = file.peek().removeprefix(BOM)
    if start.strip() and start.lstrip()[:1] not in (b"[", b"{"):
        if b"\x00" in start:
            raise IngestError(f"{path} is in no format that is known here.", fix="give JSON, JSONL, CSV or Parquet")
        return _csv
    first = _next_line(file).removeprefix(BOM).strip()
    following = _next_line(file)
    return _json_lines if following and _is_lines(first, following) else _json


def _next_line(file: io.BufferedReader) -> bytes:
    return next((line for line in file if line.strip(BOM + b" \t\r\n")), b"")


def _is_lines(first: bytes, following: bytes) -> bool:
    # One object per line: the first line parses, or it is broken but the next one begins an object too.
    row = _row_of(first)
    if isinstance(row, dict) or row.reason.startswith(NO_OBJECT):
        return True
    return first[:1] == b"{" and first[-1:] not in b"[{,:" and following.lstrip()[:1] == b"{"


def _opened(path: Path, magic: bytes) -> io.BufferedReader:
    stream: Any
    if magic[:2] == b"\x1f\x8b":
        stream = gzip.open(path)  # noqa: SIM115
    elif magic == b"\x28\xb5\x2f\xfd":
        stream = _Pieces(_zstd_pieces(path))
    else:
        stream = path.open("rb")
    return io.BufferedReader(stream, buffer_size=1 << 20)


class _Pieces(io.RawIOBase):
    """A stream over pieces of bytes."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def _zstd_pieces(path: Path) -> Iterator[bytes]:
    # The library's own stream reader ends without a word where a file is cut off.
    import zstandard

    try:
        with path.open("rb") as file:
            frame, whole = zstandard.ZstdDecompressor().decompressobj(), True
            while data := file.read(1 << 16):
                while data:
                    if frame.eof:
                        frame = zstandard.ZstdDecompressor().decompressobj()
                    yield frame.decompress(data)
                    whole, data = frame.eof, frame.unused_data
            if not whole:
                raise EOFError("the compressed file ends in the middle")
    except zstandard.ZstdError as error:
        raise EOFError(str(error)) from None


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


def _json_lines(_: Path, file: io.BufferedReader) -> Iterator[Numbered]:
    for number, line in enumerate(file, 1):
        row = _row_of(line)
        if isinstance(row, dict) or line.strip(BOM + b" \t\r\n"):
            yield number, row


def _row_of(line: bytes) -> dict[str, Any] | BrokenRow:
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


def _json(_: Path, file: io.BufferedReader) -> Iterator[Numbered]:
    data = file.read().removeprefix(BOM)
    try:
        whole, strict = _whole(data)
    except (ValueError, RecursionError):
        yield from _elements(data)
        return
    if isinstance(whole, dict):
        lists = [v for v in whole.values() if isinstance(v, list) and any(isinstance(row, dict) for row in v)]
        whole = lists[0] if len(lists) == 1 and not ROW_NAMES & whole.keys() else [whole]
    for number, row in enumerate(whole, 1):
        yield number, row if strict and isinstance(row, dict) else _checked(row)


def _whole(data: bytes) -> tuple[Any, bool]:
    """What a document says, and whether it is JSON by the letter."""
    try:
        whole = orjson.loads(data)
    except orjson.JSONDecodeError:
        return LENIENT.decode(data.decode()), False
    return LENIENT.decode(data.decode()) if _has_long_integer(data) else whole, True


ROW_NAMES = {"messages", "conversations", "instruction", "prompt", "question", "chosen", "rejected"}
"""An object with one of these is a row, not the wrapper of a list of rows."""

STRING = rb'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"?'
"""A string of JSON; one that is not closed ends with its line."""

BRACKETS = re.compile(STRING + rb"|([{}\[\]])", re.DOTALL)
SCALAR = re.compile(rb"(?:" + STRING + rb'|[^,\[\]{}"])++', re.DOTALL)
FIRST_KEY = re.compile(rb"\{\s*(" + STRING + rb")\s*:", re.DOTALL)
WRAPPER = re.compile(
    rb'\s*\{(?:\s*%s\s*:\s*(?:%s|[^\s,\[\]{}"]+)\s*,)*\s*%s\s*:\s*\[(?=\s*\{)' % (STRING, STRING, STRING), re.DOTALL
)
BEGINNINGS = 200
"""How many elements may seem to begin inside one before we hold its brackets for damaged."""


def _elements(data: bytes) -> Iterator[Numbered]:
    # Of a damaged document. Elements are told from nested objects by their brackets, and where those are damaged too by
    # their first key: rows begin with the same one, and turns with another.
    wrapper = WRAPPER.match(data)
    wraps = wrapper and not any(f'"{name}"'.encode() in wrapper[0] for name in ROW_NAMES)
    at = wrapper.end() if wrapper and wraps else len(data) - len(data.lstrip().removeprefix(b"["))
    key = FIRST_KEY.search(data, at)
    begins = re.compile(rb"(?=\{\s*" + (re.escape(key[1]) + rb"\s*:" if key else b"") + rb")")
    after_another = re.compile(rb"\}\s*,?\s*" + begins.pattern)
    value, number = re.compile(rb"[^\s,}]"), 0
    while found := value.search(data, at):
        at = found.start()
        if found[0] == b"]":  # the end of the list, unless more rows follow
            more = begins.search(data, at)
            at = more.start() if more else len(data)
            continue
        number += 1
        end = _end_of(data, at, begins)
        row = _row_of(data[at:end].strip()) if end else None
        if not isinstance(row, dict):
            again = after_another.search(data, at + 1, end) if end else begins.search(data, at + 1)
            if again or row is None:
                end = again.end() if again else len(data)
                row = _row_of(data[at:end].strip(b" ,\t\r\n"))
        yield number, row
        at = end or len(data)


def _end_of(data: bytes, at: int, begins: re.Pattern[bytes]) -> int | None:
    """Where the value that begins at `at` ends; null if its brackets don't match."""
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
    return None


def _csv(path: Path, file: io.BufferedReader) -> Iterator[Numbered]:
    csv.field_size_limit(1 << 30)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    skipped, start = next(((n, line) for n, line in enumerate(text) if line.strip()), (0, ""))
    delimiter = max(",\t;", key=lambda d: len(next(csv.reader([start], delimiter=d), [])))
    spaced = 0 < start.count(delimiter) == start.count(delimiter + " ")
    reader = csv.reader(itertools.chain([start], text), delimiter=delimiter, skipinitialspace=spaced)
    columns = _header(path, reader)
    while True:
        line = skipped + reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, BrokenRow("", f"not valid CSV: {error}")
            continue
        if values:
            yield line, _csv_row(columns, values, delimiter)


def _header(path: Path, reader: Iterator[list[str]]) -> list[str]:
    try:
        columns = [printable(column.strip()) for column in next(reader)]
    except (StopIteration, csv.Error):
        columns = []
    if len(columns) < 2 and not any(c.isidentifier() for c in columns):
        raise IngestError(f"{path} is in no format that is known here.", fix="give JSON, JSONL, CSV or Parquet")
    twice = next((c for c in columns if columns.count(c) > 1), None)
    if twice is not None:
        raise IngestError(f"{path} has two columns {twice!r}.", fix="give each column a name of its own")
    return columns


def _csv_row(columns: list[str], values: list[str], delimiter: str) -> dict[str, Any] | BrokenRow:
    text = delimiter.join(values)
    try:
        text.encode()
    except UnicodeEncodeError:
        return BrokenRow(text.encode(errors="replace").decode(), "not valid UTF-8")
    if len(values) != len(columns):
        return BrokenRow(text, f"{len(values)} fields where the header has {len(columns)}")
    return dict(zip(columns, values, strict=True))


def _parquet(path: Path) -> Iterator[Numbered]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            yield from enumerate((row for batch in file.iter_batches(CHUNK_ROWS) for row in _batch_rows(batch)), 1)
    except pa.ArrowException as error:
        raise IngestError(f"{path} is a damaged Parquet file: {error}.", fix="write the file again") from None


def _batch_rows(batch: Any) -> list[dict[str, Any] | BrokenRow]:
    try:
        rows: list[dict[str, Any] | BrokenRow] = batch.to_pylist()
    except (ValueError, OverflowError) as error:  # a text that is not UTF-8, a date that Python does not know
        if batch.num_rows == 1:
            return [BrokenRow("", f"a value can't be read: {error}")]
        return [row for at in range(batch.num_rows) for row in _batch_rows(batch.slice(at, 1))]
    return rows
