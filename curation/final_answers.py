r"""The final answer of a solution, and whether it is the expected one.

Covers: `#### 42`, `\boxed{...}`, `A: 42`, `the answer is ...`, `答案是`, `答：`, else the last number; money, units,
thousands separators, percent, fractions, mixed numbers, plain LaTeX, magnitudes (`1.5 million`, `12万`), letters of a
choice, short expressions that read the same. Does not cover: numbers in words, sets in another order, algebra (`x+1`
and `1+x` differ).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from curation.equations import worth

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
    r"(?:\s?(?:\\?%|％|percent\b|million\b|billion\b|thousand\b|万亿?|亿))?",
    re.IGNORECASE,
)
_MARKED = re.compile(r"####\s*([^\n]+)")
_NAMED = re.compile(
    r"(?im)(?:\b(?:final\s+answer|answer|final result)\b(?:\s+to\s+[^.:\n]{1,80}?)?[\s*_\"'”]*"
    r"(?:is|are|was|equals|=|[:：])|^\s*[*_]*(?:A|Ans|Solution)[*_]*\s*[:：]|(?:最终)?(?:答案|结果)[\s*_]*(?:应该|应)?(?:是|为|等于|[:：])|^\s*答\s*[:：])"
    r"[\s*_:：]*([^\n]+)"
)
_MAGNITUDES = {
    "thousand": 1e3, "million": 1e6, "billion": 1e9, "万": 1e4, "亿": 1e8, "万亿": 1e12,
}  # fmt: skip
_WRAPS = re.compile(r"\\(?:text|mathrm|mathbf|textbf|operatorname|mbox)\s*\{([^{}]*)\}")
_CHOICE = re.compile(r"[（(\[]?([A-Ja-j])[)）\].:：]?(?=\s|$|[（(].*)")


def final_answer(text: str) -> str | None:
    """The answer that a solution ends in, as it is written there; null where it names none."""
    named = explicit_answer(text)
    if named is not None:
        return named
    values = list(_VALUE.finditer(text))
    return values[-1].group().strip() if values else None


def explicit_answer(text: str) -> str | None:
    """The answer that a solution marks as such: boxed, after `####`, or named the answer; null where it marks none."""
    boxed = _boxed(text)
    if boxed is not None:
        return boxed.strip() or None
    marked = _MARKED.findall(text)
    if marked:
        return str(marked[-1]).strip()
    for rest in reversed(_NAMED.findall(text)):
        if answer := _said(rest):
            return answer
    return None


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
    plain = rest.strip("$ ").rstrip(".。!！").strip().strip("$ ")
    if re.search(r"\\[dt]?frac|\\sqrt|\\pi|\^|[a-z]\s?[-+*/]\s?\d", plain) and len(plain) <= SHORT:
        return plain
    begins = _VALUE.match(rest)
    values = list(_VALUE.finditer(rest))
    if begins and begins.group().strip():
        return begins.group().strip()
    if values:
        return values[-1].group().strip()
    return plain if plain and len(plain) <= SHORT else None


def _values(text: str) -> tuple[float, ...]:
    """What an answer is worth as a number, without its unit; nothing where it is none."""
    plain = _WRAPS.sub(r" \1", text.strip().rstrip(".。")).replace("\\ ", " ").replace("，", ",")
    plain = re.sub(r"\^\{?\\circ\}?|°", "", plain)
    plain = re.sub(
        r"(?<!\\)\$|\\[()\[\]]|^[a-zA-Z]\s*=\s*|percent\b",
        lambda m: "%" if m[0][0] in "pP" and len(m[0]) > 3 else "",
        plain,
    )
    plain = re.sub(r"^[\s(（]*(-?)\\?\s?[£€¥￥]", r"\1", plain).strip()
    if values := worth(plain):
        return values
    begins = re.fullmatch(
        rf"[-−]?\s?{_MONEY}?\s?-?((?:\d+ \d+/\d+)|(?:{_NUMBER})(?:/(?:{_NUMBER}))?)\s?(\\?[%％])?\s*"
        r"([^\d=+*/^(){}\\]*)",
        plain,
    )
    if begins is None or re.match(r"[a-zA-Z](?![a-zA-Z])\s*[-+]|:", begins[3]):
        return ()
    sign = -1 if plain[0] in "-−" else 1
    unit = begins[3].strip().lower()
    scale = next((size for name, size in reversed(_MAGNITUDES.items()) if unit.startswith(name)), 1.0)
    return tuple(sign * value * scale for value in worth(begins[1] + ("%" if begins[2] else "")))


def _places(text: str) -> int:
    """Decimal places as written; 0 where it is no plain decimal."""
    decimals = re.search(r"\d\.(\d+)|(?<!\d)\.(\d+)", text)
    return len(decimals[1] or decimals[2]) if decimals else 0


def _near(one: float, other: float, one_places: int, other_places: int) -> bool:
    gap = abs(one - other)
    if gap <= 1e-6 * max(1.0, abs(other)):
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
