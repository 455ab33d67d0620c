"""JSON in what a model wrote: read as it stands, repaired where that is safe, and else refused, with the raw text kept.

Covers: prose and fences around it, XML tags, a byte order mark, JSON within a string, comments, trailing and missing
commas, single, missing and Chinese quotes, `：` and `，`, Python's literals, unescaped line breaks, quotes and TeX,
NaN (null), an end that was cut off (what is incomplete is left out).
Repairs are json-repair's, and each is checked: a repair that loses or adds a character is refused, and so is a list
made of an object, and JSON in which a quote is missing, so that a text may end elsewhere. Two different values are
refused where no schema tells which is meant, and so is a key that stands twice with two values. Does not cover:
`Name: value` lines, YAML.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from curation.language_models.json_scanning import Piece, is_unclear, pieces, plain_signs, unbroken

LONGEST_REPAIR = 200_000
"""Characters; longer JSON is read only as it stands."""
UNCLEAR = "where its texts begin and end can't be told"
_ESCAPED = re.compile(r'[^"{\[]*[{\[]\s*\\"')
"""An object within a string whose own quotes are missing."""
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:0|[1-9]\d*)?(?:\.\d+)?(?:[eE][-+]?\d+)?(?![\w.])")
_NOTHING = re.compile(r"(?<!\w)(?:None|null|undefined|NaN|[-+]?Infinity)(?!\w)")
_TEX = (
    "frac|beta|begin|binom|boldsymbol|bar|forall|times|text|theta|tfrac|therefore|triangle|right|rho|rangle|neq|nabla"
)
_TEX_SIGN = re.compile(rf"(?<!\\)((?:\\\\)*)\\(?=(?:{_TEX})(?![a-z]))")
_WINDOWS_PATH = re.compile(r"(?<![A-Za-z])[A-Za-z]:\\(?!\\)")


@dataclass(frozen=True, slots=True)
class JsonAnswer:
    """What was read, or why nothing was; `raw` always holds the whole text."""

    raw: str
    value: Any = None
    repaired: bool = False
    """The JSON itself was malformed; text around it is not counted."""
    cut_off: bool = False
    """It ended too early, and what was incomplete is left out."""
    problem: str | None = None
    """Why there is no value; names nothing of the text, so that equal reasons can be counted."""


def json_in(text: str, schema: dict[str, Any] | None = None) -> JsonAnswer:
    """The one object or list that a text gives.

    Args:
        text: what the model wrote.
        schema: JSON Schema that it must meet; it also tells which of several values is meant.
    """
    read, problem = _read(text)
    wrong: list[str] = []
    fitting = []
    for answer in read:
        if (against := violation(answer.value, schema) if schema is not None else None) is None:
            fitting.append(answer)
        else:
            wrong.append(against)
    if not read:
        return JsonAnswer(text, problem=problem or "there is no JSON in it")
    if not fitting:
        return JsonAnswer(text, problem=wrong[-1])
    distinct = {json.dumps(answer.value, sort_keys=True) for answer in fitting}
    if len(distinct) > 1:
        return JsonAnswer(text, problem=f"it holds {len(distinct)} different JSON values")
    return fitting[-1]


def objects_in(text: str) -> list[dict[str, Any]]:
    """Every JSON object that stands in a text by itself, in order, repaired where that is safe."""
    return [answer.value for answer in _read(text)[0] if isinstance(answer.value, dict)]


def violation(value: Any, schema: dict[str, Any]) -> str | None:
    """What keeps a value from meeting a JSON Schema, with its place; null where it meets it."""
    from jsonschema import Draft202012Validator

    error = next(iter(Draft202012Validator(schema).iter_errors(value)), None)
    if error is None:
        return None
    place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.absolute_path).lstrip(".")
    said = {"required": error.message, "type": f"is no {error.validator_value}"}
    reason = said.get(str(error.validator), f"breaks the rule {error.validator!r}")
    return f"{place or 'the JSON'}: {reason}"


def _read(text: str) -> tuple[list[JsonAnswer], str | None]:
    """Values of a text, objects before lists, and the reason of the first that could not be read."""
    whole = text.strip().lstrip("\ufeff\u200b")
    try:
        value, repaired = _strict(whole)
    except (_RefusedError, ValueError, RecursionError):
        pass
    else:
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):  # JSON within a string
            inner, problem = _read(value)
            return [JsonAnswer(text, a.value, True, a.cut_off) for a in inner], problem
        if isinstance(value, dict | list):
            return [JsonAnswer(text, value, repaired)], None
        return [], f"it is no JSON object but {_kind(value)}"
    if _ESCAPED.match(whole):
        inner, problem = _read(re.sub(r"\\([\"\\n])", lambda m: "\n" if m[1] == "n" else m[1], whole))
        return [JsonAnswer(text, a.value, True, a.cut_off) for a in inner], problem
    found, problem = [], None
    for piece in pieces(whole):
        try:
            value, repaired = _value(piece)
        except (_RefusedError, ValueError, RecursionError) as refused:
            problem = problem or (str(refused) if isinstance(refused, _RefusedError) else "it can't be repaired")
            if str(refused) == UNCLEAR:  # what follows may be a part of it
                return [], UNCLEAR
            continue
        found.append(JsonAnswer(text, value, repaired or piece.cut_off, piece.cut_off))
    return [a for a in found if isinstance(a.value, dict)] or found, problem


class _RefusedError(Exception):
    """It could be read only by guessing."""


def _value(piece: Piece) -> tuple[Any, bool]:
    """The value of a piece, and whether it had to be repaired.

    Raises:
        _RefusedError: only a guess would read it.
    """
    if piece.unclear:
        raise _RefusedError(UNCLEAR)
    try:
        return _strict(piece.text)
    except ValueError:
        pass
    if is_unclear(piece.text, piece.cut_off):
        raise _RefusedError(UNCLEAR)
    try:
        return _strict(plain_signs(piece.text))[0], True
    except ValueError:
        pass
    if len(piece.text) > LONGEST_REPAIR:
        raise _RefusedError("it is malformed and too long to be repaired")
    return _repaired(plain_signs(_TEX_SIGN.sub(r"\1\\\\", piece.text))), True


def _strict(text: str) -> tuple[Any, bool]:
    r"""Standard JSON, but line breaks in strings, NaN as null, and the `\f` of `\frac` as a backslash and an f."""
    from_tex = _TEX_SIGN.sub(r"\1\\\\", text)
    odd: list[str] = []
    value = json.loads(from_tex, strict=False, parse_constant=odd.append, object_pairs_hook=_once)
    try:
        json.loads(text)
    except ValueError:
        odd.append("control character")
    return value, bool(odd) or from_tex != text


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found and found[key] != value:
            raise _RefusedError("a key stands twice in it with different values")
        found[key] = value
    return found


def _repaired(text: str) -> Any:
    """What json-repair makes of it, if that has every character of the text, no other, and the same shape.

    Raises:
        _RefusedError: it guessed.
    """
    import json_repair

    if _WINDOWS_PATH.search(text):
        raise _RefusedError("backslashes in it can be read in two ways")
    value = _finite(json_repair.loads(text))
    if not isinstance(value, dict if text.startswith("{") else list) or (not value and len(text) > 2):
        raise _RefusedError("it is no JSON")
    if isinstance(value, list) and not re.search(r"[\"'{]", text):
        raise _RefusedError("it is no JSON but words in brackets")
    if _signs(unbroken(text)) != _signs(_flat(value)):
        raise _RefusedError("a repair would lose or add something")
    return value


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _flat(value: Any) -> str:
    """Keys and values of a value in order, as the text would have them."""
    if isinstance(value, dict):
        return " ".join(f"{key} {_flat(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return " ".join(map(_flat, value))
    return value if isinstance(value, str) else str(value)


def _signs(text: str) -> str:
    """A text without what JSON is built of, and with every number and literal spelt in one way."""
    text = _NOTHING.sub("none", text)
    text = _NUMBER.sub(lambda m: repr(float(m.group())) if re.search(r"\d", m.group()) else m.group(), text)
    return re.sub(r"[\s\"'“”‘’{}\[\],:：，;；]+", "", text).casefold()


def _kind(value: Any) -> str:
    return {str: "a text", bool: "true or false", type(None): "null"}.get(type(value), "a number")
