"""Instruction-following difficulty: how much an instruction helps a language model to predict its answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field

from curation.causal_lm import HuggingFaceCausalLM, fingerprint_of, open_causal_lm
from curation.errors import ModelError, OperatorError
from curation.operators import Scorer

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

WARM_UP_FOLDER = "models/warm-up"
"""Where, inside a corpus, `winnow warm-up` leaves its model."""


@dataclass(frozen=True)
class Template:
    """How a prompt is written before the answer follows it without a gap."""

    prompt: str
    direct: str
    """What the answer alone is put after, so that its first token has a context too (loss-ratio only)."""


@dataclass(frozen=True)
class Span:
    """A text in tokens, and the token at which its answer starts."""

    ids: tuple[int, ...]
    start: int


Row = tuple[float | None, float | None, float | None, str | None]
"""Score, conditional loss, direct loss, and the reason why one of them is null."""

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


class IFD(Scorer):
    """How little the instruction helps a language model to predict the answer (instruction-following difficulty).

    Near 0: the answer follows easily from the instruction. Near 1: the instruction hardly helps, a difficult sample.
    Above 1: it hinders, so the answer likely belongs to another instruction; both papers drop such samples, and a
    selector can do so with the stored score (<= 1 for the loss ratio, < 1 for the perplexity ratio).

    Source: Li et al. 2024, "From Quantity to Quality" (arXiv 2308.12032, eq. 5; repository Cherry_LLM,
        `data_by_IFD.py`) for `loss-ratio` = L(A|Q) / L(A), the means over the same n tokens of the answer, which in
        the direct pass follows the template's response heading. Li et al. 2024, "Superfiltering" (arXiv 2402.00530;
        `code_ifd/data_analysis.py`) for `perplexity-ratio` = exp(L(A|Q) - L(A)), where the direct pass sees the bare
        answer: its first token has nothing before it and is not scored, so L(A|Q) is a mean over n tokens and L(A)
        over n - 1.

    As in both references prompt and answer are tokenized as one text, and the answer starts at the token whose number
    is the length of the tokenized prompt.

    Columns: `ifd`, `ifd_conditional_loss`, `ifd_direct_loss` for the loss ratio and `ifd_ppl`,
        `ifd_ppl_conditional_loss`, `ifd_ppl_direct_loss` for the perplexity ratio (losses are mean nats per token).

    Differs from the source: what can't be measured is null with its reason (the references drop it, clip it, or write
        0 or NaN): empty answers, answers that don't fit in the window after their prompt, and one-token answers for
        the perplexity ratio. No special token is added, so a Llama tokenizer's BOS is absent, as with GPT-2. The
        references know single turns only: of a longer conversation the last assistant turn is scored, given
        everything before it (labelled turns where an earlier answer is among them, joined by blank lines).
    """

    name: ClassVar[str] = "ifd"
    needs: ClassVar[tuple[str, ...]] = ("messages", "instruction", "response")
    batch_rows: ClassVar[int] = 2_048

    model: str | None = Field(None, description="Causal LM: hf:PATH or hub name; empty: the corpus' warm-up model.")
    definition: Literal["loss-ratio", "perplexity-ratio"] = Field("loss-ratio", description="Which paper's ratio.")
    template: Literal["alpaca", "wizard", "vicuna", "plain", "chatml"] | None = Field(
        None,
        description="How the prompt is written; empty: alpaca for the loss ratio, plain for the perplexity ratio, "
        "and chatml with the corpus' own model, which was trained on it.",
    )
    max_tokens: int | None = Field(None, ge=2, description="Longest prompt and answer; empty: the model's window.")
    batch_tokens: int | None = Field(
        None, ge=1, description="Tokens per forward pass (memory, not scores); empty: what suits the device."
    )

    @property
    def columns(self) -> dict[str, str]:
        """The score and the two losses it is made of."""
        stem = "ifd" if self.definition == "loss-ratio" else "ifd_ppl"
        return dict.fromkeys((stem, f"{stem}_conditional_loss", f"{stem}_direct_loss"), "DOUBLE")

    def in_corpus(self, folder: Path) -> Self:
        """With the corpus' warm-up model where no model is named, and the template that one was trained on.

        Raises:
            ModelError: there is none yet.
        """
        if self.model is not None:
            return self
        path = folder / WARM_UP_FOLDER
        if not (path / "config.json").is_file():
            raise ModelError(
                f"No model is named, and {folder} has none of its own yet.", fix=f"winnow warm-up {folder}"
            )
        return self.model_copy(update={"model": str(path), "template": self.template or "chatml"})

    def fingerprint(self) -> str:
        """Of the model's files; reads them without loading the model."""
        return fingerprint_of(self._named_model())

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        """One row per sample: the columns, and the reason where one is null."""
        import polars as pl

        lm = open_causal_lm(self._named_model())
        rows = self._measure([_last_answer(*row) for row in batch.select(self.needs).iter_rows()], lm)
        schema = {**dict.fromkeys(self.columns, pl.Float64), "reason": pl.String}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def _named_model(self) -> str:
        if self.model is None:
            raise ModelError("IFD needs a causal language model.", fix="name one: --set model=hf:PATH")
        return self.model

    def _measure(self, turns: list[tuple[list[dict[str, Any]], str]], lm: HuggingFaceCausalLM) -> list[Row]:
        limit = self._limit(lm.window)
        prompts = [self._prompt(context) for context, _ in turns]
        # Superfiltering's direct text is the bare answer, the IFD reference's has the response heading before it.
        heading = self._template.direct if self.definition == "loss-ratio" else ""
        conditional = _spans(prompts, [answer for _, answer in turns], lm)
        direct = _spans([heading] * len(turns), [answer for _, answer in turns], lm)
        reasons = [
            _why_not(*turn, c, d, limit, lm.window) for turn, c, d in zip(turns, conditional, direct, strict=True)
        ]
        kept = [i for i, reason in enumerate(reasons) if reason is None]
        with_prompt = self._losses([conditional[i] for i in kept], lm)
        alone = self._losses([direct[i] for i in kept], lm)
        rows: list[Row] = [(None, None, None, reason) for reason in reasons]
        for i, a, b in zip(kept, with_prompt, alone, strict=True):
            rows[i] = self._ratio(a, b)
        return rows

    def _limit(self, window: int) -> int:
        if self.max_tokens is not None and self.max_tokens > window:
            raise OperatorError(
                f"scorer 'ifd': max_tokens is {self.max_tokens}, but the model sees only {window}.",
                fix=f"--set max_tokens={window}",
            )
        return self.max_tokens or window

    @property
    def _template(self) -> Template:
        return TEMPLATES[self.template or ("alpaca" if self.definition == "loss-ratio" else "plain")]

    def _prompt(self, context: list[dict[str, Any]]) -> str:
        if self.template == "chatml":
            turns = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in context)
            return turns + self._template.direct
        # Not str.format: an instruction may hold braces.
        return self._template.prompt.replace("{}", _plain(context), 1)

    def _losses(self, spans: list[Span], lm: HuggingFaceCausalLM) -> list[np.ndarray]:
        """Token losses per span; equal spans (the same answer to many instructions) are scored once."""
        distinct = list(dict.fromkeys(spans))
        losses = lm.token_losses(
            [span.ids for span in distinct], [span.start for span in distinct], batch_tokens=self.batch_tokens
        )
        known = dict(zip(distinct, losses, strict=True))
        return [known[span] for span in spans]

    def _ratio(self, conditional: np.ndarray, direct: np.ndarray) -> Row:
        """Score, both mean losses and the reason why one of them is null."""
        with_prompt = float(conditional.mean(dtype="float64"))
        if direct.size == 0:
            return None, with_prompt, None, "a one-token answer has no direct loss: nothing comes before its token"
        alone = float(direct.mean(dtype="float64"))
        if not (math.isfinite(with_prompt) and math.isfinite(alone)):
            return None, None, None, "the model gave a loss that is not a finite number"
        if self.definition == "perplexity-ratio":
            return math.exp(with_prompt - alone), with_prompt, alone, None
        if alone == 0:
            return None, with_prompt, alone, "the direct loss is 0: there is no ratio"
        return with_prompt / alone, with_prompt, alone, None


def _last_answer(
    messages: list[dict[str, Any]] | None, instruction: str | None, response: str | None
) -> tuple[list[dict[str, Any]], str]:
    """The turns before the last assistant turn, and its text (empty where there is none)."""
    if messages is None:  # a plain pair, as `to_frame` writes it
        return [{"role": "user", "content": instruction or ""}], response or ""
    for i in range(len(messages) - 1, -1, -1):
        if messages[i]["role"] == "assistant":
            return messages[:i], messages[i]["content"] or ""
    return messages, ""


def _plain(context: Sequence[dict[str, Any]]) -> str:
    """A context as one instruction: turns joined by blank lines, labelled only where there was an earlier answer."""
    if all(m["role"] in ("system", "user") for m in context):
        return "\n\n".join(m["content"] for m in context)
    return "\n\n".join(f"{m['role'].capitalize()}: {m['content']}" for m in context)


def _spans(prefixes: list[str], answers: list[str], lm: HuggingFaceCausalLM) -> list[Span]:
    """Each prefix and its answer tokenized as one text; the answer starts where the prefix alone would end."""
    starts = [len(ids) for ids in lm.tokenize(prefixes)]
    whole = lm.tokenize([prefix + answer for prefix, answer in zip(prefixes, answers, strict=True)])
    return [Span(tuple(ids), start) for ids, start in zip(whole, starts, strict=True)]


def _why_not(
    context: list[dict[str, Any]], answer: str, conditional: Span, direct: Span, limit: int, window: int
) -> str | None:
    """Why a ratio can't be measured; it names nothing of the row, so that equal reasons can be counted."""
    if not answer:
        return "the answer is empty"
    if not context:
        return "nothing comes before the answer"
    if conditional.start >= limit:
        return f"the prompt alone fills the window of {limit} tokens"
    if len(conditional.ids) > limit or len(direct.ids) > window:
        return f"prompt and answer do not fit in the window of {limit} tokens"
    if len(conditional.ids) <= conditional.start or len(direct.ids) <= direct.start:
        return "the tokenizer merges the answer into the prompt"
    return None
