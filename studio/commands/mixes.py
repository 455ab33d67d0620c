"""How the words of `winnow export` become a recipe."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from curation.errors import OperatorError
from curation.mixing import Mix, build_mix, load_mix

WHERE = "where:"
_REPEATED = re.compile(r"(?P<part>.+)\*(?P<times>[1-9]\d?|100)")
"""Of selections only: after a condition a star is SQL, which multiplies; a recipe in JSON can repeat one."""
_STAGED = re.compile(r"(?P<part>.+)@(?P<stage>\w[\w-]*)")
_STAGED_WHERE = re.compile(r"(?P<part>.+)\s@(?P<stage>\w[\w-]*)", re.DOTALL)
"""A word after an `@` ends only a condition of SQL that takes an absolute value: a recipe in JSON can hold it."""


def recipe(mix: str, parts: Sequence[str], format_name: str, seed: int, selections: Collection[str] = ()) -> Mix:
    """The mix that is meant: a JSON file, the parts given, or the selection of that name.

    Args:
        mix: a JSON file, or a name.
        parts: as `part_of` takes them.
        format_name: what to write the rows in; a JSON file has its own.
        seed: of the order; a JSON file has its own.
        selections: names that exist, which may hold a `=` themselves.

    Raises:
        WinnowError: the file can't be read, or a part is not understood.
    """
    if mix.endswith(".json"):
        if parts:
            raise OperatorError(
                f"{mix} is a recipe that names its parts, and --part names others.", fix="give one or the other"
            )
        return load_mix(Path(mix))
    given = [part_of(text, selections) for text in parts] or [{"selection": mix}]
    return build_mix({"name": mix, "parts": given, "format": format_name, "seed": seed})


def part_of(text: str, selections: Collection[str] = ()) -> dict[str, Any]:
    """`NAME`, `NAME=500` (rows), `NAME=x2` (weight), or `where:SQL`: every sample that meets the condition.

    A selection may go on with `*3`: every sample of it comes so often, at most 100 times. Each may end in `@STAGE`, a
    word: the stage of training that the part belongs to. After a condition a space comes before it.

    Raises:
        OperatorError: what follows `=` is no amount.
    """
    if text in selections:
        return {"selection": text}
    staged = (_STAGED_WHERE if text.startswith(WHERE) else _STAGED).fullmatch(text)
    if staged:
        return {**part_of(staged["part"], selections), "stage": staged["stage"]}
    if text.startswith(WHERE):
        return {"where": _condition(text)}
    repeated = _REPEATED.fullmatch(text)
    if repeated:
        times = int(repeated["times"])
        return {**part_of(repeated["part"], selections), **({"times": times} if times > 1 else {})}
    name, is_split, amount = text.rpartition("=")
    if not is_split:
        return {"selection": text}
    if amount.startswith("x"):
        return {"selection": name, "weight": _weight(amount[1:], text)}
    return {"selection": name, "rows": _rows(amount, text)}


def _condition(text: str) -> str:
    condition = text.removeprefix(WHERE).strip()
    if not condition:
        raise OperatorError(f"--part {text!r} has no condition.", fix="write --part \"where:source = 'a'\"")
    return condition


def _rows(amount: str, part: str) -> int:
    if amount.isdecimal() and len(amount) < 16 and int(amount) > 0:
        return int(amount)
    raise OperatorError(
        f"--part {part!r}: {amount!r} is no number of rows.", fix="write NAME, NAME=500 (rows) or NAME=x2 (weight)"
    )


def _weight(amount: str, part: str) -> float:
    try:
        weight = float(amount)
    except ValueError:
        weight = 0.0
    if 0 < weight < float("inf"):
        return weight
    raise OperatorError(
        f"--part {part!r}: {amount!r} is no weight.", fix="write NAME, NAME=500 (rows) or NAME=x2 (weight)"
    )
