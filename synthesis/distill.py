"""Distillation: a teacher answers the instructions of the corpus."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from curation.language_models.models import ChatRequest, Completion
from curation.sample import Message, Sample
from curation.texts.final_answers import final_answer, same_answer
from synthesis.elimination import refusal, same_text, unusable
from synthesis.reach import REACH, REACH_MAX, REACH_MIN, check_band, within_reach
from synthesis.synthesizer import Call, Outcome, Steps, Synthesizer


class Distill(Synthesizer):
    """Answer each instruction with a teacher model, one or more times.

    The teacher sees the conversation up to its last answer, and the new sample is that conversation with the teacher's
    answer in place of it.

    Source: sequence-level distillation (Kim & Rush 2016, arXiv:1606.07947), as Alpaca and its successors apply it to
    instructions; the vote over final answers is self-consistency (Wang et al. 2022, arXiv:2203.11171).
    Differs from the source: the vote keeps the answers that agree, with their way there, where the source keeps the
    bare result; a tie keeps none. `reach` takes only what the student can't do yet.
    """

    name: ClassVar[str] = "distill"

    answers: int = Field(1, ge=1, le=64, description="Answers per instruction.")
    keep_reasoning: bool = Field(False, description="Keep what the teacher thought, apart from its answer.")
    keep: Literal["all", "majority", "one"] = Field(
        "all",
        description="Of several answers: all; those whose final answer most of them have; or the first of these",
    )
    temperature: float = Field(0.7, ge=0, le=2, description="Sampling temperature; 0 repeats itself.")
    top_p: float | None = Field(
        None, gt=0, le=1, description="Nucleus sampling: the share of likely tokens to draw from."
    )
    max_tokens: int = Field(2048, ge=1, description="Tokens of one answer at most.")
    reach: str | None = Field(None, description=REACH)
    reach_min: float | None = Field(None, description=REACH_MIN)
    reach_max: float | None = Field(None, description=REACH_MAX)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_band(self.reach, self.reach_min, self.reach_max)
        if self.keep != "all" and self.answers < 2:
            raise ValueError(f"keep={self.keep} is a vote: it needs 2 answers or more")
        return self

    @property
    def seed_condition(self) -> str:  # type: ignore[override]
        """SQL: an instruction, where the student is weak."""
        return within_reach(Synthesizer.seed_condition, self.reach, self.reach_min, self.reach_max)

    def suits(self, sample: Sample) -> bool:
        """No tools: the teacher has none to call."""
        return super().suits(sample) and sample.tools is None and all(m.role != "tool" for m in sample.messages)

    def steps(self, sample: Sample, rng: random.Random) -> Steps:
        """One outcome per answer."""
        asked = prompt_turns(sample)
        parameters = {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens}
        turns = tuple((m.role, m.content) for m in asked)
        calls = tuple(
            Call("answer", ChatRequest(turns, parameters, sample_index=index)) for index in range(self.answers)
        )
        completions: list[Completion] = yield calls
        made = zip(calls, completions, strict=True)
        outcomes = [self._outcome(sample, asked, call, completion) for call, completion in made]
        return outcomes if self.keep == "all" else _voted(outcomes, first_only=self.keep == "one")

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


def _voted(outcomes: list[Outcome], *, first_only: bool) -> list[Outcome]:
    """The outcomes, rejected where their final answer is not the one that most have.

    An answer that the sample has already is not kept, but it has a vote.
    """
    votes = [(place, o) for place, o in enumerate(outcomes) if o.rejected_by in (None, "same-as-seed")]
    voters = [(place, final_answer(o.messages[-1].content)) for place, o in votes]
    groups: list[tuple[str, list[int]]] = []
    for place, said in voters:
        group = next((places for value, places in groups if said is not None and same_answer(said, value)), None)
        if group is not None:
            group.append(place)
        elif said is not None:
            groups.append((said, [place]))
    groups.sort(key=lambda group: -len(group[1]))
    tied = len(groups) > 1 and len(groups[0][1]) == len(groups[1][1])
    won = groups[0] if groups and not tied else None
    kept = next((place for place in won[1] if outcomes[place].rejected_by is None), None) if won else None
    result = list(outcomes)
    for place, said in ((place, said) for place, said in voters if outcomes[place].rejected_by is None):
        result[place] = _after_vote(outcomes[place], said, won, place in (won or ("", []))[1], len(voters))
        if first_only and result[place].rejected_by is None and place != kept:
            seen = f"it agrees with answer {kept}, which is kept"
            result[place] = replace(outcomes[place], rejected_by="agrees-with-kept", detail=seen)
    return result


def _after_vote(
    outcome: Outcome, said: str | None, won: tuple[str, list[int]] | None, agrees: bool, voters: int
) -> Outcome:
    if won is None:
        return replace(outcome, rejected_by="no-majority", detail=f"{said!r}; no final answer has most of {voters}")
    value, places = won
    if not agrees:
        seen = f"{said!r}, and {len(places)} of {voters} say {value!r}"
        return replace(outcome, rejected_by="minority-answer", detail=seen)
    return replace(outcome, metadata={**outcome.metadata, "final_answer": value, "agreement": len(places) / voters})


def _violation(answer: str, finish_reason: str | None, known: str) -> tuple[str, str] | None:
    if broken := unusable(answer, finish_reason):
        return broken
    if refused := refusal(answer):
        return "refusal", refused
    if known.strip() and same_text(answer, known):
        return "same-as-seed", "the teacher's answer is the one the sample has already"
    return None
