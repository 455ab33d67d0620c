"""What marks mathematics in a text."""

from __future__ import annotations

import re
from typing import ClassVar, Literal

from pydantic import Field

from curation.normalizers.passages import every_text, outside_code
from curation.operators import Normalizer
from curation.sample import Message

_ROUND = re.compile(r"(?<!\\)\\\(((?:[^\\\n]|\\[^()\n]|\n(?!\s*\n))+?)(?<!\\)\\\)")
_SQUARE = re.compile(r"(?<!\\)\\\[((?:[^\\\n]|\\[^\[\]]|\n(?!\s*\n))+?)(?<!\\)\\\]")
_DOUBLE = re.compile(r"(?<![\\$])\$\$(?!\$)((?:[^\\$\n]|\\.|\\\n|\n(?!\s*\n))+?)\$\$(?!\$)")
_SINGLE = re.compile(r"(?<![\\$\w])\$(?![\s$])((?:[^\\$\n]|\\.)*?(?:[^\\$\s]|\\[^\s]))\$(?![\w$])")

_BARE_DOLLAR = re.compile(r"(?<!\\)\$")
_REGEX = re.compile(r"\\[dwsDWSbB](?![A-Za-z])|\[\^|\[:|\[[^\]]?[A-Za-z0-9]-[A-Za-z0-9]|^[?*+]|(?<!\\)#")
_COMMAND = re.compile(r"\\(?:text|mathrm|mathbf|mathit|operatorname|mbox|textbf|begin|end)\s*\{[^{}]*\}|\\[A-Za-z]+")
_WORDS = re.compile(r"[A-Za-z]{3,}|[A-Za-z]{2,} [A-Za-z]{2,}|[;\"`#]|[\u4e00-\u9fff]")
_NAMES = re.compile(r"\b(?:sin|cos|tan|log|ln|exp|lim|max|min|gcd|lcm|mod|det|arg|sup|inf|deg)\b")
_OPERATION = re.compile(r"[\\^_=<>{}|+*/\u00d7\u00f7\u2212\u2264\u2265\u2260-]|[A-Za-z]\(")
_OPEN_END = re.compile(r"^[=*/<>,.|]|[=+*/<>,|-]$")
_SYMBOL = re.compile(r"-?(?:[A-Za-z]{1,2}['*!]?|[0-9]+(?:\.[0-9]+)?[A-Za-z%!]?|[\u0370-\u03ff]|\([^()]{1,12}\))")


class LatexDelimiters(Normalizer):
    r"""`\(x\)` and `\[x\]` to `$x$` and `$$x$$`, or the reverse; never in code, and never money.

    Single dollars are read as Pandoc does: no space just inside, no digit or letter just outside, no empty line
    between; and what stands between must be mathematics rather than words, so that `$5 and $10`, `$HOME` and
    `$("p").hide()` stay. A formula that holds a dollar sign of its own is left as it is.

    Source: Pandoc manual, extension tex_math_dollars (the rule for single dollars).
    """

    name: ClassVar[str] = "latex-delimiters"

    to: Literal["dollars", "brackets"] = Field("dollars", description="What marks mathematics afterwards")

    def normalize(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        return every_text(messages, self._clean)

    def _clean(self, text: str) -> str:
        if self.to == "dollars":
            return outside_code(text, _dollars) if "\\(" in text or "\\[" in text else text
        return outside_code(text, _brackets) if text.count("$") > 1 else text


def _dollars(text: str) -> str:
    text = _SQUARE.sub(lambda found: _marked(found, "$$", found.group(1)), text)
    return _ROUND.sub(lambda found: _marked(found, "$", found.group(1).strip()), text)


def _marked(found: re.Match[str], mark: str, formula: str) -> str:
    if not formula.strip() or _BARE_DOLLAR.search(formula) or _REGEX.search(formula):
        return found.group()
    # A dollar right beside it would run into the mark; a bracket that may come several times is a regular expression.
    around = found.string[max(0, found.start() - 1) : found.start()] + found.string[found.end() : found.end() + 1]
    return found.group() if any(c in around for c in "$?*{") else f"{mark}{formula}{mark}"


def _brackets(text: str) -> str:
    text = _DOUBLE.sub(lambda found: rf"\[{found.group(1)}\]" if _is_formula(found.group(1)) else found.group(), text)
    return _SINGLE.sub(lambda found: rf"\({found.group(1)}\)" if _is_formula(found.group(1)) else found.group(), text)


def _is_formula(text: str) -> bool:
    """Whether it reads as mathematics: a symbol, a number, or an operation without words."""
    bare = _NAMES.sub("", _COMMAND.sub("\\\\", text)).strip()
    if _SYMBOL.fullmatch(bare):
        return True
    whole = bare.count("{") == bare.count("}") and not _OPEN_END.search(bare) and any(c.isalnum() for c in text)
    return whole and bool(_OPERATION.search(bare)) and not _WORDS.search(bare)
