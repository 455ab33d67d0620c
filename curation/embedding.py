"""Embedding: a vector for every sample, kept beside the database as a memory-mapped array.

embeddings/NAME/vectors.npy   float32 (samples, dimensions), unit length unless the user's own are not
embeddings/NAME/ids.npy       the sample of each row
embeddings/NAME/about.json    model, text, dimensions
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curation.corpus import Corpus
from curation.engines import spread
from curation.errors import CorpusError, ModelError, unknown
from curation.language_models.encoders import open_encoder
from curation.language_models.models import Encoder
from curation.names import checked_name
from curation.progress import Progress, silent
from curation.subsets.candidates import all_finite
from curation.vectors import about_of, store, stored

TEXTS = {
    "both": "instruction || '\n\n' || response",
    "instruction": "instruction",
    "response": "response",
}
"""What of a sample is embedded -> SQL."""

SHARD_ROWS = 4096


@dataclass(frozen=True)
class EmbedReport:
    """An embedding as it stands now."""

    name: str
    model: str
    text: str
    dimensions: int
    embedded: int
    """Samples embedded in this call."""
    already: int
    without: int = 0
    """Samples of which the model gave no finite numbers: they have no vector, and another call tries them again."""


def embed(
    corpus: Corpus,
    model: str = "lexical",
    *,
    text: str = "both",
    name: str | None = None,
    where: str | None = None,
    engine: str = "here",
    workers: int | None = None,
    progress: Progress = silent,
) -> EmbedReport:
    """Give every sample that has none a vector. A killed run goes on from its last shard.

    Args:
        corpus: whose samples.
        model: an encoder's spec: `lexical`, or `sentence-transformers:NAME_OR_PATH`.
        text: `both`, `instruction` or `response`.
        name: what to call the embedding; made from the model and text when null.
        where: a condition on the samples; all when null.
        engine: where to encode: `here`, `processes` or `ray`.
        workers: of the engine; one per core when null.
        progress: told the samples embedded so far.

    Raises:
        OperatorError: no such engine.
        CorpusError: `text` is none of the three, or the condition is wrong.
        ModelError: the encoder can't be opened, or gives no finite numbers for any sample.
    """
    if text not in TEXTS:
        raise unknown("text", text, TEXTS, CorpusError)
    name = name or default_name(model, text)
    folder = corpus.path / "embeddings" / checked_name("embedding", name)
    about = about_of(folder)
    if about and (about["model"], about["text"]) != (model, text):
        raise CorpusError(
            f"The embedding {name!r} was made with {about['model']} of {about['text']}.", fix="choose another --name"
        )
    ids = corpus.frame(["id"], where=where)["id"].to_list()
    (folder / "parts").mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        (folder / "parts").mkdir(exist_ok=True)
        done = set(stored(folder)[0]) | {i for part in _parts(folder) for i in np.load(_ids_of(part)).tolist()}
        pending = [i for i in ids if i not in done]
        without = 0
        if pending:
            without = _encode(_Shards(corpus, model, text, pending, folder), engine, workers, progress, bool(done))
        dimensions = _merge(folder, {"name": name, "model": model, "text": text})
    return EmbedReport(name, model, text, dimensions, len(pending) - without, len(ids) - len(pending), without)


def default_name(model: str, text: str = "both") -> str:
    """The name of an embedding that is given none: the model's, with the text if it is not both."""
    kind, _, rest = model.partition(":")
    pooling = f"-{kind.removeprefix('hf-')}" if kind.startswith("hf-") else ""
    path = (rest if kind == "sentence-transformers" or pooling else model).rstrip("/")
    base = re.sub(r"[^\w.-]+", "-", path.split("/")[-1]).strip("-") + pooling
    return base if text == "both" else f"{base}-{text}"


@dataclass(frozen=True)
class _Shards:
    """What is left to embed, and where."""

    corpus: Corpus
    model: str
    text: str
    pending: Sequence[str]
    folder: Path

    def ids(self) -> Iterator[list[str]]:
        """Of each shard."""
        for start in range(0, len(self.pending), SHARD_ROWS):
            yield list(self.pending[start : start + SHARD_ROWS])

    def all_texts(self) -> list[str]:
        """Of the whole corpus."""
        return self.corpus.query(f"SELECT {TEXTS[self.text]} AS text FROM samples ORDER BY id")["text"].to_list()

    def texts(self) -> Iterator[tuple[str, list[str]]]:
        """(name of the shard, its texts), read one by one."""
        first = 1 + max((int(p.stem) for p in _parts(self.folder)), default=0)
        for number, ids in enumerate(self.ids(), first):
            wanted = pl.DataFrame({"id": ids}, schema={"id": pl.String}).with_row_index("place")
            frame = self.corpus.database.run(
                f"SELECT {TEXTS[self.text]} AS text FROM samples JOIN wanted USING (id) ORDER BY place",
                frames={"wanted": wanted},
            )
            yield f"{number:05d}.npy", frame["text"].to_list()


@dataclass
class _Reopened:
    """An encoder that each worker opens for itself, and keeps open: models are too large to be sent around."""

    spec: str

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """As `Encoder.encode`."""
        return _opened(self.spec).encode(texts)


@lru_cache(maxsize=1)
def _opened(spec: str) -> Encoder:
    return open_encoder(spec)


def _encoded(encoder: Encoder, texts: Sequence[str]) -> np.ndarray:
    return encoder.encode(texts)


def _encode(shards: _Shards, engine: str, workers: int | None, progress: Progress, known: bool) -> int:
    """Write the parts; the number of samples that got no vector. `known`: whether the embedding holds some already."""

    def fit_on() -> list[str]:
        progress(0, total, f"{shards.model}: learning which n-grams tell samples apart")
        return shards.all_texts()

    done, without, total = 0, 0, len(shards.pending)
    # The lexical encoder is fitted here, once, and sent along.
    here = engine == "here" or shards.model == "lexical"
    encoder = open_encoder(shards.model, folder=shards.folder, fit_on=fit_on) if here else _Reopened(shards.model)
    vectors = spread(partial(_encoded, encoder), shards.texts(), engine, workers)
    for ids, (name, of_shard) in zip(shards.ids(), vectors, strict=True):
        matrix = of_shard.astype(np.float32)
        finite = all_finite(matrix)
        known |= bool(finite.any())
        if not known:
            # A model that overflows does so for nearly every text: better told now than after hours.
            raise ModelError(
                f"{shards.model} gave no finite numbers for any of {len(ids):,} samples.",
                fix="choose another model: one that was trained to the end and doesn't overflow",
            )
        if finite.any():
            fine = [i for i, good in zip(ids, finite, strict=True) if good]
            _write_part(shards.folder / "parts" / name, fine, matrix[finite])
        done += len(ids)
        without += int((~finite).sum())
        told = f"; {without:,} got no finite numbers, and so no vector" if without else ""
        progress(done, total, f"{shards.model}: {done:,} of {total:,} samples{told}")
    return without


def _write_part(part: Path, ids: list[str], matrix: np.ndarray) -> None:
    np.save(_ids_of(part), np.array(ids))
    partial_file = part.with_suffix(".partial")
    with partial_file.open("wb") as file:
        np.save(file, matrix)
    partial_file.replace(part)


def _merge(folder: Path, about: dict[str, Any]) -> int:
    """Put the new parts behind the vectors there are. A reader sees the old array or the new one, nothing between."""
    ids, old = stored(folder)
    known = set(ids)
    parts = [(part, np.load(_ids_of(part)).tolist()) for part in _parts(folder)]
    fresh = [(part, of_part) for part, of_part in parts if not known.issuperset(of_part)]
    if old is None and not fresh:
        raise CorpusError("There is no sample to embed.", fix="ingest a file first, or widen the filter")
    matrices = ([] if old is None else [old]) + [np.load(part, mmap_mode="r") for part, _ in fresh]
    if fresh:
        ids = ids + [i for _, of_part in fresh for i in of_part]
        store(folder, ids, matrices, about)
    shutil.rmtree(folder / "parts")
    return int(matrices[0].shape[1])


def add_vectors(corpus: Corpus, path: Path | str, field: str, *, name: str | None = None) -> EmbedReport:
    """Take vectors the user brings: row i of the array belongs to the i-th sample by a metadata field.

    Where the field holds whole numbers within the array, they are the row numbers themselves; else the samples that
    have the field are put in its order (as numbers if all are, else as text), and there must be one row for each.

    Args:
        corpus: whose samples.
        path: `.npy` with a 2-D array of numbers.
        field: name of the metadata field.
        name: what to call the embedding; the file's name when null.

    Raises:
        CorpusError: the file is no such array, no sample has the field, or the numbers of rows differ.
    """
    matrix = _user_array(Path(path))
    query = "SELECT id, metadata->>? AS value FROM samples WHERE json_exists(metadata, ?)"
    pointer = '$."' + field.replace('"', '\\"') + '"'
    frame = corpus.query(query, pointer, pointer).drop_nulls("value")
    if frame.is_empty():
        raise CorpusError(
            f"No sample has a metadata field {field!r}.", fix="see one: winnow inspect CORPUS --limit 1 --json"
        )
    rows = _rows_of(frame["value"], len(matrix))
    if rows is None:
        raise CorpusError(
            f"{path} has {len(matrix):,} rows, but {frame.height:,} samples have the field {field!r}.",
            fix="write one row per sample that has the field, in the field's order",
        )
    name = name or default_name(Path(path).stem)
    folder = corpus.path / "embeddings" / checked_name("embedding", name)
    folder.mkdir(parents=True, exist_ok=True)
    about = {"name": name, "model": f"file:{Path(path).name}", "text": f"by {field}"}
    with _alone(folder):
        store(folder, frame["id"].to_list(), [np.asarray(matrix[rows], dtype=np.float32)], about)
    return EmbedReport(name, about["model"], about["text"], int(matrix.shape[1]), frame.height, 0)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold an embedding's folder; a second command that wants it is told."""
    import fcntl

    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CorpusError(
                f"Another command makes the embedding {folder.name!r} right now.",
                fix="wait for it, or choose another --name",
            ) from None
        yield


def _user_array(path: Path) -> np.ndarray:
    try:
        matrix: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise CorpusError(
            f"{path} is no array that can be read: {error}.", fix="write it with numpy.save(path, float32 array)"
        ) from None
    if matrix.ndim != 2 or not np.issubdtype(matrix.dtype, np.number) or not np.isfinite(matrix).all():
        raise CorpusError(
            f"{path} holds an array of shape {matrix.shape} and type {matrix.dtype}, or numbers that are not finite.",
            fix="give a 2-D array of finite numbers, one row per sample",
        )
    return matrix


def _rows_of(values: pl.Series, rows: int) -> np.ndarray | None:
    whole = values.cast(pl.Int64, strict=False)
    if whole.null_count() == 0 and whole.is_unique().all() and bool((whole >= 0).all() and (whole < rows).all()):
        return whole.to_numpy()
    if len(values) != rows:
        return None
    numbers = values.cast(pl.Float64, strict=False)
    order = (numbers if numbers.null_count() == 0 else values).arg_sort().to_numpy()
    places = np.empty(rows, np.int64)
    places[order] = np.arange(rows)
    return places


def _parts(folder: Path) -> list[Path]:
    return sorted((folder / "parts").glob("[0-9]*.npy"))


def _ids_of(part: Path) -> Path:
    return part.with_name(f"ids-{part.name}")
