"""Diversity of equally many samples: of each selection the best, random draws from the same pool, the longest answers.

Every metric of diversity depends on how many samples are measured. A number is worth something only beside the band of
random draws of as many; and since long answers alone win many comparisons, they stand beside them as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

import numpy as np
import polars as pl

from curation.corpus import Corpus
from curation.errors import OperatorError
from curation.progress import Progress, silent
from curation.selection import never_candidates
from curation.storage.sql import quoted, working
from curation.subsets import diversity, tag_diversity
from curation.texts.overlap import words_of
from curation.vectors import embeddings, vectors_of

DRAWS = 5
"""Random subsets."""
FEWEST_DRAWS = 3
BASELINE = 2024
"""With the number of a draw, its seed."""
AT_MOST = 2_000
"""Samples of each selection that are measured; of larger ones as many are drawn from the best."""
REFERENCE = 10_000
"""Samples of the pool that NovelSum's crowding is measured against."""
CHARACTERS = 2_000
"""Of an instruction and of a response that are measured as text."""
WORDS = 50_000
"""Words of answers that distinct-2 is measured on, at most."""
MISSING = {
    "vectors": "the samples are too few, or their vectors alike",
    "tags": "the samples have no tags",
    "texts": "the answers are too short",
}
"""What a metric reads -> why it has no number where it could be read."""
TAG_COLUMNS = ("instag_normalized", "instag", "tags")
"""Columns of tags, the first that holds some is measured."""
RANDOM, LONGEST = "random", "longest"


@dataclass(frozen=True)
class Metric:
    """A metric of diversity."""

    name: str
    title: str
    of: str
    """What it reads: vectors, tags or texts."""
    more: bool
    """Whether a higher number means more diversity."""
    most: float = math.inf
    """The highest number there is."""


METRICS = (
    Metric("novelsum", "NovelSum", "vectors", True),
    Metric("vendi", "Vendi score", "vectors", True),
    Metric("knn_distance_mean", "Distance to the nearest, mean", "vectors", True),
    Metric("knn_distance_median", "Distance to the nearest, median", "vectors", True),
    Metric("near_duplicate_rate", "Near-duplicate rate", "vectors", False, 1.0),
    Metric("tag_coverage", "Tag coverage", "tags", True, 1.0),
    Metric("tag_entropy", "Tag entropy", "tags", True),
    Metric("compression_ratio", "Compression ratio", "texts", False),
    Metric("distinct_2", "Distinct word pairs", "texts", True, 1.0),
)


@dataclass(frozen=True)
class Matched:
    """On what the metrics of diversity were measured."""

    size: int
    """The best so many samples of each selection are compared: as many as the smallest has."""
    measured: int
    """Samples of each that were measured: `size`, or a random part of them where that is very large."""
    draws: int
    pool: int
    """Samples that the random ones were drawn from."""
    where: str | None
    """The filter of the pool; null where the selections differ in theirs, and for none."""
    embedding: str | None
    with_vectors: int
    """Samples of each that metrics on vectors were measured on: fewer than `measured` where some have no vector."""
    reference: int
    """Samples of the pool that NovelSum's crowding was measured against."""
    tags: str | None
    """Column of tags."""
    words: int
    """Words of answers that distinct-2 was measured on."""


@dataclass(frozen=True)
class Sets:
    """What is measured: equally many ids of each."""

    selections: dict[str, list[str]]
    draws: list[list[str]]
    longest: list[str]

    @property
    def every(self) -> list[list[str]]:
        """Selections, draws and the longest, in that order."""
        return [*self.selections.values(), *self.draws, *([self.longest] if self.longest else [])]

    @property
    def union(self) -> list[str]:
        """Every id once."""
        return list(dict.fromkeys(i for ids in self.every for i in ids))


@dataclass(frozen=True)
class Measured:
    """Numbers of each of `Sets.every`, and why some are missing."""

    values: list[dict[str, float | None]]
    reasons: dict[str, str] = field(default_factory=dict)
    """What is read (vectors, tags, texts) -> why it could not be."""
    embedding: str | None = None
    with_vectors: int = 0
    reference: int = 0
    tags: str | None = None
    words: int = 0


def candidates(corpus: Corpus, where: str | None) -> pl.DataFrame:
    """`id`, `response_chars` of the samples that a selection may take, ordered by id."""
    frame = corpus.frame(["id", "response_chars"], where=working(where)).sort("id")
    return frame.filter(~pl.col("id").is_in(list(never_candidates(corpus, frame["id"]))))


def sets_of(selections: Mapping[str, Sequence[str]], pool: pl.DataFrame, size: int, draws: int) -> Sets:
    """The best `size` of each selection, random draws and the longest of the pool.

    The draws are always the same, and other ones than those of the selector `random`, whatever its seed. There are no
    draws and no longest where the pool has become smaller than `size`.
    """
    ids = pool["id"].to_list()
    fits = len(ids) >= size
    drawn = [np.random.default_rng([BASELINE, n]).permutation(len(ids))[:size] for n in range(draws if fits else 0)]
    lengths = pool["response_chars"].fill_null(0).to_numpy()
    longest = np.argsort(-lengths, kind="stable")[: size if fits else 0]
    return Sets(
        {name: list(of[:size]) for name, of in selections.items()},
        [[ids[i] for i in places] for places in drawn],
        [ids[i] for i in longest],
    )


def band(draws: Sequence[float], most: float = math.inf) -> tuple[float, float] | tuple[None, None]:
    """Between which numbers 9 of 10 further random draws would lie, judged from these; not below 0 if none is.

    The lowest and highest of five draws are too narrow: a third of all random draws lies outside. Fewer than
    `FEWEST_DRAWS` tell nothing of the others: there is no band then.
    """
    if len(draws) < FEWEST_DRAWS:
        return None, None
    from scipy.special import stdtrit

    count, mean = len(draws), float(np.mean(draws))
    half = float(stdtrit(count - 1, 0.95)) * float(np.std(draws, ddof=1)) * math.sqrt(1 + 1 / count)
    return (max(0.0, mean - half) if min(draws) >= 0 else mean - half), min(most, mean + half)


def thinned(sets: Sets, at_most: int) -> Sets:
    """At most so many of each set, drawn from it with one seed; the order stays."""

    def part(ids: list[str]) -> list[str]:
        if len(ids) <= at_most:
            return ids
        return [ids[i] for i in np.sort(np.random.default_rng(0).permutation(len(ids))[:at_most])]

    return Sets({n: part(ids) for n, ids in sets.selections.items()}, [part(d) for d in sets.draws], part(sets.longest))


Values = list[dict[str, float | None]]
"""Metric -> number, of each set."""


def measure(
    corpus: Corpus, sets: Sets, pool: pl.DataFrame, embedding: str | None = None, progress: Progress = silent
) -> Measured:
    """Every metric of every set; what can't be measured is left out, with a reason.

    Raises:
        CorpusError: there is no embedding of this name.
    """
    progress(0, 3, "measuring tags")
    tags, column = _by_tags(corpus, sets, pool)
    progress(1, 3, "measuring texts")
    texts, words = _by_texts(corpus, sets)
    progress(2, 3, "measuring vectors")
    reasons = {} if column else {"tags": f"no sample of the pool has tags: winnow score {corpus.path} instag"}
    vectors: Values = [{} for _ in sets.every]
    rows, known, name = [], np.empty(0, np.int64), None
    if embedding is None and not embeddings(corpus):
        reasons["vectors"] = f"no embedding is stored: winnow embed {corpus.path}"
    else:
        stored = vectors_of(corpus, embedding)
        name, rows, known = stored.name, *_places(stored.ids, sets, pool)
        if rows and len(rows[0]):
            vectors = _spread(stored.matrix, rows, known)
        else:
            reasons["vectors"] = f"a selection has no vector in {name!r}: winnow embed {corpus.path}"
    progress(3, 3, "diversity measured")
    values = [{**a, **b, **c} for a, b, c in zip(vectors, tags, texts, strict=True)]
    return Measured(values, reasons, name, len(rows[0]) if rows else 0, len(known), column, words)


def _by_tags(corpus: Corpus, sets: Sets, pool: pl.DataFrame) -> tuple[Values, str | None]:
    column, frame = tags_of(corpus, pool["id"], sets.union)
    if column is None:
        return [{} for _ in sets.every], None
    of_pool = frame.filter("of_pool")["tags"]
    found: Values = []
    for ids in sets.every:
        tags = frame.join(pl.DataFrame({"id": ids}), on="id", how="semi")["tags"]
        found.append(
            {"tag_coverage": tag_diversity.coverage(tags, of_pool), "tag_entropy": tag_diversity.entropy(tags)}
        )
    return found, column


def tags_of(corpus: Corpus, pool: Sequence[str] | pl.Series, chosen: Sequence[str]) -> tuple[str | None, pl.DataFrame]:
    """The first column of tags in which a sample of the pool has some, and id, tags, of_pool of the samples with tags.

    null, and no row, where no sample has any.
    """
    kinds = corpus.columns()
    frames = {
        "pool_frame": pl.DataFrame({"id": pool}, schema={"id": pl.String}),
        "chosen_frame": pl.DataFrame({"id": chosen}, schema={"id": pl.String}),
    }
    for column in (c for c in TAG_COLUMNS if kinds.get(c) == "VARCHAR[]"):
        frame = corpus.run(
            f"SELECT id, {quoted(column)} AS tags, id IN (SELECT id FROM pool_frame) AS of_pool FROM everything "
            f"WHERE len({quoted(column)}) > 0 AND (of_pool OR id IN (SELECT id FROM chosen_frame)) ORDER BY id",
            frames=frames,
        )
        if frame["of_pool"].any():
            return column, frame
    return None, pl.DataFrame(schema={"id": pl.String, "tags": pl.List(pl.String), "of_pool": pl.Boolean})


def _by_texts(corpus: Corpus, sets: Sets) -> tuple[Values, int]:
    frame = corpus.run(
        f"SELECT id, left(coalesce(instruction, ''), {CHARACTERS}) AS asked, "
        f"left(coalesce(response, ''), {CHARACTERS}) AS answered FROM everything SEMI JOIN chosen_frame USING (id)",
        frames={"chosen_frame": pl.DataFrame({"id": sets.union}, schema={"id": pl.String})},
    )
    row = {sample_id: i for i, sample_id in enumerate(frame["id"])}
    asked, answered, words = (
        frame["asked"].to_list(),
        frame["answered"].to_list(),
        words_of(frame["answered"]).to_list(),
    )
    rows = [[row[i] for i in ids] for ids in sets.every]
    shortest = min(WORDS, *(sum(len(words[r]) for r in of) for of in rows))
    found: Values = [
        {
            "compression_ratio": diversity.compression_ratio([f"{asked[r]}\n{answered[r]}" for r in of]),
            "distinct_2": diversity.distinct_ngrams(_first((words[r] for r in of), shortest)),
        }
        for of in rows
    ]
    return found, shortest


def _first(texts: Iterable[list[str]], count: int) -> list[str]:
    return list(islice(chain.from_iterable(texts), count))


def _places(known: Sequence[str], sets: Sets, pool: pl.DataFrame) -> tuple[list[np.ndarray], np.ndarray]:
    """Rows of an embedding: of each set equally many, and of the pool at most `REFERENCE`."""
    place = {sample_id: i for i, sample_id in enumerate(known)}
    rows = [[place[i] for i in ids if i in place] for ids in sets.every]
    fewest = min(map(len, rows))
    of_pool = np.array([place[i] for i in pool["id"] if i in place], np.int64)
    if len(of_pool) > REFERENCE:
        of_pool = np.random.default_rng(0).choice(of_pool, REFERENCE, replace=False)
    return [np.array(of[:fewest], np.int64) for of in rows], np.sort(of_pool)


def _spread(matrix: np.ndarray, sets: Sequence[np.ndarray], known: np.ndarray) -> Values:
    """The metrics on vectors of each set of rows; the crowding around a row is looked up once."""
    rows = np.unique(np.concatenate(sets))
    vectors, reference = np.asarray(matrix[rows], np.float32), np.asarray(matrix[known], np.float32)
    try:
        crowding = diversity.densities(vectors, reference)
    except OperatorError:  # a pool of a few distinct samples has no neighbourhoods
        crowding = np.full(len(rows), np.nan)
    return [_of_vectors(vectors[at], crowding[at]) for at in (np.searchsorted(rows, s) for s in sets)]


def _of_vectors(vectors: np.ndarray, crowding: np.ndarray) -> dict[str, float | None]:
    nearest = diversity.nearest_distances(vectors)
    directed = vectors[np.linalg.norm(vectors, axis=1) > 0]
    found = {
        "novelsum": diversity.novelty(vectors, crowding),
        "vendi": diversity.vendi(directed) if len(directed) else math.nan,
        "knn_distance_mean": float(nearest.mean()),
        "knn_distance_median": float(np.median(nearest)),
        "near_duplicate_rate": diversity.near_duplicate_rate(nearest) if len(vectors) > 1 else math.nan,
    }
    return {name: None if math.isnan(value) else value for name, value in found.items()}
