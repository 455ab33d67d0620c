"""Random within strata."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from curation.operators import Pool, Selection, Selector

if TYPE_CHECKING:
    import polars as pl


class Stratified(Selector):
    """Samples drawn at random so that every source keeps its share.

    Source: proportional stratified sampling. Every prefix keeps the shares too, to within one sample a stratum.
    """

    name: ClassVar[str] = "stratified"

    by: str = Field("source", description="Column whose values are the strata")
    seed: int = Field(0, description="Equal seed and pool, equal samples")

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.by,)

    def select(self, pool: Pool, budget: int) -> Selection:
        ids, strata = pool.frame["id"].to_list(), _codes(pool.frame[self.by])
        drawn = np.random.default_rng(self.seed).random(len(ids))
        order = np.lexsort((drawn, strata))
        sizes = np.bincount(strata)
        # The i-th of n in its stratum stands at (i + 1/2) / n: sorted by that, all strata run out together.
        rank = np.arange(len(ids)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        place = np.empty(len(ids))
        place[order] = (rank + 0.5) / np.repeat(sizes, sizes)
        best = np.lexsort((drawn, place))
        return Selection([ids[i] for i in best[:budget]], {ids[i]: "not drawn from its stratum" for i in best[budget:]})


def _codes(values: pl.Series) -> np.ndarray:
    return values.cast(str).fill_null("").rank("dense").to_numpy().astype(np.int64) - 1
