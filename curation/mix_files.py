"""The files of a mix: samples go through a format and become lines."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson
import polars as pl

from curation.corpus import SAMPLE_COLUMNS, Corpus
from curation.errors import CorpusError
from curation.sample import Sample, from_row

Enough = Callable[[int, int], bool]
"""Told the rows and characters so far."""


def _never(rows: int, characters: int) -> bool:
    return False


@dataclass(frozen=True)
class Written:
    """A file that was written."""

    name: str
    ids: list[str]
    """Of its rows, in their order."""
    characters: int
    sha256: str
    by_source: dict[str, int]
    skipped: dict[str, int]
    """Reason -> samples that the format can't hold."""

    @property
    def rows(self) -> int:
        """How many there are."""
        return len(self.ids)


@dataclass(frozen=True)
class MixFiles:
    """Writes one file after another in one format."""

    corpus: Corpus
    folder: Path
    format: Callable[[Sample], dict[str, Any] | str]

    def write(
        self,
        name: str,
        ids: Sequence[str],
        enough: Enough = _never,
        *,
        at_least: int = 0,
        stages: Mapping[str, str | None] = MappingProxyType({}),
    ) -> Written:
        """Write the samples that fit until there are enough; with fewer than `at_least` the file stays as it was.

        `stages` says the stage of a sample, which its row then has.
        """
        sources: Counter[str] = Counter()
        skipped: Counter[str] = Counter()
        characters = 0
        written: list[str] = []
        lines: list[bytes] = []
        for sample_id, sample in self._samples(ids):
            row = self.format(sample)
            if isinstance(row, str):
                skipped[row] += 1
                continue
            stage = {"stage": stages[sample_id]} if sample_id in stages else {}
            written.append(sample_id)
            lines.append(json_line({"id": sample_id, **row, "source": sample.source, **stage}))
            sources[sample.source] += 1
            characters += len(sample.instruction) + len(sample.response)
            if enough(len(lines), characters):
                break
        path = self.folder / f"{name}.jsonl"
        digest = replace(path, lines) if len(lines) >= at_least else ""
        return Written(name, written, characters, digest, dict(sorted(sources.items())), dict(skipped))

    def _samples(self, ids: Sequence[str]) -> Iterable[tuple[str, Sample]]:
        for start in range(0, len(ids), 10_000):
            yield from self._batch(ids[start : start + 10_000])

    def _batch(self, ids: Sequence[str]) -> Iterable[tuple[str, Sample]]:
        wanted = pl.DataFrame({"id": list(ids)}, schema={"id": pl.String}).with_row_index("place")
        columns = ", ".join(f'everything."{c}"' for c in SAMPLE_COLUMNS)
        frame = self.corpus.database.run(
            f"SELECT {columns} FROM everything JOIN wanted USING (id) ORDER BY place", frames={"wanted": wanted}
        )
        for row in frame.iter_rows(named=True):
            yield row["id"], from_row(row)


def json_line(row: Mapping[str, Any]) -> bytes:
    """A row as one line of JSON in UTF-8."""
    try:
        return orjson.dumps(row) + b"\n"
    except (orjson.JSONEncodeError, TypeError):  # a lone surrogate: only ASCII escapes can say it
        return json.dumps(row).encode() + b"\n"


def made(folder: Path) -> Path:
    """The folder, made where there is none.

    Raises:
        CorpusError: it can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from None
    return folder


def replace(path: Path, lines: Iterable[bytes]) -> str:
    """Write a file in whole or not at all; its SHA-256.

    Raises:
        CorpusError: it can't be written.
    """
    digest = hashlib.sha256()
    partial = path.with_name(f".{path.name}")
    try:
        with partial.open("wb") as file:
            for line in lines:
                file.write(line)
                digest.update(line)
        partial.replace(path)
    except OSError as error:
        raise _unwritable(path, error) from None
    return digest.hexdigest()


def _unwritable(path: Path, error: OSError) -> CorpusError:
    return CorpusError(f"{path} can't be written: {error.strerror}.", fix="give a folder that can be written to")
