"""Cheap signs of a bad sample, as columns.

Covers: empty and cut-off answers, refusals, broken encodings, broken formats, personal data, repetition, odd
characters, an answer in another script than its question, openings and closings that carry nothing; English and
Chinese. Does not cover: whether an answer is right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from curation.operators import Scorer

if TYPE_CHECKING:
    import polars as pl

FLAGS = (
    "empty", "truncated", "refusal", "mojibake", "personal_data", "script_mismatch", "repetitive", "symbols",
    "format_error",
)  # fmt: skip
"""What `heuristics` counts."""
RATIOS = (
    "repetition", "symbol_ratio", "digit_ratio", "length_ratio", "special_ratio", "alphanumeric_ratio",
    "repeated_lines", "repeated_words", "repeated_characters", "mean_line_chars",
)  # fmt: skip
COUNTS = ("words", "max_line_chars", "mojibake_badness")
TEXTS = ("personal_kinds", "format_problem")
OTHERS = ("boilerplate", "mojibake_fixable")

OPEN_ENDED = (
    r"(?i)(?:[,，、:：(（]|\b(?:and|or|the|a|an|to|of|in|with|for|by|that|which|is|are|was|because|but|from|as|it|this"
    r"|their))\s*$"
)
LIST_ITEM = r"^\s*(?:[-*•–·>]|\(?\d{1,3}[.)、]|[A-Za-z][.)]|\w+ \d+[:.])\s*\S"
ITEM_AFTER_STOP = r"[.。；;]\s*\n+\s*(?:[-*•–·>]|\(?\d{1,3}[.)、])[^\n]*$"
NO_PROSE = (
    r"[=|{}<>#]|//|\(\)|https?:|www\.|\w@\w|[-–—~]\s?[\p{Lu}\p{Han}][\p{L}. ]{1,30}$"
    r"|\b[23][.)、] ?\S.*\b[34][.)、] ?\S"
)
"""Code, tables, addresses, the author under a quotation and lists in one line end without a mark."""
MAYBE_BROKEN = "[\u0080-\u03ff\u0400-\u04ff\u1e00-\u1eff\u2500-\u259f\ufffd]"
"""Every misread encoding that ftfy knows leaves one of these; Chinese with its own punctuation holds none."""
ASKS_FOR_A_LANGUAGE = (
    r"(?i)translat|in chinese|in english|chinese|english|mandarin|翻译|译成|译为|英文|英语|中文|汉语|双语"
)


class Heuristics(Scorer):
    """How many cheap signs of a bad sample there are; 0 is clean.

    Source: the signals that data-juicer, NeMo Curator and Gopher's rules have in common, written anew as expressions;
    broken encodings by ftfy; `repeated_words`, `repeated_characters` and line lengths as in data-juicer 1.6.

    Columns:
        heuristics (BIGINT): signs raised, of the nine flags below.
        empty, truncated, refusal, mojibake, personal_data, script_mismatch, repetitive, symbols, format_error
            (BOOLEAN): the flags. Encoding and personal data are looked for in every turn, the rest in the last answer.
        boilerplate (BOOLEAN): the answer opens or closes with a phrase that carries nothing; not counted as a sign.
        mojibake_fixable (BOOLEAN): undoing the wrong encoding changes the text; null where it is not broken.
        mojibake_badness (BIGINT): ftfy's count of character sequences that no language has.
        personal_kinds (VARCHAR): what kinds of personal data, joined by commas; null where there is none.
        format_problem (VARCHAR): what is wrong with the format: an open code fence, or JSON that doesn't parse.
        repetition (DOUBLE): share of the answer's lines, or of its word 4-grams if higher, that came before; 0..1.
        repeated_lines (DOUBLE): the former alone.
        repeated_words, repeated_characters (DOUBLE): share of the answer's word, character 10-grams that are repeated.
        symbol_ratio (DOUBLE): share of the answer's characters that are neither letters, digits nor spaces; 0..1.
        digit_ratio, alphanumeric_ratio, special_ratio (DOUBLE): shares that are digits; letters or digits; anything but
            letters; 0..1.
        length_ratio (DOUBLE): characters of the answer per character of the user's turns.
        mean_line_chars (DOUBLE), max_line_chars (BIGINT): characters of the answer's lines.
        words (BIGINT): of the answer, by spaces; each Chinese character is one.
    """

    name: ClassVar[str] = "heuristics"
    needs: ClassVar[tuple[str, ...]] = ("instruction", "response", "messages")

    max_repetition: float = Field(0.4, ge=0, le=1, description="Repetition above which the answer is repetitive")
    max_symbol_ratio: float = Field(
        0.4, ge=0, le=1, description="Symbol ratio above which the answer is mostly symbols"
    )

    @property
    def columns(self) -> dict[str, str]:
        return {
            "heuristics": "BIGINT",
            **dict.fromkeys((*FLAGS, *OTHERS), "BOOLEAN"),
            **dict.fromkeys(RATIOS, "DOUBLE"),
            **dict.fromkeys(COUNTS, "BIGINT"),
            **dict.fromkeys(TEXTS, "VARCHAR"),
        }

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        from curation.files.format_errors import format_errors
        from curation.texts.personal_data import kinds_in
        from curation.texts.phrases import REFUSAL
        from curation.texts.text_statistics import statistics_of

        texts = batch.select("instruction", "response", _every_turn(batch).alias("all"))
        answer = pl.col("response")
        trimmed = answer.str.strip_chars()
        measured = texts.with_columns(
            *statistics_of(texts["response"]),
            *_encoding(texts["all"]),
            _han_share("instruction").alias("asked_in_han"),
            kinds_in(texts["all"]).alias("personal_kinds"),
            format_errors(texts["instruction"], texts["response"]),
            (trimmed.str.len_chars() == 0).alias("empty"),
            _truncated(trimmed).alias("truncated"),
            answer.str.contains(REFUSAL).alias("refusal"),
            _boilerplate(trimmed).alias("boilerplate"),
        )
        measured = measured.with_columns(
            pl.max_horizontal("repeated_lines", "came_before").alias("repetition"),
            (pl.col("chars") / pl.col("instruction").str.len_chars().replace(0, None)).alias("length_ratio"),
            pl.col("personal_kinds").is_not_null().alias("personal_data"),
            pl.col("format_problem").is_not_null().alias("format_error"),
            _mismatch().alias("script_mismatch"),
        ).with_columns(self._repetitive(), self._symbols())
        count = pl.sum_horizontal(pl.col(f).cast(pl.Int64) for f in FLAGS).alias("heuristics")
        empty = pl.col("chars") == 0
        no_answer = pl.when(empty).then(pl.lit("the answer is empty: its ratios can't be measured")).alias("reason")
        return measured.select(count, *FLAGS, *OTHERS, *RATIOS, *COUNTS, *TEXTS, no_answer)

    def _repetitive(self) -> pl.Expr:
        import polars as pl

        return (pl.col("repetition") > self.max_repetition).fill_null(False).alias("repetitive")

    def _symbols(self) -> pl.Expr:
        import polars as pl

        many = pl.col("symbol_ratio") > self.max_symbol_ratio
        return (many & (pl.col("chars") > 12) & (pl.col("digit_ratio") < 0.2)).fill_null(False).alias("symbols")


def _every_turn(batch: pl.DataFrame) -> pl.Expr:
    import polars as pl

    pair = pl.concat_str("instruction", "response", separator="\n", ignore_nulls=True)
    if "messages" not in batch.columns:
        return pair
    turns = pl.col("messages").list.eval(pl.element().struct.field("content").fill_null("")).list.join("\n")
    return pl.coalesce(turns, pair)


def _encoding(texts: pl.Series) -> list[pl.Series]:
    """Whether each text was decoded wrongly, how badly, and whether it can be restored."""
    import ftfy
    import polars as pl
    from ftfy.badness import badness

    places = texts.str.contains(MAYBE_BROKEN).fill_null(False).arg_true()
    suspects = texts.gather(places)
    counts = [badness(text) for text in suspects]
    lost = suspects.str.contains("\ufffd", literal=True).to_list()
    fixable = [
        ftfy.fix_encoding(t) != t if count or gone else None
        for t, count, gone in zip(suspects, counts, lost, strict=True)
    ]
    zero = pl.Series("mojibake_badness", [0], dtype=pl.Int64).new_from_index(0, len(texts))
    bad = zero.scatter(places, counts)
    unknown = pl.Series("mojibake_fixable", [None], dtype=pl.Boolean).new_from_index(0, len(texts))
    gone = pl.Series([False]).new_from_index(0, len(texts)).scatter(places, lost)
    return [((bad > 0) | gone).alias("mojibake"), bad, unknown.scatter(places, pl.Series(fixable, dtype=pl.Boolean))]


def _truncated(trimmed: pl.Expr) -> pl.Expr:
    # Only prose of some length can be seen to stop: a short answer, a list or code may end without a mark. Text that
    # ends on a word that asks for another one, or on a comma, was cut. A list item was cut if the one before it stops.
    prose = _longer(trimmed, 60)
    last_line = trimmed.str.extract(r"([^\n]*)$", 1)
    stopless = last_line.str.contains(r"\p{L}$") & ~last_line.str.contains(NO_PROSE)
    unfinished = stopless & _longer(last_line, 40)
    item = last_line.str.contains(LIST_ITEM)
    sentence_stops = unfinished & trimmed.str.contains(r"[.!?。！？]") & (~item | trimmed.str.contains(ITEM_AFTER_STOP))
    fenced = trimmed.str.contains("```", literal=True)
    signed = last_line.str.contains(r"^\S.{0,24},$")  # the comma after the closing of a letter
    cut = (trimmed.str.contains(OPEN_ENDED) & ~signed) | (sentence_stops & ~fenced)
    open_code = trimmed.str.count_matches("```", literal=True) % 2 == 1
    return open_code | (prose & cut & ~trimmed.str.ends_with("```"))


def _longer(text: pl.Expr, chars: int) -> pl.Expr:
    # A Chinese character takes three bytes and says more than a letter.
    return (text.str.len_chars() > chars) | (text.str.len_bytes() > 2 * chars)


def _boilerplate(trimmed: pl.Expr) -> pl.Expr:
    from curation.texts.phrases import CLOSING, OPENING

    return trimmed.str.head(200).str.contains(OPENING) | trimmed.str.tail(240).str.contains(CLOSING)


def _mismatch() -> pl.Expr:
    # Null-free: an empty side has no script to differ. A question that names another language asks for it.
    import polars as pl

    asks = pl.col("instruction").str.contains(ASKS_FOR_A_LANGUAGE)
    question, reply = pl.col("asked_in_han"), pl.col("han_ratio")
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
