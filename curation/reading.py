"""Reading files of rows: JSON, JSON Lines, Parquet and CSV, plain or compressed, told apart by their content.

Covers: broken rows (one unreadable line or array element never costs the others), gzip and zstd, a JSON object that
wraps the list of rows. Does not cover: broken Parquet files and truncated archives, which are refused as a whole.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

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
    except (OSError, EOFError, zlib.error) as error:
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
        start = file.peek(65536)[:65536] if isinstance(file, io.BufferedReader) else b""
        head = start.removeprefix(b"\xef\xbb\xbf").lstrip()
        if head.startswith(b"[") or (head.startswith(b"{") and not _is_lines(head)):
            yield from _json(file.read().removeprefix(b"\xef\xbb\xbf"))
        elif head.startswith(b"{"):
            yield from _json_lines(file)
        elif b"\x00" in start:
            raise IngestError(f"{path} is in no format that is known here.", fix="give JSON, JSONL, CSV or Parquet")
        else:
            yield from _csv(path, file)


def _opened(path: Path, magic: bytes) -> io.BufferedReader:
    stream: Any
    if magic[:2] == b"\x1f\x8b":
        stream = gzip.open(path)  # noqa: SIM115
    elif magic == b"\x28\xb5\x2f\xfd":
        import zstandard

        stream = zstandard.open(path, "rb")
    else:
        stream = path.open("rb")
    return io.BufferedReader(stream, buffer_size=1 << 20)


def _is_lines(head: bytes) -> bool:
    # One object per line: the first line parses, or it is broken but the next one begins an object too.
    first, _, rest = head.partition(b"\n")
    return _parsed(first) is not None or rest.lstrip().startswith(b"{")


def _parsed(line: bytes) -> Any:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return None


def _json_lines(file: io.BufferedReader) -> Iterator[Numbered]:
    for number, line in enumerate(file, 1):
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            if line.strip(b"\xef\xbb\xbf \t\r\n"):
                yield number, _second_try(line, error)
            continue
        yield number, row if isinstance(row, dict) else _no_object(row, line)


def _no_object(row: Any, line: bytes | str) -> BrokenRow:
    text = line.decode(errors="replace") if isinstance(line, bytes) else line
    return BrokenRow(text.strip(), f"not an object but {type(row).__name__}")


def _second_try(line: bytes, error: Exception) -> dict[str, Any] | BrokenRow:
    # Python's own parser takes NaN, Infinity and lone surrogates, which orjson refuses.
    try:
        row = json.loads(line.decode("utf-8-sig"))
        return row if isinstance(row, dict) else _no_object(row, line)
    except UnicodeDecodeError:
        return BrokenRow(line.decode("utf-8", "replace").rstrip("\r\n"), "not valid UTF-8")
    except (json.JSONDecodeError, RecursionError):
        return BrokenRow(line.decode("utf-8", "replace").rstrip("\r\n"), f"not valid JSON: {error}")


def _json(data: bytes) -> Iterator[Numbered]:
    try:
        whole = orjson.loads(data)
    except orjson.JSONDecodeError:
        yield from _broken_json(data.decode("utf-8", "replace"))
        return
    if isinstance(whole, dict):
        lists = [v for v in whole.values() if isinstance(v, list) and v and all(isinstance(r, dict) for r in v)]
        whole = lists[0] if len(lists) == 1 and not _is_row(whole) else [whole]
    for number, row in enumerate(whole, 1):
        yield number, row if isinstance(row, dict) else _no_object(row, json.dumps(row, ensure_ascii=False))


def _is_row(whole: dict[str, Any]) -> bool:
    return bool({"messages", "conversations"} & set(whole))


NEXT_ELEMENT = re.compile(r"\}\s*,?\s*(?=\{)|\}\s*\]?\s*$")


def _broken_json(text: str) -> Iterator[Numbered]:
    # Element by element; after a broken one, go on at the next place that looks like the start of an object.
    decoder = json.JSONDecoder()
    at, number = text.find("{"), 0
    while 0 <= at < len(text):
        number += 1
        try:
            row, end = decoder.raw_decode(text, at)
            yield number, row if isinstance(row, dict) else _no_object(row, text[at:end])
        except (json.JSONDecodeError, RecursionError) as error:
            found = NEXT_ELEMENT.search(text, at)
            end = found.end() if found else len(text)
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
            yield number, BrokenRow(text[at:end].strip(" ,\n"), f"not valid JSON: {reason}")
        at = text.find("{", end)


def _csv(path: Path, file: io.BufferedReader) -> Iterator[Numbered]:
    csv.field_size_limit(1 << 30)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    start = text.readline()
    delimiter = "\t" if "\t" in start and "," not in start else ","
    columns = next(csv.reader([start], delimiter=delimiter), [])
    if len(columns) < 2 and not any(c.strip().isidentifier() for c in columns):
        raise IngestError(f"{path} is in no format that is known here.", fix="give JSON, JSONL, CSV or Parquet")
    reader = csv.reader(text, delimiter=delimiter)
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
