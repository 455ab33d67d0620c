"""Losses of answers under a language model: prompts, spans and reasons that IFD, perplexity and target fit share."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from curation.errors import ModelError, OperatorError
from curation.language_models.causal_lm import HuggingFaceCausalLM
from curation.language_models.served_losses import ServedCausalLM

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

WARM_UP_FOLDER = "models/warm-up"
"""Where, inside a corpus, `winnow warm-up` leaves its model."""
KEPT_FOLDER = "losses"
"""Where, inside a corpus, scorers of the whole keep what a model has read already."""
CHUNK_ROWS = 2_048
"""Samples whose losses are kept together: what a killed run reads again at most."""
NOT_FINITE = "the model gave a loss that is not a finite number"

ModelName = Annotated[
    str | None,
    Field(
        description="Causal LM: hf:PATH, a hub name, vllm:MODEL or http://HOST:PORT/v1#MODEL (vLLM); empty: the "
        "corpus' warm-up model."
    ),
]
TemplateName = Annotated[
    Literal["alpaca", "wizard", "vicuna", "plain", "chatml"] | None,
    Field(
        description="How the prompt is written; empty: alpaca (plain for perplexities), and chatml with the corpus' "
        "own model, which was trained on it."
    ),
]
MaxTokens = Annotated[int | None, Field(ge=2, description="Longest prompt and answer; empty: the model's window.")]
BatchTokens = Annotated[
    int | None, Field(ge=1, description="Tokens per forward pass (memory, not scores); empty: what suits the device.")
]


@dataclass(frozen=True)
class Template:
    """How a prompt is written before the answer follows it without a gap."""

    prompt: str
    heading: str
    """What an answer alone is put after, so that its first token has a context too."""


# The first three prompts are those of the IFD reference (alpaca without an input field: ingestion has already joined
# it to the instruction), `plain` is the one of Superfiltering, `chatml` the one that `winnow warm-up` trains on.
TEMPLATES = {
    "alpaca": Template(
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\n### Instruction:\n{}\n\n### Response:",
        "### Response:",
    ),
    "wizard": Template("{}\n\n### Response:", "### Response:"),
    "vicuna": Template("USER: {} ASSISTANT:", "ASSISTANT:"),
    "plain": Template("{}\n", "\n"),
    "chatml": Template("<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n", "<|im_start|>assistant\n"),
}

Turns = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Asked:
    """An answer and the turns before it."""

    context: Turns
    answer: str


@dataclass(frozen=True)
class Span:
    """A text in tokens, and the token at which its answer starts."""

    ids: tuple[int, ...]
    start: int

    @property
    def is_empty(self) -> bool:
        """Whether no token is the answer's own."""
        return len(self.ids) <= self.start


def last_answer(messages: list[dict[str, Any]] | None, instruction: str | None, response: str | None) -> Asked:
    """The last assistant turn (empty where there is none) and the turns before it."""
    if messages is None:  # a plain pair, as `to_frame` writes it
        return Asked([{"role": "user", "content": instruction or ""}], response or "")
    for i in range(len(messages) - 1, -1, -1):
        if messages[i]["role"] == "assistant":
            return Asked(messages[:i], messages[i]["content"] or "")
    return Asked(messages, "")


def last_answers(batch: pl.DataFrame) -> list[Asked]:
    """`last_answer` of each row of a frame with `messages`, `instruction` and `response`."""
    return [last_answer(*row) for row in batch.select("messages", "instruction", "response").iter_rows()]


def plain(context: Turns) -> str:
    """A context as one instruction: turns joined by blank lines, labelled only where there was an earlier answer."""
    if all(m["role"] in ("system", "user") for m in context):
        return "\n\n".join(m["content"] for m in context)
    return "\n\n".join(f"{m['role'].capitalize()}: {m['content']}" for m in context)


def prompt(context: Turns, template: str) -> str:
    """What stands before the answer."""
    if template == "chatml":
        turns = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in context)
        return turns + TEMPLATES[template].heading
    # Not str.format: an instruction may hold braces.
    return TEMPLATES[template].prompt.replace("{}", plain(context), 1)


def left_open(model: str | None, template: str | None, folder: Path) -> dict[str, str]:
    """Model and template of a scorer that names no model: the corpus' own and, unless given, what it was trained on.

    Raises:
        ModelError: there is none yet.
    """
    if model is not None:
        return {}
    path = folder / WARM_UP_FOLDER
    if not (path / "config.json").is_file():
        raise ModelError(f"No model is named, and {folder} has none of its own yet.", fix=f"winnow warm-up {folder}")
    return {"model": str(path), "template": template or "chatml"}


def named(scorer: str, model: str | None) -> str:
    """The model's name.

    Raises:
        ModelError: there is none.
    """
    if model is None:
        raise ModelError(f"The scorer {scorer!r} needs a causal language model.", fix="name one: --set model=hf:PATH")
    return model


@dataclass(frozen=True)
class Reader:
    """A language model that reads answers, with how much it may read at once."""

    lm: HuggingFaceCausalLM | ServedCausalLM
    limit: int
    """Longest prompt and answer, in tokens."""
    batch_tokens: int | None = None

    @staticmethod
    def of(
        lm: HuggingFaceCausalLM | ServedCausalLM, scorer: str, max_tokens: int | None, batch_tokens: int | None
    ) -> Reader:
        """With the model's window for a limit where none is given.

        Raises:
            OperatorError: the limit is wider than the window.
        """
        if max_tokens is not None and max_tokens > lm.window:
            raise OperatorError(
                f"scorer {scorer!r}: max_tokens is {max_tokens}, but the model sees only {lm.window}.",
                fix=f"--set max_tokens={lm.window}",
            )
        return Reader(lm, max_tokens or lm.window, batch_tokens)

    def spans(self, prefixes: list[str], answers: list[str]) -> list[Span]:
        """Each prefix and its answer tokenized as one text; the answer starts where the prefix alone would end."""
        starts = [len(ids) for ids in self.lm.tokenize(prefixes)]
        whole = self.lm.tokenize([prefix + answer for prefix, answer in zip(prefixes, answers, strict=True)])
        return [Span(tuple(ids), start) for ids, start in zip(whole, starts, strict=True)]

    def losses(self, spans: Sequence[Span]) -> list[np.ndarray]:
        """Token losses per span, in nats; equal spans (the same answer to many instructions) are read once."""
        distinct = list(dict.fromkeys(spans))
        losses = self.lm.token_losses(
            [span.ids for span in distinct], [span.start for span in distinct], batch_tokens=self.batch_tokens
        )
        known = dict(zip(distinct, losses, strict=True))
        return [known[span] for span in spans]

    def losses_where(self, spans: Sequence[Span], reasons: Sequence[str | None]) -> list[np.ndarray | None]:
        """As `losses`, null where there is a reason against reading."""
        found = iter(self.losses([span for span, reason in zip(spans, reasons, strict=True) if reason is None]))
        return [next(found) if reason is None else None for reason in reasons]

    def why_not(self, asked: Asked, given: Span, alone: Span | None = None) -> str | None:
        """Why an answer can't be measured; it names nothing of the row, so that equal reasons can be counted."""
        if not asked.answer:
            return "the answer is empty"
        if not asked.context:
            return "nothing comes before the answer"
        if given.start >= self.limit:
            return f"the prompt alone fills the window of {self.limit} tokens"
        if len(given.ids) > self.limit or (alone is not None and len(alone.ids) > self.lm.window):
            return f"prompt and answer do not fit in the window of {self.limit} tokens"
        if given.is_empty or (alone is not None and alone.is_empty):
            return "the tokenizer merges the answer into the prompt"
        return None


def mean(losses: np.ndarray) -> float:
    """Mean over the tokens, in double precision."""
    return float(losses.mean(dtype="float64"))


def perplexity(loss: float) -> float:
    """exp(loss); infinite where that is beyond a float."""
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


def in_chunks(
    batch: pl.DataFrame, measure: Callable[[pl.DataFrame], pl.DataFrame], folder: Path | None, key: str
) -> pl.DataFrame:
    """`measure` of every row, `CHUNK_ROWS` at a time; what was measured before is read from `folder`.

    For scorers of the whole, whose one batch is all there is: after a kill, or where samples came or went, only the
    rows that are not known yet are measured.

    Args:
        batch: with `id`.
        measure: gives a frame with a row per row; a row depends on nothing but its sample and what `key` names.
        folder: null keeps nothing.
        key: model, prompt and limits.
    """
    import polars as pl

    kept = folder and folder / hashlib.sha256(key.encode()).hexdigest()[:24]
    found = [pl.read_parquet(path) for path in sorted(kept.glob("*.parquet"))] if kept else []
    known = pl.concat([frame.select("id") for frame in found]) if found else batch.select("id").clear()
    unknown = batch.join(known, on="id", how="anti", maintain_order="left")
    # Without any row the columns still have to be known.
    for start in range(0, unknown.height if found else max(1, unknown.height), CHUNK_ROWS):
        chunk = unknown.slice(start, CHUNK_ROWS)
        found.append(measure(chunk).with_columns(chunk["id"]))
        if kept:
            _keep(found[-1], kept)
    rows = pl.concat(found).unique("id", keep="any")
    return batch.select("id").join(rows, on="id", how="left", maintain_order="left").drop("id")


def _keep(measured: pl.DataFrame, folder: Path) -> None:
    name = hashlib.sha256("\n".join(measured["id"]).encode()).hexdigest()[:24]
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{name}.tmp"
    measured.write_parquet(partial)
    partial.replace(folder / f"{name}.parquet")
