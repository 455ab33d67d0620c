"""Decomposition: a hard request broken down into smaller questions, which are answered one by one and put together."""

from __future__ import annotations

import random
import re
from collections.abc import Generator
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from curation.language_models.models import ChatRequest, Completion
from curation.sample import Message, Sample
from curation.texts.final_answers import expected_answer, explicit_answer, final_answers, same_answer
from synthesis.elimination import refusal, same_text, unusable
from synthesis.known_texts import Objection
from synthesis.reach import REACH, REACH_MAX, REACH_MIN, check_band, within_reach
from synthesis.self_instruct import numbered_lines
from synthesis.synthesizer import Call, Outcome, Steps, Synthesizer

_NONE = re.compile(r"\W*(?:none|nothing|n/a|无|没有|无需分解|不需要)\W*", re.IGNORECASE)


class Decomposition(Synthesizer):
    """Break a request down into steps, answer each with those before it in view, and combine the answers.

    What comes of it is the request with the combined answer (its steps in the metadata), or the steps as a conversation
    that ends with the request.

    Source: least-to-most prompting (Zhou et al. 2022, arXiv:2205.10625); decomposed prompting (Khot et al. 2022,
    arXiv:2210.02406).
    Differs from the source: the steps are made to train on, without worked examples in the prompt; the combined answer
    is a call of its own, and may be checked against the known final answer.
    """

    name: ClassVar[str] = "decomposition"
    prompts: ClassVar[tuple[str, ...]] = ("decompose", "decompose_combine")

    result: Literal["answer", "conversation"] = Field(
        "answer", description="The request with the combined answer, or the steps as a conversation that leads to it."
    )
    least_steps: int = Field(2, ge=2, le=20, description="Steps at least; with fewer there is nothing to break down.")
    most_steps: int = Field(6, ge=2, le=20, description="Steps at most.")
    check_answer: bool = Field(
        False, description="Reject where the final answer is not that of the seed sample (metadata, or marked in it)."
    )
    temperature: float = Field(0.7, ge=0, le=2, description="Sampling temperature; 0 repeats itself.")
    top_p: float | None = Field(None, gt=0, le=1, description="Nucleus sampling: share of likely tokens to draw from.")
    max_tokens: int = Field(2048, ge=1, description="Tokens of one answer at most.")
    reach: str | None = Field(None, description=REACH)
    reach_min: float | None = Field(None, description=REACH_MIN)
    reach_max: float | None = Field(None, description=REACH_MAX)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_band(self.reach, self.reach_min, self.reach_max)
        if self.least_steps > self.most_steps:
            raise ValueError(f"least_steps is {self.least_steps}, above most_steps, which is {self.most_steps}")
        return self

    @property
    def seed_condition(self) -> str:  # type: ignore[override]
        """SQL: an instruction, within reach."""
        return within_reach(Synthesizer.seed_condition, self.reach, self.reach_min, self.reach_max)

    def suits(self, sample: Sample) -> bool:
        """One request in one turn."""
        return super().suits(sample) and sum(m.role == "user" for m in sample.messages) == 1

    def steps(self, sample: Sample, rng: random.Random) -> Steps:
        """One outcome."""
        request = sample.instruction.strip()
        asked = self.fill("decompose", least=self.least_steps, most=self.most_steps, instruction=request)
        calls = [self._call("decompose", (("user", asked),))]
        completion: Completion = yield calls[0]
        reply = completion.text or ""
        questions = [] if _NONE.fullmatch(reply) else numbered_lines(reply)
        fault = unusable(reply, completion.finish_reason) or self._not_broken_down(questions, request)
        if fault is not None:
            turns = (Message("user", request), Message("assistant", reply))
            return [_outcome(turns, calls, {"steps": questions}, fault)]
        answered: list[tuple[str, str]] = []
        fault = yield from self._answered(questions, answered, calls)
        combined = ""
        if fault is None:
            combined, fault = yield from self._combined(request, answered, calls)
        fault = fault or self._wrong(sample, combined)
        metadata = {"steps": [{"question": q, "answer": a} for q, a in answered]}
        return [_outcome(self._turns(sample, request, answered, combined), calls, metadata, fault)]

    def _not_broken_down(self, questions: list[str], request: str) -> Objection | None:
        if not self.least_steps <= len(questions) <= self.most_steps:
            return "not-decomposed", f"{len(questions)} steps, not {self.least_steps} to {self.most_steps}"
        same = [question for question in questions if same_text(question, request)]
        return ("not-decomposed", "a step is the request itself") if same else None

    def _answered(
        self, questions: list[str], answered: list[tuple[str, str]], calls: list[Call]
    ) -> Generator[Call, Completion, Objection | None]:
        """Ask one question after another, as one conversation."""
        for number, question in enumerate(questions, 1):
            turns = [turn for q, a in answered for turn in (("user", q), ("assistant", a))]
            calls.append(self._call(f"step-{number}", (*turns, ("user", question))))
            completion = yield calls[-1]
            answer = completion.text or ""
            answered.append((question, answer))
            refused = refusal(answer)
            fault = unusable(answer, completion.finish_reason) or (("refusal", refused) if refused else None)
            if fault is not None:
                return fault[0], f"step {number}: {fault[1]}"
        return None

    def _combined(
        self, request: str, answered: list[tuple[str, str]], calls: list[Call]
    ) -> Generator[Call, Completion, tuple[str, Objection | None]]:
        steps = "\n\n".join(f"{n}. {question}\n{answer}" for n, (question, answer) in enumerate(answered, 1))
        asked = self.fill("decompose_combine", instruction=request, steps=steps)
        calls.append(self._call("combine", (("user", asked),)))
        completion = yield calls[-1]
        answer = completion.text or ""
        refused = refusal(answer)
        return answer, unusable(answer, completion.finish_reason) or (("refusal", refused) if refused else None)

    def _wrong(self, sample: Sample, combined: str) -> Objection | None:
        if not self.check_answer:
            return None
        expected = expected_answer(sample.metadata) or explicit_answer(sample.response)
        if expected is None:
            return "no-reference", "neither the metadata nor the answer of the seed sample name a final answer"
        found = final_answers(combined)
        right = any(same_answer(answer, expected) for answer in found)
        return None if right else ("wrong-answer", f"{found[0] if found else None!r}, expected {expected!r}")

    def _turns(
        self, sample: Sample, request: str, answered: list[tuple[str, str]], combined: str
    ) -> tuple[Message, ...]:
        system = tuple(m for m in sample.messages if m.role == "system")
        before: tuple[Message, ...] = ()
        if self.result == "conversation":
            before = tuple(m for q, a in answered for m in (Message("user", q), Message("assistant", a)))
        return (*system, *before, Message("user", request), Message("assistant", combined))

    def _call(self, step: str, turns: tuple[tuple[str, str], ...]) -> Call:
        parameters: dict[str, Any] = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        parameters |= {"top_p": self.top_p} if self.top_p is not None else {}
        return Call(step, ChatRequest(turns, parameters))


def _outcome(
    turns: tuple[Message, ...], calls: list[Call], metadata: dict[str, Any], fault: Objection | None
) -> Outcome:
    rule, seen = fault or (None, None)
    return Outcome(turns, tuple(calls), metadata, rejected_by=rule, detail=seen)
