"""How the words of `winnow export` become a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curation.errors import OperatorError
from curation.mixing import Mix, build_mix, load_mix


def recipe(mix: str, parts: Sequence[str], format_name: str, seed: int) -> Mix:
    """The mix that is meant: a JSON file, the parts given, or the selection of that name.

    Raises:
        WinnowError: the file can't be read, or a part is not understood.
    """
    if mix.endswith(".json"):
        return load_mix(Path(mix))
    given = [_part(text) for text in parts] or [{"selection": mix}]
    return build_mix({"name": mix, "parts": given, "format": format_name, "seed": seed})


def _part(text: str) -> dict[str, Any]:
    """`NAME`, `NAME=500` (rows) or `NAME=x2` (weight); `where:SQL` in place of a name is a condition."""
    source, _, amount = text.rpartition("=") if _has_amount(text) else (text, "", "")
    part: dict[str, Any] = (
        {"where": source.removeprefix("where:")} if source.startswith("where:") else {"selection": source}
    )
    if amount.startswith("x"):
        part["weight"] = _number(amount[1:], text)
    elif amount:
        part["rows"] = int(_number(amount, text))
    return part


def _has_amount(text: str) -> bool:
    tail = text.rpartition("=")[2]
    return "=" in text and tail.removeprefix("x").replace(".", "", 1).isdigit()


def _number(text: str, part: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise OperatorError(f"--part {part!r} has no number after =.", fix="write NAME, NAME=500 or NAME=x2") from None
