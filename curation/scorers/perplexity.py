"""Perplexity: how surprising an answer is to a language model, after its instruction and alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from curation.language_models.answer_losses import (
    NOT_FINITE,
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

    from curation.language_models.answer_losses import Span


class Perplexity(Scorer):
    """How surprising the answer is to a language model that has read the instruction: its novelty against the model.

    Near 1 the model could have written the answer itself. Compare samples of one kind and language: code and lists are
    less surprising than prose, and so are long answers than short ones.

    Source: exp of the mean loss per token (Jelinek et al. 1977), of the three texts that Superfiltering's analysis
        measures (Li et al. 2024, arXiv 2402.00530; `code_ifd/data_analysis.py`): the answer after its instruction, the
        answer alone, the instruction alone. Both of the latter begin with a token that nothing comes before, which is
        not scored.

    Columns:
        perplexity (DOUBLE): of the answer given everything before it; from 1 on.
        perplexity_answer_alone (DOUBLE): of the bare answer; null for an answer of one token.
        perplexity_instruction (DOUBLE): of the bare instruction; null for one of one token.

    Differs from the source: of a longer conversation the last answer is scored; what does not fit in the window is
        null, not clipped; no special token is added.
    """

    name: ClassVar[str] = "perplexity"
    needs: ClassVar[tuple[str, ...]] = ("messages", "instruction", "response")
    batch_rows: ClassVar[int] = 2_048

    model: ModelName = None
    template: TemplateName = None
    max_tokens: MaxTokens = None
    batch_tokens: BatchTokens = None

    @property
    def columns(self) -> dict[str, str]:
        return dict.fromkeys(("perplexity", "perplexity_answer_alone", "perplexity_instruction"), "DOUBLE")

    def in_corpus(self, folder: Path) -> Self:
        """With the corpus' warm-up model where no model is named, and the template that one was trained on.

        Raises:
            ModelError: there is none yet.
        """
        return self.model_copy(update=left_open(self.model, self.template, folder))

    def fingerprint(self) -> str:
        return lm_fingerprint(named(self.name, self.model))

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        lm = open_lm(named(self.name, self.model))
        reader = Reader.of(lm, self.name, self.max_tokens, self.batch_tokens)
        asked = last_answers(batch)
        template = self.template or "plain"
        given = reader.spans([prompt(one.context, template) for one in asked], [one.answer for one in asked])
        reasons = [reader.why_not(*row) for row in zip(asked, given, strict=True)]
        values = [_of(losses) for losses in reader.losses_where(given, reasons)]
        reasons = [r or (NOT_FINITE if v is None else None) for r, v in zip(reasons, values, strict=True)]
        texts = ([one.answer for one in asked], [plain(one.context) for one in asked])
        columns = [values, *(_alone(reader, reader.spans([""] * len(asked), text)) for text in texts)]
        measured = {name: pl.Series(c, dtype=pl.Float64) for name, c in zip(self.columns, columns, strict=True)}
        return pl.DataFrame({**measured, "reason": pl.Series(reasons, dtype=pl.String)})


def _alone(reader: Reader, spans: list[Span]) -> list[float | None]:
    """The perplexity of each text from its second token on, where it has one and fits in the window."""
    misfit = [None if 1 < len(span.ids) <= reader.limit else "" for span in spans]
    return [_of(losses) for losses in reader.losses_where(spans, misfit)]


def _of(losses: np.ndarray | None) -> float | None:
    value = math.inf if losses is None else perplexity(mean(losses))
    return value if math.isfinite(value) else None
