"""Where JSON begins and ends in a text, however it is malformed. Pure, and bounded in time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

MOST_STARTS = 50
"""Brackets that are tried as a beginning; a text with more of them is code or mathematics."""
DEEPEST = 100
"""Brackets within brackets."""
_OPENS = {"{": "}", "[": "]"}
_QUOTES = {'"': '"“”', "'": "'", "“": '”"“', "”": '”"“'}
_SIGNS = str.maketrans("：，；;｛｝［］", ":,,,{}[]")
_BARE_QUOTE = re.compile(r'(?<!\\)((?:\\\\)*)"')
_APOSTROPHES = re.compile(r"(?<=\w)'(?=\w)")
_STRUCTURE = r"""\s*(?:[:：=]|[,，;；\s]+["'“\[{]|[,，]\s*(?:\d|true|false|null)|[,，}\]]+\s*[,，}\]{])"""
_LITERAL = re.compile(r"(?<![\w.])(?:True|False|None|NaN|undefined|[-+]?Infinity)(?!\w)")
_LITERALS = {"True": "true", "False": "false"}
_FENCED = re.compile(r"(?:```|~~~)json\b[^\n]*\n(.*?)(?:\n[ \t]*(?:```|~~~)|\Z)", re.DOTALL | re.IGNORECASE)
_BEGINS = re.compile(r"\{\s*[\"“'][^\"“”'\n]{0,80}(?:[\"”']\s*[:：]|\Z)")
_CLOSES = re.compile(r"""(?<!\\)["“”']\s*(?:[:：,，}\]]\s*\S|[}\]])""")
_AFTER_KEY = re.compile(r"""["”']\s*[:：]\s*$""")
_OPENING = re.compile(r"[\[{]")
_DECODER = json.JSONDecoder(strict=False)
_BEFORE_VALUE = re.compile(r"[:：]\s*$")
_ENDS_KEY = re.compile(r"\s*[:：]")
_ENDS_IN_LIST = re.compile(r"\s*(?:[,，\]］]|[\"“'{\[]|$|//|/\*|#)")
_ENDS_IN_OBJECT = re.compile(
    r"\s*(?:[}｝]|$|//|/\*|#|[,，;；]?\s*(?:[}｝]|$|//|/\*|#|\.\.\.|[\"“”'][^\"“”'\n]{1,80}[\"“”']\s*[:：]|\w{1,40}\s*[:：])"
    r"|[,，]\s*[\"“'][^\"“”'\n]{0,80}[\"”']?\s*$)"
)
"""What may follow: an end, a comment, the next key, or as much of it as there is."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of text that looks like one JSON object or list."""

    text: str
    cut_off: bool = False
    """It had no end: closed after the last value that is complete."""
    unclear: bool = False
    """Where its strings begin and end can't be told."""


class _Scanned(NamedTuple):
    end: int
    """After the bracket that closes it; -1 where none does."""
    strings: list[tuple[int, int]]
    """Of its strings, quotes included."""
    complete: tuple[int, str]
    """After the last complete value, and the brackets that are open there."""
    lost: bool = False
    """A string has no end, and not because the text is cut off in it."""
    cut_in_string: bool = False


def pieces(text: str) -> Iterator[Piece]:
    """Objects and lists that stand in a text by themselves, in order; only fences called json where there are some."""
    fenced = [match.group(1) for match in _FENCED.finditer(text)]
    found = [piece for inside in fenced for piece in _pieces(inside)]
    yield from found or _pieces(text)


def _pieces(text: str) -> Iterator[Piece]:
    place = 0
    for _ in range(MOST_STARTS):
        match = _OPENING.search(text, place)
        if match is None:
            return
        start = match.start()
        end = _standard_end(text, start) or (scanned := _scan(text, start)).end
        if end > 0:
            # What a key stands before is only a part of something whose own brackets are missing.
            yield Piece(text[start:end], unclear=bool(_AFTER_KEY.search(text, max(0, start - 100), start)))
            place = end
            continue
        end, still_open = scanned.complete
        cut_off = not text[max(end, start) :].rstrip().endswith(("}", "]")) or scanned.cut_in_string
        if scanned.lost or (end > start and not cut_off):  # it has an end, and so is broken elsewhere
            yield Piece(text[start:].rstrip(), unclear=scanned.lost)
            return
        if end > start:
            closed = "".join(_OPENS[sign] for sign in reversed(still_open))
            yield Piece(text[start:end] + closed, cut_off=True)
            place = end
        elif _BEGINS.match(text, start):  # cut off before anything was complete: what is in it is a part of it
            return
        else:
            place = start + 1


def _standard_end(text: str, start: int) -> int:
    """After the standard JSON that begins there; 0 where none does."""
    try:
        return _DECODER.raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        return 0


def _scan(text: str, start: int) -> _Scanned:
    """Read brackets and strings from a bracket on; a quote that no sign of JSON follows is part of its string."""
    strings: list[tuple[int, int]] = []
    opened, complete, place = [text[start]], (start, ""), start + 1
    last = before = text[start]  # the sign before, white space left out
    while place < len(text):
        sign = text[place]
        last, before = before, before if sign.isspace() else sign
        if sign in _QUOTES and _opens_string(text, place):
            if text[place - 1].isalnum():  # words touch it: it may as well be the end of a string
                return _Scanned(-1, strings, complete, lost=True)
            value = opened[-1] == "[" or bool(_BEFORE_VALUE.search(text, max(0, place - 40), place))
            end = _string_end(text, place, opened[-1], value)
            if end < 0:
                lost = bool(_CLOSES.search(text, place + 1))
                return _Scanned(-1, strings, complete, lost, cut_in_string=not lost)
            strings.append((place, end))
            complete = (end, "".join(opened)) if value else complete
            place = end
            continue
        if sign in _OPENS:
            opened.append(sign)
            if len(opened) > DEEPEST:
                return _Scanned(-1, strings, (start, ""))
        elif sign in "}]":
            if _OPENS[opened[-1]] != sign:
                break
            opened.pop()
            complete = (place + 1, "".join(opened))
            if not opened:
                return _Scanned(place + 1, strings, complete)
        elif sign in ",，" and last not in "[{,:，：":
            complete = (place, "".join(opened))
        elif text.startswith("//", place) or text.startswith("/*", place):
            stop = text.find("\n" if sign + text[place + 1] == "//" else "*/", place + 2)
            place = len(text) if stop < 0 else stop
        place += 1
    return _Scanned(-1, strings, complete)


def _opens_string(text: str, place: int) -> bool:
    """An apostrophe within a word opens nothing."""
    return text[place] != "'" or not (text[place - 1].isalnum() and text[place + 1 : place + 2].isalnum())


def _string_end(text: str, start: int, within: str, value: bool) -> int:
    """After the quote that closes the string; -1 where none does."""
    closing, place = _QUOTES[text[start]], start + 1
    while place < len(text):
        sign = text[place]
        if sign == "\\":
            place += 2
            continue
        if sign in closing and (value or _ENDS_KEY.match(text, place + 1)):
            if not value:
                return place + 1
            ends = _ENDS_IN_LIST if within == "[" else _ENDS_IN_OBJECT
            if ends.match(text, place + 1):
                return place + 1
        place += 1
    return -1


def plain_signs(text: str) -> str:
    """The same JSON with ASCII quotes around strings, and ASCII signs and JSON's literals between them."""
    out, rest = [], 0
    for start, end in _scan(text, 0).strings:
        inside = text[start + 1 : end - 1]
        inside = inside.replace("\\'", "'") if text[start] == "'" else inside
        out += [_plain(text[rest:start]), '"', _BARE_QUOTE.sub(lambda m: m[1] + '\\"', inside), '"']
        rest = end
    return "".join(out) + _plain(text[rest:])


def is_unclear(text: str, cut_off: bool = False) -> bool:
    """Whether a string of it may end elsewhere than it seems: a quote in it is alone, or has signs of JSON after it."""
    for start, end in _scan(text, 0).strings:
        inside = text[start + 1 : end - 1]
        own = _APOSTROPHES.sub("", inside) if text[start] == "'" else inside
        quote = text[start] if text[start] in "\"'" else '“”"'
        bare = len(re.findall(rf"(?<!\\)[{quote}]", own))
        certain = not (cut_off or _ENDS_KEY.match(text, end))
        if bare % 2 or (bare and not certain) or re.search(rf"(?<!\\)[{quote}](?:[{quote}]|{_STRUCTURE})", own):
            return True
        if text[end : end + 1].isalnum():
            return True
    return False


def _plain(between: str) -> str:
    return _LITERAL.sub(lambda m: _LITERALS.get(m[0], "null"), between.translate(_SIGNS))


def unbroken(text: str) -> str:
    """JSON without its comments, and with escapes in strings as what they stand for."""
    scanned = _scan(text, 0)
    out, rest = [], 0
    for start, end in [*scanned.strings, (len(text), len(text))]:
        out += [re.sub(r"/\*.*?\*/|(?://|#)[^\n]*|\.\.\.", " ", text[rest:start], flags=re.DOTALL), text[start:end]]
        rest = end
    return re.sub(r"\\(?:u([0-9a-fA-F]{4})|([nrtbf/\\\"']))", _unescaped, "".join(out))


def _unescaped(escape: re.Match[str]) -> str:
    if escape[1]:
        return chr(int(escape[1], 16))
    return " " if escape[2] in "nrtbf" else escape[2]
