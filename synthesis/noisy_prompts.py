"""Noisy prompts: the same instruction as people type it, with the answer that it had."""

from __future__ import annotations

import random
from collections.abc import Generator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from curation.language_models.models import ChatRequest, Completion
from curation.operators import parted
from curation.sample import Message, Sample
from synthesis.elimination import prompt_leak, unusable
from synthesis.evol_instruct import evolved_text, verdict
from synthesis.synthesizer import Call, Outcome, Steps, Synthesizer
from synthesis.typing_noise import KEPT, KINDS, noisy

Way = Literal["typos", "keyboard", "punctuation", "case", "mixed", "written"]
WRITTEN = (
    "short, without greetings and full sentences",
    "with spelling mistakes, letters left out and no punctuation",
    "all in one breath, the way one speaks",
    "with a few words of the other language, English in Chinese and Chinese in English",
)
"""How the model is to write; drawn at random."""


class NoisyPrompts(Synthesizer):
    """Put slips of typing into the last instruction and keep the answer, so that a model learns not to mind them.

    Most ways work by rule and call no model. `written` has the model write the instruction as somebody in a hurry
    would, and the judge must find that it still asks for the same. Code, quotations, formulas, addresses and words with
    digits are never touched.

    Source: noise in training instructions as in Alajrami, Tan & Aletras 2025 (arXiv:2510.03528); kinds of slips after
    PromptBench (Zhu et al. 2023, arXiv:2306.04528).
    Differs from the source: slips of typing and of Chinese input methods, where the first one deletes and shuffles
    words; answers stay those of the clean instruction.
    """

    name: ClassVar[str] = "noisy-prompts"
    prompts: ClassVar[tuple[str, ...]] = ("noisy_prompt", "equality")
    seed_condition: ClassVar[str] = "instruction <> '' AND response <> ''"

    ways: Annotated[tuple[Way, ...], BeforeValidator(parted)] = Field(
        KINDS,
        min_length=1,
        description="Kinds of slips, of which each variant has one that changes something. `written` asks the model.",
    )
    variants: int = Field(1, ge=1, le=6, description="Variants of each seed sample, each in another way.")
    strength: float = Field(0.1, gt=0, le=1, description="Share of the words that slip; at least one does.")
    temperature: float = Field(1.0, ge=0, le=2, description="Sampling temperature of `written`.")
    max_tokens: int = Field(1024, ge=1, description="Tokens of what the model writes at most.")

    def suits(self, sample: Sample) -> bool:
        """An instruction with its answer."""
        last_two = [m.role for m in sample.messages[-2:]]
        return super().suits(sample) and last_two == ["user", "assistant"] and bool(sample.response.strip())

    def steps(self, sample: Sample, rng: random.Random) -> Steps:
        """One outcome per variant."""
        given = sample.messages[-2].content
        outcomes: list[Outcome] = []
        for way in rng.sample(self.ways, len(self.ways)):
            if len(outcomes) == self.variants:
                break
            if way == "written":
                outcomes.append((yield from self._written(sample, rng)))
            elif (text := noisy(given, way, self.strength, rng)) != given:
                outcomes.append(_outcome(sample, text, {"way": way}, (), None))
        fault = "unchanged", f"nothing in it can slip by {', '.join(self.ways)}"
        return outcomes or [_outcome(sample, given, {}, (), fault)]

    def _written(self, sample: Sample, rng: random.Random) -> Generator[Call, Completion, Outcome]:
        given, how = sample.messages[-2].content, rng.choice(WRITTEN)
        asked = self.fill("noisy_prompt", how=how, instruction=given)
        parameters = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        calls = [Call("write", ChatRequest((("user", asked),), parameters))]
        completion = yield calls[0]
        text = evolved_text(completion.text or "")
        metadata: dict[str, Any] = {"way": "written", "how": how}
        if fault := self._fault(text, given, completion):
            return _outcome(sample, text, metadata, tuple(calls), fault)
        question = self.fill("equality", first=given, second=text)
        parameters = {"temperature": 0.0, "max_tokens": self.max_tokens}
        calls.append(Call("judge", ChatRequest((("user", question),), parameters), role="judge"))
        said = (yield calls[1]).text or ""
        metadata |= {"verdict": verdict(said), "verdict_said": said}
        fault = None if metadata["verdict"] == "equal" else ("meaning-changed", f"the judge said {said[:100]!r}")
        return _outcome(sample, text, metadata, tuple(calls), fault)

    def _fault(self, text: str, given: str, completion: Completion) -> tuple[str, str] | None:
        if broken := unusable(text, completion.finish_reason):
            return broken
        if leak := prompt_leak(text, given):
            return "prompt-leak", leak
        lost = next(
            (kept.group() for kept in KEPT.finditer(given) if kept.group().strip(".,?!。，？！") not in text), None
        )
        if lost is not None:
            return "meaning-changed", f"{lost[:60]!r} is not in it"
        return ("unchanged", "the same text") if text == given.strip() else None


def _outcome(
    sample: Sample, text: str, metadata: dict[str, Any], calls: tuple[Call, ...], fault: tuple[str, str] | None
) -> Outcome:
    turns = (*sample.messages[:-2], Message("user", text), sample.messages[-1])
    rule, seen = fault or (None, None)
    return Outcome(turns, calls, metadata, rejected_by=rule, detail=seen)
