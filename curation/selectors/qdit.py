"""Samples that represent the others, and are good."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from curation.operators import Pool, Selection, Selector
from curation.selectors.facility_location import NEIGHBOURS
from curation.subsets.candidates import quality_of, vectors_for
from curation.subsets.facility import Coverage, lazy_greedy
from curation.subsets.ranking import chosen, enough


class QDIT(Selector):
    """Samples that represent the pool and are good: a weighted sum of coverage and quality, step by step.

    The next sample is the one that adds most to (1 - alpha) x coverage + alpha x quality. Coverage is the mean over the
    pool of the cosine to the most similar chosen sample, quality the mean over the chosen ones, both 0 to 1. With
    alpha 0 it is facility location, with alpha 1 the best by quality.

    Source: Bukharin et al. 2024, QDIT, arXiv:2311.14736, the quality-diversity score and its greedy algorithm.

    Differs from the source: quality is brought to 0..1 over the pool (0 its lowest, 1 its highest), so that alpha means
    the same for any score; cosines to the 64 nearest samples only (see `facility-location`); samples without a score
    are represented, never chosen.
    """

    name: ClassVar[str] = "qdit"

    quality: str = Field(min_length=1, description="Score column; highest is best")
    alpha: float = Field(0.7, ge=0, le=1, description="Weight of quality; 0 is coverage alone, 1 quality alone")
    neighbours: int = Field(64, ge=1, le=1024, description=NEIGHBOURS)

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.quality,)

    @property
    def needs_vectors(self) -> bool:
        return True

    def select(self, pool: Pool, budget: int) -> Selection:
        vectors = vectors_for(self, pool)
        quality, left = quality_of(pool, self.quality)
        rows = np.flatnonzero(~np.isnan(quality))
        enough(self.name, len(rows), budget, pool, f"have the score {self.quality!r}", "score more samples")
        coverage = Coverage(vectors, self.neighbours)
        share = (1 - self.alpha) / len(pool)

        def value(row: int, chosen_already: int) -> float:
            return share * coverage.gain(row) + self.alpha * float(quality[row]) / (chosen_already + 1)

        bounds = share * coverage.gains() + self.alpha * quality
        order = lazy_greedy(bounds, rows, value, coverage.add, budget)
        gains, best = coverage.gains(), coverage.best
        worth = share * gains + self.alpha * quality / budget
        return chosen(
            pool,
            order,
            lambda i: (
                f"represented: a chosen sample is at a cosine of {best[i]:.3f}, its quality is {quality[i]:.3f} of 1; "
                f"it would add {worth[i]:.3g} to the sum of both"
            ),
            left,
        )
