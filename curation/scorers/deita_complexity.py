"""DEITA's complexity: how demanding a user's query is, by a language model that was trained to say so."""

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
PROMPT = (
    "You are a helpful assistant. Please identify the complexity score of the following user query. \n"
    "##Query: {}  \n##Complexity: "
)


class DeitaComplexity(Scorer):
    """How complex each query of the user is, 1 to 6, by a local language model that was trained as a scorer.

    Source: Liu et al. 2024, DEITA (arXiv 2312.15685, section 2.3; repository hkust-nlp/deita, `scorer/base.py` and
        `llama_scorer.py`): the logits of the first position after the prompt, of the six digits alone, softmax, sum of
        k times p_k. Trained scorers: hkust-nlp/deita-complexity-scorer. Any other causal LM gives numbers, but they
        mean something only if it was trained on this prompt.

    Columns:
        deita_complexity (DOUBLE): mean over the turns, 1..6; null where one of them could not be judged.
        deita_complexity_turns (DOUBLE[]): of each exchange between user and assistant, as `deita_quality_turns`.

    Differs from the source: one plain forward pass instead of a generation (its logits may be warped by the model's
        sampling settings); the tokens of the digits are looked up and checked; what does not fit in the window is null.
    """

    name: ClassVar[str] = "deita-complexity"
    needs: ClassVar[tuple[str, ...]] = ("messages", "instruction", "response")
    batch_rows: ClassVar[int] = 512

    model: str = Field(description="The scorer: hf:PATH or hub name, such as hkust-nlp/deita-complexity-scorer")
    batch_tokens: BatchTokens = None

    @property
    def columns(self) -> dict[str, str]:
        return {"deita_complexity": "DOUBLE", "deita_complexity_turns": "DOUBLE[]"}

    def fingerprint(self) -> str:
        return fingerprint_of(self.model)

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        prompts = [
            [PROMPT.replace("{}", asked, 1) if asked else None for asked, _ in exchanges(*row)]
            for row in batch.select(self.needs).iter_rows()
        ]
        lm = open_causal_lm(self.model)
        return turn_scores(prompts, "the instruction is empty", lm, self.batch_tokens, list(self.columns))
