"""Seed samples within the reach of the model that is to be trained: a band of a score, as a SQL condition.

Where a score says how hard a sample is for the student (`pass_rate`, `ifd`, `perplexity`), what is far too hard or
known already is left out: evolution and a teacher's answers are spent on what lies between.
"""

from __future__ import annotations

REACH = "Numeric column that says how hard a sample is for the student, such as pass_rate or ifd; empty: all samples"
REACH_MIN = "Lowest value of that column"
REACH_MAX = "Highest value of that column"


def within_reach(condition: str, column: str | None, lowest: float | None, highest: float | None) -> str:
    """The condition, and the band; samples without a value are outside of it.

    Args:
        condition: SQL that must hold anyway.
        column: of the score; null leaves the condition as it is.
        lowest: inclusive.
        highest: inclusive.
    """
    if column is None:
        return condition
    from curation.storage.sql import quoted  # it imports duckdb

    name = quoted(column)
    bounds = [f"{name} >= {lowest!r}"] if lowest is not None else []
    bounds += [f"{name} <= {highest!r}"] if highest is not None else []
    return " AND ".join([condition, *(bounds or [f"{name} IS NOT NULL"])])


def check_band(column: str | None, lowest: float | None, highest: float | None) -> None:
    """Refuse a band without a column, or of nothing.

    Raises:
        ValueError: which one it is.
    """
    if column is None and (lowest is not None or highest is not None):
        raise ValueError("reach_min and reach_max are bounds of a column: name it as reach")
    if lowest is not None and highest is not None and lowest > highest:
        raise ValueError(f"reach_min is {lowest:g}, above reach_max, which is {highest:g}")
