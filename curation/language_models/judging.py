"""Reading what a judge wrote: scores and their reasons, however they are dressed. Pure; what can't be read is null.

Covers: JSON (in fences, with trailing commas, nested, broken off), `Score: 4.5`, `4.5/5`, `**4**`, `4 out of 5`,
`评分：4分`, a line that is a number, one line per name. Does not cover: grades in words (`good`, `A+`), stars.
A number out of range, of another scale (`8/10` where 5 is most) or of a range (`3-4`) is no score, and nor is a number
that stands in running text, and nor is `4,5`, which may be 4.5 or two scores.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from curation.language_models.json_answers import objects_in

# Bounded and possessive, so that no text costs time that grows with its square.
_NUMBER = r"[-−]?(?<![\d.．])(?<!\d[,，eE])\d{1,9}(?:[.．]\d{1,30}+)?(?!\d)"
_DRESS = r"[\s*_`\"'“”（()\[\]【】]*+"
_CLOSES = r"[\s*_`\"'“”）)\]】]*+"
_OF = rf"{_DRESS}(?:/|／|out of|of|分?满分)\s*(?P<most>\d+(?:\.\d+)?)"
_VALUE = rf"(?P<value>{_NUMBER})(?![.．,，]\d|[eE][-+]?\d|\s*(?:-|–|—|~|to|至|到)\s*\d)(?:{_OF})?(?!\s*%)"
_LABEL = r"(?:(?:overall|final|total)\s+)?(?:score|rating|grade|marks?)|(?:总|综合|最终)?(?:评分|得分|分数|打分|总分)"
_SCALE = r"(?:[(（\[]\s*\d\s*(?:-|–|to|~|至)\s*\d+\s*[)）\]])?"
"""Judges repeat the scale: `Accuracy (1-5): 4`."""
_JOINS = rf"{_CLOSES}{_SCALE}{_DRESS}(?:[:：=]|is|为|是|-|–|—|->|→){_DRESS}"
_LABELLED = re.compile(rf"(?i)(?P<label>{_LABEL})(?:{_JOINS}|\s+){_VALUE}")
_FINAL = re.compile(r"(?i)overall|final|total|总|综合|最终")
_OUT_OF = re.compile(rf"(?i)(?P<value>{_NUMBER}){_OF}")
_POINTS = re.compile(rf"(?P<value>{_NUMBER})\s*分(?![之钟])")
_ALONE = re.compile(rf"{_DRESS}{_VALUE}{_DRESS}(?:分|points?)?[.。]?{_DRESS}", re.IGNORECASE)
_SAYING = ("rationale", "explanation", "reason", "reasons", "reasoning", "justification", "comment", "理由", "解释")
_SCORING = ("score", "rating", "value", "overall", "评分", "分数")


def score_in(text: str, lowest: float, highest: float) -> float | None:
    """The one score that a text gives; null where it gives none, several, or one out of range.

    Args:
        text: what the judge wrote.
        lowest: of the scale.
        highest: of the scale.
    """
    for found in _objects(text):
        value = next((found[key] for key in _SCORING if key in found), None)
        if value is not None:
            return _number(value, lowest, highest)
    labelled = list(_LABELLED.finditer(text))
    final = [match for match in labelled if _FINAL.search(match["label"])]
    for matches in (final[-1:], labelled, list(_OUT_OF.finditer(text)), list(_POINTS.finditer(text))):
        values = {_checked(match, lowest, highest) for match in matches}
        if values:
            return values.pop() if len(values) == 1 else None
    lines = [line for line in text.strip().splitlines() if line.strip()]
    alone = [match for line in (lines[:1] + lines[-1:]) if (match := _ALONE.fullmatch(line.strip()))]
    return _checked(alone[0], lowest, highest) if alone else None


def scores_in(text: str, names: Sequence[str], lowest: float, highest: float) -> dict[str, float | None]:
    """A score for each name, null where the text gives none; for a single name, the one score of the text will do.

    Args:
        text: what the judge wrote.
        names: in any case; spaces, hyphens and underscores are the same.
        lowest: of the scale.
        highest: of the scale.
    """
    found: dict[str, float | None] = dict.fromkeys(names)
    for read in _objects(text):
        if any(_key(name) in read for name in names):
            return {name: _number(read.get(_key(name)), lowest, highest) for name in names}
    for name in names:
        found[name] = _line_of(name, text, lowest, highest)
    if len(names) == 1 and found[names[0]] is None:
        found[names[0]] = score_in(text, lowest, highest)
    return found


def rationale_in(text: str) -> str | None:
    """Why the judge decided so: the field of the JSON, what follows the word, or the text beside a single number."""
    for read in _objects(text):
        said = [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in _said(read)]
        return "\n".join(said) or None
    named = re.search(
        rf"(?is)\b(?:{'|'.join(_SAYING[:7])})\b[\"*]*\s*[:：]\s*(.+)|(?:理由|解释)[\"*]*\s*[:：]\s*(.+)", text
    )
    if named:
        return (named[1] or named[2]).strip().strip('"}` \n') or None
    first, _, rest = text.strip().partition("\n")
    return rest.strip() or None if _ALONE.fullmatch(first.strip()) or _LABELLED.fullmatch(first.strip()) else None


def _said(read: dict[str, Any]) -> list[Any]:
    inner = [value for value in read.values() if isinstance(value, dict)]
    each = [said for part in inner for said in _said({_key(key): value for key, value in part.items()})]
    return each if len(each) > 1 else [read[key] for key in _SAYING if read.get(key)][:1]


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """The JSON objects of a text, the last first, with plain keys; what is in an object within them counts too."""
    for read in reversed(objects_in(text)):
        inner = [value for value in read.values() if isinstance(value, dict)]
        yield {_key(key): value for part in (*inner, read) for key, value in part.items()}


def _key(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", str(name)).strip().casefold()


def _number(value: Any, lowest: float, highest: float) -> float | None:
    if isinstance(value, dict):
        read = {_key(key): inner for key, inner in value.items()}
        value = next((read[key] for key in _SCORING if key in read), None)
    if isinstance(value, str):
        match = _ALONE.fullmatch(value.strip())
        return _checked(match, lowest, highest) if match else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if lowest <= value <= highest else None


def _checked(match: re.Match[str], lowest: float, highest: float) -> float | None:
    most = match.groupdict().get("most")
    if most is not None and float(most) != highest:
        return None
    value = float(match["value"].replace("−", "-").replace("．", "."))
    return value if lowest <= value <= highest else None


def _line_of(name: str, text: str, lowest: float, highest: float) -> float | None:
    """The score on the line of a name; the last such line counts."""
    spelt = r"[\s_-]+".join(map(re.escape, _key(name).split(" ")))
    lines = re.finditer(rf"(?i)(?<!\w){spelt}(?:\s+(?:score|rating))?{_JOINS}{_VALUE}", text)
    values = [_checked(match, lowest, highest) for match in lines]
    return values[-1] if values else None
