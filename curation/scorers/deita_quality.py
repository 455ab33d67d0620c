"""DEITA's quality: how good an answer is, by a language model that was trained to say so."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from curation.language_models.answer_losses import BatchTokens
from curation.language_models.causal_lm import fingerprint_of, open_causal_lm
from curation.language_models.digit_scores import exchanges, turn_scores
from curation.operators import Scorer

if TYPE_CHECKING:
    import polars as pl

# What the scorer of the paper was trained on, down to the space at the end.
BEFORE = (
    "You are a helpful assistant. Please identify the quality score of the Response corresponding to the Question. \n"
    " #Question#:\n"
)
BETWEEN, AFTER = "\n#Response#:\n", " \n##Quality: "


class DeitaQuality(Scorer):
    """How good each answer is, 1 to 6, by a local language model that was trained as a scorer.

    Source: Liu et al. 2024, DEITA (arXiv 2312.15685, section 2.4; repository hkust-nlp/deita, `scorer/base.py` and
        `llama_scorer.py`): the logits of the first position after the prompt, of the six digits alone, softmax, sum of
        k times p_k. Trained scorers: hkust-nlp/deita-quality-scorer. Any other causal LM gives numbers, but they mean
        something only if it was trained on this prompt.

    Columns:
        deita_quality (DOUBLE): mean over the turns, 1..6; null where one of them could not be judged.
        deita_quality_turns (DOUBLE[]): of each exchange between user and assistant, as `deita_complexity_turns`.

    Differs from the source: one plain forward pass instead of a generation (its logits may be warped by the model's
        sampling settings); the tokens of the digits are looked up and checked; what does not fit in the window is null.
    """

    name: ClassVar[str] = "deita-quality"
    needs: ClassVar[tuple[str, ...]] = ("messages", "instruction", "response")
    batch_rows: ClassVar[int] = 512

    model: str = Field(description="The scorer: hf:PATH or hub name, such as hkust-nlp/deita-quality-scorer")
    batch_tokens: BatchTokens = None

    @property
    def columns(self) -> dict[str, str]:
        return {"deita_quality": "DOUBLE", "deita_quality_turns": "DOUBLE[]"}

    def fingerprint(self) -> str:
        return fingerprint_of(self.model)

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        prompts = [
            [f"{BEFORE}{asked}{BETWEEN}{answer}{AFTER}" if answer else None for asked, answer in exchanges(*row)]
            for row in batch.select(self.needs).iter_rows()
        ]
        lm = open_causal_lm(self.model)
        return turn_scores(prompts, "the answer is empty", lm, self.batch_tokens, list(self.columns))
