"""Groups of held-out rows: by source, by tag, and by bands of a score, so that a mean hides no losers.

A row has one source, any number of tags of one kind, and lies in one band of a score. Bands are thirds of the rows that
have the score: low, middle, high, with their bounds in the name; equal scores are in one band.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from training.judging.facts import Facts

MOST_TAGS = 20
"""Tags of one kind that get a row, the commonest first."""
FEWEST_ROWS = 2
"""Rows that a tag needs: one example is no group."""
BANDS = ("low", "middle", "high")


@dataclass(frozen=True, slots=True)
class Group:
    """Some of the held-out rows."""

    kind: str
    """`source`, the column of the tags, or the column of the score."""
    name: str
    rows: tuple[int, ...]
    """Row numbers."""


def groups(ids: Sequence[str], sources: Sequence[str], facts: Mapping[str, Facts]) -> list[Group]:
    """Every group of these rows, kind by kind: sources, kinds of tags, then scores, each sorted.

    Args:
        ids: of the rows, in their order.
        sources: of the same rows.
        facts: by id; rows without facts are in no group of tags or bands.
    """
    known = [facts.get(row_id, Facts(row_id)) for row_id in ids]
    result = [_named("source", name, [i for i, s in enumerate(sources) if s == name]) for name in sorted(set(sources))]
    for kind in sorted({kind for row in known for kind in row.tags}):
        result += _by_tag(kind, [row.tags.get(kind, []) for row in known])
    for column in sorted({column for row in known for column in row.scores}):
        result += by_band(column, [row.scores.get(column) for row in known])
    return result


def by_band(column: str, values: Sequence[float | None]) -> list[Group]:
    """Thirds of the rows that have a value, by value; two where many values are equal, none where all are."""
    present = sorted(value for value in values if value is not None)
    if len(set(present)) < 2:
        return []
    cuts = sorted({present[len(present) // 3], present[2 * len(present) // 3]} - {present[0]})
    cuts = cuts or [next(value for value in present if value > present[0])]
    bounds = [float("-inf"), *cuts, float("inf")]
    names = BANDS if len(cuts) == 2 else BANDS[::2]
    found = []
    for name, low, high in zip(names, bounds, bounds[1:], strict=False):
        rows = [i for i, value in enumerate(values) if value is not None and low <= value < high]
        found.append(_named(column, f"{name} ({_range(low, high)})", rows))
    return found


def _by_tag(kind: str, tags: Sequence[Sequence[str]]) -> list[Group]:
    counts = Counter(tag for row in tags for tag in dict.fromkeys(row))
    commonest = sorted(counts, key=lambda tag: (-counts[tag], tag))[:MOST_TAGS]
    return [
        _named(kind, tag, [i for i, row in enumerate(tags) if tag in row])
        for tag in commonest
        if counts[tag] >= FEWEST_ROWS
    ]


def _named(kind: str, name: str, rows: Sequence[int]) -> Group:
    return Group(kind, name, tuple(rows))


def _range(low: float, high: float) -> str:
    if low == float("-inf"):
        return f"below {high:.4g}"
    return f"{low:.4g} or more" if high == float("inf") else f"{low:.4g} to {high:.4g}"
