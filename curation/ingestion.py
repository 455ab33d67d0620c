"""Ingestion: files in, samples out; every row ends in `samples`, `duplicates` or `rejected`."""

from __future__ import annotations

import contextlib
import gc
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import polars as pl
import pyarrow as pa

from curation.corpus import Corpus
from curation.errors import IngestError
from curation.files.feedback import RULE, FeedbackRules
from curation.files.fetching import FOLDER, Located, is_remote, located
from curation.files.reading import magic_of, read_chunks
from curation.files.rows import BrokenRow, Numbered, printable, shown
from curation.files.shapes import MAPPABLE, columns_of, pair_columns, renamed, shape_of, to_samples
from curation.files.turns import Unreadable
from curation.progress import Progress, silent
from curation.sample import Sample, canonical_text, metadata_json, pair_frame, to_frame

ODD = (
    TypeError,
    ValueError,
    OverflowError,
    RecursionError,
    LookupError,
    AttributeError,
    pl.exceptions.PolarsError,
    pa.ArrowException,
)
"""What a value raises that no column can hold."""

MOST_UNKNOWN = 0.5
"""A file is refused when more than this share of the rows it begins with have no known shape."""


@dataclass(frozen=True)
class FileReport:
    """What became of one file."""

    file: str
    shapes: dict[str, int]
    """Shape -> samples; a row of some shapes becomes several."""
    added: int
    duplicates: int
    rejected: int
    rules: dict[str, int] = field(default_factory=dict)
    """Feedback rule -> samples it made of conversations with feedback."""
    batch: str = ""
    """What the corpus calls this file's rows."""


@dataclass(frozen=True)
class IngestReport:
    """What became of all rows; `files` has the same by file."""

    added: int
    duplicates: int
    """Rows whose text was in the corpus already, or came before in the same file."""
    rejected: int
    files: tuple[FileReport, ...]


def ingest(
    corpus: Corpus,
    files: Sequence[Path | str],
    *,
    source: str | None = None,
    fields: Mapping[str, str] | None = None,
    rules: FeedbackRules | None = None,
    encoding: str | None = None,
    progress: Progress = silent,
) -> IngestReport:
    """Read files into a corpus; each chunk of rows is committed as it is read, so a rerun adds only what is missing.

    Args:
        corpus: where to.
        files: paths, http(s) addresses or hf://datasets/OWNER/NAME/PATH (a pattern will do) of JSON arrays, JSONL,
            Parquet, CSV or plain text, as they are or compressed.
        source: what to call the source; the file's name without its suffixes when null.
        fields: name the ingestion knows (`shapes.MAPPABLE`) -> the column that is meant by it, or a path into one such
            as `data.question`.
        rules: what becomes of conversations with feedback; the defaults when null.
        encoding: of text files; UTF-8, or what the file's first bytes say, when null.
        progress: told the rows read so far.

    Raises:
        IngestError: a file can't be read, or none of its first rows has a known shape.
    """
    for name in fields or {}:
        if name not in MAPPABLE:
            raise IngestError(f"A column can't be mapped to {name!r}.", fix=f"map to one of: {', '.join(MAPPABLE)}")
    places = [place for file in files for place in located(file, corpus.path / FOLDER, progress)]
    for place in places:
        magic_of(place.path)  # all of them before anything of one is committed
    how = Reading(fields, rules, encoding)
    with corpus.database.held(), _without_garbage_collection():
        reports = tuple(_ingest_file(corpus, place, source, how, progress) for place in places)
    return IngestReport(
        added=sum(r.added for r in reports),
        duplicates=sum(r.duplicates for r in reports),
        rejected=sum(r.rejected for r in reports),
        files=reports,
    )


@dataclass(frozen=True)
class Reading:
    """How rows are to be read; see `ingest`."""

    fields: Mapping[str, str] | None = None
    rules: FeedbackRules | None = None
    encoding: str | None = None


def _ingest_file(corpus: Corpus, place: Located, source: str | None, how: Reading, progress: Progress) -> FileReport:
    path = place.path
    name = source or path.name.split(".")[0] or path.name
    added = duplicates = rejected = read = 0
    shapes: Counter[str] = Counter()
    rules: Counter[str] = Counter()
    digest, batch = "", ""
    for part in one_ahead(_parts(path, name, how)):
        if not batch:
            digest = _sha256(path)
            batch = hashlib.sha256(f"{path.name}\x1f{digest}".encode()).hexdigest()[:12]
        if part.samples is not None:
            new, known = corpus.add(part.samples, batch=batch)
            added, duplicates = added + new, duplicates + known
            shapes.update(dict(part.samples["shape"].value_counts().iter_rows()))
            rules.update(_rules_of(part.samples))
        _reject(corpus, place, part.broken, batch)
        rejected, read = rejected + len(part.broken), read + part.read
        progress(read, None, f"{path.name}: {added:,} added, {duplicates:,} known, {rejected:,} rejected")
    if not read:
        raise IngestError(f"{path} has no rows.", fix="give a file with rows")
    main_shape = shapes.most_common(1)[0][0] if shapes else ""
    corpus.add_batch(batch, place.origin, digest, main_shape, (added, duplicates, rejected))
    return FileReport(place.origin, dict(shapes), added, duplicates, rejected, dict(rules), batch)


def _rules_of(frame: pl.DataFrame) -> dict[str, int]:
    """Feedback rule -> samples it made."""
    logs = frame.filter(pl.col("shape") == "log")["metadata"]
    return dict(logs.str.json_path_match(f"$.{RULE}").drop_nulls().value_counts().iter_rows())


class Part(NamedTuple):
    """What a chunk of a file became."""

    read: int
    """Rows."""
    samples: pl.DataFrame | None
    broken: list[tuple[int, BrokenRow]]


def _parts(path: Path, name: str, how: Reading) -> Iterator[Part]:
    for number, chunk in enumerate(read_chunks(path, how.encoding)):
        samples, broken = _converted(chunk, name, how)
        if not number and broken:
            _refuse_unknown(path, chunk, how.fields or {})
        yield Part(len(chunk), samples, broken)


Value = TypeVar("Value")


def one_ahead(values: Iterator[Value]) -> Iterator[Value]:
    """The same values in the same order; while the caller works on one, a thread makes the next."""
    end = object()
    with ThreadPoolExecutor(1, "reading ahead") as reader:
        upcoming = reader.submit(next, values, end)
        while (value := upcoming.result()) is not end:
            upcoming = reader.submit(next, values, end)
            yield cast(Value, value)


def _converted(
    chunk: Sequence[Numbered], source: str, how: Reading
) -> tuple[pl.DataFrame | None, list[tuple[int, BrokenRow]]]:
    if not how.fields:
        with contextlib.suppress(*ODD):
            frame = plain_pairs(chunk, source)
            if frame is not None:
                return frame, []
    samples, rows, broken = [], [], []
    for number, row in chunk:
        if isinstance(row, BrokenRow):
            broken.append((number, row))
            continue
        try:
            made = to_samples(row, source, how.fields, how.rules)
            samples += made
            rows += [number] * len(made)
        except Unreadable as reason:
            broken.append((number, BrokenRow(shown(row), str(reason))))
        except ODD as error:
            broken.append((number, BrokenRow(shown(row), _why(error))))
    try:
        return to_frame(samples, rows) if samples else None, broken
    except ODD:
        return _one_by_one(samples, rows, broken)


def _one_by_one(
    samples: Sequence[Sample], rows: Sequence[int], broken: list[tuple[int, BrokenRow]]
) -> tuple[pl.DataFrame | None, list[tuple[int, BrokenRow]]]:
    """The frame of the samples that can be stored; a value that nothing can hold costs its row and no other."""
    frames = []
    for sample, row in zip(samples, rows, strict=True):
        try:
            frames.append(to_frame([sample], [row]))
        except ODD as error:
            broken.append((row, BrokenRow(canonical_text(sample.messages), _why(error))))
    return pl.concat(frames) if frames else None, sorted(broken, key=lambda pair: pair[0])


def _why(error: Exception) -> str:
    if isinstance(error, RecursionError) or "ecursion" in str(error):
        return "it is nested too deeply"
    return f"it can't be stored: {type(error).__name__}: {error}"


def plain_pairs(chunk: Sequence[Numbered], source: str) -> pl.DataFrame | None:
    """The frame of a chunk whose rows are all plain pairs of texts with the same columns; null if one is not.

    Most files are like this, and column by column they convert four times faster than sample by sample.
    """
    first = chunk[0][1]
    names = pair_columns(first) if isinstance(first, dict) else None
    if names is None or not isinstance(first, dict):
        return None
    columns = first.keys()
    numbers, rows = [number for number, _ in chunk], [row for _, row in chunk if isinstance(row, dict)]
    if len(rows) < len(chunk) or not all(row.keys() == columns for row in rows):
        return None
    shape, asked, answer = names
    instructions, responses = [r[asked] for r in rows], [r[answer] for r in rows]
    inputs = [r["input"] for r in rows] if shape == "alpaca" and "input" in columns else [""] * len(rows)
    if not all(type(v) is str for values in (instructions, responses, inputs) for v in values):
        return None
    rest = [c for c in columns if c not in (asked, answer, "input")] + ["input"] * (
        shape == "alpaca" and "input" in columns
    )
    if not all(i or r for i, r in zip(instructions, responses, strict=True)):
        return None
    return pair_frame(
        {
            "instruction": [f"{i}\n\n{x}" if x else i for i, x in zip(instructions, inputs, strict=True)],
            "response": responses,
            "shape": [shape] * len(rows),
            "source": [source] * len(rows),
            "row": numbers,
            "metadata": _metadata(rows, rest),
        }
    )


def _metadata(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> list[str]:
    if not names:
        return ["{}"] * len(rows)
    values = list(zip(*([row[name] for row in rows] for name in names), strict=True))
    if all(type(value) is str for row in values for value in row):  # generators and templates are few: each once
        written = {row: _json(row, names) for row in set(values)}
        return [written[row] for row in values]
    return [_json(row, names) for row in values]


def _json(values: Sequence[Any], names: Sequence[str]) -> str:
    return metadata_json({n: value for n, value in zip(names, values, strict=True) if n != "input" or value})


def _refuse_unknown(path: Path, chunk: Sequence[Numbered], fields: Mapping[str, str]) -> None:
    """Raise if most of the rows that parse have no known shape: then it is the file that is not understood."""
    rows = [row for _, row in chunk if isinstance(row, dict)]
    unknown = sum(shape_of(renamed(row, fields), fields) is None for row in rows)
    if unknown <= len(rows) * MOST_UNKNOWN:
        return
    columns = ", ".join(dict.fromkeys(column for row in rows[:100] for column in columns_of(row)))
    raise IngestError(
        f"The shape of {path} is not recognised; its columns are: {columns}.",
        fix="say which columns are meant, such as: --map instruction=COLUMN --map response=COLUMN",
    )


def _reject(corpus: Corpus, place: Located, broken: Sequence[tuple[int, BrokenRow]], batch: str) -> None:
    if not broken:
        return
    frame = pl.DataFrame(
        {
            "file": [place.origin if is_remote(place.origin) else str(place.path.resolve())] * len(broken),
            "line": [number for number, _ in broken],
            "reason": [printable(row.reason) for _, row in broken],
            "text": [printable(row.text) for _, row in broken],
        },
        schema={"file": pl.String, "line": pl.Int64, "reason": pl.String, "text": pl.String},
    )
    corpus.reject(frame, batch=batch)


@contextlib.contextmanager
def _without_garbage_collection() -> Iterator[None]:
    # A chunk is a few hundred thousand small objects and no cycle: collecting among them doubles the time.
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
