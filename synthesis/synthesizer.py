"""What a synthesizer is: a generator of calls. The verb makes the calls, resumes the generator, keeps what comes out.

To add one: a file with a class that has `steps`, an entry in `synthesizers.SYNTHESIZERS`, and a test.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import PrivateAttr

from curation.language_models.models import ChatRequest
from curation.operators import Operator
from curation.sample import Message, Sample
from synthesis.prompting import BUILT_IN, Prompts


@dataclass(frozen=True, slots=True)
class Call:
    """One question to the model."""

    step: str
    """What the call is for; its key stands under this name in the metadata of the sample."""
    request: ChatRequest
    role: Literal["model", "judge"] = "model"
    """Who is asked: the run's model, or its judge, which is the model too where none was named."""


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
    parents: tuple[str, ...] = ()
    """Ids of the samples it was made from, where these are others than the seed sample."""
    label: bool | None = None
    """Whether the answer is desirable, where unpaired feedback is made."""


Steps = Generator[Call | tuple[Call, ...], Any, list[Outcome]]
"""What is yielded: a call, and its completion comes back; or several at once, and a list of completions comes back."""


class Synthesizer(Operator, ABC):
    """Makes new samples from a seed sample.

    `steps` is replayed to resume: for equal seed sample, random state and completions it must yield equal calls.
    """

    version: ClassVar[int] = 1
    """Raised when the same answers would lead to other outcomes; part of every sample's random state."""
    prompts: ClassVar[tuple[str, ...]] = ()
    """Names of the prompts it fills; their hashes stand in its spec."""
    seeds_per_shard: ClassVar[int] = 32
    seed_condition: ClassVar[str] = "instruction <> ''"
    """SQL that every seed sample from the corpus meets."""
    in_rounds: ClassVar[bool] = False
    """Whether what one seed sample leads to depends on what was accepted before: then the seed samples are worked on
    in rounds of `seeds_per_shard`, and before each `among` is told the accepted samples of all rounds before."""

    runs_code: ClassVar[bool] = False
    """Whether its steps run programs between calls: they are resumed in a thread, so that answers keep coming in."""

    _prompts: Prompts = PrivateAttr(default_factory=lambda: BUILT_IN)

    @abstractmethod
    def steps(self, sample: Sample, rng: random.Random) -> Steps:
        """Yield calls, receive their completions (never one with an error), return at least one outcome."""

    def suits(self, sample: Sample) -> bool:
        """Whether the sample can be a seed sample."""
        return bool(sample.instruction.strip())

    def own_seeds(self, limit: int | None, seed: int) -> list[Sample] | None:
        """Seed samples that are not in the corpus (topics, personas, numbered beginnings); null draws from the corpus.

        Equal arguments give equal samples, and a larger limit only adds to them.
        """
        return None

    def among(self, seeds: Sequence[Sample], made: Sequence[Sample]) -> Self:
        """This synthesizer, knowing samples that it may show to the model.

        Args:
            seeds: all seed samples of the run, in order.
            made: accepted samples of the rounds before, in order; empty unless `in_rounds`.
        """
        return self

    def among_each_other(self, made: list[tuple[Sample, Outcome]]) -> list[tuple[Sample, Outcome]]:
        """The same pairs in the same order, rejected where an outcome must not stand beside those before it.

        Args:
            made: what came of seed samples that were worked on side by side; with `in_rounds` those of one round.
        """
        return made

    def with_prompts(self, folder: Path) -> Self:
        """This synthesizer with the user's wording where `folder` holds a file NAME.md for a prompt."""
        mine = self.model_copy()
        mine._prompts = Prompts(folder)
        return mine

    def fill(self, prompt: str, **values: object) -> str:
        """The prompt with its gaps filled."""
        return self._prompts.fill(prompt, **values)

    def spec(self) -> dict[str, Any]:
        """Name, version, parameters and the hashes of the prompts."""
        return {**super().spec(), "version": self.version, "prompts": self._prompts.versions(*self.prompts)}

    def random_state(self, sample: Sample, seed: int) -> random.Random:
        """The random state of one seed sample; other samples and the order of work have no part in it."""
        return random.Random(f"{seed}/{sample.id}/{self.name}@{self.version}")
