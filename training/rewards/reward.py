"""What a reward is given and what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, and what is known of the right answer."""

    instruction: str
    """The last turn of the user."""
    reference: str | None = None
    """The final answer that is expected, without its derivation."""
    tests: tuple[str, ...] = ()
    """Python sources that raise where an answer's code is wrong."""
    entry_point: str | None = None
    """The name that the tests use."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model wrote."""

    text: str
    tokens: int
    """Its length; the token that ends it counts."""
    most_tokens: int
    """Where it would have been cut off."""
    ended: bool = True
    """Whether it ended by itself."""


@dataclass(frozen=True, slots=True)
class Reward:
    """A number, or why there is none."""

    value: float | None
    reason: str = ""


RewardFunction = Callable[[Question, Answer], Reward]
"""Deterministic; the value is null where the question has nothing to verify answers by, whatever the answer."""
