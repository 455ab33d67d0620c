"""The baseline every selector has to beat."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from curation.operators import Pool, Selection, Selector


class Random(Selector):
    """Samples drawn at random: the baseline that most methods fail to beat.

    Source: the audits of selection methods at scale, where it is hard to beat (Xia et al. 2024, arXiv:2410.09335).
    """

    name: ClassVar[str] = "random"

    seed: int = Field(0, description="Equal seed and pool, equal samples")

    def select(self, pool: Pool, budget: int) -> Selection:
        order = np.random.default_rng(self.seed).permutation(len(pool))
        ids = pool.frame["id"].to_list()
        return Selection([ids[i] for i in order[:budget]], {ids[i]: "not drawn" for i in order[budget:]})
