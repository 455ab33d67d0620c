"""Magpie: an aligned model, shown where a user's turn begins and nothing else, writes what users ask."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field

from curation.language_models.models import ChatRequest, Completion
from curation.operators import parted
from curation.sample import Message, Sample
from synthesis.chat_templates import Family, Opening, opening_from, opening_of
from synthesis.elimination import refusal, unusable, word_count
from synthesis.known_texts import Objection
from synthesis.shards import OWN_SEED
from synthesis.synthesizer import Call, Outcome, Steps, Synthesizer

Domain = Literal["general", "mathematics", "code", "translation", "reasoning", "writing", "chinese"]
DOMAINS: tuple[Domain, ...] = get_args(Domain)
RUN = 1_000_000
"""Sample indices of one random seed: runs with another ask for other instructions."""
_ROLE = re.compile(
    r"\s*(?:<\|?)?\b(?:assistant|Assistant)\b(?:\|?>)?\s*[:：\n].*\Z|\s*(?<=[.?!。？！])assistant\s*\Z", re.DOTALL
)
_MARKS = re.compile(r"<\|[^|<>\s]{1,40}\|>|<｜[^｜\n]{1,40}｜>|</?(?:start|end)_of_turn>|\[/?INST\]|</?think>")


class Magpie(Synthesizer):
    """Let an instruction-tuned model write instructions from its chat template alone, then answer them.

    No seed sample is needed: the prompt is what stands before a user's first turn, sent raw to Completions, so that the
    endpoint must offer these (vLLM does; most paid ones don't). System turns steer the domain and are not kept.

    Source: Magpie (Xu et al. 2024, arXiv:2406.08464) and its repository: temperature 1, top-p 1 and a stop at the first
    line break for instructions; greedy answers.
    Differs from the source: the beginning of the prompt comes from the tokenizer's own chat template where a folder is
    given; own system turns; an instruction that ends with a colon or holds marks of the template is rejected at once,
    and a model that goes on with the answer's turn is cut there. Tags and rewards are the scorers' business.
    """

    name: ClassVar[str] = "magpie"
    prompts: ClassVar[tuple[str, ...]] = tuple(f"magpie_{domain}" for domain in DOMAINS)

    instructions: int = Field(100, ge=1, lt=RUN, description="Instructions to ask for, where no limit is given.")
    family: Family = Field("chatml", description="Chat format of the model; Qwen3 and many others are chatml.")
    tokenizer: Path | None = Field(
        None, description="Folder of the model or its tokenizer, whose chat template then counts instead of the family."
    )
    domains: Annotated[tuple[Domain, ...], BeforeValidator(parted)] = Field(
        (), description="System turns that steer what is asked, in turn; empty: none. `chinese` asks in Chinese."
    )
    one_line: bool = Field(True, description="Stop an instruction at its first line break, as the source does.")
    min_words: int = Field(3, ge=1, description="Words of an instruction at least; a Chinese character is one.")
    temperature: float = Field(1.0, ge=0, le=2, description="Sampling temperature of instructions.")
    top_p: float | None = Field(1.0, gt=0, le=1, description="Nucleus sampling of instructions.")
    answer_temperature: float = Field(0.0, ge=0, le=2, description="Sampling temperature of answers.")
    max_tokens: int = Field(2048, ge=1, description="Tokens of an instruction, and of an answer, at most.")

    def own_seeds(self, limit: int | None, seed: int) -> list[Sample] | None:
        """Numbered beginnings; of several domains each in turn."""
        count = self.instructions if limit is None else limit
        return [self._beginning(number, seed) for number in range(count)]

    def steps(self, sample: Sample, rng: random.Random) -> Steps:
        """One outcome."""
        domain, index = sample.metadata.get("domain"), int(sample.metadata["index"])
        opening = self.opening(domain)
        metadata: dict[str, Any] = {"opening": opening.text} | ({"domain": domain} if domain else {})
        calls = [Call("instruction", self._instruction_request(opening, index))]
        completion: Completion = yield calls[0]
        instruction = cleaned(completion.text or "")
        turns: tuple[Message, ...] = (Message("user", instruction),)
        if objection := self._fault(instruction, completion):
            return [Outcome(turns, tuple(calls), metadata, rejected_by=objection[0], detail=objection[1])]
        parameters = {"temperature": self.answer_temperature, "top_p": 1.0, "max_tokens": self.max_tokens}
        calls.append(Call("answer", ChatRequest((("user", instruction),), parameters)))
        completion = yield calls[1]
        answer = completion.text or ""
        refused = refusal(answer)
        objection = unusable(answer, completion.finish_reason) or (("refusal", refused) if refused else None)
        rule, seen = objection or (None, None)
        turns = (*turns, Message("assistant", answer))
        return [Outcome(turns, tuple(calls), metadata, rejected_by=rule, detail=seen)]

    def opening(self, domain: str | None) -> Opening:
        """What the model goes on from.

        Raises:
            OperatorError: the folder holds no chat template, or the format has no system turn.
        """
        system = self._prompts.text(f"magpie_{domain}") if domain else None
        return opening_from(self.tokenizer, system) if self.tokenizer else opening_of(self.family, system)

    def _beginning(self, number: int, seed: int) -> Sample:
        domain = self.domains[number % len(self.domains)] if self.domains else None
        index = (seed % 1000) * RUN + number
        metadata = {OWN_SEED: True, "index": index} | ({"domain": domain} if domain else {})
        return Sample((Message("user", f"Beginning {index}" + (f", {domain}" if domain else "")),), metadata=metadata)

    def _instruction_request(self, opening: Opening, index: int) -> ChatRequest:
        stops = [*opening.stops, *(["\n"] if self.one_line else [])]
        parameters: dict[str, Any] = {
            "temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens, "stop": stops,
        }  # fmt: skip
        return ChatRequest(parameters=parameters, sample_index=index, prompt=opening.text)

    def _fault(self, instruction: str, completion: Completion) -> Objection | None:
        if broken := unusable(instruction, completion.finish_reason):
            return broken
        if marks := _MARKS.search(instruction):
            return "template-leak", f"holds {marks.group()!r}, a mark of a chat template"
        if instruction.endswith((":", "：")):
            return "format", "ends with a colon: what it announces is not there"
        words = word_count(instruction)
        return ("length", f"{words} words, fewer than {self.min_words}") if words < self.min_words else None


def cleaned(text: str) -> str:
    """The instruction in what the model wrote: without the answer's turn, where it went on with that."""
    return _ROLE.sub("", text).strip()
