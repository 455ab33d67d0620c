"""Searching: samples whose text holds something, matches a regular expression, or means nearly the same.

Text and regular expression become a condition, which the corpus looks up once (`Corpus.found`). Meaning is exact: the
query's vector against every vector of an embedding, block by block over the memory map; the operating system keeps what
was read in its page cache, so a copy would gain nothing. What a query is like to each sample is kept, so that another
filter, page or order costs no second product.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import duckdb
import numpy as np
import polars as pl

from curation.corpus import Corpus
from curation.errors import CorpusError, WinnowError
from curation.language_models.encoders import open_encoder
from curation.language_models.models import Encoder
from curation.storage.sql import condition, literal
from curation.vectors import ROWS_AT_ONCE, vectors_of

MOST, LEAST, SHARE = 1_000, 20, 0.1
"""Samples that a search by meaning finds unless told otherwise: the nearest tenth, within these bounds."""
FEW = 50_000
"""Up to so many samples of a filter are looked up first; where more meet it, the nearest ones are asked if they do."""
KEPT = 8
"""Queries whose similarities are kept: 4 bytes for each sample."""
OPEN = 2
"""Embeddings and encoders that are kept open."""
LONGEST = 4_000
"""Characters of what is typed."""
BROUGHT = "file:"
"""How the model of vectors begins that the user brought: nothing can embed a query for them."""


class Kind(StrEnum):
    """The ways to search."""

    TEXT = "text"
    REGEX = "regex"
    MEANING = "meaning"


@dataclass(frozen=True)
class Query:
    """What is looked for."""

    text: str = ""
    kind: Kind = Kind.TEXT
    like: tuple[str, ...] = ()
    """Ids of samples: others that mean the same are looked for; the kind is then MEANING, and the text is not read."""
    case: bool = False
    """Whether capital and small letters differ; of text and regular expressions."""
    embedding: str | None = None
    """For meaning; the latest one when null."""

    @property
    def by_meaning(self) -> bool:
        """Whether vectors are compared."""
        return bool(self.like) or self.kind is Kind.MEANING

    def __bool__(self) -> bool:
        return bool(self.like or self.text.strip())


@dataclass(frozen=True)
class Found:
    """What a search found."""

    total: int
    """Samples found that meet the filter, too; by meaning at most as many as were asked for."""
    condition: str | None
    """A condition that finds the same samples, in the form that this process answers fastest; null where nothing was
    looked for. Join it to the filter with AND."""
    where: str | None
    """The same as SQL that another process, a command or a stored filter can read."""
    ids: pl.Series | None = None
    """By meaning: the samples, the nearest first; null for text, whose order is yours."""
    similarity: pl.Series | None = None
    """By meaning: the cosine of each of `ids`, -1..1."""


def search(corpus: Corpus, query: Query, *, where: str | None = None, most: int | None = None) -> Found:
    """The samples that a query finds; all that meet the filter where the query is empty.

    Args:
        corpus: whose samples, as they are now.
        query: what is looked for.
        where: a condition that they have to meet as well.
        most: samples that a search by meaning finds at most, 20 to 1,000 by the size of the embedding when null; of
            text and regular expressions all are found.

    Raises:
        CorpusError: the filter or the regular expression is wrong; there is no embedding, or none of a sample.
        ModelError: the embedding's encoder can't be opened.
    """
    if not query:
        return Found(corpus.count(corpus.found(where)), None, None)
    if len(query.text) > LONGEST:
        raise CorpusError(
            f"What is looked for has {len(query.text):,} characters.", fix=f"search for {LONGEST:,} at most"
        )
    if query.by_meaning:
        return _by_meaning(corpus, query, where, most)
    wanted = text_condition(query)
    quick = corpus.found(wanted)
    return Found(corpus.count(both(corpus.found(where), quick)), quick, wanted)


def both(*parts: str | None) -> str | None:
    """Conditions as one; null where there are none."""
    given = [part for part in parts if part]
    # A condition may end with a comment, which must not hide the bracket.
    closed = (f"({part}\n)" if "--" in part else f"({part})" for part in given)
    return given[0] if len(given) == 1 else " AND ".join(closed) or None


# -------------------------------------------------------------------- text and regular expressions


def text_condition(query: Query) -> str:
    """The condition of a query for a text or a regular expression.

    Raises:
        CorpusError: the regular expression is none.
    """
    if query.kind is not Kind.REGEX:
        return search_condition(query.text, case=query.case)
    problem = _problem(query.text)
    if problem is not None:
        raise CorpusError(
            f"The regular expression {query.text!r} does not work: {problem}",
            fix="write it as RE2 reads it, such as: (python|java)\\s+code; or search for it as text",
        )
    arguments = f"{literal(query.text)}, '{'c' if query.case else 'i'}'"
    return f"(regexp_matches(instruction, {arguments}) OR regexp_matches(response, {arguments}))"


def search_condition(text: str, *, case: bool = False) -> str:
    """The condition that instruction or response holds this text, in any case unless told otherwise."""
    cases = {} if case else _cases()
    if not any(letter in cases for letter in text):
        wanted = literal(text)
        return f"(contains(instruction, {wanted}) OR contains(response, {wanted}))"
    # Twice as fast as ILIKE, which writes both texts in small letters first; it finds the same.
    pattern = literal("".join(f"[{cases[c]}]" if c in cases else _itself(c) for c in text))
    return f"(regexp_matches(instruction, {pattern}) OR regexp_matches(response, {pattern}))"


def _itself(character: str) -> str:
    return character if character.isalnum() else f"\\x{{{ord(character):x}}}"


@functools.cache
def _cases() -> dict[str, str]:
    """Letter -> all letters that are the same in small, for those that have more than one case."""
    same: dict[str, str] = {}
    for code in range(0x1E944):  # the last alphabet with cases ends here
        letter = chr(code)
        small = letter.lower()[:1]  # of the Turkish I with a dot, Python makes two characters
        if small != letter:
            same[small] = same.get(small, small) + letter
    return {letter: letters for letters in same.values() for letter in letters}


@functools.lru_cache(maxsize=64)
def _problem(pattern: str) -> str | None:
    """What is wrong with a regular expression; null where nothing is."""
    with duckdb.connect() as connection:
        try:
            connection.execute("SELECT regexp_matches('', ?)", [pattern])
        except duckdb.Error as error:
            return str(error).split("\n")[0].split("Error: ", 1)[-1].rstrip(".") + "."
    return None


# -------------------------------------------------------------------- meaning


def warm(corpus: Corpus, embedding: str | None = None) -> None:
    """Open an embedding and its encoder before the first text is typed, which then need not wait for them.

    Args:
        corpus: whose embedding.
        embedding: its name; the latest one when null.
    """
    with contextlib.suppress(WinnowError):  # the search itself says what is wrong
        space = space_of(corpus, embedding)
        with _lock:  # a search that comes meanwhile waits, instead of opening the encoder again
            _embedded(space, "a")


@dataclass(frozen=True)
class Space:
    """An embedding, open for searching."""

    folder: Path
    name: str
    model: str
    version: float
    """Changes when the embedding does."""
    ids: pl.Series
    matrix: np.ndarray
    """Memory-mapped float32 (samples, dimensions)."""

    def has(self, sample_id: str) -> bool:
        """Whether the sample has a vector."""
        return bool((self.ids == sample_id).any())

    def rows_of(self, ids: Iterable[str]) -> np.ndarray:
        """Rows of the samples that have a vector, in the order of the samples."""
        asked = pl.DataFrame({"id": list(ids)}, schema={"id": pl.String})
        known = pl.DataFrame({"id": self.ids}).with_row_index("row")
        return asked.join(known, on="id", how="inner", maintain_order="left")["row"].to_numpy().astype(np.int64)

    def cosines(self, vector: np.ndarray) -> np.ndarray:
        """Of a vector of unit length to each row, float32 (samples,); 0 to a row of zeros."""
        found = np.empty(len(self.ids), np.float32)
        for start in range(0, len(found), ROWS_AT_ONCE):
            block = self.matrix[start : start + ROWS_AT_ONCE]
            found[start : start + ROWS_AT_ONCE] = block @ vector
            if self.model.startswith(BROUGHT):
                lengths = np.linalg.norm(block, axis=1)
                found[start : start + ROWS_AT_ONCE] /= np.where(lengths > 0, lengths, 1)
        return found


_kept: OrderedDict[tuple[object, ...], np.ndarray] = OrderedDict()
_lock = threading.Lock()


def space_of(corpus: Corpus, name: str | None = None) -> Space:
    """An embedding, kept open; the latest one when no name is given.

    Raises:
        CorpusError: there is none.
    """
    if name is None:
        files = list((corpus.path / "embeddings").glob("*/about.json"))
        name = max(files, key=lambda file: file.stat().st_mtime).parent.name if files else None
    about = corpus.path / "embeddings" / (name or "") / "about.json"
    return _space(corpus.path, name, about.stat().st_mtime if name and about.exists() else 0.0)


@functools.lru_cache(maxsize=OPEN)
def _space(path: Path, name: str | None, version: float) -> Space:
    vectors = vectors_of(Corpus(path), name)
    ids = pl.Series("id", vectors.ids, dtype=pl.String)
    return Space(path / "embeddings" / vectors.name, vectors.name, vectors.model, version, ids, vectors.matrix)


@functools.lru_cache(maxsize=OPEN)
def _encoder(model: str, folder: Path, version: float) -> Encoder:
    return open_encoder(model, folder=folder)


def _by_meaning(corpus: Corpus, query: Query, where: str | None, most: int | None) -> Found:
    space = space_of(corpus, query.embedding)
    like = tuple(i if space.has(i) else corpus.sample(i).id for i in query.like)  # a beginning of an id will do
    cosines = _cosines(corpus, space, like, query.text)
    most = most or min(MOST, max(LEAST, round(SHARE * len(space.ids))))
    rows = _nearest(corpus, space, cosines, where, most, set(like))
    ids = space.ids.gather(rows)
    # One text that is parted: a thousand texts would take ten times as long to be read as SQL.
    inside = f"id IN (SELECT unnest(string_split({literal(' '.join(ids))}, ' ')))"
    return Found(len(ids), inside, inside, ids, pl.Series("similarity", cosines[rows], dtype=pl.Float64))


def _cosines(corpus: Corpus, space: Space, like: tuple[str, ...], text: str) -> np.ndarray:
    """How alike each row is to what is looked for, kept: the same query comes with other filters and pages."""
    key = (space.folder, space.version, like or text)
    with _lock:
        if key not in _kept:
            vector = _mean_of(corpus, space, like) if like else _embedded(space, text)
            while len(_kept) >= KEPT:
                _kept.popitem(last=False)
            _kept[key] = space.cosines(vector)
        _kept.move_to_end(key)
        return _kept[key]


def _embedded(space: Space, text: str) -> np.ndarray:
    if space.model.startswith(BROUGHT):
        raise CorpusError(
            f"The vectors of {space.name!r} were brought along: no text can be compared with them.",
            fix="look for what is like a sample instead, or make an embedding: winnow embed CORPUS",
        )
    vector = np.asarray(_encoder(space.model, space.folder, space.version).encode([text])[0], np.float32)
    return _unit(vector, f"The encoder of {space.name!r} finds nothing in {text!r}", "search for other words")


def _mean_of(corpus: Corpus, space: Space, ids: tuple[str, ...]) -> np.ndarray:
    rows = space.rows_of(ids)
    if len(rows) < len(ids):
        lacking = next(i for i in ids if not space.has(i))
        raise CorpusError(
            f"The sample {lacking} has no vector in the embedding {space.name!r}.",
            fix=f"winnow embed {corpus.path} --model {space.model} --name {space.name}",
        )
    own = np.asarray(space.matrix[rows], np.float32)
    lengths = np.linalg.norm(own, axis=1, keepdims=True)
    mean: np.ndarray = (own / np.where(lengths > 0, lengths, 1)).mean(axis=0)
    return _unit(mean, f"The vectors of {', '.join(ids)} say nothing", "choose other samples")


def _unit(vector: np.ndarray, problem: str, fix: str) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    if not np.isfinite(length) or length == 0:
        raise CorpusError(f"{problem}.", fix=fix)
    return np.asarray(vector / length, np.float32)


def _nearest(
    corpus: Corpus, space: Space, cosines: np.ndarray, where: str | None, most: int, without: set[str]
) -> np.ndarray:
    """Rows of the nearest samples that are current and meet the filter, the nearest first; equal ones by row."""
    quick = corpus.found(where)
    if where and where.strip() and corpus.count(quick) <= FEW:
        meeting = corpus.frame(["id"], where=quick)["id"]
        rows = space.rows_of(i for i in meeting if i not in without)
        return _best(cosines, rows, most)
    looked = most + len(without)
    while True:
        rows = _best(cosines, None, looked)
        near = pl.DataFrame({"id": space.ids.gather(rows), "row": rows})
        found = corpus.run(
            f"SELECT id FROM everything SEMI JOIN near_frame USING (id){condition(quick)}",
            frames={"near_frame": near.select("id")},
        )
        meets = near["id"].is_in(found["id"].to_list()) & ~near["id"].is_in(list(without))
        if int(meets.sum()) >= most or len(rows) == len(cosines):
            return np.asarray(rows[meets.to_numpy()][:most])
        looked *= 8


def _best(cosines: np.ndarray, rows: np.ndarray | None, most: int) -> np.ndarray:
    values = cosines if rows is None else cosines[rows]
    if most < len(values):
        at_least = np.partition(values, len(values) - most)[len(values) - most]
        places = np.flatnonzero(values >= at_least)
    else:
        places = np.arange(len(values))
    own = places if rows is None else rows[places]
    best: np.ndarray = own[np.lexsort((own, -cosines[own]))][:most]
    return best
