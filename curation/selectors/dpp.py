"""Samples that span the largest volume."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from curation.errors import OperatorError
from curation.operators import Pool, Selection, Selector
from curation.subsets.candidates import ROWS, quality_of, vectors_for
from curation.subsets.ranking import chosen, enough

NEAR = 1e-4
"""Of the squares of two vectors' lengths: squared distances below are computed again from the differences, because a
difference of products in single precision is rounding there."""

MEMORY_GIB = 4
"""What the Cholesky factor of the kernel `rbf` may take: 8 bytes for each sample and each choice."""

PAIRS = 2000
"""Pairs drawn for the median distance."""


class DPP(Selector):
    """Samples that are good and unlike each other: the likeliest set of a determinantal point process, step by step.

    The next sample is the one that adds most to log det(L + ridge x identity) of the chosen rows, where L is
    q(i) K(i, j) q(j), K is 1 for equal samples and near 0 for distant ones, q = exp(weight x quality), and quality is
    brought to 0..1.

    Source: Chen et al. 2018, Fast Greedy MAP Inference for Determinantal Point Process, arXiv:1709.05135, algorithm 1
    (incremental Cholesky: time grows with samples x budget squared, memory with samples x budget).

    Differs from the source: a linear kernel has the rank of the dimensions d, after which every gain of the source is
    rounding; the ridge keeps them defined. `rbf` has full rank; its factor is float64, because float32 drifts, and a
    budget is refused where it would take more than 4 GiB. `linear` needs no factor: by the matrix determinant lemma a
    matrix of d x d tells the same gains, at samples x budget x d, for any number of samples; but beyond d choices it
    prefers the ends of all directions, so that alike samples at an end are taken again.
    """

    name: ClassVar[str] = "dpp"

    quality: str | None = Field(None, description="Score that weighs the samples; null weighs all the same")
    weight: float = Field(1.0, ge=0, le=20, description="Of quality against diversity: q = exp(weight x quality)")
    kernel: Literal["rbf", "linear"] = Field(
        "rbf", description="`rbf`: exp(-distance^2 / (2 bandwidth^2)); `linear`: the product, for large pools"
    )
    bandwidth: float | None = Field(
        None, gt=0, description="Distance at which two samples are fairly unlike; null takes half the median distance"
    )
    ridge: float = Field(0.01, gt=0, description="Added to the diagonal, so that any number of choices is defined")

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.quality,) if self.quality else ()

    @property
    def needs_vectors(self) -> bool:
        return True

    def select(self, pool: Pool, budget: int) -> Selection:
        vectors = vectors_for(self, pool)
        quality, left = quality_of(pool, self.quality)
        rows = np.flatnonzero(~np.isnan(quality))
        enough(self.name, len(rows), budget, pool, f"have the score {self.quality!r}", "score more samples")
        part = vectors if len(rows) == len(pool) else vectors[rows]
        q = np.exp(self.weight * quality[rows])
        if self.kernel == "linear":
            order, gains = linear_greedy(part, q, self.ridge, budget)
        else:
            self._refuse_too_much(len(rows), budget)
            order, gains = cholesky_greedy(self._rbf(part, q), q**2, self.ridge, budget)
        of_row = np.full(len(pool), np.nan)
        of_row[rows] = gains
        least = gains[order[-1]]
        return chosen(
            pool,
            rows[order],
            lambda i: (
                f"volume: it would multiply the determinant by {of_row[i]:.4g}; the last chosen did by {least:.4g}"
            ),
            left,
        )

    def _refuse_too_much(self, samples: int, budget: int) -> None:
        gib = samples * budget * 8 / 2**30
        if gib > MEMORY_GIB:
            most = int(MEMORY_GIB * 2**30 / 8 / samples)
            raise OperatorError(
                f"dpp: {budget:,} of {samples:,} samples take {gib:.1f} GiB with kernel=rbf; {MEMORY_GIB} are allowed.",
                fix=f"give --set kernel=linear, ask for at most {most}, or narrow the pool with --where",
            )

    def _rbf(self, vectors: np.ndarray, q: np.ndarray) -> Callable[[int], np.ndarray]:
        # Around the mean: far from the origin the difference of large squares would lose the distances.
        around = np.ascontiguousarray(vectors - vectors.mean(axis=0, dtype=np.float64).astype(np.float32))
        squares = np.einsum("ij,ij->i", around, around, dtype=np.float64)
        width = self.bandwidth or half_the_median(around)

        def column(j: int) -> np.ndarray:
            distances = squares + squares[j] - 2 * (around @ around[j]).astype(np.float64)
            close = np.flatnonzero(distances < NEAR * (squares + squares[j]))
            for start in range(0, len(close), ROWS):
                part = close[start : start + ROWS]
                distances[part] = np.square(around[part] - around[j]).sum(axis=1, dtype=np.float64)
            found: np.ndarray = q * q[j] * np.exp(-np.maximum(distances, 0) / (2 * width**2))
            return found

        return column


def half_the_median(vectors: np.ndarray) -> float:
    """Half the median distance of 2,000 drawn pairs; 1 where they are all equal."""
    one, other = np.random.default_rng(0).integers(0, len(vectors), (2, PAIRS))
    distances = np.linalg.norm(vectors[one] - vectors[other], axis=1)
    return float(np.median(distances)) / 2 or 1.0


def cholesky_greedy(
    column: Callable[[int], np.ndarray], diagonal: np.ndarray, ridge: float, budget: int
) -> tuple[list[int], np.ndarray]:
    """Greedy choices by determinant, and what each row multiplies or would multiply it by (square of its pivot).

    Args:
        column: of the kernel without the ridge, float64, by row number.
        diagonal: of the kernel without the ridge, float64.
        ridge: added to the diagonal, above 0. No pivot is ever below: what rounding takes from one is given back.
        budget: rows to choose.
    """
    pivots = diagonal + ridge
    gains, done = pivots.copy(), np.zeros(len(pivots), bool)
    factor = np.empty((budget, len(diagonal)))
    order: list[int] = []
    while True:
        latest = int(np.argmax(pivots))
        gains[latest], place = pivots[latest], len(order)
        order.append(latest)
        done[latest] = True
        if len(order) == budget:
            return order, np.where(done, gains, pivots)
        row = factor[place]
        np.subtract(column(latest), factor[:place, latest] @ factor[:place], out=row)
        row /= np.sqrt(pivots[latest])
        pivots -= row**2
        np.maximum(pivots, ridge, out=pivots)
        pivots[done] = -np.inf


def linear_greedy(vectors: np.ndarray, q: np.ndarray, ridge: float, budget: int) -> tuple[list[int], np.ndarray]:
    """As `cholesky_greedy` for the kernel q(i) x(i).x(j) q(j) + ridge, without its factor.

    A row multiplies the determinant by ridge + ridge q^2 x.A^-1.x, where A = ridge + sum of q^2 x x^T over the chosen.

    Args:
        vectors: float32 (rows, dimensions).
        q: float64, above 0.
        ridge: above 0.
        budget: rows to choose.
    """
    inverse = np.eye(vectors.shape[1]) / ridge
    spans = np.empty(len(vectors))
    for start in range(0, len(vectors), ROWS):
        part = vectors[start : start + ROWS].astype(np.float64)
        spans[start : start + ROWS] = np.einsum("ij,ij->i", part, part) / ridge
    weights, done, order = q**2, np.zeros(len(vectors), bool), list[int]()
    gains = np.empty(len(vectors))
    while True:
        values = ridge * (1 + weights * np.maximum(spans, 0))
        values[done] = -np.inf
        latest = int(np.argmax(values))
        gains[latest] = values[latest]
        done[latest] = True
        order.append(latest)
        if len(order) == budget:
            return order, np.where(done, gains, values)
        x = vectors[latest].astype(np.float64)
        turned = inverse @ x
        scale = weights[latest] / (1 + weights[latest] * float(x @ turned))
        inverse -= scale * np.outer(turned, turned)
        spans -= scale * (vectors @ turned.astype(np.float32)).astype(np.float64) ** 2
