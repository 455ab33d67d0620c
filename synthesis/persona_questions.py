"""Questions that somebody would ask: each persona has its own."""

from __future__ import annotations

import random
from collections.abc import Generator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from curation.language_models.models import ChatRequest, Completion
from curation.operators import parted
from curation.sample import Message, Sample
from synthesis.elimination import first_violation, refusal, unusable
from synthesis.reply_parts import Names, whole_text
from synthesis.seed_files import own_seed, shuffled, texts_in
from synthesis.synthesizer import Call, Outcome, Steps, Synthesizer

Kind = Literal["instruction", "maths", "knowledge"]
KINDS: tuple[Kind, ...] = ("instruction", "maths", "knowledge")
QUESTION: Names = {
    "question": ("question", "problem", "instruction", "prompt", "request", "问题", "题目", "指令", "请求"),
}
PERSONA: Names = {"persona": ("persona", "人物", "人物设定", "角色")}


class PersonaQuestions(Synthesizer):
    """Let personas ask: a request, a maths problem or a question of their field, and answer it.

    Personas come from a file; without one the model reads each sample of the corpus and says who would write or need
    such a text.

    Source: Persona Hub (Ge et al. 2024, arXiv:2406.20094): text to persona, and its templates for instructions, maths
    problems (challenging, at most two sub-problems) and knowledge.
    Differs from the source: own prompts; its knowledge texts are answers here, to a question that the persona is asked;
    each question is answered by the same model.
    """

    name: ClassVar[str] = "persona-questions"
    prompts: ClassVar[tuple[str, ...]] = (
        *("persona_of_text", "persona_instruction", "persona_maths", "persona_knowledge"),
    )

    personas: Path | None = Field(None, description="File with a persona a line (or JSON); from the corpus if empty.")
    field: str = Field("persona", min_length=1, description="Name of the personas in JSON.")
    kinds: Annotated[tuple[Kind, ...], BeforeValidator(parted)] = Field(
        ("instruction",), min_length=1, description="What each persona asks: instruction, maths, knowledge."
    )
    temperature: float = Field(0.7, ge=0, le=2, description="Sampling temperature; 0 repeats itself.")
    top_p: float | None = Field(
        None, gt=0, le=1, description="Nucleus sampling: the share of likely tokens to draw from."
    )
    max_tokens: int = Field(2048, ge=1, description="Tokens of one answer at most.")

    def own_seeds(self, limit: int | None, seed: int) -> list[Sample] | None:
        """The personas of the file."""
        if self.personas is None:
            return None
        texts = texts_in(self.personas, self.field)
        return shuffled([own_seed(text, persona=text) for text in texts], seed)[:limit]

    def steps(self, sample: Sample, rng: random.Random) -> Steps:
        """An outcome for each kind."""
        persona, made = sample.metadata.get("persona") if self.personas else None, []
        if persona is None:
            text = f"{sample.instruction}\n\n{sample.response}".strip()
            made = [self._call("persona", self.fill("persona_of_text", text=text))]
            completion: Completion = yield made[0]
            reply = completion.text or ""
            persona = whole_text(reply, PERSONA)
            if violation := unusable(persona, completion.finish_reason):
                turns = (Message("user", text),)
                return [Outcome(turns, tuple(made), rejected_by=violation[0], detail=violation[1])]
        outcomes = []
        for kind in self.kinds:
            outcomes.append((yield from self._asked(kind, persona, tuple(made))))
        return outcomes

    def _asked(self, kind: Kind, persona: str, before: tuple[Call, ...]) -> Generator[Call, Completion, Outcome]:
        metadata: dict[str, Any] = {"persona": persona, "kind": kind}
        asking = self._call("question", self.fill(f"persona_{kind}", persona=persona))
        completion = yield asking
        reply = completion.text or ""
        question = whole_text(reply, QUESTION)
        turns: tuple[Message, ...] = (Message("user", question),)
        if violation := unusable(question, completion.finish_reason) or first_violation(
            question, (("refusal", refusal),)
        ):
            return Outcome(turns, (*before, asking), metadata, rejected_by=violation[0], detail=violation[1])
        answering = self._call("answer", question)
        completion = yield answering
        answer = completion.text or ""
        violation = unusable(answer, completion.finish_reason) or first_violation(answer, (("refusal", refusal),))
        rule, detail = violation or (None, None)
        turns = (*turns, Message("assistant", answer))
        return Outcome(turns, (*before, asking, answering), metadata, rejected_by=rule, detail=detail)

    def _call(self, step: str, text: str) -> Call:
        parameters = {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens}
        return Call(step, ChatRequest((("user", text),), parameters))
