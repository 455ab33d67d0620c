"""Spread over the embedding space."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from curation.errors import OperatorError
from curation.operators import Pool, Selection, Selector


class KCenter(Selector):
    """Samples that cover the embedding space: each next one is the farthest from all chosen so far.

    Source: Sener & Savarese 2018, arXiv:1708.00489 (greedy, L2 distance); as in DiverseEvol, arXiv:2311.08182.

    Differs from the source: it starts at the sample nearest to the mean instead of a random one; distances are one
    running vector clamped at 0, so that no N x N matrix and no NaN arises; equal samples come after all distinct ones.
    """

    name: ClassVar[str] = "k-center"

    start: int | None = Field(None, ge=0, description="Seed of a random first sample; null starts at the middle")

    @property
    def needs_vectors(self) -> bool:
        return True

    def select(self, pool: Pool, budget: int) -> Selection:
        if pool.vectors is None:
            raise OperatorError("k-center needs vectors.", fix="winnow embed CORPUS")
        # Around the mean: far from the origin the difference of large squares would lose the distances.
        vectors = np.ascontiguousarray(pool.vectors - pool.vectors.mean(axis=0), dtype=np.float32)
        order, nearest = farthest_first(vectors, budget, self._first(vectors))
        ids = pool.frame["id"].to_list()
        chosen = set(order)
        distances = np.sqrt(nearest)
        rejected = {
            ids[i]: f"at distance {distances[i]:.3f} of a chosen sample" for i in range(len(ids)) if i not in chosen
        }
        return Selection([ids[i] for i in order], rejected)

    def _first(self, vectors: np.ndarray) -> int:
        if self.start is not None:
            return int(np.random.default_rng(self.start).integers(len(vectors)))
        return int(np.argmin((vectors**2).sum(axis=1)))


def farthest_first(vectors: np.ndarray, budget: int, first: int) -> tuple[list[int], np.ndarray]:
    """Greedy k-center: row numbers in the order chosen, and each row's squared L2 distance to its nearest chosen row.

    Args:
        vectors: float32 (samples, dimensions).
        budget: rows to choose, at most `len(vectors)`.
        first: row to begin with.
    """
    squares = np.einsum("ij,ij->i", vectors, vectors)
    nearest = np.full(len(vectors), np.inf, np.float32)
    product = np.empty(len(vectors), np.float32)
    chosen = np.zeros(len(vectors), bool)
    order = [first]
    while True:
        latest = order[-1]
        chosen[latest] = True
        np.dot(vectors, vectors[latest], out=product)
        product *= -2
        product += squares
        product += squares[latest]
        np.minimum(nearest, product, out=nearest)
        np.maximum(nearest, 0, out=nearest)
        nearest[latest] = 0
        if len(order) == budget:
            return order, nearest
        farthest = int(np.argmax(nearest))
        if chosen[farthest]:  # nothing but copies of chosen samples is left
            rest = np.flatnonzero(~chosen)[: budget - len(order)]
            return [*order, *(int(i) for i in rest)], nearest
        order.append(farthest)
