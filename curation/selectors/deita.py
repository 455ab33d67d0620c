"""The best first, unless one like it was taken."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from pydantic import Field

from curation.errors import OperatorError
from curation.operators import Pool, Selection, Selector
from curation.subsets.candidates import has_direction, others, unscored, vectors_for
from curation.subsets.ranking import best_first, chosen, enough, numbers
from curation.subsets.repr_filter import repr_filter

if TYPE_CHECKING:
    import polars as pl


class Deita(Selector):
    """Samples with the highest complexity times quality, each unlike those that were taken before it.

    Source: Liu et al. 2024, DEITA, arXiv:2312.15685, section 2.5 and algorithm 1; reference repository hkust-nlp/deita
    (combined filter, iterative filter): the evol score of a sample is the sum over its turns of complexity times
    quality; a sample is dropped where its cosine to a kept one is above 0.9.

    Differs from the source: ties by id instead of an unstable sort; a sample without a score, with turns that do not
    match or with a vector of zeros is left with its reason, where the source keeps a vector of zeros always; which
    threshold suits depends on the encoder. `aggregate=mean` divides by the number of turns, as MIG does.
    """

    name: ClassVar[str] = "deita"

    complexity: str = Field(
        "deita_complexity_turns", min_length=1, description="Score column, or a column with a list of scores per turn"
    )
    quality: str = Field(
        "deita_quality_turns", min_length=1, description="Score column, or a column with a list of scores per turn"
    )
    score: str | None = Field(None, description="One score to sort by, in place of complexity times quality")
    aggregate: Literal["sum", "mean"] = Field(
        "sum", description="Over turns: `sum` prefers long conversations, as the source does; `mean` does not"
    )
    threshold: float = Field(
        0.9, ge=-1, le=1, description="Cosine to a kept sample above which one is dropped; calibrate it to the encoder"
    )

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.score,) if self.score else tuple(dict.fromkeys((self.complexity, self.quality)))

    @property
    def needs_vectors(self) -> bool:
        return True

    def select(self, pool: Pool, budget: int) -> Selection:
        vectors = vectors_for(self, pool)
        values, left = self._evol(pool)
        left |= dict.fromkeys(np.flatnonzero(~has_direction(vectors)).tolist(), "its vector is zero")
        order = best_first(values, others(len(pool), left))
        found = repr_filter(vectors, order, self.threshold, budget)
        survive = f"have a score and are not above a cosine of {self.threshold:g} to a better one"
        enough(self.name, len(found.rows), budget, pool, survive, "raise the threshold: --set threshold=VALUE")
        ids, least = pool.frame["id"], values[found.rows[-1]]
        left |= {row: f"alike: its cosine to {ids[kept]}, which ranks before it, is {cosine:.4f}"
                 for row, (kept, cosine) in found.like.items()}  # fmt: skip
        return chosen(pool, found.rows, lambda i: f"evol score {values[i]:.4g}; the last chosen has {least:.4g}", left)

    def _evol(self, pool: Pool) -> tuple[np.ndarray, dict[int, str]]:
        """The score of each sample, and why it has none."""
        if self.score:
            values = numbers(pool.frame, self.score)
            return values, unscored(values, self.score)
        values = evol_scores(pool.frame, self.complexity, self.quality, self.aggregate)
        complexity, quality = pool.frame[self.complexity], pool.frame[self.quality]
        left = {}
        for i in np.flatnonzero(~np.isfinite(values)).tolist():
            missing = next((c for c in (self.complexity, self.quality) if pool.frame[c][i] is None), None)
            turns = f"{self.complexity} is {_short(complexity[i])} and {self.quality} is {_short(quality[i])}"
            left[i] = f"no {missing}" if missing else f"no product for every turn: {turns}"
        return values, left


def _short(value: object) -> str:
    return f"of {len(value)} turns" if hasattr(value, "__len__") else "one number"


def evol_scores(frame: pl.DataFrame, complexity: str, quality: str, aggregate: str) -> np.ndarray:
    """The sum or mean over turns of complexity times quality; NaN where a score is missing or the turns don't match.

    A column may hold a number for each sample, which counts as one turn, or a list of numbers.

    Raises:
        OperatorError: a column holds neither.
    """
    import polars as pl

    turns = pl.DataFrame(
        {"row": np.arange(frame.height), "one": _turns(frame, complexity), "other": _turns(frame, quality)}
    )
    matched = turns.filter(pl.col("one").list.len() == pl.col("other").list.len(), pl.col("one").list.len() > 0)
    product = pl.col("one") * pl.col("other")
    whole = product.sum() if aggregate == "sum" else product.mean()
    total = pl.when(product.is_null().any()).then(None).otherwise(whole)
    found = matched.explode("one", "other").group_by("row").agg(total.alias("value"))
    values = np.full(frame.height, np.nan)
    values[found["row"].to_numpy()] = found["value"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return values


def _turns(frame: pl.DataFrame, column: str) -> pl.Series:
    import polars as pl

    values = frame[column]
    if isinstance(values.dtype, pl.List) and values.dtype.inner.is_numeric():
        return values.cast(pl.List(pl.Float64))
    if not values.dtype.is_numeric():
        raise OperatorError(
            f"{column!r} holds neither numbers nor lists of them but {values.dtype}.",
            fix="choose a numeric score column",
        )
    known = values.cast(pl.Float64)
    return known.to_frame().select(pl.when(pl.nth(0).is_not_null()).then(pl.concat_list(pl.nth(0)))).to_series()
