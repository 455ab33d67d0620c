"""What a synthesizer is: a generator of calls. The verb makes the calls, resumes the generator, keeps what comes out.

To add one: a file with a class that has `steps`, an entry in `synthesizers.SYNTHESIZERS`, and a test.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from curation.language_models.models import ChatRequest, Completion
from curation.operators import Operator
from curation.sample import Message, Sample
from synthesis.prompting import versions


@dataclass(frozen=True, slots=True)
class Call:
    """One question to the model."""

    step: str
    """What the call is for; its key stands under this name in the metadata of the sample."""
    request: ChatRequest


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a seed sample: an accepted conversation, or a rejected one with the rule that rejected it."""

    messages: tuple[Message, ...]
    calls: tuple[Call, ...] = ()
    """The calls it rests on."""
    metadata: dict[str, Any] = field(default_factory=dict)
    rejected: tuple[Message, ...] | None = None
    """The turns that were not preferred, where a preference pair is made."""
    rejected_by: str | None = None
    """Name of the rule; null = accepted."""
    detail: str | None = None
    """What the rule saw."""


Steps = Generator[Call, Completion, list[Outcome]]


class Synthesizer(Operator, ABC):
    """Makes new samples from a seed sample.

    `steps` is replayed to resume: for equal seed sample, random state and completions it must yield equal calls.
    """

    version: ClassVar[int] = 1
    """Raised when the same answers would lead to other outcomes; part of every sample's random state."""
    prompts: ClassVar[tuple[str, ...]] = ()
    """Names of the prompts it fills; their hashes stand in its spec."""
    seeds_per_shard: ClassVar[int] = 32

    @abstractmethod
    def steps(self, sample: Sample, rng: random.Random) -> Steps:
        """Yield calls, receive their completions (never one with an error), return at least one outcome."""

    def suits(self, sample: Sample) -> bool:
        """Whether the sample can be a seed sample."""
        return bool(sample.instruction.strip())

    def spec(self) -> dict[str, Any]:
        """Name, version, parameters and the hashes of the prompts."""
        return {**super().spec(), "version": self.version, "prompts": versions(*self.prompts)}

    def random_state(self, sample: Sample, seed: int) -> random.Random:
        """The random state of one seed sample; other samples and the order of work have no part in it."""
        return random.Random(f"{seed}/{sample.id}/{self.name}@{self.version}")
