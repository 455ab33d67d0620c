"""How long a sample is."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from curation.errors import ModelError
from curation.operators import Scorer

if TYPE_CHECKING:
    import polars as pl

TOKEN = r"[\p{Han}\p{Hiragana}\p{Katakana}]|[\p{L}\p{M}]+|\p{N}|[^\s\p{L}\p{M}\p{N}]"
"""What counts as a token without a tokenizer: a word, a digit, a mark, a Chinese character or kana."""


class Length(Scorer):
    """Characters, tokens and turns of the whole conversation, and tokens of the answer.

    Source: none; a count. Without a tokenizer, tokens are words, digits, marks and Chinese characters, each one: an
    estimate that needs no download and treats Chinese and English alike.

    Columns:
        length (BIGINT): characters of all turns.
        length_tokens (BIGINT): tokens of all turns, without the chat template's own.
        length_response_tokens (BIGINT): tokens of the last assistant turn.
        length_turns (BIGINT): turns, the system's included.
    """

    name: ClassVar[str] = "length"
    needs: ClassVar[tuple[str, ...]] = ("messages", "response")

    tokenizer: str | None = Field(None, description="A Hugging Face tokenizer by name or path; null estimates")

    @property
    def columns(self) -> dict[str, str]:
        return dict.fromkeys(("length", "length_tokens", "length_response_tokens", "length_turns"), "BIGINT")

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        text = pl.col("messages").list.eval(pl.element().struct.field("content")).list.join("\n").alias("text")
        whole = batch.select(text, "response", pl.col("messages").list.len().alias("turns"))
        return whole.select(
            (pl.col("text").str.len_chars().cast(pl.Int64) - pl.col("turns") + 1).alias("length"),
            self._tokens(whole["text"]).alias("length_tokens"),
            self._tokens(whole["response"]).alias("length_response_tokens"),
            pl.col("turns").cast(pl.Int64).alias("length_turns"),
        )

    def _tokens(self, texts: pl.Series) -> pl.Series:
        import polars as pl

        if self.tokenizer is None:
            return texts.str.count_matches(TOKEN).cast(pl.Int64)
        encode = _tokenizer(self.tokenizer)
        counts = [len(ids) for ids in encode(texts.to_list(), add_special_tokens=False)["input_ids"]]
        return pl.Series(counts, dtype=pl.Int64)


def _tokenizer(name: str):  # type: ignore[no-untyped-def]  # noqa: ANN202 (transformers is untyped)
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise ModelError("Transformers is not installed.", fix="pip install 'winnow-studio[models]'") from None
    try:
        return AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise ModelError(
            f"The tokenizer {name!r} can't be opened: {reason}", fix="give the path of a model folder"
        ) from None
