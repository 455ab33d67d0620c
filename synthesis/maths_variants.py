"""Maths problems turned: other words, other answers, backwards; kept only where the final answer is right."""

from __future__ import annotations

import random
import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from curation.language_models.models import ChatRequest, Completion
from curation.operators import parted
from curation.sample import Message, Sample, script_of
from synthesis.candidates import agrees, reference_of
from synthesis.elimination import same_text, unusable
from synthesis.synthesizer import Call, Outcome, Steps, Synthesizer

Kind = Literal["answer", "rephrase", "backward", "self_verification"]
KINDS: tuple[Kind, ...] = ("answer", "rephrase", "backward", "self_verification")
UNKNOWN = "X"
NUMBER = re.compile(
    r"(?<![A-Za-z\d.,/^\\{_])(?<!\d[:：])(?P<value>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)"
    r"(?!\d|[.,:：]\d|[/^\\{}]|(?:st|nd|rd|th)\b)"
)
"""Numbers that can be asked for: no part of a word, formula, time, fraction or ordinal."""


@dataclass(frozen=True, slots=True)
class Masked:
    """A problem in which one number is unknown."""

    text: str
    value: str


class MathsVariants(Synthesizer):
    """Make new maths problems of one whose answer is known, solve them, and keep those solved rightly.

    `answer` solves the problem once more; `rephrase` says it in other words and solves that; `backward` (FOBAR) hides a
    number, gives the answer and asks for the number; `self_verification` says problem and answer as one statement in
    which a number is hidden. The expected answer is the metadata's, or what the sample's own answer marks as one.

    Source: MetaMath (Yu et al. 2023, arXiv:2309.12284): the four augmentations, temperature 0.7; FOBAR (Jiang et al.
    2023, arXiv:2308.07758); self-verification (Weng et al. 2022, arXiv:2212.09561).
    Differs from the source: own prompts, without worked examples; which number is hidden is drawn, and numbers in
    times, fractions and formulas are never hidden; answers are compared by value.
    """

    name: ClassVar[str] = "maths-variants"
    prompts: ClassVar[tuple[str, ...]] = (
        *("maths_answer", "maths_rephrase", "maths_statement"),
        *("maths_backward", "maths_backward_zh", "maths_unknown", "maths_unknown_zh"),
    )

    kinds: Annotated[tuple[Kind, ...], BeforeValidator(parted)] = Field(
        KINDS, min_length=1, description="What is made of each problem."
    )
    repeats: int = Field(1, ge=1, le=32, description="Variants of each kind; each backward one hides another number.")
    reference: str | None = Field(
        None, description="Metadata field with the expected answer (a.b leads inwards); the usual names if empty."
    )
    temperature: float = Field(0.7, ge=0, le=2, description="Sampling temperature; 0 repeats itself.")
    top_p: float | None = Field(
        None, gt=0, le=1, description="Nucleus sampling: the share of likely tokens to draw from."
    )
    max_tokens: int = Field(2048, ge=1, description="Tokens of one answer at most.")

    def suits(self, sample: Sample) -> bool:
        """One question whose final answer is known."""
        one = sum(m.role == "user" for m in sample.messages) == 1
        return super().suits(sample) and one and reference_of(sample, self.reference) is not None

    def steps(self, sample: Sample, rng: random.Random) -> Steps:
        """An outcome for each variant that the problem allows; one that is rejected where it allows none."""
        expected = reference_of(sample, self.reference)
        assert expected is not None
        problem = sample.instruction.strip()
        hidden = masked(problem)
        rng.shuffle(hidden)
        outcomes: list[Outcome] = []
        for kind in self.kinds:
            for number in range(self.repeats):
                if kind in ("answer", "rephrase"):
                    outcomes.append((yield from self._forward(sample, kind, problem, expected, number)))
                elif number < len(hidden):
                    outcomes.append((yield from self._backward(kind, problem, hidden[number], expected, number)))
        if not outcomes:
            detail = "it holds no number that can be asked for"
            return [Outcome(sample.messages, metadata={"kind": self.kinds[0]}, rejected_by="no-number", detail=detail)]
        return outcomes

    def _forward(
        self, sample: Sample, kind: Kind, problem: str, expected: str, number: int
    ) -> Generator[Call, Completion, Outcome]:
        metadata: dict[str, Any] = {"kind": kind, "expected_answer": expected}
        if kind == "answer":
            return (yield from self._solved(problem, expected, metadata, (), number, known=sample.response))
        call = self._call("rephrase", self.fill("maths_rephrase", problem=problem), number)
        completion = yield call
        text = (completion.text or "").strip()
        violation = unusable(text, completion.finish_reason)
        if violation is None and same_text(text, problem):
            violation = "same-as-seed", "the problem is worded as it was"
        if violation:
            turns = (Message("user", text or problem),)
            return Outcome(turns, (call,), metadata, rejected_by=violation[0], detail=violation[1])
        return (yield from self._solved(text, expected, metadata, (call,), number))

    def _backward(
        self, kind: Kind, problem: str, hidden: Masked, answer: str, number: int
    ) -> Generator[Call, Completion, Outcome]:
        metadata: dict[str, Any] = {"kind": kind, "expected_answer": hidden.value, "known_answer": answer}
        chinese = "_zh" if script_of(problem) == "Chinese" else ""
        if kind == "backward":
            text = self.fill(f"maths_backward{chinese}", problem=hidden.text, answer=answer, unknown=UNKNOWN)
            return (yield from self._solved(text, hidden.value, metadata, (), number))
        asked = self.fill("maths_statement", problem=hidden.text, answer=answer, unknown=UNKNOWN)
        call = self._call("statement", asked, number)
        completion = yield call
        statement = (completion.text or "").strip()
        violation = unusable(statement, completion.finish_reason)
        if violation is None and not re.search(rf"(?<![A-Za-z]){UNKNOWN}(?![A-Za-z])", statement):
            violation = "unknown-lost", f"the statement does not speak of {UNKNOWN}"
        if violation:
            turns = (Message("user", statement or hidden.text),)
            return Outcome(turns, (call,), metadata, rejected_by=violation[0], detail=violation[1])
        text = self.fill(f"maths_unknown{chinese}", statement=statement, unknown=UNKNOWN)
        return (yield from self._solved(text, hidden.value, metadata, (call,), number))

    def _solved(
        self,
        problem: str,
        expected: str,
        metadata: dict[str, Any],
        before: tuple[Call, ...],
        number: int,
        known: str = "",
    ) -> Generator[Call, Completion, Outcome]:
        call = self._call("answer", self.fill("maths_answer", problem=problem), number)
        completion = yield call
        text = (completion.text or "").strip()
        violation = unusable(text, completion.finish_reason)
        right, found = agrees(text, expected)
        if violation is None and not right:
            violation = "wrong-answer", f"{found if found is not None else 'no final answer'} instead of {expected}"
        if violation is None and known and same_text(text, known):
            violation = "same-as-seed", "the answer is the one the sample has already"
        rule, detail = violation or (None, None)
        turns = (Message("user", problem), Message("assistant", text))
        return Outcome(turns, (*before, call), {**metadata, "found": found}, rejected_by=rule, detail=detail)

    def _call(self, step: str, text: str, number: int) -> Call:
        parameters = {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens}
        return Call(step, ChatRequest((("user", text),), parameters, sample_index=number))


def masked(problem: str) -> list[Masked]:
    """The problem with one number at a time unknown, in the order of the numbers."""
    found = []
    for match in NUMBER.finditer(problem):
        start, end = match.span("value")
        found.append(Masked(f"{problem[:start]}{UNKNOWN}{problem[end:]}", match["value"].replace(",", "")))
    return found
