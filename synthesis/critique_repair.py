"""Answers criticised and written anew, kept where they are better for it."""

from __future__ import annotations

import random
import re
from collections.abc import Generator
from dataclasses import replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from curation.language_models.models import ChatRequest, Completion
from curation.sample import Message, Sample
from synthesis.candidates import Candidate, conversation, preferred, verifiable, verified
from synthesis.distill import prompt_turns
from synthesis.elimination import refusal, same_text, unusable
from synthesis.reply_parts import Names, better_of_two, whole_text
from synthesis.synthesizer import Call, Outcome, Steps, Synthesizer

ANSWER: Names = {
    "answer": ("improved answer", "revised answer", "new answer", "改进后的回答", "修改后的回答", "新的回答"),
}
_NOTHING = re.compile(
    r"(?i)^\W*(?:no (?:fault|issue|problem|flaw)s?\b|none\b|nothing to (?:fix|repair|improve)|"
    r"没有(?:问题|缺点|错误|需要修改)|无(?:问题|缺点|误)|无需修改)"
)


class CritiqueRepair(Synthesizer):
    """Criticise the sample's answer, write it anew by the critique, keep that only where it is better.

    Where the metadata has tests or a final answer, these decide: an answer that was right is
    left, and a repaired one has to be right. Elsewhere the judge compares both answers twice, in both orders, and has
    to prefer the new one without contradicting itself.

    Source: Self-Refine (Madaan et al. 2023, arXiv:2303.17651), feedback and refinement; reflection on the response of
    Selective Reflection-Tuning (Li et al. 2024, arXiv:2402.10110); repair by tests as in Self-Debug (Chen et al. 2023,
    arXiv:2304.05128); both orders against a judge's bias as in MT-Bench (Zheng et al. 2023, arXiv:2306.05685).
    Differs from the source: own prompts; one round; the gate is a pairwise judgement, not IFD.
    """

    name: ClassVar[str] = "critique-repair"
    runs_code: ClassVar[bool] = True
    prompts: ClassVar[tuple[str, ...]] = ("critique", "rewrite", "compare_answers")
    seed_condition: ClassVar[str] = "instruction <> '' AND response <> ''"

    as_pair: bool = Field(False, description="Make a preference pair: the new answer chosen, the old one rejected.")
    verify: bool = Field(True, description="Let tests or a final answer decide where the sample has them.")
    seconds: float = Field(5.0, gt=0, le=120, description="Seconds that code may run.")
    temperature: float = Field(0.7, ge=0, le=2, description="Sampling temperature; 0 repeats itself.")
    max_tokens: int = Field(2048, ge=1, description="Tokens of one answer at most.")

    def suits(self, sample: Sample) -> bool:
        """An answer to a question, at the end, without tools."""
        ends = bool(sample.messages) and sample.messages[-1].role == "assistant"
        return super().suits(sample) and ends and sample.tools is None and bool(sample.response.strip())

    def steps(self, sample: Sample, rng: random.Random) -> Steps:
        """One outcome."""
        old = Candidate(sample.response, "seed")
        checks = self.verify and verifiable(sample, own=False)
        metadata: dict[str, Any] = {}
        if checks:
            [old] = verified(sample, [old], seconds=self.seconds)
            metadata["was_right"] = old.right
            if old.right:
                return [_left(sample, (), metadata, "nothing-to-repair", "the answer passes its check already")]
        question = conversation(prompt_turns(sample))
        found = f"A program checked the answer: {old.finding}" if old.right is False and old.finding else "-"
        calls = [self._call("critique", self.fill("critique", question=question, answer=old.text, finding=found))]
        completion: Completion = yield calls[0]
        critique = (completion.text or "").strip()
        metadata["critique"] = critique
        if violation := unusable(critique, completion.finish_reason):
            return [_left(sample, tuple(calls), metadata, *violation)]
        if _NOTHING.search(critique) and len(critique) < 200:
            return [_left(sample, tuple(calls), metadata, "nothing-to-repair", "the critique names no fault")]
        calls.append(self._call("rewrite", self.fill("rewrite", question=question, answer=old.text, critique=critique)))
        completion = yield calls[-1]
        new = self._rewritten(completion, calls[-1])
        outcome = self._outcome(sample, old, new, calls, metadata)
        if outcome.rejected_by:
            return [outcome]
        if checks and old.right is not None:
            [new] = verified(sample, [new], seconds=self.seconds)
            if new.right:
                return [outcome]
            return [replace(outcome, rejected_by="still-wrong", detail=new.finding or "it can't be checked")]
        return [(yield from self._compared(question, old, new, outcome))]

    def _rewritten(self, completion: Completion, call: Call) -> Candidate:
        text = whole_text(completion.text or "", ANSWER)
        fault = unusable(text, completion.finish_reason)
        rule, detail = fault or (None, None)
        return Candidate(text, "rewritten", call, fault=rule, finding=detail)

    def _outcome(
        self, sample: Sample, old: Candidate, new: Candidate, calls: list[Call], metadata: dict[str, Any]
    ) -> Outcome:
        violation = (new.fault, new.finding or "") if new.fault else None
        if violation is None and (refused := refusal(new.text)):
            violation = "refusal", refused
        if violation is None and same_text(new.text, old.text):
            violation = "same-as-seed", "the new answer is the old one"
        if self.as_pair:
            return preferred(sample, new, old, calls, metadata, violation)
        rule, detail = violation or (None, None)
        return Outcome((*prompt_turns(sample), new.turn), tuple(calls), metadata, rejected_by=rule, detail=detail)

    def _compared(
        self, question: str, old: Candidate, new: Candidate, outcome: Outcome
    ) -> Generator[Call | tuple[Call, ...], Any, Outcome]:
        orders = ((old.text, new.text), (new.text, old.text))
        calls = tuple(
            Call(f"compare {n}", self._comparing(question, first, second), "judge")
            for n, (first, second) in enumerate(orders, 1)
        )
        completions: list[Completion] = yield calls
        texts = [completion.text or "" for completion in completions]
        won = [_for_new(better_of_two(text), side) for text, side in zip(texts, ("second", "first"), strict=True)]
        metadata = {**outcome.metadata, "judgements": texts, "prefers_new": won}
        judged = replace(outcome, calls=(*outcome.calls, *calls), metadata=metadata)
        if won == [True, True]:
            return judged
        if None in won:
            return replace(judged, rejected_by="unclear-verdict", detail="the judge names neither answer")
        times = sum(one is True for one in won)
        return replace(judged, rejected_by="not-preferred", detail=f"preferred in {times} of both orders")

    def _comparing(self, question: str, first: str, second: str) -> ChatRequest:
        text = self.fill("compare_answers", question=question, first=first, second=second)
        return ChatRequest((("user", text),), {"temperature": 0.0, "max_tokens": self.max_tokens})

    def _call(self, step: str, text: str) -> Call:
        return Call(
            step, ChatRequest((("user", text),), {"temperature": self.temperature, "max_tokens": self.max_tokens})
        )


def _for_new(better: Literal["first", "second", "tie"] | None, side: str) -> bool | None:
    """Whether a judgement is for the new answer, which was shown at this side; null where it can't be read."""
    return None if better is None else better == side


def _left(sample: Sample, calls: tuple[Call, ...], metadata: dict[str, Any], rule: str, why: str) -> Outcome:
    turns: tuple[Message, ...] = (*prompt_turns(sample), Message("assistant", sample.response))
    return Outcome(turns, calls, metadata, rejected_by=rule, detail=why)
