"""Evol-Instruct: instructions made harder or rarer, answered, and thrown away where evolution failed."""

from __future__ import annotations

import random
import re
from collections.abc import Generator
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from curation.language_models.models import ChatRequest, Completion
from curation.operators import parted
from curation.sample import Message, Sample
from synthesis.elimination import EVOLUTION_RULES, first_violation, prompt_leak, same_text, unusable, word_count
from synthesis.prompting import Prompts
from synthesis.reach import REACH, REACH_MAX, REACH_MIN, check_band, within_reach
from synthesis.synthesizer import Call, Outcome, Steps, Synthesizer

Operation = Literal[
    "add_constraints", "deepen", "concretize", "increase_reasoning", "complicate_input", "in_breadth", "easier"
]
OPERATIONS: tuple[Operation, ...] = (
    "add_constraints",
    "deepen",
    "concretize",
    "increase_reasoning",
    "complicate_input",
    "in_breadth",
)
"""Those of the paper; `easier` is drawn only where it is named."""
INPUT_FORMATS = ("XML data", "a SQL database", "Python code", "an HTML page", "shell commands", "JSON data")
"""The kinds of input that the paper's complicate-input prompts show."""


class EvolInstruct(Synthesizer):
    """Rewrite instructions into harder or rarer ones, answer them, and eliminate failed evolutions.

    Source: WizardLM (Xu et al. 2023, arXiv:2304.12244), section 3 and appendix prompts; the three patterns of failed
    answers from Auto Evol-Instruct (Zeng et al. 2024, arXiv:2406.00770); evolution downwards (`easier`) from WizardMath
    (Luo et al. 2023, arXiv:2308.09583).
    Differs from the source: own wording of the prompts; complicate_input names the format instead of showing worked
    examples; an instruction whose evolution failed is evolved again in the next round of the same run, and answers cut
    off at the length limit are rejected; `reach` takes only instructions that are neither known to the student nor far
    beyond it. As in the paper the word limit stands in the prompt and is not checked.
    """

    name: ClassVar[str] = "evol-instruct"
    prompts: ClassVar[tuple[str, ...]] = ("in_depth", *OPERATIONS, "easier", "equality")

    rounds: int = Field(1, ge=1, le=10, description="Evolutions in a row; the paper makes 4.")
    operations: Annotated[tuple[Operation, ...], BeforeValidator(parted)] = Field(
        OPERATIONS,
        min_length=1,
        description="Drawn from with equal probability; name one twice to draw it twice as often. `easier` goes down.",
    )
    max_added_words: int = Field(20, ge=10, description="Words an in-depth evolution may add; the paper says 10 to 20.")
    judge_gain: bool = Field(True, description="Ask the model whether the evolved instruction differs (one more call).")
    temperature: float = Field(1.0, ge=0, le=2, description="Sampling temperature; 0 repeats itself.")
    top_p: float | None = Field(
        0.9, gt=0, le=1, description="Nucleus sampling: the share of likely tokens to draw from."
    )
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
        """SQL: an instruction, within reach."""
        return within_reach(Synthesizer.seed_condition, self.reach, self.reach_min, self.reach_max)

    def suits(self, sample: Sample) -> bool:
        """One instruction in one turn: a conversation can't be evolved as one."""
        return super().suits(sample) and sum(m.role == "user" for m in sample.messages) == 1

    def steps(self, sample: Sample, rng: random.Random) -> Steps:
        """One outcome per round; a rejected one leaves the instruction as it was."""
        current, outcomes = sample.instruction.strip(), []
        for number in range(1, self.rounds + 1):
            outcome = yield from self._round(sample, current, number, rng)
            outcomes.append(outcome)
            if outcome.rejected_by is None:
                current = next(m.content for m in outcome.messages if m.role == "user")
        return outcomes

    def _round(
        self, sample: Sample, current: str, number: int, rng: random.Random
    ) -> Generator[Call, Completion, Outcome]:
        operation = rng.choice(self.operations)
        system = tuple(m for m in sample.messages if m.role == "system")
        metadata: dict[str, Any] = {"operation": operation, "round": number}
        metadata |= {"given": current} if current != sample.instruction.strip() else {}
        calls = [
            Call(
                "evolve", self._request(evolving(self._prompts, operation, current, self.max_added_words, rng), number)
            )
        ]
        completion = yield calls[0]
        evolved = evolved_text(completion.text or "")
        turns = (*system, Message("user", evolved))
        metadata["added_words"] = word_count(evolved) - word_count(current)

        def outcome(violation: tuple[str, str] | None = None) -> Outcome:
            rule, detail = violation or (None, None)
            return Outcome(turns, tuple(calls), metadata, rejected_by=rule, detail=detail)

        if violation := self._failed(evolved, current, completion):
            return outcome(violation)
        if self.judge_gain:
            calls.append(Call("judge", self._verdict_request(current, evolved), role="judge"))
            said = (yield calls[-1]).text or ""
            metadata["verdict"] = verdict(said)
            metadata |= {"verdict_said": said} if metadata["verdict"] == "unclear" else {}
            if metadata["verdict"] == "equal":
                return outcome(("no-information-gain", "judged equal to the instruction it came from"))
        calls.append(Call("answer", self._answer_request(turns, number)))
        completion = yield calls[-1]
        turns = (*turns, Message("assistant", completion.text or ""))
        answer = completion.text or ""
        return outcome(unusable(answer, completion.finish_reason) or first_violation(answer, EVOLUTION_RULES))

    def _failed(self, evolved: str, current: str, completion: Completion) -> tuple[str, str] | None:
        """What is wrong with the evolved instruction, before anybody is asked."""
        if violation := unusable(evolved, completion.finish_reason):
            return violation
        if leak := prompt_leak(evolved, current):
            return "prompt-leak", leak
        return ("no-information-gain", "the same text") if same_text(evolved, current) else None

    def _request(self, text: str, number: int) -> ChatRequest:
        return self._answer_request((Message("user", text),), number)

    def _answer_request(self, turns: tuple[Message, ...], number: int) -> ChatRequest:
        """The round is the sample index: a failed evolution that is drawn again gets another answer, not the same."""
        parameters = {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens}
        return ChatRequest(tuple((m.role, m.content) for m in turns), parameters, sample_index=number - 1)

    def _verdict_request(self, first: str, second: str) -> ChatRequest:
        text = self.fill("equality", first=first, second=second)
        return ChatRequest((("user", text),), {"temperature": 0.0, "max_tokens": self.max_tokens})


def evolving(prompts: Prompts, operation: Operation, instruction: str, max_added_words: int, rng: random.Random) -> str:
    """The prompt that evolves an instruction."""
    if operation in ("in_breadth", "easier"):
        return prompts.fill(operation, instruction=instruction)
    how = prompts.fill(operation, input_format=rng.choice(INPUT_FORMATS))
    return prompts.fill("in_depth", operation=how, max_added_words=max_added_words, instruction=instruction)


def evolved_text(reply: str) -> str:
    """The evolved instruction in a reply, without a repeated heading or quotation marks around the whole."""
    text = re.sub(r"^\s*#?\s*(?:Rewritten|Created) Instruction\s*#?\s*:?\s*\n", "", reply, flags=re.IGNORECASE).strip()
    quoted = re.fullmatch(r'"([^"]+)"|“([^“”]+)”|「([^「」]+)」', text)
    return next((part for part in quoted.groups() if part), text).strip() if quoted else text


def verdict(reply: str) -> Literal["equal", "not equal", "unclear"]:
    """What a judge said, in English or Chinese; what says neither is unclear, and eliminates nothing."""
    text = re.sub(r"[\W_]+", " ", reply).strip().lower()
    if re.search(r"\b(?:not|un) ?equal\b|不相等|不相同|不同|不等", text):
        return "not equal"
    return "equal" if re.search(r"\bequal\b|相等|相同|等同", text) else "unclear"
