"""Everything that is good enough."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from curation.operators import Pool, Selection, Selector
from curation.subsets.ranking import chosen, enough, numbers, outside


class Threshold(Selector):
    """Samples drawn at random among those whose score is within bounds: good enough, and otherwise as they come.

    Source: how AlpaGasus (Chen et al. 2024, arXiv:2307.08701; accuracy of at least 4.5) and FineWeb-Edu (Penedo et al.
    2024, arXiv:2406.17557; at least 3) use a judge. For a difficulty band by pass rate, as reasoning data is chosen
    (neither always nor never solved): `score=pass_rate min=0.1 max=0.9`.
    """

    name: ClassVar[str] = "threshold"

    score: str = Field(min_length=1, description="Score column that decides")
    min: float | None = Field(None, description="Least score that is good enough")
    max: float | None = Field(None, description="Greatest score that is good enough")
    seed: int = Field(0, description="Equal seed and pool, equal samples")

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.score,)

    def select(self, pool: Pool, budget: int) -> Selection:
        values = numbers(pool.frame, self.score)
        low = -np.inf if self.min is None else self.min
        high = np.inf if self.max is None else self.max
        inside = np.flatnonzero((values >= low) & (values <= high))
        enough(self.name, len(inside), budget, pool, f"have a {self.score} in bounds", "widen the bounds")
        drawn = np.random.default_rng(self.seed).random(len(pool))
        order = inside[np.argsort(drawn[inside], kind="stable")]
        reason = outside(self.score, values, low, high)
        return chosen(pool, order[:budget], reason)
