"""Samples that mean almost the same, by their vectors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from curation.operators import Scorer
from curation.scorers.near_duplicate import by_kind, compared
from curation.subsets.clusters import KEEP, Array, Pairs, clustered, columns, preferred, reads, table
from curation.texts.shingles import first_equal

if TYPE_CHECKING:
    import polars as pl

EXACT_UP_TO = 200_000
"""Samples up to which `auto` looks at every pair; the time grows with the square (minutes at 200,000 on two cores)."""
CROWD = 32
"""Pairs with preferred samples that are held of one sample; the others are looked at if the sample is to be kept."""
ROWS, COLUMNS = 1024, 8192
"""Of a block of cosines: 32 MiB, so that it stays near the processor."""
WIDTHS = (16, 32, 64, 96, 128, 192, 256)
"""Leading dimensions that the bound may look at."""
ROUNDING = 1e-5
"""Of a float32 product: bounds are lowered by it, and equal vectors have a cosine of 1 but for it."""
PAIRS = 50_000
CELLS_LOOKED_AT = 16


class SemanticDuplicate(Scorer):
    """Samples that mean almost the same as a sample that is kept, as far as their embedding can tell.

    What is compared is what was embedded, and two samples are as alike as the cosine of their vectors. Which cosine
    means 'the same' depends on the encoder: look at the pairs just above the threshold before you drop anything. To the
    lexical encoder two recipes for other dishes are the same at any threshold; a sentence encoder tells them apart.

    Source: Abbas et al. 2023, SemDeDup, arXiv:2303.09540.

    Differs from the source: `exact` finds every pair, in all of the data instead of within clusters of k-means. Vectors
    are turned so that their first dimensions hold most of their length; x.y is at most the product of those plus that
    of the lengths of the rests (Cauchy-Schwarz), which settles nearly all pairs, and only the others are multiplied in
    full. `faiss` looks for the 32 nearest in the 16 nearest cells of an inverted file and may miss pairs. Of a chain of
    alike samples only those are duplicates that are like a kept one; which one is kept is a rule, not the distance to a
    centroid.

    Columns:
        semantic_duplicate (BOOLEAN): whether it repeats a kept sample; null where there is no vector.
        semantic_duplicate_of (VARCHAR): the kept sample that it repeats.
        semantic_duplicate_similarity (DOUBLE): cosine to the most similar sample of its cluster; null alone.
        semantic_duplicate_partner (VARCHAR): that sample.
        semantic_duplicate_cluster (VARCHAR): the oldest sample of its cluster; null where it is alone.
        semantic_duplicate_size (BIGINT): samples of its cluster.
    """

    name: ClassVar[str] = "semantic-duplicate"
    whole: ClassVar[bool] = True
    needs_vectors: ClassVar[bool] = True

    threshold: float = Field(0.95, gt=0, le=1, description="Cosine from which two samples are duplicates")
    keep: str = Field("longest", description=KEEP)
    embedding: str | None = Field(None, description="Which vectors; the latest if null")
    search: Literal["auto", "exact", "faiss"] = Field(
        "auto", description="`exact` looks at every pair, `faiss` at the nearest; `auto` is exact up to 200,000 samples"
    )

    @property
    def needs(self) -> tuple[str, ...]:
        return "instruction", "response", "rejected", "label", *reads(self.keep)

    @property
    def columns(self) -> dict[str, str]:
        return columns("semantic_duplicate")

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        return by_kind(batch, self._of_one_kind)

    def _of_one_kind(self, batch: pl.DataFrame) -> pl.DataFrame:
        order = preferred(batch, self.keep, compared(batch, "both").str.len_chars().to_numpy())
        rows = order[batch["vector"].is_not_null().to_numpy()[order]]
        vectors = np.asarray(batch["vector"].gather(rows).to_numpy(), np.float32)
        vectors = vectors.reshape(len(rows), -1 if len(rows) else 1)
        lengths = np.linalg.norm(vectors, axis=1)
        rows, vectors = rows[lengths > 0], vectors[lengths > 0] / lengths[lengths > 0, None]
        equal = first_equal(_keys(vectors))
        distinct = np.flatnonzero(equal == np.arange(len(rows)))
        search = _Search(vectors, self.threshold)
        exact = self.search == "exact" or (self.search == "auto" and len(distinct) <= EXACT_UP_TO)
        pairs = search.exact(distinct) if exact else search.nearest(distinct)
        clusters = clustered(equal, pairs, search.again)
        return table("semantic_duplicate", batch["id"], rows, clusters, "it has no vector in the embedding")


class _Search:
    """Pairs by cosine. Samples are numbered in the order of preference."""

    def __init__(self, vectors: Array, threshold: float) -> None:
        self._vectors = vectors
        self._threshold = threshold - ROUNDING
        self._held = np.zeros(len(vectors), np.int64)
        """Pairs with a preferred sample that are held of each sample; from `CROWD` on there may be more."""

    def exact(self, samples: Array) -> Pairs:
        """Every alike pair of the samples, ascending, but of each sample no more than `CROWD` with preferred ones."""
        if len(samples) < 2:
            return Pairs.joined([])
        bounds = _bounds(self._vectors[samples], self._threshold)
        found = []
        for left, right in _blocks(bounds, self._threshold):
            for k in range(0, len(left), PAIRS):  # in a crowd the first few fill up what is held of all
                one, other = samples[left[k : k + PAIRS]], samples[right[k : k + PAIRS]]
                wanted = self._held[other] < CROWD
                found.append(self._first_few(self._verified(one[wanted], other[wanted])))
        return Pairs.joined(found)

    def nearest(self, samples: Array) -> Pairs:
        """Alike pairs among the samples and their nearest ones as faiss finds them."""
        import faiss

        if len(samples) < 2:
            return Pairs.joined([])
        vectors = self._vectors[samples]
        cells = max(1, min(int(4 * len(samples) ** 0.5), len(samples) // 64))
        index: Any = faiss.IndexIVFFlat(
            faiss.IndexFlatIP(vectors.shape[1]), vectors.shape[1], cells, faiss.METRIC_INNER_PRODUCT
        )
        index.nprobe = CELLS_LOOKED_AT
        index.train(vectors[np.random.default_rng(0).permutation(len(vectors))[: cells * 64]])
        index.add(vectors)
        found, near = [], min(CROWD + 1, len(samples))
        for start in range(0, len(samples), COLUMNS):
            cosines, places = index.search(vectors[start : start + COLUMNS], near)
            row, rank = np.nonzero((cosines >= self._threshold) & (places >= 0))
            one, other = samples[start + row], samples[places[row, rank]]
            self._held[one[rank == near - 1]] = CROWD
            found.append(Pairs(np.minimum(one, other), np.maximum(one, other), cosines[row, rank].astype(np.float64)))
        return _each_once(Pairs.joined(found))

    def again(self, kept: Array) -> Pairs:
        """Alike pairs of kept samples, one of which has more pairs than were held."""
        is_more = self._held[kept] >= CROWD
        more, found = kept[is_more], []
        self._held[more] = 0
        for start in range(0, len(more), ROWS):
            some = more[start : start + ROWS]
            row, place = np.nonzero(self._vectors[some] @ self._vectors[kept].T >= self._threshold)
            one, other = some[row], kept[place]
            left, right = np.minimum(one, other)[one != other], np.maximum(one, other)[one != other]
            found.append(self._first_few(_each_once(self._verified(left, right))))
        return _each_once(Pairs.joined(found))

    def _verified(self, left: Array, right: Array) -> Pairs:
        cosines = np.empty(len(left), np.float32)
        for k in range(0, len(left), PAIRS):
            part = slice(k, k + PAIRS)
            np.einsum("ij,ij->i", self._vectors[left[part]], self._vectors[right[part]], out=cosines[part])
        alike = cosines >= self._threshold
        return Pairs(left[alike], right[alike], np.minimum(cosines[alike], 1).astype(np.float64))

    def _first_few(self, pairs: Pairs) -> Pairs:
        # Of each sample only so many pairs with preferred ones that there are `CROWD` in all, the most similar first.
        order = np.lexsort((-pairs.similarity, pairs.right))
        right = pairs.right[order]
        starts = np.flatnonzero(np.append(True, right[1:] != right[:-1])[: len(right)])
        place = np.arange(len(right)) - np.repeat(starts, np.diff(np.append(starts, len(right))))
        few = order[place + self._held[right] < CROWD]
        np.add.at(self._held, pairs.right[few], 1)
        return Pairs(pairs.left[few], pairs.right[few], pairs.similarity[few])


def _bounds(vectors: Array, threshold: float) -> Array:
    """float32 (samples, width + 1): the product of two rows is at least that of their vectors, of unit length."""
    _, axes = np.linalg.eigh(vectors.T @ vectors)
    one, other = np.random.default_rng(0).integers(0, len(vectors), (2, 20_000))
    turned = vectors @ np.ascontiguousarray(axes[:, ::-1][:, : WIDTHS[-1]])
    dimensions = vectors.shape[1]
    costs = {}
    for width in [w for w in WIDTHS if w < dimensions] or [dimensions]:
        bounds = _with_rest(turned[:, :width])
        left = np.mean(np.einsum("ij,ij->i", bounds[one], bounds[other]) >= threshold)
        # A pair that is left costs about as much as 10,000 multiplications: its vectors lie anywhere in memory.
        costs[width] = width + 10_000 * float(left)
    return _with_rest(turned[:, : min(costs, key=lambda width: costs[width])])


def _with_rest(leading: Array) -> Array:
    rest = np.sqrt(np.maximum(1 - np.einsum("ij,ij->i", leading, leading), 0))
    return np.column_stack([leading, rest]).astype(np.float32)


def _blocks(bounds: Array, threshold: float) -> Iterator[tuple[Array, Array]]:
    # Pairs (left below right) whose bound reaches the threshold, block by block, those with preferred samples first.
    for first in range(0, len(bounds), ROWS):
        for second in range(first, len(bounds), COLUMNS):
            part = bounds[second : second + COLUMNS]
            reached = np.flatnonzero(bounds[first : first + ROWS] @ part.T >= threshold)
            left, right = np.divmod(reached, len(part))
            above = left + first < right + second
            yield left[above] + first, right[above] + second


def _keys(vectors: Array) -> Array:
    # uint64 (samples, 2), equal for equal vectors.
    words = (vectors + np.float32(0)).view(np.uint32)  # adding 0 turns -0 into 0
    factors = np.random.Generator(np.random.PCG64(1)).integers(0, 1 << 64, (2, words.shape[1]), np.uint64)
    keys = np.empty((len(words), 2), np.uint64)
    for start in range(0, len(words), COLUMNS):
        part = words[start : start + COLUMNS].astype(np.uint64)
        for column in range(2):
            keys[start : start + COLUMNS, column] = np.einsum("ij,j->i", part, factors[column] | np.uint64(1))
    return keys


def _each_once(pairs: Pairs) -> Pairs:
    codes = pairs.left * (1 << 32) + pairs.right
    first = np.unique(codes, return_index=True)[1]
    first = first[pairs.left[first] != pairs.right[first]]
    return Pairs(pairs.left[first], pairs.right[first], pairs.similarity[first])
