"""Target fit: which of several answers to one instruction the model that is to be tuned would most likely give."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, PrivateAttr

from curation.language_models.answer_losses import (
    KEPT_FOLDER,
    NOT_FINITE,
    BatchTokens,
    MaxTokens,
    Reader,
    TemplateName,
    in_chunks,
    last_answers,
    left_open,
    mean,
    named,
    prompt,
)
from curation.language_models.served_losses import lm_fingerprint, open_lm
from curation.operators import Scorer
from curation.sample import text_id

if TYPE_CHECKING:
    import polars as pl


class TargetFit(Scorer):
    """How likely the answer is to the base model that is to be tuned, and its place among answers to the same question.

    For pools in which several teachers answered the same instructions: keep `target_fit_rank = 1`.

    Source: Zhang et al. 2025, "The Best Instruction-Tuning Data are Those That Fit" (GRAPE, arXiv 2502.04194): of the
        answers to one instruction the one with the highest likelihood under the target base model, per token.

    Columns:
        target_fit (DOUBLE): mean log-likelihood of the answer's tokens given everything before it, in nats; up to 0.
        target_fit_rank (BIGINT): place among the measured samples whose turns before the answer are the same, 1 the
            likeliest; equal ones by id.
        target_fit_candidates (BIGINT): how many measured samples these are, itself included.

    Differs from the source: of a longer conversation the last answer is scored. Samples that are added later may change
        the places: the run goes over all again, but the model reads only what is new, since the likelihoods are kept in
        `losses/` of the corpus.
    """

    name: ClassVar[str] = "target-fit"
    whole: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("messages", "instruction", "response")

    model: str | None = Field(
        None, description="The base model that is to be tuned: hf:PATH or hub name; empty: the corpus' warm-up model."
    )
    template: TemplateName = None
    max_tokens: MaxTokens = None
    batch_tokens: BatchTokens = None

    _kept: Path | None = PrivateAttr(None)

    @property
    def columns(self) -> dict[str, str]:
        return {"target_fit": "DOUBLE", "target_fit_rank": "BIGINT", "target_fit_candidates": "BIGINT"}

    def in_corpus(self, folder: Path) -> Self:
        """With the corpus' warm-up model where no model is named, and a place to keep what was read.

        Raises:
            ModelError: there is none yet.
        """
        scorer = self.model_copy(update=left_open(self.model, self.template, folder))
        scorer._kept = folder / KEPT_FOLDER
        return scorer

    def fingerprint(self) -> str:
        return lm_fingerprint(named(self.name, self.model))

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        key = f"{self.name} {self.fingerprint()} {self.template} {self.max_tokens}"
        kept = in_chunks(batch, self._read, self._kept, key)
        ranked = (
            kept.with_columns(batch["id"])
            .with_row_index("row")
            .sort("target_fit", "id", descending=[True, False], nulls_last=True)
            .with_columns(
                pl.int_range(1, pl.len() + 1).over("question").alias("target_fit_rank"),
                pl.col("target_fit").count().over("question").cast(pl.Int64).alias("target_fit_candidates"),
            )
            .sort("row")
        )
        measured = pl.col("target_fit").is_not_null()
        places = [pl.when(measured).then(name).alias(name) for name in ("target_fit_rank", "target_fit_candidates")]
        return ranked.select("target_fit", *places, "reason")

    def _read(self, batch: pl.DataFrame) -> pl.DataFrame:
        """`target_fit`, `reason`, and a hash of the `question` that it answers."""
        import polars as pl

        lm = open_lm(named(self.name, self.model))
        reader = Reader.of(lm, self.name, self.max_tokens, self.batch_tokens)
        asked = last_answers(batch)
        given = reader.spans(
            [prompt(one.context, self.template or "alpaca") for one in asked], [one.answer for one in asked]
        )
        reasons = [reader.why_not(*row) for row in zip(asked, given, strict=True)]
        fits = [None if losses is None else -mean(losses) for losses in reader.losses_where(given, reasons)]
        odd = [fit is not None and not math.isfinite(fit) for fit in fits]
        return pl.DataFrame(
            {
                "target_fit": [None if o else fit for fit, o in zip(fits, odd, strict=True)],
                "reason": [NOT_FINITE if o else reason for reason, o in zip(reasons, odd, strict=True)],
                "question": [text_id(prompt(one.context, "chatml")) for one in asked],
            },
            schema={"target_fit": pl.Float64, "reason": pl.String, "question": pl.String},
        )
