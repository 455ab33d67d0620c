"""Reading files of rows: JSON, JSON Lines, Parquet, CSV and plain text, plain or compressed, told apart by content.

Covers: broken rows (one unreadable line or array element never costs the others), files larger than memory. Does not
cover: broken Parquet files and truncated archives, which are refused as a whole.
"""

from __future__ import annotations

import io
import itertools
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from curation.errors import IngestError
from curation.files.csv_rows import csv_rows
from curation.files.decoding import BOM, opened
from curation.files.json_rows import NO_OBJECT, json_document, json_lines, row_of
from curation.files.rows import BrokenRow, Numbered

__all__ = ["CHUNK_ROWS", "BrokenRow", "Numbered", "magic_of", "read_chunks"]

CHUNK_ROWS = 50_000

TEXTS = (".txt", ".text", ".md", ".markdown", ".rst")
"""Endings of files that are read as documents, unless JSON stands in them."""
LONGEST_TEXT = 64 << 20
"""Bytes of one document."""
DOCUMENT_END = b"<|endoftext|>"
"""A line that parts the documents of a text file."""
JSON_START = re.compile(rb'\s*(?:\[\s*)?\{\s*["}]')

Reader = Callable[[Path, io.BufferedReader], Iterator[Numbered]]


def read_chunks(path: Path, encoding: str | None = None) -> Iterator[list[Numbered]]:
    """The rows of a file in order, up to `CHUNK_ROWS` at a time; memory stays at one chunk and a piece of the file.

    Args:
        path: of the file.
        encoding: of a text file; UTF-8, or what its first bytes say, when null.

    Raises:
        IngestError: the file is missing, empty, damaged as a whole, or of no known format or encoding.
    """
    magic = magic_of(path)
    try:
        yield from _chunked(_parquet(path) if magic == b"PAR1" else _text_rows(path, encoding))
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


def _unreadable(path: Path, error: Exception) -> IngestError:
    if isinstance(error, FileNotFoundError):
        return IngestError(
            f"There is no file {path}.", fix="check the name; folders are not read, use a pattern: data/*.jsonl"
        )
    if isinstance(error, IsADirectoryError):
        return IngestError(f"{path} is a folder.", fix=f"name the files in it: {path}/*.jsonl")
    reason = " ".join(str(error).split()).rstrip(". ")  # some libraries say it in several lines
    return IngestError(f"{path} can't be read: {reason}.", fix="check that the file is whole and that you may read it")


def _chunked(rows: Iterator[Numbered]) -> Iterator[list[Numbered]]:
    while chunk := list(itertools.islice(rows, CHUNK_ROWS)):
        yield chunk


def _text_rows(path: Path, encoding: str | None) -> Iterator[Numbered]:
    with opened(path, encoding) as file:
        rows = _rows_as(path, file)
    with opened(path, encoding) as file:
        yield from rows(path, file)


def _rows_as(path: Path, file: io.BufferedReader) -> Reader:
    # A line may be longer than any buffer: what decides is whether the first line is a whole value, and what follows.
    start = file.peek().removeprefix(BOM)
    if is_text(path) and not JSON_START.match(start):
        return _documents
    if start.strip() and start.lstrip()[:1] not in (b"[", b"{"):
        if b"\x00" in start:
            raise IngestError(
                f"{path} is in no format that is known here.",
                fix="give JSON, JSONL, CSV or Parquet, or plain text as .txt",
            )
        return csv_rows
    first = _next_line(file).removeprefix(BOM).strip()
    following = _next_line(file)
    return json_lines if following and _is_lines(first, following) else json_document


def _next_line(file: io.BufferedReader) -> bytes:
    return next((line for line in file if line.strip(BOM + b" \t\r\n")), b"")


def _is_lines(first: bytes, following: bytes) -> bool:
    # One object per line: the first line parses, or it is broken but the next one begins an object too.
    row = row_of(first)
    if isinstance(row, dict) or row.reason.startswith(NO_OBJECT):
        return True
    return first[:1] == b"{" and first[-1:] not in b"[{,:" and following.lstrip()[:1] == b"{"


def is_text(path: Path) -> bool:
    """Whether a file's name says that it is plain text, compressed or not."""
    name = path.name.lower().removesuffix(".gz").removesuffix(".zst")
    return name.endswith(TEXTS)


def _documents(path: Path, file: io.BufferedReader) -> Iterator[Numbered]:
    """The file as one document, or as those that lines with nothing but an end of text part."""
    begun, size, lines = 1, 0, list[bytes]()
    for number, line in enumerate(file, 1):
        if line.strip() == DOCUMENT_END:
            yield from _document(begun, lines)
            begun, size, lines = number + 1, 0, []
            continue
        lines.append(line)
        size += len(line)
        if size > LONGEST_TEXT:
            raise IngestError(
                f"{path}:{begun} begins a text of more than {LONGEST_TEXT >> 20} MiB, too long for one document.",
                fix='write it as JSONL with one document per line: {"text": ...}',
            )
    yield from _document(begun, lines)


def _document(begun: int, lines: list[bytes]) -> Iterator[Numbered]:
    data = b"".join(lines).removeprefix(BOM)
    if data.strip():
        try:
            yield begun, {"text": data.decode().strip()}
        except UnicodeDecodeError:
            yield begun, BrokenRow(data.decode(errors="replace")[:1000], "not valid UTF-8")


def _parquet(path: Path) -> Iterator[Numbered]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            yield from enumerate((row for batch in file.iter_batches(CHUNK_ROWS) for row in _batch_rows(batch)), 1)
    except pa.ArrowException as error:
        reason = " ".join(str(error).split()).rstrip(". ")
        raise IngestError(f"{path} is a damaged Parquet file: {reason}.", fix="write the file again") from None


def _batch_rows(batch: Any) -> list[dict[str, Any] | BrokenRow]:
    try:
        rows: list[dict[str, Any] | BrokenRow] = batch.to_pylist()
    except (ValueError, OverflowError) as error:  # a text that is not UTF-8, a date that Python does not know
        if batch.num_rows == 1:
            return [BrokenRow("", f"a value can't be read: {error}")]
        return [row for at in range(batch.num_rows) for row in _batch_rows(batch.slice(at, 1))]
    return rows
