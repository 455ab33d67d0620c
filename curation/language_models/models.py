"""The model boundary: what the rest asks of an encoder, a causal LM or a chat model, and how one is opened from a spec.

Specs:
    encoder     `lexical` | `sentence-transformers:NAME_OR_PATH` | `hf-POOLING:NAME_OR_PATH`: the last hidden states of
                a causal LM (or of one with a LoRA adapter: a run's `final` folder), pooled by POOLING: `mean`,
                `weighted` (by position, RDS+) or `last` (the last token, DEITA)
    causal LM   `hf:NAME_OR_PATH` (a bare path is the same) | nothing: the corpus' own model (`winnow warm-up CORPUS`)
    chat model  `openai:MODEL` | `http://HOST:PORT/v1#MODEL` | `vllm:MODEL` | `replay:FILE` | `demo` | `none`
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Protocol

from pydantic import AfterValidator, Field

from curation.errors import ModelError

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

    messages: tuple[tuple[str, str], ...] = ()
    """(role, content) pairs."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """Sampling parameters under their OpenAI names (temperature, top_p, max_tokens, seed, stop)."""
    sample_index: int = 0
    """Which of several answers to the same request."""
    prompt: str | None = None
    """A raw text to go on with, special tokens and all, instead of messages: sent to Completions."""


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
    refused: bool = False
    """The error is about this very request (too long for the model, say): sent again it fails again."""


class ChatModel(Protocol):
    """Answers conversations."""

    spec: str
    model: str

    async def complete(self, request: ChatRequest) -> Completion:
        """One answer. Transport failures come back as `Completion.error`; only what stops a run is raised."""
        ...


def without_secrets(spec: str) -> str:
    """The spec as it is, unless it is an address with a user, a password or a query, which would be stored with it.

    Raises:
        ModelError: it is one; the message shows nothing of them.
    """
    _, there, rest = spec.partition("://")
    address = rest.partition("#")[0]
    if there and ("@" in address or "?" in spec):
        host = re.split("[/?]", address.rpartition("@")[2])[0]
        raise ModelError(
            f"The address of {host} holds a user, a password or a query, which would be stored with the run.",
            fix="leave it out of the address and set WINNOW_API_KEY in the environment",
        )
    return spec


ChatSpec = Annotated[str, Field(min_length=1), AfterValidator(without_secrets)]
"""The spec of a chat model, as a field of an operator."""
