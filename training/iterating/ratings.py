"""Who says how good an answer is: verified rewards, or a chat model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from curation.errors import ModelError
from training.data.mix_folder import Example
from training.rewards import Answer, checked_rewards, prompt_of, question_of, rated

Rated = tuple[float | None, str]
"""How good an answer is, and why there is no number."""


class Rater(Protocol):
    """Rates answers."""

    @property
    def name(self) -> str:
        """What decided, as manifests keep it; equal names rate equally."""
        ...

    @property
    def rewards(self) -> tuple[str, ...]:
        """The verified rewards that a prompt has to allow; none where any prompt will do."""
        ...

    def rate(self, asked: Sequence[Example], answers: Sequence[Answer]) -> list[Rated]:
        """One rating per answer to the prompt beside it; higher is better."""
        ...


@dataclass(frozen=True)
class VerifiedRater:
    """The sum of verified rewards."""

    rewards: tuple[str, ...]

    def __post_init__(self) -> None:
        checked_rewards(self.rewards)

    @property
    def name(self) -> str:
        """The rewards."""
        return " + ".join(self.rewards)

    def rate(self, asked: Sequence[Example], answers: Sequence[Answer]) -> list[Rated]:
        """Deterministic; code is run locked down."""
        found = []
        for example, answer in zip(asked, answers, strict=True):
            rating = rated(question_of(example), answer, self.rewards)
            reasons = dict.fromkeys(reward.reason for reward in rating.each.values() if reward.reason)
            found.append((rating.total, "" if rating.total is not None else "; ".join(reasons)))
        return found


@dataclass(frozen=True)
class JudgeRater:
    """A chat model with the rubric of the scorer `judge`; every call is kept in `calls.sqlite`."""

    spec: str
    folder: Path
    """Where calls.sqlite is, or comes."""

    @property
    def name(self) -> str:
        """The model, and the scorer whose rubric it is given."""
        return f"judge {self.spec}"

    @property
    def rewards(self) -> tuple[str, ...]:
        """None."""
        return ()

    def rate(self, asked: Sequence[Example], answers: Sequence[Answer]) -> list[Rated]:
        """The mean grade over the rubric's dimensions, 1..5; null where the judge's reply can't be read.

        Raises:
            ModelError: some answers could not be judged for now; those that were are kept.
        """
        import polars as pl

        from curation.operators import NOT_REACHED
        from curation.scorers.judge import Judge

        scorer = Judge(model=self.spec).in_corpus(self.folder)
        frame = pl.DataFrame(
            {
                "messages": [_conversation(e, a) for e, a in zip(asked, answers, strict=True)],
                "instruction": [question_of(example).instruction for example in asked],
                "response": [answer.text for answer in answers],
            }
        )
        scored = scorer.score(frame)
        found = [(value, reason or "") for value, reason in scored.select("judge", "reason").iter_rows()]
        missed = [reason for _, reason in found if reason.startswith(NOT_REACHED)]
        if missed:
            raise ModelError(
                f"{len(missed)} of {len(found)} answers could not be judged: {missed[0]}",
                fix="mend what it names and run the same command again; every judgement so far is kept",
            )
        return found


def _conversation(example: Example, answer: Answer) -> list[dict[str, Any]]:
    turns = [{"role": turn["role"], "content": str(turn["content"])} for turn in prompt_of(example)]
    return [*turns, {"role": "assistant", "content": answer.text}]
