"""Instruction-following difficulty: how much an instruction helps a language model to predict its answer."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field

from curation.language_models.answer_losses import (
    NOT_FINITE,
    TEMPLATES,
    Asked,
    BatchTokens,
    MaxTokens,
    ModelName,
    Reader,
    TemplateName,
    last_answers,
    left_open,
    mean,
    named,
    perplexity,
    plain,
    prompt,
)
from curation.language_models.served_losses import lm_fingerprint, open_lm
from curation.operators import Scorer

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

Row = tuple[float | None, float | None, float | None, str | None]
"""Score, conditional loss, direct loss, and the reason why one of them is null."""

STEMS = {"loss-ratio": "ifd", "perplexity-ratio": "ifd_ppl", "reverse": "ifd_reverse"}
ASK_BACK = "A model was given an instruction and wrote this:\n\n{}\n\nWhat was the instruction? Write it out."
"""What `reverse` puts before the instruction that is to be guessed."""


class IFD(Scorer):
    """How little the instruction helps a language model to predict the answer (instruction-following difficulty).

    Near 0: the answer follows easily from the instruction. Near 1: the instruction hardly helps, a difficult sample.
    Above 1: it hinders, so the answer likely belongs to another instruction; both papers drop such samples, and a
    selector can do so with the stored score (<= 1 for the loss ratio, < 1 for the perplexity ratio). `reverse` asks
    how little the answer helps to predict the instruction: low is good there.

    Source: Li et al. 2024, "From Quantity to Quality" (arXiv 2308.12032, eq. 5; repository Cherry_LLM,
        `data_by_IFD.py`) for `loss-ratio` = L(A|Q) / L(A), the means over the same n tokens of the answer, which in
        the direct pass follows the template's response heading. Li et al. 2024, "Superfiltering" (arXiv 2402.00530;
        `code_ifd/data_analysis.py`) for `perplexity-ratio` = exp(L(A|Q) - L(A)), where the direct pass sees the bare
        answer: its first token has nothing before it and is not scored, so L(A|Q) is a mean over n tokens and L(A)
        over n - 1. Li et al. 2024, "Selective Reflection-Tuning" (arXiv 2402.10110; repository Reflection_Tuning,
        `selection_code/data_analysis.py`) for `reverse` = exp(L(Q|A) - L(Q)), where the instruction follows a request
        to guess it from the answer; the direct pass sees the bare instruction.

    As in the references prompt and answer are tokenized as one text, and the answer starts at the token whose number
    is the length of the tokenized prompt.

    Columns: `ifd`, `ifd_conditional_loss`, `ifd_direct_loss` for the loss ratio; `ifd_ppl`,
        `ifd_ppl_conditional_loss`, `ifd_ppl_direct_loss` for the perplexity ratio; `ifd_reverse`,
        `ifd_reverse_conditional_loss`, `ifd_reverse_direct_loss` for the reverse (losses are mean nats per token).

    Differs from the source: what can't be measured is null with its reason (the references drop it, clip it, or write
        0 or NaN): empty answers, answers that don't fit in the window after their prompt, and one-token answers for
        the perplexity ratios. No special token is added, so a Llama tokenizer's BOS is absent, as with GPT-2. The
        references know single turns only: of a longer conversation the last assistant turn is scored, given
        everything before it (labelled turns where an earlier answer is among them, joined by blank lines). The
        request to guess the instruction is worded anew.
    """

    name: ClassVar[str] = "ifd"
    needs: ClassVar[tuple[str, ...]] = ("messages", "instruction", "response")
    batch_rows: ClassVar[int] = 2_048

    model: ModelName = None
    definition: Literal["loss-ratio", "perplexity-ratio", "reverse"] = Field(
        "loss-ratio", description="Which paper's ratio."
    )
    template: TemplateName = None
    max_tokens: MaxTokens = None
    batch_tokens: BatchTokens = None

    @property
    def columns(self) -> dict[str, str]:
        """The score and the two losses it is made of."""
        stem = STEMS[self.definition]
        return dict.fromkeys((stem, f"{stem}_conditional_loss", f"{stem}_direct_loss"), "DOUBLE")

    def in_corpus(self, folder: Path) -> Self:
        """With the corpus' warm-up model where no model is named, and the template that one was trained on.

        Raises:
            ModelError: there is none yet.
        """
        return self.model_copy(update=left_open(self.model, self.template, folder))

    def fingerprint(self) -> str:
        """Of the model's files; reads them without loading the model."""
        return lm_fingerprint(named(self.name, self.model))

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        """One row per sample: the columns, and the reason where one is null."""
        import polars as pl

        reader = Reader.of(open_lm(named(self.name, self.model)), self.name, self.max_tokens, self.batch_tokens)
        asked = last_answers(batch)
        reasons: list[str | None] = [None] * len(asked)
        if self.definition == "reverse":
            asked, reasons = _reversed(asked)
        rows = self._measure(asked, reasons, reader)
        schema = {**dict.fromkeys(self.columns, pl.Float64), "reason": pl.String}
        return pl.DataFrame(rows, schema=schema, orient="row")

    def _measure(self, asked: list[Asked], reasons: list[str | None], reader: Reader) -> list[Row]:
        template = self.template or ("plain" if self.definition == "perplexity-ratio" else "alpaca")
        # The direct text of the loss ratio has the response heading before it, that of the others nothing.
        heading = TEMPLATES[template].heading if self.definition == "loss-ratio" else ""
        answers = [one.answer for one in asked]
        given = reader.spans([prompt(one.context, template) for one in asked], answers)
        alone = reader.spans([heading] * len(asked), answers)
        found = [reader.why_not(*row) for row in zip(asked, given, alone, strict=True)]
        reasons = [known or new for known, new in zip(reasons, found, strict=True)]
        pairs = zip(reader.losses_where(given, reasons), reader.losses_where(alone, reasons), reasons, strict=True)
        return [
            (None, None, None, reason) if conditional is None or direct is None else self._ratio(conditional, direct)
            for conditional, direct, reason in pairs
        ]

    def _ratio(self, conditional: np.ndarray, direct: np.ndarray) -> Row:
        """Score, both mean losses and the reason why one of them is null."""
        with_prompt = mean(conditional)
        if direct.size == 0:
            what = "instruction" if self.definition == "reverse" else "answer"
            return None, with_prompt, None, f"a one-token {what} has no direct loss: nothing comes before its token"
        alone = mean(direct)
        ratio = perplexity(with_prompt - alone)
        if not (math.isfinite(with_prompt) and math.isfinite(alone) and math.isfinite(ratio)):
            return None, None, None, NOT_FINITE
        if self.definition != "loss-ratio":
            return ratio, with_prompt, alone, None
        if alone == 0:
            return None, with_prompt, alone, "the direct loss is 0: there is no ratio"
        return with_prompt / alone, with_prompt, alone, None


def _reversed(asked: list[Asked]) -> tuple[list[Asked], list[str | None]]:
    """Each instruction as the answer to a request to guess it, and why some can't be."""
    reasons = [_why_not_reversed(one) for one in asked]
    turned = [
        Asked([{"role": "user", "content": ASK_BACK.replace("{}", one.answer, 1)}], plain(one.context)) for one in asked
    ]
    return turned, reasons


def _why_not_reversed(asked: Asked) -> str | None:
    if not asked.answer:
        return "the answer is empty"
    if not asked.context:
        return "nothing comes before the answer"
    return None if plain(asked.context) else "the instruction is empty"
