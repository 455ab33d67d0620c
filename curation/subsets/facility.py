"""Facility location over nearest neighbours: how well every sample is represented by the most similar chosen one.

f(S) = sum over i of max over j in S of s(i, j), where s is the cosine clipped at 0, and 0 unless j is among the nearest
neighbours of i. So a million samples take a matrix of a million by `neighbours`, never one of a million by a million.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import numpy as np

from curation.subsets.candidates import ROWS, unit
from curation.subsets.neighbours import CELLS_LOOKED_AT, EXACT_UP_TO, TRAINED_ON

COLUMNS = 65_536
"""Candidates whose gains are computed at a time."""


class Coverage:
    """How similar the most similar chosen sample is to each sample, and what one more would add."""

    def __init__(self, vectors: np.ndarray, neighbours: int) -> None:
        """Nothing chosen yet.

        Args:
            vectors: float32 (samples, dimensions).
            neighbours: of each sample, itself among them, as far as there are so many.
        """
        from scipy.sparse import csr_array

        similarity, places = nearest_rows(vectors, min(neighbours, len(vectors)))
        found = places >= 0
        starts = np.concatenate([[0], np.cumsum(found.sum(axis=1))])
        by_sample = csr_array((similarity[found], places[found], starts), shape=(len(vectors), len(vectors)))
        by_candidate = by_sample.tocsc()
        self._samples, self._similarity = by_candidate.indices, by_candidate.data
        self._starts = by_candidate.indptr
        self.best = np.zeros(len(vectors), np.float32)
        """Similarity of each sample to the most similar chosen one, 0 where none is near."""

    def gain(self, row: int) -> float:
        """What choosing this row would add to f."""
        mine = slice(self._starts[row], self._starts[row + 1])
        more = self._similarity[mine] - self.best[self._samples[mine]]
        return float(more[more > 0].sum(dtype=np.float64))

    def gains(self) -> np.ndarray:
        """What choosing each row would add to f, float64."""
        found = np.zeros(len(self.best))
        for first in range(0, len(found), COLUMNS):
            starts = self._starts[first : first + COLUMNS + 1]
            part = slice(starts[0], starts[-1])
            more = np.maximum(self._similarity[part] - self.best[self._samples[part]], 0)
            owner = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
            found[first : first + len(starts) - 1] = np.bincount(owner, more, len(starts) - 1)
        return found

    def add(self, row: int) -> None:
        """Choose a row."""
        mine = slice(self._starts[row], self._starts[row + 1])
        samples = self._samples[mine]
        self.best[samples] = np.maximum(self.best[samples], self._similarity[mine])


def nearest_rows(vectors: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Of each row the cosines to its nearest rows (float32, clipped to 0..1) and their numbers (int32).

    Every pair is looked at up to `EXACT_UP_TO` rows; beyond, only those in the nearest cells of an inverted file. Where
    fewer are found there, the rest are at 0 and have the number -1.
    """
    index = _index(vectors)
    similarity, places = np.empty((len(vectors), count), np.float32), np.empty((len(vectors), count), np.int32)
    for start in range(0, len(vectors), ROWS):
        part = slice(start, start + ROWS)
        similarity[part], at = index.search(unit(vectors[part]), count)
        similarity[part][at < 0] = 0
        places[part] = at
    return np.clip(similarity, 0, 1, out=similarity), places


def _index(vectors: np.ndarray) -> Any:
    import faiss

    index: Any = faiss.IndexFlatIP(vectors.shape[1])
    if len(vectors) > EXACT_UP_TO:
        cells = min(int(4 * len(vectors) ** 0.5), len(vectors) // TRAINED_ON)
        index = faiss.IndexIVFFlat(index, vectors.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
        index.nprobe = min(CELLS_LOOKED_AT, cells)
        drawn = np.random.default_rng(0).permutation(len(vectors))[: cells * TRAINED_ON]
        index.train(unit(vectors[np.sort(drawn)]))
    for start in range(0, len(vectors), ROWS):
        index.add(unit(vectors[start : start + ROWS]))
    return index


def lazy_greedy(
    bounds: np.ndarray,
    rows: np.ndarray,
    value: Callable[[int, int], float],
    take: Callable[[int], None],
    budget: int,
) -> list[int]:
    """The row of the highest value, again and again; ties by row. At least 1 - 1/e of the optimum of a submodular f.

    A value that was computed earlier is an upper bound of what it is now, so that only rows are looked at again whose
    bound is above the best value.

    Args:
        bounds: for each row its value at the start, or more.
        rows: those that may be chosen, at least `budget`.
        value: of a row when so many are chosen; it never grows.
        take: is told each choice.
        budget: rows to choose.
    """
    heap = [(-bound, row, -1) for bound, row in zip(bounds[rows].tolist(), rows.tolist(), strict=True)]
    heapq.heapify(heap)
    order: list[int] = []
    while len(order) < budget:
        _, row, seen = heap[0]
        if seen == len(order):
            heapq.heappop(heap)
            take(row)
            order.append(row)
        else:
            heapq.heapreplace(heap, (-value(row, len(order)), row, len(order)))
    return order
