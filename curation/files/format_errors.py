"""Answers that break the format they are written in: a code fence left open, JSON that doesn't parse.

Covers: Markdown fences; blocks marked as json; whole answers where the instruction asks for JSON. Does not cover:
whether the code in a fence runs, or whether the JSON is the one that was asked for.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

OPEN_FENCE = "a code fence is left open"
BAD_BLOCK = "a json block is not valid JSON"
BAD_ANSWER = "JSON was asked for and the answer is not valid JSON"
NO_JSON = "JSON was asked for and there is none"

_KINDS = "format|object|array|string|document|list|schema|output|data|structure|response|request|representation"
_NOUN = rf"json(?: (?:{_KINDS}))?"
_FILLER = r"(?: (?:an?|the|valid|only|just|your|answer|result|it|its?|data|output|sample|example|new|of)){0,4}"
ASKS = (
    r"(?i)\b(?:in|as|into|to|using|return|output|respond with|answer with|generate|create|construct|write|give me"
    rf"|produce|provide){_FILLER} {_NOUN}\b"
    r"|(?:输出|返回|生成|转换?成|转换?为|用|以|写一?个?)[^，。\n]{0,8}json"
)
ABOUT_CODE = (
    r"(?i)\b(?:functions?|scripts?|programs?|class|method|python|java|javascript|php|c#|rust|golang|sql|api|library"
    r"|parse|explain|describe|differences?|compare|why|how|what is|from json)\b"
    r"|\b(?:given|following|this|the|input) json\b"
    r"|json[^.\n]{0,20} (?:to|into) (?:an? |the )?\w+|函数|代码|脚本|程序|解析|什么是|怎么|如何"
)
"""A question about handling JSON asks for code or prose, not for JSON."""
_BLOCK = re.compile(r"```json[^\n]*\n(.*?)```", re.DOTALL | re.IGNORECASE)
_FENCED = re.compile(r"```[a-zA-Z]*\n(.*?)```", re.DOTALL)


def format_errors(instructions: pl.Series, answers: pl.Series) -> pl.Series:
    """What is wrong with each answer's format, the first finding in words; null where nothing is."""
    import polars as pl

    asked = instructions.str.contains(ASKS) & ~instructions.str.contains(ABOUT_CODE)
    marked = answers.str.contains("(?i)```json")
    open_fence = answers.str.count_matches("```", literal=True) % 2 == 1
    found = pl.select(pl.when(open_fence).then(pl.lit(OPEN_FENCE))).to_series().alias("format_problem")
    places = ((asked | marked) & ~open_fence).fill_null(False).arg_true()
    words = [_json_problem(answers[int(i)] or "", bool(asked[int(i)])) for i in places]
    return found.scatter(places, pl.Series(words, dtype=pl.String))


def _json_problem(answer: str, asked: bool) -> str | None:
    if not answer.strip():
        return None
    blocks = _BLOCK.findall(answer)
    if blocks:
        return None if all(map(_parses, blocks)) else BAD_BLOCK
    if not asked:
        return None
    inside = "\n".join(_FENCED.findall(answer)) or answer
    start = re.search(r"[\[{]", inside)
    if start is None:
        return NO_JSON
    return None if _parses(inside) or _holds_value(inside, start.start()) else BAD_ANSWER


def _parses(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        lines = [line for line in text.splitlines() if line.strip()]
        return len(lines) > 1 and all(line.lstrip()[0] in "[{" and _valid(line) for line in lines)
    return True


def _valid(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _holds_value(text: str, start: int) -> bool:
    # Prose around the JSON is a matter of style: the value itself must be whole.
    try:
        json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return False
    return True
