"""Text that was read in the wrong encoding."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field

from curation.normalizers.passages import every_text, passages, prose_only
from curation.operators import Normalizer, parted
from curation.sample import Message

Fix = Literal["html-entities", "terminal-escapes", "latin-ligatures", "control-characters", "surrogates"]
_SETTINGS = {
    "html-entities": "unescape_html",
    "terminal-escapes": "remove_terminal_escapes",
    "latin-ligatures": "fix_latin_ligatures",
    "control-characters": "remove_control_chars",
    "surrogates": "fix_surrogates",
}
_OTHER = (*_SETTINGS.values(), "fix_character_width", "uncurl_quotes", "fix_line_breaks")
_CONTINUES = (
    "[\u00a0-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013\u2014\u2018-\u201e"
    "\u2020-\u2022\u2026\u2030\u2039\u203a\u20ac\u2122]"
)
MISREAD = re.compile(f"[\u0080-\u0084\u0086-\u009f]|[\u00c2-\u00c5]{_CONTINUES}|[\u00e2-\u00ef]{_CONTINUES}{{2}}")
"""UTF-8 that was read as Windows-1252: its odd spaces and signs are bytes of other characters, to be left alone."""
_ANGSTROMS = re.compile("\u00c5[\u00b2\u00b3]")
_WORD = re.compile(r"[^\W\d_]+")


class Encoding(Normalizer):
    """Repairs mojibake: UTF-8 that was read as Windows-1252, Latin-1 and the like.

    Line by line, so that one bad line is repaired beside good ones. A text that has a word both right and wrong is
    left as it is: it speaks about encodings. What was lost for good (question marks, replacement characters), and
    Chinese that was read as another Chinese encoding, can't be repaired.

    Source: Speer 2019, ftfy (doi:10.5281/zenodo.2591652), `fix_encoding`; code: rspeer/python-ftfy.
    """

    name: ClassVar[str] = "encoding"

    fixes: Annotated[tuple[Fix, ...], BeforeValidator(parted)] = Field(
        (), description="Other fixes of ftfy to make as well; none by default"
    )
    code: bool = Field(False, description="Repair code too; else fenced, indented and inline code stays as it is")

    def normalize(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        return every_text(messages, self._clean)

    def _clean(self, text: str) -> str:
        fix = _fixer(self.fixes)
        if not self.fixes and (text.isascii() or not _looks_bad()(text)):
            return text
        if self.code:
            new = fix(text)
        else:
            new = "".join(prose_only(p.text, fix) if p.kind == "prose" else p.text for p in passages(text))
        return text if new == text or _quotes_both(text, new) else new


def _quotes_both(old: str, new: str) -> bool:
    """Whether a word that the repair makes stands in the old text already, beside its broken form."""
    before, after = _words(old), _words(new)
    return any(0 < before[word] < times for word, times in after.items())


def _words(text: str) -> Counter[str]:
    return Counter(word for word in _WORD.findall(text) if not word.isascii())


@lru_cache
def _looks_bad() -> Callable[[str], bool]:
    from ftfy.badness import is_bad

    return is_bad


@lru_cache
def _fixer(fixes: tuple[Fix, ...]) -> Callable[[str], str]:
    import ftfy

    chosen: dict[str, Any] = dict.fromkeys(_OTHER, False) | {_SETTINGS[fix]: True for fix in fixes}
    config = ftfy.TextFixerConfig(normalization=None, explain=False)._replace(**chosen)
    return lambda text: text if _is_unit(text) else ftfy.fix_text(text, config)


def _is_unit(text: str) -> bool:
    # Cubic angstroms are two characters that ftfy takes for one broken letter.
    plain = _ANGSTROMS.sub("", text)
    return plain != text and not _looks_bad()(plain)
