"""Evolution of answers: known answers rewritten into more helpful, deeper or more detailed ones."""

from __future__ import annotations

import random
import re
from collections.abc import Generator
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator

from curation.language_models.models import ChatRequest, Completion
from curation.operators import parted
from curation.sample import Message, Sample
from synthesis.distill import prompt_turns
from synthesis.elimination import (
    EVOLUTION_RULES,
    first_violation,
    prompt_leak,
    refusal,
    same_text,
    unusable,
    word_count,
)
from synthesis.known_texts import Objection
from synthesis.reach import REACH, REACH_MAX, REACH_MIN, check_band, within_reach
from synthesis.synthesizer import Call, Outcome, Steps, Synthesizer

Operation = Literal["helpfulness", "relevance", "depth", "creativity", "details"]
OPERATIONS: tuple[Operation, ...] = get_args(Operation)
LEAKS = ("given answer", "rewritten answer", "#given", "#rewritten", "改写后的回答", "给定的回答", "改写后的答案")
_HEADING = re.compile(r"^[\s#*_]*(?:Rewritten Answer|改写后的(?:回答|答案))[ \t#*_]*[:：]?[*_]*\s*", re.IGNORECASE)


class EvolAnswer(Synthesizer):
    """Rewrite answers, round after round, so that each is a little better than the one before.

    Variants of one answer of growing quality are also what a model that scores quality learns from.

    Source: evolution of response quality in DEITA (Liu et al. 2023, arXiv:2312.15685, section 2.4): helpfulness,
    relevance, depth, creativity, details; 5 rounds there; 10 to 20 added words as in WizardLM (arXiv:2304.12244).
    Differs from the source: own prompts; the elimination rules of evolution are asked of every rewritten answer, and a
    failed one is put back and rewritten again in the next round.
    """

    name: ClassVar[str] = "evol-answer"
    prompts: ClassVar[tuple[str, ...]] = ("evol_answer", *(f"answer_{operation}" for operation in OPERATIONS))

    rounds: int = Field(1, ge=1, le=10, description="Rewritings in a row; the source makes 5.")
    operations: Annotated[tuple[Operation, ...], BeforeValidator(parted)] = Field(
        OPERATIONS, min_length=1, description="Drawn from with equal probability."
    )
    max_added_words: int = Field(20, ge=10, description="Words a rewriting may add, as the prompt says.")
    temperature: float = Field(0.7, ge=0, le=2, description="Sampling temperature; 0 repeats itself.")
    top_p: float | None = Field(None, gt=0, le=1, description="Nucleus sampling: share of likely tokens to draw from.")
    max_tokens: int = Field(2048, ge=1, description="Tokens of one answer at most.")
    reach: str | None = Field(None, description=REACH)
    reach_min: float | None = Field(None, description=REACH_MIN)
    reach_max: float | None = Field(None, description=REACH_MAX)

    @model_validator(mode="after")
    def _band(self) -> Self:
        check_band(self.reach, self.reach_min, self.reach_max)
        return self

    @property
    def seed_condition(self) -> str:  # type: ignore[override]
        """SQL: an instruction with an answer, within reach."""
        condition = "instruction <> '' AND response <> ''"
        return within_reach(condition, self.reach, self.reach_min, self.reach_max)

    def suits(self, sample: Sample) -> bool:
        """A conversation that ends with an answer, without tools."""
        roles = [m.role for m in sample.messages]
        return super().suits(sample) and roles[-2:] == ["user", "assistant"] and "tool" not in roles

    def steps(self, sample: Sample, rng: random.Random) -> Steps:
        """One outcome per round; a rejected one leaves the answer as it was."""
        current, outcomes = sample.response.strip(), []
        for number in range(1, self.rounds + 1):
            outcome = yield from self._round(sample, current, number, rng)
            outcomes.append(outcome)
            if outcome.rejected_by is None:
                current = outcome.messages[-1].content
        return outcomes

    def _round(
        self, sample: Sample, current: str, number: int, rng: random.Random
    ) -> Generator[Call, Completion, Outcome]:
        operation = rng.choice(self.operations)
        how = self.fill(f"answer_{operation}")
        asked = prompt_turns(sample)
        question = asked[-1].content if len(asked) == 1 else "\n\n".join(f"{m.role}: {m.content}" for m in asked)
        text = self.fill(
            "evol_answer",
            operation=how,
            max_added_words=self.max_added_words,
            instruction=question,
            answer=current,
        )
        parameters = {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens}
        call = Call("rewrite", ChatRequest((("user", text),), parameters, sample_index=number - 1))
        completion = yield call
        answer = _HEADING.sub("", completion.text or "", count=1).strip()
        metadata: dict[str, Any] = {"operation": operation, "round": number}
        metadata |= {"given": current} if current != sample.response.strip() else {}
        metadata["added_words"] = word_count(answer) - word_count(current)
        rule, seen = self._fault(answer, current, completion) or (None, None)
        return Outcome((*asked, Message("assistant", answer)), (call,), metadata, rejected_by=rule, detail=seen)

    def _fault(self, answer: str, current: str, completion: Completion) -> Objection | None:
        if broken := unusable(answer, completion.finish_reason):
            return broken
        if leak := prompt_leak(answer, current, LEAKS):
            return "prompt-leak", leak
        if same_text(answer, current):
            return "no-information-gain", "the same text"
        if refused := refusal(answer):
            return "refusal", refused
        return first_violation(answer, EVOLUTION_RULES)
