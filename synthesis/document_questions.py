"""Questions about documents: each with an answer that the document supports."""

from __future__ import annotations

import random
import re
from collections.abc import Generator
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field, model_validator

from curation.language_models.models import ChatRequest, Completion
from curation.sample import Message, Sample
from synthesis.elimination import first_violation, refusal, same_text, unusable
from synthesis.reply_parts import QUESTION_AND_ANSWER, Names, parts, said_yes, several
from synthesis.synthesizer import Call, Outcome, Steps, Synthesizer

VERDICT: Names = {
    "faithful": ("faithful", "faithfulness", "supported", "忠实", "有依据", "可靠"),
    "relevant": ("relevant", "relevance", "answers the question", "相关", "切题"),
    "standalone": ("standalone", "stands alone", "self-contained", "独立", "自足"),
}
RULES = {
    "faithful": ("unfaithful", "the judge finds something in the answer that the text does not say"),
    "relevant": ("irrelevant", "the judge finds that the answer does not answer the question"),
    "standalone": ("not-standalone", "the judge finds that the question can't be understood without the text"),
}
_BREAKS = (r"\n\s*\n", r"\n", r"[.!?](?=\s)|[。！？；]", r"\s")
"""Where a chunk ends best: a paragraph, a line, a sentence, a word."""


class DocumentQuestions(Synthesizer):
    """Ask questions about documents of the corpus, answered from their text alone and checked against it.

    A document is a sample without a question (the rows of a text file). It is cut into overlapping chunks; the model
    writes questions with answers for each, and the judge says whether the chunk supports an answer, whether it answers
    its question, and whether the question stands alone. The chunk stays in the metadata.

    Source: the stages of InstructLab's knowledge flow (faithfulness, relevance, quality of the question; LAB,
    Sudalairaj et al. 2024, arXiv:2403.01081); sizes of synthetic-data-kit (4,000 characters, 200 of overlap,
    temperature 0.7).
    Differs from the source: own prompts; chunks end where a paragraph or sentence does; one judgement with three
    verdicts for each pair; the same question asked of a document twice is rejected.
    """

    name: ClassVar[str] = "document-questions"
    prompts: ClassVar[tuple[str, ...]] = ("document_questions", "document_verdict")
    seed_condition: ClassVar[str] = "instruction = '' AND response <> ''"
    seeds_per_shard: ClassVar[int] = 8

    questions: int = Field(5, ge=1, le=50, description="Questions for each chunk.")
    chunk_characters: int = Field(4000, ge=200, description="Characters of a chunk at most.")
    overlap_characters: int = Field(200, ge=0, description="Characters that a chunk shares with the one before.")
    chunks: int | None = Field(None, ge=1, description="Chunks of a document at most, its first; all if empty.")
    judge_faithfulness: bool = Field(True, description="Ask the judge about each pair (one more call for each).")
    temperature: float = Field(0.7, ge=0, le=2, description="Sampling temperature; 0 repeats itself.")
    max_tokens: int = Field(4096, ge=1, description="Tokens of one answer at most.")

    @model_validator(mode="after")
    def _chunks_go_on(self) -> DocumentQuestions:
        if self.overlap_characters * 2 > self.chunk_characters:
            raise ValueError("overlap_characters is more than half of chunk_characters")
        return self

    def suits(self, sample: Sample) -> bool:
        """A text and nothing else."""
        return all(m.role == "assistant" for m in sample.messages) and bool(sample.response.strip())

    def steps(self, sample: Sample, rng: random.Random) -> Steps:
        """An outcome for each pair of each chunk, in order."""
        found = chunked(sample.response, self.chunk_characters, self.overlap_characters)[: self.chunks]
        title = next((sample.metadata[n] for n in ("title", "heading") if isinstance(sample.metadata.get(n), str)), "")
        calls = tuple(self._asking(number, title, text) for number, (_, text) in enumerate(found, 1))
        completions: list[Completion] = yield calls
        outcomes: list[Outcome] = []
        for number, ((start, text), call, completion) in enumerate(zip(found, calls, completions, strict=True), 1):
            about = {"chunk": text, "chunk_start": start, "chunk_number": number, "chunks": len(found)}
            outcomes += yield from self._pairs(text, call, completion, about, outcomes)
        return outcomes

    def _asking(self, number: int, title: str, chunk: str) -> Call:
        text = self.fill("document_questions", count=self.questions, title=title or "-", text=chunk)
        parameters = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        return Call(f"questions {number}", ChatRequest((("user", text),), parameters))

    def _pairs(
        self, chunk: str, call: Call, completion: Completion, about: dict[str, Any], before: list[Outcome]
    ) -> Generator[Call | tuple[Call, ...], Any, list[Outcome]]:
        reply = completion.text or ""
        pairs = [pair for pair in several(reply, QUESTION_AND_ANSWER) if pair.keys() == {"question", "answer"}]
        if not pairs:
            violation = unusable(reply, completion.finish_reason) or ("unreadable", "no question with an answer in it")
            turns = (Message("assistant", reply or chunk),)
            return [Outcome(turns, (call,), about, rejected_by=violation[0], detail=violation[1])]
        known = [o.messages[0].content for o in before]
        outcomes = []
        for pair in pairs[: self.questions]:
            outcomes.append(self._written(pair, call, about, known))
            known.append(pair["question"])
        if completion.finish_reason == "length":  # what it was writing when it was stopped
            outcomes[-1] = replace(outcomes[-1], rejected_by="truncated", detail="cut off at the length limit")
        return (yield from self._judged(chunk, outcomes)) if self.judge_faithfulness else outcomes

    def _written(self, pair: dict[str, str], call: Call, about: dict[str, Any], known: list[str]) -> Outcome:
        violation = unusable(pair["question"], None) or first_violation(pair["answer"], (("refusal", refusal),))
        violation = violation or unusable(pair["answer"], None)
        if violation is None and any(same_text(pair["question"], one) for one in known):
            violation = "same-question", "asked of this document before"
        rule, detail = violation or (None, None)
        turns = (Message("user", pair["question"]), Message("assistant", pair["answer"]))
        return Outcome(turns, (call,), about, rejected_by=rule, detail=detail)

    def _judged(self, chunk: str, outcomes: list[Outcome]) -> Generator[Call | tuple[Call, ...], Any, list[Outcome]]:
        whole = [place for place, outcome in enumerate(outcomes) if outcome.rejected_by is None]
        calls = tuple(self._verdict(chunk, outcomes[place]) for place in whole)
        completions: list[Completion] = (yield calls) if calls else []
        for place, call, completion in zip(whole, calls, completions, strict=True):
            outcome, said = outcomes[place], completion.text or ""
            verdicts = {name: said_yes(value) for name, value in parts(said, VERDICT).items()}
            rule, detail = _objection(verdicts) or (None, None)
            metadata = {**outcome.metadata, "verdict": verdicts, "verdict_text": said}
            used = (*outcome.calls, call)
            outcomes[place] = Outcome(outcome.messages, used, metadata, rejected_by=rule, detail=detail)
        return outcomes

    def _verdict(self, chunk: str, outcome: Outcome) -> Call:
        question, answer = (m.content for m in outcome.messages)
        text = self.fill("document_verdict", text=chunk, question=question, answer=answer)
        request = ChatRequest((("user", text),), {"temperature": 0.0, "max_tokens": self.max_tokens})
        return Call("verdict", request, role="judge")


def _objection(verdicts: dict[str, bool | None]) -> tuple[str, str] | None:
    """The first verdict that is a no; a judge that was not understood supports nothing."""
    for name, rule in RULES.items():
        if verdicts.get(name) is False:
            return rule
    missing = [name for name in RULES if verdicts.get(name) is None]
    return ("unclear-verdict", f"the judge does not say yes or no: {', '.join(missing)}") if missing else None


def chunked(text: str, most: int, overlap: int) -> list[tuple[int, str]]:
    """Overlapping chunks of a text and where each begins; together they hold all of it.

    Args:
        text: any text.
        most: characters of a chunk at most.
        overlap: characters, about, that a chunk shares with the one before; at most half of `most`.
    """
    chunks, start = [], 0
    while len(text) - start > most:
        end = (_breaks(text, start + most // 2 + overlap, start + most) or [start + most])[-1]
        chunks.append((start, text[start:end]))
        begins = [place for place in _breaks(text, end - overlap, end) if text[place:end].strip()] if overlap else [end]
        start = begins[0] if begins else end - overlap
    return [*chunks, (start, text[start:])] if text[start:].strip() or not chunks else chunks


def _breaks(text: str, first: int, last: int) -> list[int]:
    """Places in a range of a text where it is best parted."""
    for kind in _BREAKS:
        places = [first + match.end() for match in re.finditer(kind, text[first:last])]
        if any(text[place:last].strip() for place in places):
            return places
    return []
