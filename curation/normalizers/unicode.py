"""One way to write each character."""

from __future__ import annotations

import re
import unicodedata
from typing import ClassVar, Literal

from pydantic import Field

from curation.normalizers.encoding import MISREAD
from curation.normalizers.passages import every_text, passages, prose_only
from curation.operators import Normalizer
from curation.sample import Message, script_of

_EAST_ASIAN = re.compile("[\u3001-\u3011\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff]")
_FULL_WIDTH = re.compile("[\uff01-\uff5e]")
_CURLY = re.compile("[\u2018\u2019\u201c\u201d]")
_PUNCTUATION = "".join(chr(c) for c in range(0xFF01, 0xFF5F) if not chr(c - 0xFEE0).isalnum()) + "\u3000\u2026"
_KEPT = re.compile(f"([{re.escape(_PUNCTUATION)}]+)")
_TO_ASCII = {c: c - 0xFEE0 for c in range(0xFF01, 0xFF5F)}
_LETTERS_TO_ASCII = {c: a for c, a in _TO_ASCII.items() if chr(a).isalnum()}
_STRAIGHT = str.maketrans("\u2018\u2019\u201c\u201d", "''\"\"")
_EAST_ASIAN_SCRIPTS = ("Chinese", "Japanese", "Korean")


class Unicode(Normalizer):
    """Composed characters, half-width letters and digits, straight quotes if wanted; code stays as it is.

    Full-width letters and digits always become plain ones. Full-width punctuation and curly quotes are how Chinese,
    Japanese and Korean are written: they change only in lines without such characters, in texts of another script.
    NFKC leaves mojibake to `encoding`.

    Source: Unicode Standard Annex 15 (the forms); the Unicode block Halfwidth and Fullwidth Forms (the widths).
    """

    name: ClassVar[str] = "unicode"

    form: Literal["NFC", "NFKC"] = Field(
        "NFC", description="NFKC also replaces what only looks different: x\u00b2 becomes x2, \u2460 1, \u2122 TM"
    )
    widths: bool = Field(True, description="Full-width letters, digits and, in Latin text, punctuation become plain")
    straight_quotes: bool = Field(False, description="Curly quotes and apostrophes in Latin text become straight")

    def normalize(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        return every_text(messages, self._clean)

    def _clean(self, text: str) -> str:
        if text.isascii():
            return text
        if self.form == "NFKC" and MISREAD.search(text):
            return text
        composed = unicodedata.is_normalized(self.form, text)
        wide = self.widths and _FULL_WIDTH.search(text)
        curly = self.straight_quotes and _CURLY.search(text)
        if composed and not wide and not curly:
            return text
        latin = script_of(text) not in _EAST_ASIAN_SCRIPTS
        return "".join(self._lines(p.text, latin) if p.kind == "prose" else p.text for p in passages(text))

    def _lines(self, text: str, latin: bool) -> str:
        return "\n".join(line if line.isascii() else self._line(line, latin) for line in text.split("\n"))

    def _line(self, line: str, latin: bool) -> str:
        latin = latin and not _EAST_ASIAN.search(line)
        return prose_only(line, lambda words: self._words(words, latin))

    def _words(self, line: str, latin: bool) -> str:
        line = self._composed(line, latin)
        if self.widths:
            line = line.translate(_TO_ASCII if latin else _LETTERS_TO_ASCII)
        return line.translate(_STRAIGHT) if self.straight_quotes and latin else line

    def _composed(self, line: str, latin: bool) -> str:
        if latin or self.form == "NFC":
            return unicodedata.normalize(self.form, line)
        parts = _KEPT.split(line)
        return "".join(unicodedata.normalize("NFC" if place % 2 else "NFKC", part) for place, part in enumerate(parts))
