"""Spaces and line ends that nobody sees."""

from __future__ import annotations

import re
from typing import ClassVar

from pydantic import Field

from curation.normalizers.encoding import MISREAD
from curation.normalizers.passages import Passage, every_text, passages, prose_only
from curation.operators import Normalizer
from curation.sample import Message

_INVISIBLE = re.compile("[\u00ad\u200b\u2060\ufeff]")
_ODD_SPACE = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f]")
_ODD = re.compile("[\u00ad\u200b\u2060\ufeff\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_IDEOGRAPHIC = re.compile("^([ \t\u3000]+)|\u3000", re.MULTILINE)
_LINE_END = re.compile("[ \t\u3000\f\v]+$", re.MULTILINE)
_EMPTY_LINES = re.compile(r"\A(?:[ \t]*\n)+")


class Whitespace(Normalizer):
    """One kind of space, one kind of line end, no runs of empty lines; code stays as it is.

    Outside code: CRLF becomes LF; spaces and tabs at line ends go (with them the two spaces by which Markdown breaks a
    line), as do zero-width spaces, soft hyphens and byte order marks, and empty lines at either end of the text.
    Non-breaking spaces, and ideographic ones within a line, become plain spaces. Indentation stays, that of a Chinese
    paragraph (two ideographic spaces) too. Zero-width joiners stay: emoji and several scripts are written with them.
    The spaces in mojibake stay as well, so that `encoding` can still repair it.

    Source: none; the rules that cleaning tools have in common.
    """

    name: ClassVar[str] = "whitespace"

    blank_lines: int = Field(
        2, ge=0, le=10, description="Empty lines in a row that are left; two set off functions in code without fences"
    )
    code_line_ends: bool = Field(False, description="CRLF becomes LF inside code too; else code stays byte for byte")

    def normalize(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        return every_text(messages, self._clean)

    def _clean(self, text: str) -> str:
        if not self._may_change(text):
            return text
        if self.code_line_ends:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        text = text.lstrip("\ufeff\u200b\u2060")
        parts = list(passages(text))
        last = len(parts) - 1
        return "".join(self._passage(part, first=i == 0, last=i == last) for i, part in enumerate(parts))

    def _may_change(self, text: str) -> bool:
        # Looking for a fixed string costs a tenth of looking for an expression.
        return (
            " \n" in text
            or "\t\n" in text
            or "\r" in text
            or "\n" * (self.blank_lines + 2) in text
            or text[:1].isspace()
            or text[-1:].isspace()
            or "\f" in text
            or "\v" in text
            or (not text.isascii() and _ODD.search(text) is not None)
        )

    def _passage(self, part: Passage, *, first: bool, last: bool) -> str:
        if part.kind != "prose":
            return part.text
        text = part.text.replace("\r\n", "\n").replace("\r", "\n")
        text = _LINE_END.sub("", prose_only(text, _plain_spaces))
        text = re.sub(rf"\n{{{self.blank_lines + 2},}}", "\n" * (self.blank_lines + 1), text)
        above = _EMPTY_LINES.match(text)
        if above is not None:
            kept = 0 if first else min(self.blank_lines, above.group().count("\n"))
            text = "\n" * kept + text[above.end() :]
        return text.rstrip() if last else text


def _plain_spaces(text: str) -> str:
    if text.isascii() or MISREAD.search(text):
        return text
    text = _ODD_SPACE.sub(" ", _INVISIBLE.sub("", text))
    return _IDEOGRAPHIC.sub(lambda found: found.group(1) or " ", text) if "\u3000" in text else text
