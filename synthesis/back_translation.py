"""Instruction back-translation: the instruction that a known text would answer."""

from __future__ import annotations

import random
import re
from collections.abc import Generator
from typing import Any, ClassVar

from pydantic import Field

from curation.language_models.judging import score_in
from curation.language_models.models import ChatRequest, Completion
from curation.sample import Message, Sample
from synthesis.elimination import same_text, unusable
from synthesis.evol_instruct import evolved_text
from synthesis.synthesizer import Call, Outcome, Steps, Synthesizer

LOWEST, HIGHEST = 1, 5
_HEADING = re.compile(
    r"^[\s#*_]*(?:Instruction|Prompt|Question|指令|提示|问题)[ \t#*_]*(?:[:：][ \t*_]*|\n)\s*", re.IGNORECASE
)


class BackTranslation(Synthesizer):
    """Guess the instruction to an answer or a document, and keep the pair where the judge calls it perfect.

    The text stays as it is: it was written by a person, or it is an answer whose own instruction is poor or lost.

    Source: instruction backtranslation (Li et al. 2023, Self-Alignment with Instruction Backtranslation,
    arXiv:2308.06259): candidates are scored 1 to 5, and those with 5 are kept.
    Differs from the source: a chat model is prompted where the source trains a backward model on seed pairs, and the
    run's judge scores, once, in place of two iterations of the trained model. Own wording of both prompts.
    """

    name: ClassVar[str] = "back-translation"
    prompts: ClassVar[tuple[str, ...]] = ("back_translate", "back_translate_curate")
    seed_condition: ClassVar[str] = "response <> ''"

    instructions: int = Field(1, ge=1, le=16, description="Instructions to guess for each text.")
    min_score: float = Field(5, ge=LOWEST, le=HIGHEST, description="Lowest score, of 1 to 5, that is kept.")
    max_characters: int = Field(12_000, ge=1, description="Longer texts are no seed samples.")
    temperature: float = Field(0.7, ge=0, le=2, description="Sampling temperature of instructions.")
    top_p: float | None = Field(0.9, gt=0, le=1, description="Nucleus sampling of instructions.")
    max_tokens: int = Field(1024, ge=1, description="Tokens of an instruction, and of a verdict, at most.")

    def suits(self, sample: Sample) -> bool:
        """One answer or document, not too long; it may have an instruction."""
        answers = [m for m in sample.messages if m.role == "assistant"]
        alone = len(answers) == 1 and all(m.role in ("system", "user", "assistant") for m in sample.messages)
        return alone and 0 < len(sample.response.strip()) <= self.max_characters

    def steps(self, sample: Sample, rng: random.Random) -> Steps:
        """One outcome per instruction."""
        text = self.fill("back_translate", text=sample.response.strip())
        parameters = {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens}
        calls = tuple(
            Call("instruction", ChatRequest((("user", text),), parameters, sample_index=index))
            for index in range(self.instructions)
        )
        completions: list[Completion] = yield calls
        outcomes = []
        for call, completion in zip(calls, completions, strict=True):
            outcomes.append((yield from self._curated(sample, call, completion)))
        return outcomes

    def _curated(self, sample: Sample, call: Call, completion: Completion) -> Generator[Call, Completion, Outcome]:
        instruction = instruction_in(completion.text or "")
        answer = Message("assistant", sample.response)
        turns = (Message("user", instruction), answer)
        metadata: dict[str, Any] = {"candidate": call.request.sample_index}
        if sample.instruction.strip():
            metadata["known_instruction"] = sample.instruction
        fault = unusable(instruction, completion.finish_reason)
        if fault is None and same_text(instruction, sample.response):
            fault = "copies-text", "the instruction is the text itself"
        if fault is None and len(sample.response) > 40 and sample.response.strip() in instruction:
            fault = "copies-text", "the instruction holds the whole text"
        if fault is not None:
            return Outcome(turns, (call,), metadata, rejected_by=fault[0], detail=fault[1])
        asked = self.fill("back_translate_curate", instruction=instruction, answer=sample.response.strip())
        parameters = {"temperature": 0.0, "max_tokens": self.max_tokens}
        verdict = Call("curate", ChatRequest((("user", asked),), parameters), role="judge")
        said = (yield verdict).text or ""
        score = score_in(said, LOWEST, HIGHEST)
        metadata |= {"score": score, "said": said}
        calls = (call, verdict)
        if score is None:
            seen = f"no score from {LOWEST} to {HIGHEST} in {said[:200]!r}"
            return Outcome(turns, calls, metadata, rejected_by="curation-unreadable", detail=seen)
        if score < self.min_score:
            seen = f"scored {score:g}, below {self.min_score:g}"
            return Outcome(turns, calls, metadata, rejected_by="self-curation", detail=seen)
        return Outcome(turns, calls, metadata)


def instruction_in(reply: str) -> str:
    """The instruction in a reply, without a heading or quotation marks around the whole."""
    return evolved_text(_HEADING.sub("", reply, count=1))
