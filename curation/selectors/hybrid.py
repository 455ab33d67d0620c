"""First good, then different."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from curation.errors import OperatorError, unknown
from curation.operators import Pool, Selection, Selector, build, parted
from curation.subsets.ranking import chosen, enough, numbers

if TYPE_CHECKING:
    import polars as pl

RANK = "hybrid_rank"
"""Column of the weighted rank, which the second selector may read: `settings=quality=hybrid_rank`."""


class Hybrid(Selector):
    """Samples that rank well by several scores, chosen among each other by another selector (for diversity, say).

    Every score is turned into its rank in the pool (0 the lowest, 1 the highest, equal scores share the mean of their
    places), the ranks are averaged with the weights, and what lies within the band of that average goes on to the
    selector named by `then`, if wished within every value of `by`, each with its share. Where that selector goes on
    from a stored selection, the samples of that one are kept whatever they rank.

    Source: none; the two steps, quality first and diversity after it, are those of DEITA (Liu et al. 2024,
    arXiv:2312.15685), MoDS (Du et al. 2023, arXiv:2311.15653) and Superfiltering.D (Li et al. 2024, arXiv:2402.00530:
    the upper 20 % by IFD, then facility location).
    """

    name: ClassVar[str] = "hybrid"

    scores: tuple[str, ...] = Field(
        min_length=1, description="Score columns with weights, such as quality=2,ifd=1; a negative weight prefers low"
    )
    low: float = Field(0.7, ge=0, le=1, description="Lower end of the band, as a share of the pool: 0.7 drops 70 %")
    high: float = Field(1.0, ge=0, le=1, description="Upper end of the band: under 1 the very best are left too")
    then: str = Field("k-center", description="Selector that chooses within the band")
    settings: tuple[str, ...] = Field((), description="Its parameters, such as alpha=0.5,quality=hybrid_rank")
    by: str | None = Field(None, description="Column, such as source, whose values keep their shares of the band")

    @field_validator("scores", "settings", mode="before")
    @classmethod
    def _separated(cls, value: Any) -> Any:
        return parted(value)

    @model_validator(mode="after")
    def _readable(self) -> Self:
        if any(not 0 < abs(weight) < float("inf") for weight in self.weights.values()):
            raise ValueError("a weight must be a number other than 0, such as quality=2")
        if self.low >= self.high:
            raise ValueError("the lower end of the band must be below the upper one")
        try:
            after = self.second.begins_with  # wrong settings are told now, not after the pool was read
        except OperatorError as error:
            fix = error.fix.replace("--set ", "--set settings=")
            raise ValueError(f"the second step: {error.message.rstrip('.')} ({fix})") from None
        if after is not None and self.by is not None:
            raise ValueError("by can't be given together with a selection to go on from, which has its own shares")
        return self

    @property
    def weights(self) -> dict[str, float]:
        """Score column -> weight, 1 where none is written."""
        found = {}
        for part in self.scores:
            column, _, weight = part.partition("=")
            try:
                found[column.strip()] = float(weight or 1)
            except ValueError:
                found[column.strip()] = float("nan")
        return found

    @property
    def second(self) -> Selector:
        """The selector that chooses within the band."""
        from curation.selectors import SELECTORS

        others = [selector for selector in SELECTORS if selector is not type(self)]
        if self.then == self.name:
            raise unknown("selector after hybrid", self.then, [o.name for o in others])
        pairs = (part.partition("=") for part in self.settings)
        return build("selector", others, self.then, {name.strip(): value.strip() for name, _, value in pairs})

    @property
    def needs(self) -> tuple[str, ...]:
        own = (*self.weights, *((self.by,) if self.by else ()))
        return tuple(dict.fromkeys((*own, *(c for c in self.second.needs if c != RANK))))

    @property
    def needs_vectors(self) -> bool:
        return self.second.needs_vectors

    @property
    def target_where(self) -> str | None:
        return self.second.target_where

    @property
    def begins_with(self) -> str | None:
        return self.second.begins_with

    def select(self, pool: Pool, budget: int) -> Selection:
        import polars as pl

        rank = weighted_rank({c: numbers(pool.frame, c) for c in self.weights}, self.weights)
        known = np.isfinite(rank)
        enough(self.name, int(known.sum()), 1, pool, f"have every score of {', '.join(self.weights)}", "score more")
        low, high = np.quantile(rank[known], [self.low, self.high])
        inside = (rank >= low) & (rank <= high)
        given = pool.given if self.begins_with is not None else None
        if given is not None:
            inside[given] = True
        band = np.flatnonzero(inside)
        enough(self.name, len(band), budget, pool, "are in the band", "lower the band's lower end")
        left = {
            int(i): self._why_outside(int(i), pool.frame, rank, low) for i in np.flatnonzero(~inside & ~(rank > high))
        }
        left |= {
            int(i): f"its rank {rank[i]:.3f} is above the band's end {high:.3f}"
            for i in np.flatnonzero(~inside & (rank > high))
        }
        ranked = Pool(pool.frame.with_columns(pl.Series(RANK, rank)), pool.vectors, pool.targets, given)
        order, reasons = self._in_shares(ranked, band, budget)
        return chosen(pool, order, lambda i: reasons.get(i, "its share of the band is used up"), left)

    def _why_outside(self, row: int, frame: pl.DataFrame, rank: np.ndarray, low: float) -> str:
        if np.isfinite(rank[row]):
            return f"its rank {rank[row]:.3f} is below the band's end {low:.3f}"
        values = {c: frame[c][row] for c in self.weights}
        missing = next(c for c, value in values.items() if value is None or not math.isfinite(value))
        return f"no {missing}"

    def _in_shares(self, pool: Pool, band: np.ndarray, budget: int) -> tuple[list[int], dict[int, str]]:
        """Rows chosen by the second selector, best first, and its reasons for the others of the band."""
        if self.by is None:
            return self._by_second(pool, band, budget)
        strata = pool.frame[self.by].cast(str).fill_null("").gather(band).rank("dense").to_numpy().astype(int) - 1
        parts = [band[strata == stratum] for stratum in range(strata.max() + 1)]
        # The i-th of n in its stratum stands at (i + 1/2) / n: sorted by that, every prefix keeps the shares.
        places = sorted(((i + 0.5) / len(part), s, i) for s, part in enumerate(parts) for i in range(len(part)))[
            :budget
        ]
        wanted = np.bincount([s for _, s, _ in places], minlength=len(parts))
        found = [self._by_second(pool, p, int(n)) if n else ([], {}) for p, n in zip(parts, wanted, strict=True)]
        reasons = {row: reason for _, some in found for row, reason in some.items()}
        return [found[s][0][i] for _, s, i in places], reasons

    def _by_second(self, pool: Pool, rows: np.ndarray, budget: int) -> tuple[list[int], dict[int, str]]:
        row_of = {name: int(row) for name, row in zip(pool.frame["id"].gather(rows), rows, strict=True)}
        given = None
        if pool.given is not None:
            place = {int(row): i for i, row in enumerate(rows)}
            given = np.array([place[int(row)] for row in pool.given], np.int64)
        vectors = pool.vectors[rows] if pool.vectors is not None else None
        answer = self.second.select(Pool(pool.frame[rows], vectors, pool.targets, given), budget)
        return [row_of[i] for i in answer.ids], {row_of[i]: reason for i, reason in answer.rejected.items()}


def weighted_rank(scores: dict[str, np.ndarray], weights: dict[str, float]) -> np.ndarray:
    """The weighted mean of the scores' ranks, 0..1; NaN where one of them is NaN.

    A rank is a place among the known values of that score, scaled to 0..1; equal values share the mean of their places.
    """
    import polars as pl

    total = np.zeros(len(next(iter(scores.values()))))
    for column, values in scores.items():
        known = pl.Series(values).fill_nan(None)
        most = max(1, known.count() - 1)
        rank = (known.rank("average").cast(pl.Float64) - 1) / most
        shares = rank.fill_null(float("nan")).to_numpy()
        total += abs(weights[column]) * (shares if weights[column] > 0 else 1 - shares)
    mean: np.ndarray = total / sum(abs(weight) for weight in weights.values())
    return mean
