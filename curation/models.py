"""The model boundary: what the rest asks of an encoder, a causal LM or a chat model, and how one is opened from a spec.

Specs:
    encoder     `lexical` | `sentence-transformers:NAME_OR_PATH` | `hf-POOLING:NAME_OR_PATH`: the last hidden states of
                a causal LM (or of one with a LoRA adapter: a run's `final` folder), pooled by POOLING: `mean`,
                `weighted` (by position, RDS+) or `last` (the last token, DEITA)
    causal LM   `hf:NAME_OR_PATH` (a bare path is the same) | nothing: the corpus' own model (`winnow warm-up CORPUS`)
    chat model  `openai:MODEL` | `http://HOST:PORT/v1#MODEL` | `replay:FILE` | `demo`
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np


class Encoder(Protocol):
    """Turns texts into vectors."""

    spec: str
    """What opened it; recorded beside the vectors."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """float32 (texts, dimensions), unit length, one row per text in the same order; an empty text is all zeros."""
        ...


class CausalLM(Protocol):
    """Scores given tokens; never generates."""

    spec: str
    window: int
    """Longest sequence, in tokens."""
    fingerprint: str
    """Hash that changes with the weights."""

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids, without any special token added."""
        ...

    def token_losses(self, sequences: Sequence[Sequence[int]], starts: Sequence[int]) -> list[np.ndarray]:
        """Per sequence the losses (nats, float32) of its tokens from `start` to its end, each given all before it.

        A start of 0 is scored from 1: the first token has nothing before it. Sequences must fit in `window`.
        """
        ...


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One call: what is sent, and nothing that does not change the answer."""

    messages: tuple[tuple[str, str], ...]
    """(role, content) pairs."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """Sampling parameters under their OpenAI names (temperature, top_p, max_tokens, seed, stop)."""
    sample_index: int = 0
    """Which of several answers to the same request."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What came back. `text` is null when `error` is not."""

    text: str | None
    reasoning: str | None = None
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    error: str | None = None
    cached: bool = False
    """Answered from `calls.sqlite`: nothing was sent or paid."""


class ChatModel(Protocol):
    """Answers conversations."""

    spec: str
    model: str

    async def complete(self, request: ChatRequest) -> Completion:
        """One answer. Transport failures come back as `Completion.error`; only what stops a run is raised."""
        ...
