"""Preference pairs by contrast: one question, answered by a good principle and by a bad one."""

from __future__ import annotations

import random
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from curation.language_models.models import ChatRequest, Completion
from curation.operators import parted
from curation.sample import Message, Sample
from synthesis.candidates import candidate, no_pair, preferred
from synthesis.distill import prompt_turns
from synthesis.elimination import refusal
from synthesis.reply_parts import better_of_two
from synthesis.synthesizer import Call, Steps, Synthesizer

PRINCIPLES = {
    "helpful": (
        "do everything that is asked, get the facts right, and explain as much as the person needs",
        "stay vague, miss a part of what is asked, and pad the rest with commonplaces",
    ),
    "honest": (
        "say only what is true, and say openly what is uncertain or not known",
        "sound sure of everything, and mix in claims that are invented or wrong",
    ),
    "harmless": (
        "be kind and careful: protect the person and others from harm, and say why where you hold something back",
        "be careless about harm: encourage what is risky and speak of people without respect",
    ),
    "concise": (
        "come to the point at once and say nothing twice",
        "ramble: repeat yourself, digress, and bury the point",
    ),
}
"""Name -> how the chosen and how the rejected answer is to be."""


class ContrastPairs(Synthesizer):
    """Answer each question by a good and by a bad principle; the first answer is chosen, the second rejected.

    The pair holds the question as it was: the principles stand in none of its turns. Which pair of principles is used
    is drawn for each sample.

    Source: RLCD (Yang et al. 2023, arXiv:2307.12950): contrastive prompts, no scoring afterwards.
    Differs from the source: own principles, in a system turn instead of words put into the assistant's mouth; refusals
    and equal answers are rejected; a judge may look at the pair as well (`judge_pair`).
    """

    name: ClassVar[str] = "contrast-pairs"
    prompts: ClassVar[tuple[str, ...]] = ("contrast", "compare_answers")

    principles: Annotated[tuple[str, ...], BeforeValidator(parted)] = Field(
        ("helpful",), min_length=1, description=f"Drawn from: {', '.join(PRINCIPLES)}."
    )
    good: str = Field("", description="A principle of your own for the chosen answer, instead of the named ones.")
    bad: str = Field("", description="A principle of your own for the rejected answer.")
    judge_pair: bool = Field(False, description="Keep the pair only if the judge, in a drawn order, prefers it so.")
    temperature: float = Field(0.8, ge=0, le=2, description="Sampling temperature; 0 repeats itself.")
    max_tokens: int = Field(2048, ge=1, description="Tokens of one answer at most.")

    def model_post_init(self, context: object) -> None:
        """Check the names.

        Raises:
            OperatorError: a principle is not known, or one of its own two is missing.
        """
        from curation.errors import OperatorError, unknown

        for name in self.principles:
            if name not in PRINCIPLES:
                raise unknown("principle", name, PRINCIPLES)
        if bool(self.good) != bool(self.bad):
            raise OperatorError("good and bad go together.", fix="give both --set good=... and --set bad=...")

    def suits(self, sample: Sample) -> bool:
        """No tools: the model has none to call."""
        return super().suits(sample) and sample.tools is None and all(m.role != "tool" for m in sample.messages)

    def steps(self, sample: Sample, rng: random.Random) -> Steps:
        """One outcome."""
        name = rng.choice(self.principles)
        good, bad = (self.good, self.bad) if self.good else PRINCIPLES[name]
        asked = prompt_turns(sample)
        calls = tuple(self._call(step, asked, how) for step, how in (("good", good), ("bad", bad)))
        completions: list[Completion] = yield calls
        chosen, rejected = (candidate(call, one) for call, one in zip(calls, completions, strict=True))
        metadata = {"principle": "own" if self.good else name, "good": good, "bad": bad}
        for one in (chosen, rejected):
            if rule := one.fault or ("refusal" if refusal(one.text) else None):
                return [no_pair(sample, [chosen], calls, metadata, rule, f"the answer by the {one.origin} principle")]
        outcome = preferred(sample, chosen, rejected, calls, metadata)
        if outcome.rejected_by or not self.judge_pair:
            return [outcome]
        first_is_chosen = rng.random() < 0.5
        texts = (chosen.text, rejected.text) if first_is_chosen else (rejected.text, chosen.text)
        judging = self._judging(sample, *texts)
        said = (yield judging).text or ""
        better = better_of_two(said)
        metadata["judgement"] = said
        violation = None
        if better is None:
            violation = "unclear-verdict", "the judge names neither answer"
        elif better != ("first" if first_is_chosen else "second"):
            violation = "not-preferred", "the judge does not prefer the answer by the good principle"
        return [preferred(sample, chosen, rejected, (*calls, judging), metadata, violation)]

    def _call(self, step: str, asked: tuple[Message, ...], how: str) -> Call:
        """The question behind a system turn that says how to answer; the sample's own system turn stays in it."""
        own = "\n\n".join(turn.content for turn in asked if turn.role == "system")
        system = "\n\n".join(part for part in (own, self.fill("contrast", principle=how)) if part)
        turns = (("system", system), *((m.role, m.content) for m in asked if m.role != "system"))
        return Call(step, ChatRequest(turns, {"temperature": self.temperature, "max_tokens": self.max_tokens}))

    def _judging(self, sample: Sample, first: str, second: str) -> Call:
        text = self.fill("compare_answers", question=sample.instruction, first=first, second=second)
        request = ChatRequest((("user", text),), {"temperature": 0.0, "max_tokens": self.max_tokens})
        return Call("compare", request, role="judge")
