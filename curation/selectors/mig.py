"""The choice that tells the most about all tags."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from curation.errors import OperatorError
from curation.operators import Pool, Selection, Selector
from curation.subsets.information_gain import Information, most_information
from curation.subsets.ranking import chosen, enough, numbers
from curation.subsets.tag_lists import tag_lists


class MIG(Selector):
    """Samples whose tags and quality together bring the most information; what has been covered counts less and less.

    A tag's information is the sum of the scores of the chosen samples that have it, and a share for those with similar
    tags. Choose a score that is never negative; that of a conversation should be the mean over its turns.

    Source: MIG, Chen et al. 2025, arXiv:2504.13835, and its code: threshold 0.9, propagation 1, phi(u) = (u + 1e-6) **
        0.8; each next sample by the gradient of the gain.

    Differs from the source: `gain=exact` takes the true gain, which reaches more of the objective; the default
        similarity compares the letters of tags, where the source asks E5-Mistral (name an encoder for meaning).
    """

    name: ClassVar[str] = "mig"

    tags: str = Field("instag_normalized", min_length=1, description="Column of tags; also the corpus' own `tags`")
    score: str | None = Field(None, description="Quality score, not negative; empty: every sample counts 1")
    similarity_threshold: float = Field(0.9, gt=0, le=1, description="Cosine from which two tags share information")
    propagation: float = Field(1.0, ge=0, description="Weight of what spreads to similar tags; 0: nothing spreads")
    norm: bool = Field(False, description="Divide by the number of tags; without, samples of many tags are preferred")
    gain: Literal["gradient", "exact"] = Field("gradient", description="gradient: as the source's code; exact: slower")
    power: float = Field(0.8, gt=0, le=1, description="Of the information of a tag: lower covers more tags")
    epsilon: float = Field(1e-6, gt=0, description="Added to the information of a tag, for the gradient at 0")
    model: str = Field("lexical", description="Encoder of the tags: lexical, sentence-transformers:NAME, or none")

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.tags, self.score) if self.score else (self.tags,)

    def select(self, pool: Pool, budget: int) -> Selection:
        from curation.subsets.tag_similarity import similarity

        scores = self._scores(pool)
        measured = np.flatnonzero(np.isfinite(scores))
        enough(self.name, len(measured), budget, pool, f"have the score {self.score!r}", "score more samples")
        lists = tag_lists(pool.frame[self.tags][measured])
        if not (lists.counts > 0).any():
            raise OperatorError(
                f"mig: none of {len(measured):,} samples has a tag in {self.tags!r}.", fix="winnow score CORPUS instag"
            )
        choice = most_information(
            lists.matrix(),
            scores[measured],
            similarity(lists.names, self.model, self.similarity_threshold),
            budget,
            propagation=self.propagation,
            norm=self.norm,
            information=Information(self.gain, self.power, self.epsilon),
        )
        gains = np.full(len(pool), np.nan)
        gains[measured] = choice.left
        tagged = np.zeros(len(pool), bool)
        tagged[measured] = lists.counts > 0

        def reason(row: int) -> str:
            if np.isnan(gains[row]):
                return f"no {self.score}"
            told = f"its tags bring too little: {gains[row]:.4g}; the last chosen brought {choice.brought[-1]:.4g}"
            return told if tagged[row] else f"no tag in {self.tags}"

        return chosen(pool, measured[choice.rows], reason)

    def _scores(self, pool: Pool) -> np.ndarray:
        if not self.score:
            return np.ones(len(pool))
        scores = numbers(pool.frame, self.score)
        if np.nanmin(scores, initial=0) < 0:
            raise OperatorError(
                f"mig: the score {self.score!r} goes down to {np.nanmin(scores):.4g}; it must not be negative.",
                fix="choose a score of 0 and more, such as a quality score",
            )
        return scores
