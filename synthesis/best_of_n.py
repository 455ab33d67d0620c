"""Preference pairs by a judge: several answers, the best chosen, the worst rejected."""

from __future__ import annotations

import random
from typing import Any, ClassVar

from pydantic import Field

from curation.sample import Sample
from synthesis.candidates import Candidate, best_and_worst, calls_of, conversation, graded, no_pair, sampled, usable
from synthesis.distill import prompt_turns
from synthesis.synthesizer import Steps, Synthesizer


class BestOfN(Synthesizer):
    """Answer several times, have a judge score all answers by a rubric, and pair the best with the worst.

    The judge sees the answers together, in a drawn order that differs between judgements; where best and worst have the
    same score there is no pair. What it wrote stays in the metadata.

    Source: Magpie's preference data (Xu et al. 2024, arXiv:2406.08464): 5 answers at temperature 0.8, highest and
    lowest score; all answers of a question in one judgement in drawn order as UltraFeedback (Cui et al. 2023,
    arXiv:2310.01377); means of several judgements and no pair for ties as Self-Rewarding (Yuan et al. 2024,
    arXiv:2401.10020).
    Differs from the source: one model and one overall score, 1 to 10, by a rubric worded here; a chat model in place of
    a reward model.
    """

    name: ClassVar[str] = "best-of-n"
    prompts: ClassVar[tuple[str, ...]] = ("grade_answers",)

    answers: int = Field(5, ge=2, le=20, description="Answers of the model for each instruction.")
    with_seed: bool = Field(False, description="Let the sample's own answer compete.")
    judgements: int = Field(1, ge=1, le=10, description="How often the judge scores them; the mean counts.")
    min_gap: float = Field(0.0, ge=0, le=9, description="Points by which the best has to lead the worst.")
    temperature: float = Field(0.8, ge=0, le=2, description="Sampling temperature; 0 repeats itself.")
    top_p: float | None = Field(
        None, gt=0, le=1, description="Nucleus sampling: the share of likely tokens to draw from."
    )
    max_tokens: int = Field(2048, ge=1, description="Tokens of one answer at most.")

    def suits(self, sample: Sample) -> bool:
        """No tools: the model has none to call."""
        return super().suits(sample) and sample.tools is None and all(m.role != "tool" for m in sample.messages)

    def steps(self, sample: Sample, rng: random.Random) -> Steps:
        """One outcome."""
        parameters = {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens}
        candidates = yield from sampled(sample, self.answers, parameters)
        own = [Candidate(sample.response, "seed")] if self.with_seed and sample.response.strip() else []
        whole, calls = usable([*candidates, *own]), calls_of(candidates)
        if len(whole) < 2:
            why = f"{len(whole)} of {len(candidates) + len(own)} answers are whole and differ"
            return [no_pair(sample, candidates, calls, {}, "too-few-answers", why)]
        scores, judging, told = yield from graded(
            lambda question, listed: self.fill("grade_answers", question=question, answers=listed),
            conversation(prompt_turns(sample)),
            whole,
            rng,
            judgements=self.judgements,
            max_tokens=self.max_tokens,
        )
        metadata: dict[str, Any] = {"judgements": told}
        return [best_and_worst(sample, whole, scores, (*calls, *judging), metadata, self.min_gap)]
