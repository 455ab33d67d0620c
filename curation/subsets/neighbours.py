"""Nearest neighbours by cosine, among vectors that are added bit by bit."""

from __future__ import annotations

from typing import Any

import numpy as np

EXACT_UP_TO = 100_000
"""Vectors up to which every pair is compared; beyond, only those in the nearest cells."""

CELLS_LOOKED_AT = 16
TRAINED_ON = 64
"""Vectors per cell that the cells are found with; faiss warns below 39 and samples above 256."""

BLOCK = 16_384
"""Rows that are made unit length and handed over at a time."""


class Neighbours:
    """An index of faiss: exact for up to `EXACT_UP_TO` vectors, in cells beyond (a few of the nearest are missed)."""

    def __init__(self, like: np.ndarray, expected: int) -> None:
        """An empty index.

        Args:
            like: float32 (rows, dimensions), some of the vectors that will be added; the cells are found with them.
            expected: how many vectors will be added in all.
        """
        import faiss

        dimensions = int(like.shape[1])
        self._index: Any = faiss.IndexFlatIP(dimensions)
        if expected > EXACT_UP_TO:
            cells = min(int(4 * expected**0.5), max(1, len(like) // TRAINED_ON))
            self._index = faiss.IndexIVFFlat(self._index, dimensions, cells, faiss.METRIC_INNER_PRODUCT)
            self._index.nprobe = min(CELLS_LOOKED_AT, cells)
            chosen = np.random.default_rng(0).permutation(len(like))[: cells * TRAINED_ON]
            self._index.train(_unit(like[np.sort(chosen)]))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def add(self, vectors: np.ndarray) -> None:
        """Add float32 (rows, dimensions); they are counted on from those that are there."""
        for start in range(0, len(vectors), BLOCK):
            self._index.add(_unit(vectors[start : start + BLOCK]))

    def nearest(self, vectors: np.ndarray, *, second: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Of each row, the cosine (float32, -1..1) of the nearest vector that was added, and its number.

        Args:
            vectors: float32 (rows, dimensions).
            second: the second nearest instead, for rows that were added themselves. So many must be there at least.
        """
        cosines, places = np.empty(len(vectors), np.float32), np.empty(len(vectors), np.int64)
        for start in range(0, len(vectors), BLOCK):
            block = slice(start, start + BLOCK)
            cosines[block], places[block] = self._search(_unit(vectors[block]), 2 if second else 1)
        return np.clip(cosines, -1.0, 1.0), places

    def _search(self, rows: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
        found, at = (answer[:, -1] for answer in self._index.search(rows, rank))
        lost = np.flatnonzero(at < 0)
        if len(lost):  # too few in the nearest cells: look into every one
            few, self._index.nprobe = self._index.nprobe, self._index.nlist
            again, places = self._index.search(rows[lost], rank)
            found[lost], at[lost], self._index.nprobe = again[:, -1], places[:, -1], few
        return found, at


def _unit(vectors: np.ndarray) -> np.ndarray:
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: np.ndarray = rows / np.where(norms > 0, norms, 1.0)
    return unit
