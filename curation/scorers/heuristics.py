"""Cheap signs of a bad sample, as columnar expressions.

Covers: empty and cut-off answers, refusals, broken encodings, personal data, repetition, odd characters, an answer in
another script than its question; English and Chinese. Does not cover: whether an answer is right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from curation.operators import Scorer

if TYPE_CHECKING:
    import polars as pl

REFUSAL = "|".join(
    (
        r"(?i)\bas an ai(?: (?:language )?model| assistant|,| i (?:can|am|do))",
        r"as a (?:large )?language model",
        r"i(?:'|’)?m (?:sorry|afraid),? (?:but )?i (?:can(?:'|’|no)t|am unable)",
        r"i(?: can(?:'|’)t| cannot| can not|(?: am|'m|’m) (?:not able|unable) to)"
        r" (?:assist|help (?:you|with)|provide|fulfill|comply|answer|do that)",
        r"作为(?:一个|一名)?(?:AI|人工智能|语言模型|大型语言模型)[^。！？\n]{0,30}(?:无法|不能|没有|不具备|不便)",
        r"(?:很)?抱歉，?我(?:无法|不能)",
        r"对不起，?我(?:无法|不能)",
        r"我无法(?:提供|回答|协助|满足)",
    )
)
MOJIBAKE = (
    "â€[™œ\u009d“”˜¦¢\u0080-\u00bf]|Ã[\u0080-\u00bf©¨¡±³º¼¶¤]|Â[\u00a0-\u00bf]|ï»¿|\ufffd"
    "|[\u00e4-\u00e9][\u0080-\u00bf‚„…†‡ˆ‰Š‹Œ‘’“”•–—˜™š›œžŸ€ƒ][\u0080-\u00bf‚„…†‡ˆ‰Š‹Œ‘’“”•–—˜™š›œžŸ€ƒ]"
)
"""UTF-8 read as Latin-1 or Windows-1252, for Latin, punctuation and Chinese; and the replacement character."""
PERSONAL = (
    r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+\.[A-Za-z]{2,}"
    r"|\(?\b\d{3}\)?[-. ]\d{3,4}[-. ]\d{4}\b|\+\d{1,3}[- ]?\d{2,4}[- ]\d{3,4}[- ]?\d{3,4}"
    r"|\b1[3-9]\d{9}\b|\b\d{3}-\d{2}-\d{4}\b|\b\d{17}[\dXx]\b|\b(?:\d{4}[- ]){3}\d{4}\b"
)
"""E-mail addresses, telephone, identity and card numbers."""
OPEN_ENDED = (
    r"(?i)(?:[,，、:：(（]|\b(?:and|or|the|a|an|to|of|in|with|for|by|that|which|is|are|was|because|but|from|as|it|this"
    r"|their))\s*$"
)


class Heuristics(Scorer):
    """How many cheap signs of a bad sample there are; 0 is clean.

    Source: the signals that data-juicer, NeMo Curator and Gopher's rules have in common, written anew as expressions.

    Columns:
        heuristics (BIGINT): signs raised, of the eight flags below.
        empty, truncated, refusal, mojibake, personal_data, script_mismatch, repetitive, symbols (BOOLEAN): the flags.
        repetition (DOUBLE): share of the answer's lines, or of its word 4-grams if higher, that came before; 0..1.
        symbol_ratio (DOUBLE): share of the answer's characters that are neither letters, digits nor spaces; 0..1.
        digit_ratio (DOUBLE): share of the answer's characters that are digits; 0..1.
    """

    name: ClassVar[str] = "heuristics"
    needs: ClassVar[tuple[str, ...]] = ("instruction", "response")

    max_repetition: float = Field(0.4, ge=0, le=1, description="Repetition above which the answer is repetitive")
    max_symbol_ratio: float = Field(
        0.4, ge=0, le=1, description="Symbol ratio above which the answer is mostly symbols"
    )

    @property
    def columns(self) -> dict[str, str]:
        flags = dict.fromkeys(FLAGS, "BOOLEAN")
        return {"heuristics": "BIGINT", **flags, **dict.fromkeys(RATIOS, "DOUBLE")}

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        answer = pl.col("response")
        size = answer.str.len_chars()
        trimmed = answer.str.strip_chars()
        both = pl.concat_str("instruction", "response", separator="\n")
        measured = batch.select("instruction", "response").with_columns(
            (trimmed.str.len_chars() == 0).alias("empty"),
            _truncated(trimmed).alias("truncated"),
            answer.str.contains(REFUSAL).alias("refusal"),
            both.str.contains(MOJIBAKE).alias("mojibake"),
            both.str.contains(PERSONAL).alias("personal_data"),
            _mismatch().alias("script_mismatch"),
            _repetition(batch["response"]).alias("repetition"),
            _ratio(answer.str.count_matches(r"[^\p{L}\p{M}\p{N}\s]"), size).alias("symbol_ratio"),
            _ratio(answer.str.count_matches(r"\p{N}"), size).alias("digit_ratio"),
        )
        measured = measured.with_columns(
            (pl.col("repetition") > self.max_repetition).fill_null(False).alias("repetitive"),
            ((pl.col("symbol_ratio") > self.max_symbol_ratio) & (size > 12) & (pl.col("digit_ratio") < 0.2))
            .fill_null(False)
            .alias("symbols"),
        )
        count = pl.sum_horizontal(pl.col(f).cast(pl.Int64) for f in FLAGS).alias("heuristics")
        no_answer = pl.when(size == 0).then(pl.lit("the answer is empty: its ratios can't be measured")).alias("reason")
        return measured.select(count, *FLAGS, *RATIOS, no_answer)


FLAGS = ("empty", "truncated", "refusal", "mojibake", "personal_data", "script_mismatch", "repetitive", "symbols")
RATIOS = ("repetition", "symbol_ratio", "digit_ratio")


def _ratio(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    import polars as pl

    return pl.when(whole > 0).then(part / whole)


def _truncated(trimmed: pl.Expr) -> pl.Expr:
    # Only prose of some length can be seen to stop: a short answer, a list or code may end without a mark. Text that
    # ends on a word that asks for another one, or on a comma, was cut.
    prose = trimmed.str.len_chars() > 60
    last_line = trimmed.str.extract(r"([^\n]*)$", 1)
    sentence_stops = (
        last_line.str.contains(r"[\p{L}]$") & (last_line.str.len_chars() > 40) & ~last_line.str.contains("#")
    )
    several = trimmed.str.contains(r"[.!?。！？]")
    cut = trimmed.str.contains(OPEN_ENDED) | (sentence_stops & several & ~trimmed.str.contains("```"))
    open_code = trimmed.str.count_matches("```") % 2 == 1
    return open_code | (prose & cut & ~trimmed.str.ends_with("```"))


def _mismatch() -> pl.Expr:
    # Null-free: an empty side has no script to differ. A question that names another language asks for it.
    import polars as pl

    asks = pl.col("instruction").str.contains(
        r"(?i)translat|in chinese|in english|chinese|english|mandarin|翻译|译成|译为|英文|英语|中文|汉语|双语"
    )
    question, reply = _han_share("instruction"), _han_share("response")
    letters = pl.col("response").str.count_matches(r"[A-Za-z]")
    code = pl.col("response").str.contains("```|def |SELECT |#include|<[a-z]+>|;\n|=")
    chinese_to_latin = (question > 0.3) & (reply < 0.02) & (letters > 40) & ~code
    latin_to_chinese = (question < 0.02) & (reply > 0.3) & (pl.col("instruction").str.len_chars() > 10)
    return (chinese_to_latin | latin_to_chinese).fill_null(False) & ~asks


def _han_share(column: str) -> pl.Expr:
    import polars as pl

    text = pl.col(column)
    size = text.str.count_matches(r"\S")
    return pl.when(size > 0).then(text.str.count_matches(r"\p{Han}") / size)


def _repetition(answers: pl.Series) -> pl.Series:
    """Share of repeated lines or of repeated word 4-grams (Chinese: characters), whichever is higher; null if empty."""
    import polars as pl

    frame = pl.DataFrame({"row": range(len(answers)), "text": answers}, schema_overrides={"row": pl.Int64})
    lines = (
        frame.with_columns(pl.col("text").str.split("\n"))
        .explode("text")
        .filter(pl.col("text").str.strip_chars().str.len_chars() > 0)
    )
    words = (
        frame.with_columns(pl.col("text").str.to_lowercase().str.extract_all(r"\p{Han}|[\p{L}\p{N}]+").alias("word"))
        .select("row", "word")
        .explode("word")
        .drop_nulls("word")
    )
    grams = words.with_columns(
        pl.concat_str([pl.col("word").shift(-k).over("row") for k in range(4)], separator=" ").alias("text")
    ).drop_nulls("text")
    shares = [
        part.group_by("row").agg((1 - pl.col("text").n_unique() / pl.len()).alias("share")) for part in (lines, grams)
    ]
    highest = pl.concat(shares).group_by("row").agg(pl.col("share").max())
    joined = frame.join(highest, on="row", how="left", maintain_order="left")
    return joined.select(pl.when(pl.col("text").str.len_chars() > 0).then(pl.col("share").fill_null(0.0))).to_series()
