"""What an outcome must be like to become a sample: rules that look at it alone, then rules that look at the others.

The first kind may ask the judge, and is asked as soon as an outcome is there; the second kind decides in the order of
the seed samples, so that of two equal texts the same one is always kept.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from curation.sample import Sample
from synthesis.synthesizer import Call, Outcome

if TYPE_CHECKING:
    import polars as pl

    from synthesis.drawing import Samples

Pair = tuple[Sample, Outcome]


class Acceptance(BaseModel):
    """The rules of a run; without a setting only those that its synthesizer applies itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def checked(self, seed: Sample, outcomes: list[Outcome]) -> Generator[Call | tuple[Call, ...], Any, list[Outcome]]:
        """The outcomes of a seed sample, rejected where a rule objects; yields calls as `Synthesizer.steps` does."""
        return outcomes
        yield  # a generator, as soon as a rule asks the judge

    def gate(self, corpus: Samples, seeds: Sequence[Sample]) -> Gate:
        """The rules that look at the other samples."""
        return Gate()


class Gate:
    """Rules that look at the corpus, the seed samples and what was accepted before."""

    def remember(self, made: pl.DataFrame) -> None:
        """Take in what earlier commands of this run have accepted, as rows of a shard."""

    def passed(self, pairs: list[Pair]) -> list[Pair]:
        """The same pairs in the same order, rejected where a rule objects; each one accepted counts for those after."""
        return pairs


def rejecting(outcome: Outcome, rule: str, detail: str) -> Outcome:
    """The outcome, rejected; one that is already keeps its first rule."""
    return outcome if outcome.rejected_by else replace(outcome, rejected_by=rule, detail=detail)
