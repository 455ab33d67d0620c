"""Preference pairs from the answers of a model that is being trained."""

from __future__ import annotations

import random
import zlib
from collections.abc import Generator
from typing import Any, ClassVar, Literal

from pydantic import Field

from curation.sample import Sample
from synthesis.candidates import (
    Candidate,
    best_and_worst,
    calls_of,
    conversation,
    graded,
    no_pair,
    preferred,
    right_and_wrong,
    sampled,
    usable,
    verifiable,
    verified,
)
from synthesis.distill import prompt_turns
from synthesis.synthesizer import Call, Outcome, Steps, Synthesizer


class OnPolicyPairs(Synthesizer):
    """Let a trained run answer, check or judge its answers, and pair good ones with bad ones.

    The model is the run's, served at an address (`--model`); the judge should be another. For the next iteration train
    on the pairs, serve the new run, and name it: answers of another run are never taken from the store, even where the
    server calls both models the same.

    Source: Self-Rewarding Language Models (Yuan et al. 2024, arXiv:2401.10020): 4 answers at temperature 0.7, mean of 3
    judgements, best against worst, no ties; `chosen=seed` is SPIN (Chen et al. 2024, arXiv:2401.01335): the sample's
    own answer chosen, one of the run's rejected, at temperature 1 there.
    Differs from the source: tests and final answers decide where the sample has them; the judge scores all answers
    together, 1 to 10.
    """

    name: ClassVar[str] = "on-policy-pairs"
    runs_code: ClassVar[bool] = True
    prompts: ClassVar[tuple[str, ...]] = ("grade_answers",)

    run: str = Field(..., min_length=1, description="Name of the training run whose model answers.")
    check: Literal["auto", "program", "judge"] = Field(
        "auto", description="Who decides: tests or a final answer (program), the judge, or the first where possible."
    )
    chosen: Literal["own", "seed"] = Field("own", description="Chosen are the run's good answers, or the sample's own.")
    answers: int = Field(4, ge=1, le=64, description="Answers of the run for each instruction; 1 for chosen=seed.")
    judgements: int = Field(3, ge=1, le=10, description="How often the judge scores them; the mean counts.")
    min_gap: float = Field(0.0, ge=0, le=9, description="Points by which the best has to lead the worst.")
    seconds: float = Field(5.0, gt=0, le=120, description="Seconds that code may run.")
    temperature: float = Field(0.7, ge=0, le=2, description="Sampling temperature; 0 repeats itself.")
    top_p: float | None = Field(
        None, gt=0, le=1, description="Nucleus sampling: the share of likely tokens to draw from."
    )
    max_tokens: int = Field(2048, ge=1, description="Tokens of one answer at most.")

    def suits(self, sample: Sample) -> bool:
        """No tools; what the check needs is there."""
        plain = super().suits(sample) and sample.tools is None and all(m.role != "tool" for m in sample.messages)
        if self.chosen == "seed":
            return plain and bool(sample.response.strip())
        return plain and (self.check != "program" or verifiable(sample))

    def steps(self, sample: Sample, rng: random.Random) -> Steps:
        """One outcome."""
        parameters = {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens}
        # A server may call the models of all runs the same: the sample index keeps their answers apart.
        first = zlib.crc32(self.run.encode()) * 64
        candidates = yield from sampled(sample, self.answers, parameters, first=first)
        metadata: dict[str, Any] = {"run": self.run}
        by_program = self.check != "judge" and verifiable(sample)
        if by_program:
            candidates = verified(sample, candidates, seconds=self.seconds)
        if self.chosen == "seed":
            return [self._against_own(sample, candidates, metadata)]
        if by_program:
            return right_and_wrong(sample, candidates, metadata, pairs=1)
        return [(yield from self._judged(sample, candidates, metadata, rng))]

    def _against_own(self, sample: Sample, candidates: list[Candidate], metadata: dict[str, Any]) -> Outcome:
        """The sample's own answer and the run's first that is not right."""
        calls, whole = calls_of(candidates), usable(candidates)
        if not whole:
            return no_pair(sample, candidates, calls, metadata, "too-few-answers", "no answer is whole")
        worse = next((one for one in whole if not one.right), None)
        if worse is None:
            return no_pair(sample, candidates, calls, metadata, "all-right", "every answer of the run is right")
        return preferred(sample, Candidate(sample.response, "seed"), worse, calls, metadata)

    def _judged(
        self, sample: Sample, candidates: list[Candidate], metadata: dict[str, Any], rng: random.Random
    ) -> Generator[Call | tuple[Call, ...], Any, Outcome]:
        whole, calls = usable(candidates), calls_of(candidates)
        if len(whole) < 2:
            why = f"{len(whole)} of {len(candidates)} answers are whole and differ"
            return no_pair(sample, candidates, calls, metadata, "too-few-answers", why)
        scores, judging, told = yield from graded(
            lambda question, listed: self.fill("grade_answers", question=question, answers=listed),
            conversation(prompt_turns(sample)),
            whole,
            rng,
            judgements=self.judgements,
            max_tokens=self.max_tokens,
        )
        about = {**metadata, "judgements": told}
        return best_and_worst(sample, whole, scores, (*calls, *judging), about, self.min_gap)
