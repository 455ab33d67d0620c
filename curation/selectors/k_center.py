"""Spread over the embedding space."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field

from curation.operators import Pool, Selection, Selector
from curation.subsets.candidates import others, quality_of, vectors_for
from curation.subsets.ranking import chosen, enough

NEAR = 1e-5
"""Of the square of the vectors' lengths: squared distances below are computed again from the differences, because a
difference of products is rounding there, and copies would not be at 0."""


class KCenter(Selector):
    """Samples that cover the embedding space: each next one is the farthest from all chosen so far.

    With `after` it goes on from a stored selection: its samples come first and the distances are to them, so that one
    can train on a selection, embed with the trained model, and take the next ones, as DiverseEvol does.

    Source: Sener & Savarese 2018, arXiv:1708.00489 (greedy, L2 distance); DiverseEvol, Wu et al. 2023,
    arXiv:2311.08182.

    Differs from the source: it starts at the sample nearest to the mean instead of a random one; distances are one
    running vector, computed from differences where they are near 0, so that no N x N matrix and no NaN arises and equal
    samples come after all distinct ones.
    On raw data the farthest samples are often the broken ones: `quality` multiplies the distance by
    exp(weight x quality), quality from 0 to 1.
    """

    name: ClassVar[str] = "k-center"

    start: int | None = Field(None, ge=0, description="Seed of a random first sample; null starts at the middle")
    after: str | None = Field(None, description="A stored selection to go on from; its samples count in the budget")
    quality: str | None = Field(None, description="Score that weighs the distances; null weighs all the same")
    weight: float = Field(1.0, ge=0, le=20, description="Of quality: a distance counts up to exp(weight) times as much")

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.quality,) if self.quality else ()

    @property
    def needs_vectors(self) -> bool:
        return True

    @property
    def begins_with(self) -> str | None:
        return self.after

    def select(self, pool: Pool, budget: int) -> Selection:
        vectors = vectors_for(self, pool)
        quality, left = quality_of(pool, self.quality)
        given = [] if pool.given is None or self.after is None else pool.given.tolist()
        for row in given:
            left.pop(row, None)
        rows = others(len(pool), left)
        enough(self.name, len(rows), budget, pool, f"have the score {self.quality!r}", "score more samples")
        # Around the mean: far from the origin the difference of large squares would lose the distances.
        part = vectors if len(rows) == len(pool) else vectors[rows]
        part = np.ascontiguousarray(part - part.mean(axis=0), dtype=np.float32)
        first = np.searchsorted(rows, given).tolist() or [self._first(part)]
        factors = np.exp(self.weight * np.nan_to_num(quality[rows])) if self.quality else None
        order, nearest = farthest_first(part, budget, first, factors)
        distances = np.full(len(pool), np.nan)
        distances[rows] = np.sqrt(nearest)
        radius = distances.max(where=np.isfinite(distances), initial=0)
        why = f"covered: at distance {{:.3f}} of a chosen sample; none is farther than {radius:.3f}"
        return chosen(pool, rows[order], lambda i: why.format(distances[i]), left)

    def _first(self, vectors: np.ndarray) -> int:
        if self.start is not None:
            return int(np.random.default_rng(self.start).integers(len(vectors)))
        return int(np.argmin(np.einsum("ij,ij->i", vectors, vectors)))


def farthest_first(
    vectors: np.ndarray, budget: int, first: int | Sequence[int], factors: np.ndarray | None = None
) -> tuple[list[int], np.ndarray]:
    """Greedy k-center: row numbers in the order chosen, and each row's squared L2 distance to its nearest chosen row.

    Args:
        vectors: float32 (samples, dimensions).
        budget: rows to choose, at most `len(vectors)`.
        first: row or rows to begin with; they count towards the budget.
        factors: above 0; the distance of each row counts so many times as much.
    """
    squares = np.einsum("ij,ij->i", vectors, vectors)
    nearest = np.full(len(vectors), np.inf, np.float32)
    product = np.empty(len(vectors), np.float32)
    done = np.zeros(len(vectors), bool)
    weights = None if factors is None else (factors**2).astype(np.float32)
    begin = [first] if isinstance(first, int) else list(first)
    order: list[int] = []
    while True:
        latest = begin[len(order)] if len(order) < len(begin) else _farthest(nearest, weights, product)
        if done[latest]:  # nothing but copies of chosen samples is left
            rest = np.flatnonzero(~done)[: budget - len(order)]
            return [*order, *rest.tolist()], nearest
        order.append(latest)
        done[latest] = True
        _approach(vectors, latest, squares, product, nearest)
        if len(order) == budget:
            return order, nearest


def _farthest(nearest: np.ndarray, weights: np.ndarray | None, room: np.ndarray) -> int:
    return int(np.argmax(nearest if weights is None else np.multiply(nearest, weights, out=room)))


def _approach(vectors: np.ndarray, latest: int, squares: np.ndarray, product: np.ndarray, nearest: np.ndarray) -> None:
    """Lower each row's distance to that to the latest choice, where it is smaller."""
    np.dot(vectors, vectors[latest], out=product)
    product *= -2
    product += squares
    product += squares[latest]
    close = np.flatnonzero(product < NEAR * squares[latest])
    product[close] = np.square(vectors[close] - vectors[latest]).sum(axis=1)
    np.minimum(nearest, product, out=nearest)
