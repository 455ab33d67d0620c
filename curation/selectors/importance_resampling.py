"""A draw without replacement that favours high scores."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from curation.operators import Pool, Selection, Selector
from curation.subsets.ranking import enough, numbers


class ImportanceResampling(Selector):
    """Samples drawn without replacement, likelier the higher their score: like the target, but not all alike.

    Source: Gumbel top-k as in DSIR, Xie et al. 2023, arXiv:2302.03169, section 3 (score plus Gumbel noise, the highest
    taken: the same as drawing one after another in proportion to exp(score)); temperature as in QuRating, Wettig et al.
    2024, arXiv:2402.09739.

    Differs from the source: scores are brought to mean 0 and deviation 1 over the pool, because the weights of DSIR are
    in the hundreds and drown the noise, while their means over tokens are too small to matter; `standardised=false`
    leaves them as they are.
    """

    name: ClassVar[str] = "importance-resampling"

    score: str = Field("importance", min_length=1, description="Score column that tells how likely a sample is drawn")
    temperature: float = Field(1.0, gt=0, description="Of the draw: near 0 the highest scores, large any sample")
    standardised: bool = Field(True, description="Bring the scores to mean 0 and deviation 1 over the pool first")
    seed: int = Field(0, description="Equal seed and pool, equal samples")

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.score,)

    def select(self, pool: Pool, budget: int) -> Selection:
        values = numbers(pool.frame, self.score)
        ids = pool.frame["id"].to_list()
        inside = np.flatnonzero(np.isfinite(values))
        enough(self.name, len(inside), budget, pool, f"have the score {self.score!r}", "score more samples")
        noise = np.random.default_rng(self.seed).gumbel(size=len(ids))
        keys = self._weights(values[inside]) / self.temperature + noise[inside]
        order = inside[np.argsort(-keys, kind="stable")]
        reasons = {ids[i]: f"no {self.score}" for i in np.flatnonzero(~np.isfinite(values))}
        reasons |= dict.fromkeys((ids[i] for i in order[budget:]), "not drawn")
        return Selection([ids[i] for i in order[:budget]], reasons)

    def _weights(self, values: np.ndarray) -> np.ndarray:
        if not self.standardised:
            return values
        deviation = float(values.std())
        return (values - values.mean()) / deviation if deviation > 0 else np.zeros(len(values))
