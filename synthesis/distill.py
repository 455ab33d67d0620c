"""Distillation: a teacher answers the instructions of the corpus."""

from __future__ import annotations

import random
from typing import ClassVar

from pydantic import Field

from curation.language_models.models import ChatRequest, Completion
from curation.sample import Message, Sample
from synthesis.elimination import refusal, same_text, unusable
from synthesis.synthesizer import Call, Outcome, Steps, Synthesizer


class Distill(Synthesizer):
    """Answer each instruction with a teacher model, one or more times.

    The teacher sees the conversation up to its last answer, and the new sample is that conversation with the teacher's
    answer in place of it.

    Source: sequence-level distillation (Kim & Rush 2016, arXiv:1606.07947), as Alpaca and its successors apply it to
    instructions.
    """

    name: ClassVar[str] = "distill"

    answers: int = Field(1, ge=1, le=64, description="Answers per instruction.")
    keep_reasoning: bool = Field(False, description="Keep what the teacher thought, apart from its answer.")
    temperature: float = Field(0.7, ge=0, le=2, description="Sampling temperature; 0 repeats itself.")
    top_p: float | None = Field(
        None, gt=0, le=1, description="Nucleus sampling: the share of likely tokens to draw from."
    )
    max_tokens: int = Field(2048, ge=1, description="Tokens of one answer at most.")

    def suits(self, sample: Sample) -> bool:
        """No tools: the teacher has none to call."""
        return super().suits(sample) and sample.tools is None and all(m.role != "tool" for m in sample.messages)

    def steps(self, sample: Sample, rng: random.Random) -> Steps:
        """One outcome per answer."""
        asked = prompt_turns(sample)
        parameters = {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens}
        outcomes = []
        for index in range(self.answers):
            turns = tuple((m.role, m.content) for m in asked)
            call = Call("answer", ChatRequest(turns, parameters, sample_index=index))
            completion = yield call
            outcomes.append(self._outcome(sample, asked, call, completion))
        return outcomes

    def _outcome(self, sample: Sample, asked: tuple[Message, ...], call: Call, completion: Completion) -> Outcome:
        answer = completion.text or ""
        rule, detail = _violation(answer, completion.finish_reason, sample.response) or (None, None)
        reply = Message("assistant", answer, reasoning=completion.reasoning if self.keep_reasoning else None)
        metadata = {"answer": call.request.sample_index}
        return Outcome((*asked, reply), (call,), metadata, rejected_by=rule, detail=detail)


def prompt_turns(sample: Sample) -> tuple[Message, ...]:
    """The turns that the last answer replied to."""
    last_user = max(i for i, m in enumerate(sample.messages) if m.role == "user")
    return sample.messages[: last_user + 1]


def _violation(answer: str, finish_reason: str | None, known: str) -> tuple[str, str] | None:
    if broken := unusable(answer, finish_reason):
        return broken
    if refused := refusal(answer):
        return "refusal", refused
    if known.strip() and same_text(answer, known):
        return "same-as-seed", "the teacher's answer is the one the sample has already"
    return None
