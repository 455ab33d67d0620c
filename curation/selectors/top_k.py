"""The best by one score."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from curation.operators import Pool, Selection, Selector
from curation.subsets.ranking import enough, numbers


class TopK(Selector):
    """The samples with the highest (or lowest) score, within bounds.

    Source: none; how IFD, DEITA and reward scores are used on their own. Cherry drops IFD > 1 (`max=1`).
    """

    name: ClassVar[str] = "top-k"

    score: str = Field(min_length=1, description="Score column to sort by")
    descending: bool = Field(True, description="Highest first")
    min: float | None = Field(None, description="Leave out samples below")
    max: float | None = Field(None, description="Leave out samples above")

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.score,)

    def select(self, pool: Pool, budget: int) -> Selection:
        values = numbers(pool.frame, self.score)
        ids = pool.frame["id"].to_list()
        outside = np.isnan(values)
        low = values < self.min if self.min is not None else np.zeros(len(ids), bool)
        high = values > self.max if self.max is not None else np.zeros(len(ids), bool)
        reasons = {ids[i]: f"no {self.score}" for i in np.flatnonzero(outside)}
        reasons |= {ids[i]: f"{self.score} {values[i]:.4g} is below {self.min:g}" for i in np.flatnonzero(low)}
        reasons |= {ids[i]: f"{self.score} {values[i]:.4g} is above {self.max:g}" for i in np.flatnonzero(high)}
        inside = np.flatnonzero(~(outside | low | high))
        enough(self.name, len(inside), budget, pool, f"have a {self.score} in bounds", "score more samples")
        order = inside[np.argsort(-values[inside] if self.descending else values[inside], kind="stable")]
        last = values[order[budget - 1]]
        for place, i in enumerate(order[budget:], budget + 1):
            reasons[ids[i]] = f"{self.score} {values[i]:.4g} is place {place}; the last chosen has {last:.4g}"
        return Selection([ids[i] for i in order[:budget]], reasons)
