"""Textbook-style texts: every topic of a tree for several readers in several forms."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from curation.language_models.models import ChatRequest, Completion
from curation.operators import parted
from curation.sample import Message, Sample, script_of
from synthesis.elimination import first_violation, refusal, unusable, word_count
from synthesis.reply_parts import listed
from synthesis.seed_files import own_seed, paths_in, shuffled
from synthesis.synthesizer import Call, Outcome, Steps, Synthesizer

AUDIENCES = ("young children", "high school students", "college students", "professionals")
FORMATS = ("a textbook chapter", "a blog post", "a story with the facts in it", "a step-by-step guide")
CHINESE = {
    **dict(zip(AUDIENCES, ("小学生", "高中生", "大学生", "专业人士"), strict=True)),
    **dict(zip(FORMATS, ("一章教科书", "一篇博客文章", "一个包含知识的故事", "一份分步指南"), strict=True)),
}
LONGEST_TOPIC = 80
"""Characters; a longer line of a list of subtopics is a remark."""
Texts = Annotated[tuple[str, ...], BeforeValidator(parted)]


class Textbook(Synthesizer):
    """Write texts from a tree of topics: each topic for each kind of reader in each form.

    The new sample asks for the text in a plain sentence, in the language of the topic, and the text is its answer.

    Source: Cosmopedia (Ben Allal et al. 2024; huggingface/cosmopedia): format x audience x topic, temperature 0.6,
    top-p 0.95, 2,500 tokens, texts of at least 150 tokens kept; topics from a tree as in Condor (Cao et al. 2025,
    arXiv:2501.12273).
    Differs from the source: own prompts; topics are the user's, where Cosmopedia's are clusters of web pages; tokens
    are counted as words and Chinese characters; the story among the forms keeps to facts.
    """

    name: ClassVar[str] = "textbook"
    prompts: ClassVar[tuple[str, ...]] = ("textbook", "textbook_subtopics", "textbook_request", "textbook_request_zh")

    topics: Path = Field(..., description="File with a tree of topics: nested JSON, or lines, subtopics further in.")
    subtopics: int = Field(0, ge=0, le=50, description="Subtopics that the model adds to each topic; 0 = none.")
    audiences: Texts = Field(AUDIENCES, min_length=1, description="Kinds of readers.")
    formats: Texts = Field(FORMATS, min_length=1, description="Forms of the text.")
    min_tokens: int = Field(150, ge=0, description="Shorter texts are rejected.")
    temperature: float = Field(0.6, ge=0, le=2, description="Sampling temperature; 0 repeats itself.")
    top_p: float | None = Field(
        0.95, gt=0, le=1, description="Nucleus sampling: the share of likely tokens to draw from."
    )
    max_tokens: int = Field(2500, ge=1, description="Tokens of one answer at most.")

    def own_seeds(self, limit: int | None, seed: int) -> list[Sample] | None:
        """A seed sample for each topic, kind of reader and form."""
        return shuffled(list(self._seeds()), seed)[:limit]

    def _seeds(self) -> Iterator[Sample]:
        for path in paths_in(self.topics):
            for audience in self.audiences:
                for form in self.formats:
                    about = {"topic": list(path), "audience": audience, "format": form}
                    yield own_seed(self._request(path, audience, form), **about)

    def _request(self, path: tuple[str, ...], audience: str, form: str, leaf: str = "") -> str:
        """What the new sample asks for, in the language of the topic in the file."""
        if script_of(leaf or path[-1]) == "Chinese":
            audience, form = CHINESE.get(audience, audience), CHINESE.get(form, form)
            return self.fill("textbook_request_zh", topic="，".join(reversed(path)), audience=audience, form=form)
        return self.fill("textbook_request", topic=", ".join(reversed(path)), audience=audience, form=form)

    def steps(self, sample: Sample, rng: random.Random) -> Steps:
        """One outcome, or one for each subtopic."""
        path = tuple(sample.metadata["topic"])
        before: tuple[Call, ...] = ()
        paths: list[tuple[str, ...]] = [path]
        if self.subtopics:
            call = self._call(
                "subtopics", self.fill("textbook_subtopics", count=self.subtopics, topic=" > ".join(path))
            )
            completion: Completion = yield call
            reply = completion.text or ""
            found = [one for one in listed(reply) if len(one) <= LONGEST_TOPIC][: self.subtopics]
            violation = unusable(reply, completion.finish_reason)
            if violation or not found:
                rule, detail = violation or ("unreadable", "no list of subtopics")
                turns = (*sample.messages, Message("assistant", reply))
                return [Outcome(turns, (call,), self._about(sample, path), rejected_by=rule, detail=detail)]
            paths, before = [(*path, subtopic) for subtopic in found], (call,)
        calls = tuple(self._writing(sample, each) for each in paths)
        completions: list[Completion] = yield calls
        return [
            self._outcome(sample, each, (*before, call), completion)
            for each, call, completion in zip(paths, calls, completions, strict=True)
        ]

    def _writing(self, sample: Sample, path: tuple[str, ...]) -> Call:
        audience, form = sample.metadata["audience"], sample.metadata["format"]
        request = self._request(path, audience, form, sample.metadata["topic"][-1])
        asked = self.fill("textbook", topic=" > ".join(path), audience=audience, form=form, request=request)
        return self._call("text", asked)

    def _outcome(
        self, sample: Sample, path: tuple[str, ...], calls: tuple[Call, ...], completion: Completion
    ) -> Outcome:
        text = (completion.text or "").strip()
        violation = unusable(text, completion.finish_reason) or first_violation(text, (("refusal", refusal),))
        words = word_count(text)
        if violation is None and words < self.min_tokens:
            violation = "too-short", f"{words} tokens, and {self.min_tokens} are wanted"
        rule, detail = violation or (None, None)
        about = self._about(sample, path)
        request = self._request(path, about["audience"], about["format"], sample.metadata["topic"][-1])
        turns = (Message("user", request), Message("assistant", text))
        return Outcome(turns, calls, about, rejected_by=rule, detail=detail)

    def _about(self, sample: Sample, path: tuple[str, ...]) -> dict[str, Any]:
        return {**{name: sample.metadata[name] for name in ("audience", "format")}, "topic": list(path)}

    def _call(self, step: str, text: str) -> Call:
        parameters = {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens}
        return Call(step, ChatRequest((("user", text),), parameters))
