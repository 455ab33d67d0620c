"""The middle of a score."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from curation.operators import Pool, Selection, Selector
from curation.subsets.ranking import chosen, enough, numbers, outside


class QuantileBand(Selector):
    """Samples drawn at random among those between two quantiles of a score: neither the easiest nor the hardest.

    Source: Ivison et al. 2025, arXiv:2503.01807, who take the middle of the perplexities (their Mid-PPL), and the
    25th to 75th percentile that Cherry_LLM (Li et al. 2024, arXiv:2308.12032) takes of each cluster for its warm-up.
    Quantiles are of the pool, samples without the score aside; both ends belong to the band.
    """

    name: ClassVar[str] = "quantile-band"

    score: str = Field(min_length=1, description="Score column that decides")
    low: float = Field(0.25, ge=0, le=1, description="Lower end, as a share of the pool")
    high: float = Field(0.75, ge=0, le=1, description="Upper end, as a share of the pool")
    seed: int = Field(0, description="Equal seed and pool, equal samples")

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.score,)

    def select(self, pool: Pool, budget: int) -> Selection:
        values = numbers(pool.frame, self.score)
        known = np.isfinite(values)
        enough(self.name, int(known.sum()), 1, pool, f"have a {self.score}", "score more samples")
        low, high = np.quantile(values[known], [self.low, self.high])
        inside = np.flatnonzero((values >= low) & (values <= high))
        enough(self.name, len(inside), budget, pool, "are in the band", "widen the band")
        drawn = np.random.default_rng(self.seed).random(len(pool))
        order = inside[np.argsort(drawn[inside], kind="stable")]
        return chosen(pool, order[:budget], outside(self.score, values, float(low), float(high)))
