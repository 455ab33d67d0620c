"""Selective IFD: the difficulty of the tokens that the instruction tells something about."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, PrivateAttr

from curation.language_models.answer_losses import (
    KEPT_FOLDER,
    BatchTokens,
    MaxTokens,
    ModelName,
    Reader,
    Span,
    TemplateName,
    in_chunks,
    last_answers,
    left_open,
    named,
    perplexity,
    prompt,
)
from curation.language_models.served_losses import lm_fingerprint, open_lm
from curation.operators import Scorer

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

ONE_TOKEN = "a one-token answer has no direct loss: nothing comes before its token"
NOTHING_TOLD = "none of its tokens is among those that the instruction tells most about"


class SelectiveIFD(Scorer):
    """IFD over the informative tokens of an answer alone: those whose loss the instruction changes most in the corpus.

    A token counts if |L(token | instruction) - L(token)| lies above a percentile over the tokens of all samples;
    low, as with IFD: the instruction makes these tokens likely; above 1: it hinders.

    Source: Fu et al. 2025, "T-SHIRT" (arXiv 2506.01317; repository Dynamite321/T-SHIRT, `compute_stat.py`): S-IFD =
        exp(mean of the differences that count), with the percentile interpolated and the comparison strict. The direct
        pass sees the bare answer, so its first token is compared with nothing and never counts.

    Columns:
        s_ifd (DOUBLE): above 0; null where no token counts.
        s_ifd_tokens (BIGINT): tokens of the answer that count.
        s_ifd_threshold (DOUBLE): nats that a difference has to exceed; the same for all samples of the run.

    Differs from the source: without the 30 noisy copies of each sample and the choice by their spread. A sample without
        a token that counts is null (the reference writes 1). Samples that are added later move the percentile: the run
        goes over all again, but the model reads only what is new, since the differences are kept in `losses/` of the
        corpus (4 bytes per token).
    """

    name: ClassVar[str] = "s-ifd"
    whole: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("messages", "instruction", "response")

    model: ModelName = None
    informative: float = Field(0.5, gt=0, le=1, description="Share of the corpus' tokens that count: 0.5 or 0.75.")
    template: TemplateName = None
    max_tokens: MaxTokens = None
    batch_tokens: BatchTokens = None

    _kept: Path | None = PrivateAttr(None)

    @property
    def columns(self) -> dict[str, str]:
        return {"s_ifd": "DOUBLE", "s_ifd_tokens": "BIGINT", "s_ifd_threshold": "DOUBLE"}

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
        import numpy as np
        import polars as pl

        key = f"{self.name} {self.fingerprint()} {self.template} {self.max_tokens}"
        kept = in_chunks(batch, self._read, self._kept, key)
        flat = kept["gaps"].explode(empty_as_null=False, keep_nulls=False).to_numpy()
        owner = np.repeat(np.arange(kept.height), kept["gaps"].list.len().fill_null(0).to_numpy())
        least = threshold(flat, self.informative)
        counts = np.abs(flat) > least
        tokens = np.bincount(owner[counts], minlength=kept.height)
        sums = np.bincount(owner[counts], weights=flat[counts].astype(np.float64), minlength=kept.height)
        ratios = [perplexity(total / n) if n else None for total, n in zip(sums, tokens, strict=True)]
        nothing_told = pl.when(pl.col("reason").is_null() & (pl.Series(tokens) == 0)).then(pl.lit(NOTHING_TOLD))
        measured = pl.col("gaps").is_not_null()
        return kept.select(
            pl.Series("s_ifd", ratios, dtype=pl.Float64),
            pl.when(measured).then(pl.Series(tokens, dtype=pl.Int64)).alias("s_ifd_tokens"),
            pl.when(measured).then(pl.lit(least, pl.Float64)).alias("s_ifd_threshold"),
            nothing_told.otherwise("reason").alias("reason"),
        )

    def _read(self, batch: pl.DataFrame) -> pl.DataFrame:
        """`gaps`, L(token | instruction) - L(token) for each token of the answer but its first, or `reason` why not."""
        import polars as pl

        lm = open_lm(named(self.name, self.model))
        reader = Reader.of(lm, self.name, self.max_tokens, self.batch_tokens)
        asked = last_answers(batch)
        answers = [one.answer for one in asked]
        given = reader.spans([prompt(one.context, self.template or "plain") for one in asked], answers)
        alone = reader.spans([""] * len(asked), answers)
        reasons = [reader.why_not(*row) or _why_not(*row[1:]) for row in zip(asked, given, alone, strict=True)]
        read = zip(given, alone, reader.losses_where(given, reasons), reader.losses_where(alone, reasons), strict=True)
        gaps = [
            None if a is None or b is None else (a[-n:] - b[-n:]).tolist()
            for g, d, a, b in read
            for n in (_common(g, d),)
        ]
        columns = pl.Series("gaps", gaps, pl.List(pl.Float32)), pl.Series("reason", reasons, pl.String)
        return pl.DataFrame(columns)


def threshold(gaps: np.ndarray, informative: float) -> float:
    """The size that a share of all differences exceeds, interpolated between two of them; 0 where there are none."""
    import numpy as np

    if not len(gaps):
        return 0.0
    place = (1 - informative) * (len(gaps) - 1)
    low = math.floor(place)
    # Not numpy's quantile: in float32 it rounds to one of the two, in float64 a hundred million tokens double.
    sizes = np.partition(np.abs(gaps), [low, min(low + 1, len(gaps) - 1)])
    below, above = float(sizes[low]), float(sizes[min(low + 1, len(gaps) - 1)])
    return below + (place - low) * (above - below)


def _common(given: Span, alone: Span) -> int:
    """How many tokens both ways of writing the answer end with alike, the first of the bare answer left out."""
    answer = given.ids[given.start :]
    most = min(len(answer), len(alone.ids) - 1)
    return next((n for n in range(most) if answer[-1 - n] != alone.ids[-1 - n]), most)


def _why_not(given: Span, alone: Span) -> str | None:
    if len(alone.ids) == 1:
        return ONE_TOKEN
    return None if _common(given, alone) else "the tokenizer writes the answer otherwise after the prompt"
