"""Two versions of a text side by side in one: what stayed, what went and what came, word by word."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Literal, NamedTuple

import streamlit as st

MOST_WORDS = 1_200
"""Words that are compared, after what both texts begin and end with; longer texts are compared line by line, and where
there are more lines than this, as a whole. The time grows with the square."""
AROUND = 160
"""Characters of unchanged text shown on either side of a change."""
LONGEST = 6_000
"""Characters of a difference that are shown."""

_WORD = re.compile(r"[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+|.", re.DOTALL)
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_UNSEEN = {" ": "·", "\n": "⏎\n", "\r": "␍", "\t": "⇥", "\u00a0": "⍽", "\u3000": "□", "\u00ad": "‧"}
_NAMED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202f\u2060\ufeff]")
_TAGS = {"removed": "del", "added": "ins"}
_STYLE = (
    "<style>.winnow-diff{white-space:pre-wrap;overflow-wrap:anywhere;font-size:.9rem;margin:0;font-family:inherit}"
    ".winnow-diff del{background:rgba(255,75,75,.22)}.winnow-diff ins{background:rgba(33,195,84,.25)}</style>"
)


class Piece(NamedTuple):
    """A stretch of text and what became of it."""

    text: str
    change: Literal["same", "removed", "added"]


def marked(old: str, new: str) -> list[Piece]:
    """What stayed, went and came, in reading order; nothing is left out.

    The pieces that were not added are, joined, the old text, those that were not removed the new one. Chinese, Japanese
    and Korean are compared by character, other text by word.
    """
    head, tail = _common(old, new)
    a, b = old[head : len(old) - tail], new[head : len(new) - tail]
    middle = _compared(a, b)
    return _merged([Piece(old[:head], "same"), *middle, Piece(old[len(old) - tail :], "same")])


def _common(old: str, new: str) -> tuple[int, int]:
    """Characters that both begin with and end with, cut back so that no word is parted."""
    most = min(len(old), len(new))
    head = next((i for i in range(most) if old[i] != new[i]), most)
    while head and (old[head - 1 : head + 1].isalnum() or new[head - 1 : head + 1].isalnum()):
        head -= 1
    most -= head
    tail = next((i for i in range(most) if old[-1 - i] != new[-1 - i]), most)
    while tail and _parts_word(old, tail) | _parts_word(new, tail):
        tail -= 1
    return head, tail


def _parts_word(text: str, tail: int) -> bool:
    place = len(text) - tail
    return place > 0 and text[place - 1 : place + 1].isalnum()


def _compared(old: str, new: str) -> list[Piece]:
    for pattern in (_WORD, _LINE):
        a, b = pattern.findall(old), pattern.findall(new)
        if max(len(a), len(b)) <= MOST_WORDS:
            return list(_pieces(a, b))
    return [Piece(old, "removed"), Piece(new, "added")]


def _pieces(a: Sequence[str], b: Sequence[str]) -> list[Piece]:
    found: list[Piece] = []
    for what, i, j, k, m in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if what == "equal":
            found.append(Piece("".join(a[i:j]), "same"))
        else:
            found += [Piece("".join(a[i:j]), "removed"), Piece("".join(b[k:m]), "added")]
    return found


def _merged(pieces: Sequence[Piece]) -> list[Piece]:
    merged: list[Piece] = []
    for piece in pieces:
        if merged and piece.text and merged[-1].change == piece.change:
            merged[-1] = Piece(merged[-1].text + piece.text, piece.change)
        elif piece.text:
            merged.append(piece)
    return merged


def shortened(pieces: Sequence[Piece], around: int = AROUND) -> list[Piece]:
    """The pieces with long unchanged stretches cut to what stands `around` the changes."""
    short = []
    for place, (text, change) in enumerate(pieces):
        before = around if place else 0
        after = around if place < len(pieces) - 1 else 0
        if change == "same" and len(text) > before + after + 20:
            text = f"{text[:before]} … {text[len(text) - after :]}"
        short.append(Piece(text, change))
    return short


def show(old: str, new: str, *, around: int = AROUND) -> None:
    """Draw the difference of two texts: removed struck through, added underlined; neither is read as HTML or Markdown.

    Args:
        old: the text before.
        new: the text after.
        around: characters of unchanged text shown on either side of a change.
    """
    st.html(_STYLE + as_html(shortened(marked(old, new), around)))


def as_html(pieces: Sequence[Piece]) -> str:
    """The pieces as one block of HTML, every character of theirs escaped; changed spaces can be seen."""
    drawn, left = [], LONGEST
    for text, change in pieces:
        escaped = html.escape(_seen(text[:left]) if change != "same" else text[:left])
        tag = _TAGS.get(change)
        drawn.append(f"<{tag}>{escaped}</{tag}>" if tag else escaped)
        left -= len(text)
        if left <= 0:
            drawn.append(" …")
            break
    return f'<pre class="winnow-diff">{"".join(drawn)}</pre>'


def _seen(text: str) -> str:
    """A changed text with a sign for what is not seen; spaces between words stay."""
    spaces = not any(c.isprintable() and c != " " for c in text)
    text = "".join(sign if (sign := _UNSEEN.get(c)) and (spaces or c != " ") else c for c in text)
    return _NAMED.sub(lambda found: f"‹U+{ord(found.group()):04X}›", text)
