"""Preference pairs by a check: a right answer chosen, a wrong one rejected."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from curation.sample import Sample
from synthesis.candidates import Candidate, right_and_wrong, sampled, verifiable, verified
from synthesis.synthesizer import Steps, Synthesizer

TEXTS = ("solution", "answer", "response", "completion", "output", "text", "content", "code", "generation")
LABELS = ("is_correct", "correct", "label", "passed", "is_right", "verified", "success")
"""Fields of a labelled answer in the metadata."""


class VerifiedPairs(Synthesizer):
    """Answer several times, check every answer by its tests or its final answer, and pair right ones with wrong ones.

    Answers that came with the sample and are labelled right or wrong (objects in its metadata, such as
    `{"solution": "...", "is_correct": false}`) take part; with `answers=0` only they do, and no model is asked. A label
    that the check contradicts is believed by nobody: that answer is left out, and listed under `disagreements`.

    Source: pairs of right and wrong chains of thought as in Iterative RPO (Pang et al. 2024, arXiv:2404.19733);
    verifiers of GSM8K (Cobbe et al. 2021, arXiv:2110.14168), whose labelled model solutions can be read.
    Differs from the source: an answer is in one pair at most; tests of code count as well as final answers.
    """

    name: ClassVar[str] = "verified-pairs"
    runs_code: ClassVar[bool] = True

    answers: int = Field(8, ge=0, le=64, description="Answers of the model; 0: only labelled ones in the metadata.")
    pairs: int = Field(1, ge=1, le=32, description="Pairs of one question at most.")
    labelled: bool = Field(True, description="Use answers in the metadata that are labelled right or wrong.")
    own_is_right: bool = Field(False, description="Let the sample's own answer be chosen where no other is right.")
    seconds: float = Field(5.0, gt=0, le=120, description="Seconds that code may run.")
    temperature: float = Field(0.8, ge=0, le=2, description="Sampling temperature; 0 repeats itself.")
    top_p: float | None = Field(
        None, gt=0, le=1, description="Nucleus sampling: the share of likely tokens to draw from."
    )
    max_tokens: int = Field(2048, ge=1, description="Tokens of one answer at most.")

    def suits(self, sample: Sample) -> bool:
        """Something decides what is right: tests, a final answer, or labels."""
        if not super().suits(sample) or sample.tools is not None:
            return False
        known = self.labelled and any(True for _ in labelled_answers(sample.metadata))
        return known or (self.answers > 0 and verifiable(sample))

    def steps(self, sample: Sample, rng: random.Random) -> Steps:
        """The pairs, or one rejected outcome."""
        metadata: dict[str, Any] = {}
        known = list(labelled_answers(sample.metadata)) if self.labelled else []
        if verifiable(sample):
            checked = verified(sample, known, seconds=self.seconds)
            doubtful = {a.origin for a, b in zip(known, checked, strict=True) if b.right not in (None, a.right)}
            metadata["disagreements"] = sorted(doubtful)
            known = [one for one in known if one.origin not in doubtful]
        made: list[Candidate] = []
        if self.answers and verifiable(sample):
            parameters = {"temperature": self.temperature, "top_p": self.top_p, "max_tokens": self.max_tokens}
            made = yield from sampled(sample, self.answers, parameters)
            made = verified(sample, made, seconds=self.seconds)
        candidates = [*known, *made]
        if self.own_is_right and sample.response.strip() and not any(one.right for one in candidates):
            candidates.append(Candidate(sample.response, "seed", right=True))
        return right_and_wrong(sample, candidates, metadata, self.pairs)


def labelled_answers(metadata: Mapping[str, Any]) -> Iterator[Candidate]:
    """The answers in the metadata that are labelled right or wrong, in order: objects, or lists of objects."""
    for name, value in sorted(metadata.items()):
        rows = value if isinstance(value, list) else [value]
        for place, row in enumerate(rows, 1):
            if not isinstance(row, Mapping):
                continue
            text = next((row[key] for key in TEXTS if isinstance(row.get(key), str) and row[key].strip()), None)
            label = next((row[key] for key in LABELS if isinstance(row.get(key), bool)), None)
            if text is not None and label is not None:
                origin = f"{name} {place}" if isinstance(value, list) else name
                yield Candidate(text, origin, right=label)
