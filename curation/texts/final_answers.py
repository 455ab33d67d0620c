r"""The final answer of a solution, and whether it is the expected one.

Covers: `#### 42`, `\boxed{...}`, `A: 42`, `the answer is ...`, `答案是`, `答：`, else the last number; money, units,
thousands separators, percent, fractions, mixed numbers, plain LaTeX, magnitudes (`1.5 million`, `12万`), letters of a
choice, short expressions that read the same; times, dates, ratios, tuples and names by their text. Does not cover:
numbers in words, sets in another order, algebra (`x+1` and `1+x` differ).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from curation.texts.equations import worth

REFERENCES = (
    "final_answer", "ground_truth", "reference_answer", "reward_model.ground_truth", "reference", "expected_answer",
    "gold", "answer", "target", "solution",
)  # fmt: skip
"""Metadata fields that hold the expected answer, where none is named; the first that is there counts."""
SHORT = 80
"""A reference of at most so many characters, on one line, is the answer itself and not a solution."""

_NUMBER = r"(?:\d{1,3}(?:[,，]\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
_MONEY = r"(?:\\?[$£€¥￥]|US\$|USD|RMB)"
_VALUE = re.compile(
    rf"(?:[-−–](?=\s?{_MONEY}?\s?[\d.]))?\s?{_MONEY}?\s?-?(?:\d+ \d+/\d+|(?:{_NUMBER})(?:\s?/\s?(?:{_NUMBER}))?)"
    r"(?:\s?(?:\\?%|％|(?:percent|million|billion|trillion|thousand|hundred)\b|万亿?|亿))?",
    re.IGNORECASE,
)
_MARKED = re.compile(r"(?<!#)####(?!#)[^\S\n]*([^\n]*)")
_CALLED = re.compile(
    r"(?i)[*_\s]*(?:(?:the\s+)?(?:final\s+)?(?:answer|result|solution)\b(?:\s+is\b)?|(?:最终)?(?:答案|结果)是?|答(?=\s*[:：]))"
    r"[*_\s]*[:：]?[*_\s]*"
)
_WHOLE = re.compile(
    r"\d+(?:\s?[:：]\s?\d+)+(?:\s?[ap]\.?m\.?)?|\d+(?:-\d+){2}|[(\[{（].*[,，].*[)\]}）]", re.IGNORECASE
)
"""Times, ratios, dates, tuples: no number of them is the answer."""
_NAMED = re.compile(
    r"(?im)(?:\b(?:final\s+answer|answer|final result)\b(?:\s+to\s+[^.:\n]{1,80}?)?[\s*_\"'”]*"
    r"(?:is|are|was|equals|=|[:：])|^\s*[*_]*(?:A|Ans|Solution)[*_]*\s*[:：]|(?:最终)?(?:答案|结果)[\s*_]*(?:应该|应)?(?:是|为|等于|[:：])|^\s*答\s*[:：])"
    r"[\s*_:：]*([^\n]+)"
)
_MAGNITUDES = {
    "hundred": 1e2, "thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12, "万": 1e4, "亿": 1e8,
    "万亿": 1e12,
}  # fmt: skip
_NO_UNIT = re.compile(
    r"[a-zπ](?![a-z])\s*[-+]|:|[xyz]{1,3}(?![a-z])|[abd-fi-kn-rtu](?![a-z])|.*(?:π|√)|pi\b"
    r"|(?:ten|hundred|thousand|million|billion)(?:th|s?-)", re.IGNORECASE
)  # fmt: skip
"""What makes another value of the number before it: variables, i, π, thousandths; m, g, s, h, l, c, v, w are units."""
_IN_NAME = re.compile(r"[A-Za-z]\d")
"""The 2 of H2O."""
_WRAPS = re.compile(r"\\(?:text|mathrm|mathbf|textbf|operatorname|mbox)\s*\{([^{}]*)\}")
_CHOICE = re.compile(r"[（(\[]?([A-Ja-j])(?:[)）\].:：](?=\s|$|[（(])|$|(?=[（(]))")


def final_answer(text: str) -> str | None:
    """The answer that a solution ends in, as it is written there; null where it names none."""
    return next(iter(final_answers(text)), None)


def final_answers(text: str) -> list[str]:
    """The readings of the answer that a solution ends in, the likeliest first: the value, and all that is named."""
    if named := _marked_answers(text):
        return named
    values = list(_VALUE.finditer(text))
    return [values[-1].group().strip()] if values else []


def explicit_answer(text: str) -> str | None:
    """The answer that a solution marks as such: boxed, after `####`, or named the answer; null where it marks none."""
    return next(iter(_marked_answers(text)), None)


def _marked_answers(text: str) -> list[str]:
    boxed = _boxed(text)
    if boxed is not None:
        return [boxed.strip()] if boxed.strip() else []
    if marked := _after_hashes(text):
        return [marked]
    for rest in reversed(_NAMED.findall(text)):
        if answer := _said(rest):
            whole = _sentence(rest)
            return [answer, whole] if whole not in ("", answer) and len(whole) <= SHORT else [answer]
    return []


def _after_hashes(text: str) -> str | None:
    """What the last `####` marks, unless it is a heading with more text below."""
    found = list(_MARKED.finditer(text))
    if not found:
        return None
    said, below = found[-1][1].strip(), text[found[-1].end() :].strip()
    called = _CALLED.match(said)
    plain = (said[called.end() :] if called else said).strip().strip("*_").strip()
    if not plain:
        line = below.partition("\n")[0]
        return _said(line) if line and len(line) <= SHORT and not _NAMED.search(line) else None
    if not below or called:
        return plain
    is_step = re.match(r"\d+\s*[.)、:：]\s*[^\W\d]", plain)
    return plain if len(plain) <= SHORT and not is_step and (_values(plain) or _CHOICE.fullmatch(plain)) else None


def expected_answer(metadata: Mapping[str, Any], field: str | None = None) -> str | None:
    """The reference answer among the metadata: the named field (dots lead inwards), or the first of `REFERENCES`."""
    for name in (field,) if field else REFERENCES:
        value: Any = metadata
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, str | int | float) and not isinstance(value, bool) and str(value).strip():
            return _reference(str(value).strip())
    return None


def same_answer(found: str, expected: str) -> bool:
    """Whether two answers say the same: as numbers (rounded to the decimals of the shorter one), else as texts."""
    one, other = _values(found), _values(expected)
    whole = _integer(found), _integer(expected)
    if None not in whole:
        return whole[0] == whole[1]
    if one and other:
        places = _places(found), _places(expected)
        return any(_near(a, b, *places) for a in one for b in other)
    if _normal(found) == _normal(expected):
        return True
    letters = [_CHOICE.match(_WRAPS.sub(r"\1", text).strip("$*_ .")) for text in (found, expected)]
    alone = any(letter and not letter.string[letter.end() :].strip() for letter in letters)  # `B` and `(B) Paris`
    return bool(letters[0] and letters[1] and alone and letters[0][1].upper() == letters[1][1].upper())


def _reference(text: str) -> str | None:
    marked = explicit_answer(text)
    if marked is not None:
        return marked
    return text if len(text) <= SHORT and "\n" not in text else final_answer(text)


def _boxed(text: str) -> str | None:
    r"""What stands in the last `\boxed{...}`, with the braces within it."""
    start = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    opened = text.find("{", start)
    if start < 0 or opened < 0:
        return None
    depth = 0
    for place in range(opened, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[opened + 1 : place]
    return None


def _said(rest: str) -> str | None:
    """The value in what follows `the answer is`; of a sum, its result."""
    rest = re.sub(r"(?<=[.。!！])\s+(?=[A-Z\u4e00-\u9fff]).*", "", rest).strip().strip("*_").strip()
    rest = re.split(r"(?<![=<>!])=(?!=)", rest)[-1].strip()
    plain = _sentence(rest)
    if _WHOLE.fullmatch(plain) and len(plain) <= SHORT:
        return plain
    if re.search(r"\\[dt]?frac|\\sqrt|\\pi|\^|[a-z]\s?[-+*/]\s?\d", plain) and len(plain) <= SHORT:
        return plain
    begins = _VALUE.match(rest)
    values = [value for value in _VALUE.finditer(rest) if not _IN_NAME.match(rest, max(0, value.start() - 1))]
    if begins and begins.group().strip():
        return begins.group().strip()
    if values:
        return values[-1].group().strip()
    return plain if plain and len(plain) <= SHORT else None


def _sentence(rest: str) -> str:
    """The sentence that follows `the answer is`, without its dress."""
    first = re.sub(r"(?<=[.。!！])\s+(?=[A-Z\u4e00-\u9fff]).*", "", rest).strip().strip("*_").strip()
    return first.strip("$ ").rstrip(".。!！").strip().strip("$*_ ")


def _bare(text: str) -> str:
    """The answer without money signs, degrees and the name of a variable."""
    plain = _WRAPS.sub(r" \1", text.strip().rstrip(".。")).replace("\\ ", " ").replace("，", ",")
    plain = re.sub(r"\^\{?\\circ\}?|°", "", plain)
    plain = re.sub(
        r"(?<!\\)\$|\\[()\[\]]|^[a-zA-Z]\s*=\s*|percent\b",
        lambda m: "%" if m[0][0] in "pP" and len(m[0]) > 3 else "",
        plain,
    )
    return re.sub(r"^[\s(（]*(-?)\\?\s?[£€¥￥]", r"\1", plain).strip()


def _integer(text: str) -> int | None:
    """The integer that an answer is; a double can't tell large ones apart."""
    digits = re.fullmatch(rf"([-−]?)\s?{_MONEY}?\s?(\d{{1,3}}(?:,\d{{3}})+|\d+)", _bare(text))
    if digits is None or len(digits[2]) > 4000:  # Python reads no longer ones
        return None
    return int(digits[2].replace(",", "")) * (-1 if digits[1] else 1)


def _values(text: str) -> tuple[float, ...]:
    """What an answer is worth as a number, without its unit; nothing where it is none."""
    plain = _bare(text)
    if re.fullmatch(r"\d+(?:-\d+){2}", plain):  # a date
        return ()
    if values := worth(plain):
        return values
    begins = re.fullmatch(
        rf"[-−]?\s?{_MONEY}?\s?-?((?:\d+ \d+/\d+)|(?:{_NUMBER})(?:/(?:{_NUMBER}))?)\s?(\\?[%％])?\s*"
        r"([^\d=+*/^(){}\\]*)",
        plain,
    )
    if begins is None or _NO_UNIT.match(begins[3].strip()):
        return ()
    sign = -1 if plain[0] in "-−" else 1
    unit = begins[3].strip().lower()
    names = (name for name in reversed(_MAGNITUDES) if re.match(rf"{name}(?:s?(?![a-z])|(?<=[万亿]))", unit))
    scale = _MAGNITUDES[name] if (name := next(names, None)) else 1.0
    return tuple(sign * value * scale for value in worth(begins[1] + ("%" if begins[2] else "")))


def _places(text: str) -> int:
    """Decimal places as written; 0 where it is no plain decimal."""
    decimals = re.search(r"\d\.(\d+)|(?<!\d)\.(\d+)", text)
    return len(decimals[1] or decimals[2]) if decimals else 0


def _near(one: float, other: float, one_places: int, other_places: int) -> bool:
    gap = abs(one - other)
    integers = one.is_integer() and other.is_integer()
    if gap <= (1e-15 * abs(other) if integers else 1e-6 + 1e-9 * abs(other)):
        return True
    fewer = min(one_places, other_places) or (max(one_places, other_places) if 0 in (one_places, other_places) else 0)
    rounded = fewer >= 2 and (one_places != other_places) and one != int(one) and other != int(other)
    return rounded and gap <= 0.5 * 10.0**-fewer * (1 + 1e-6)


def _normal(text: str) -> str:
    plain = _WRAPS.sub(r"\1", text)
    plain = re.sub(r"\\(?:left|right|displaystyle|,|;|!|\(|\)|\[|\])|[$*_`\"“”]", "", plain)
    plain = re.sub(r"\\[dt]frac", r"\\frac", plain)
    plain = re.sub(r"^[a-zA-Z]\s*=\s*", "", plain.strip())
    return re.sub(r"\s*([-+*/^=,(){}])\s*", r"\1", plain).strip().rstrip(".。").casefold()
