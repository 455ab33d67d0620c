"""Colours and dashes that tell runs, sources and models apart, in a light theme and in a dark one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import altair as alt

ACCENT, GREY, ORANGE = "#6A63F0", "#8A8F98", "#D9652B"
COLOURS = (ACCENT, "#0D9488", ORANGE, "#C83A74", "#5F8C1A", "#9A6BF2", "#2B7FD4", "#A8700F")
"""Each at least three to one against white and against the dark background."""
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [10, 4], [4, 4], [5, 2, 1, 2], [12, 3, 3, 3])
"""So that colour is never alone."""


def plain_key(name: str) -> str:
    """A name as part of a widget's key: components take no `__`, and no other script than Latin."""
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def channels(
    field: str, names: Sequence[str], *, first: str | None = None, skipped: int = 0, columns: int = 2, limit: int = 160
) -> dict[str, Any]:
    """How lines are told apart: the encodings of a colour and a dash for each name, with one legend for both.

    Args:
        field: with the names.
        names: repeated ones count once; their colour does not change when another one is left out of the chart.
        first: the name that comes before all others.
        skipped: colours and dashes that stand for others, so that a name looks the same in two charts.
        columns: of the legend.
        limit: pixels of a name in the legend.
    """
    domain = (
        sorted(set(names), key=lambda name: (name != first, name)) if first is not None else list(dict.fromkeys(names))
    )
    legend = {
        "orient": "bottom", "columns": columns, "labelLimit": limit, "symbolType": "stroke", "symbolStrokeWidth": 2,
        "symbolSize": 250, "symbolOpacity": 1,
    }  # fmt: skip

    def channel(values: Sequence[Any]) -> dict[str, Any]:
        scale = {"domain": domain, "range": [values[(i + skipped) % len(values)] for i in range(len(domain))]}
        return {"field": field, "type": "nominal", "title": None, "sort": domain, "scale": scale, "legend": legend}

    return {"color": channel(COLOURS), "strokeDash": channel(DASHES)}


def by_name(
    field: str, names: Sequence[str], *, first: str | None = None, columns: int = 2, limit: int = 160
) -> tuple[alt.Color, alt.StrokeDash]:
    """The same for a chart of Altair."""
    import altair as alt

    made = channels(field, names, first=first, columns=columns, limit=limit)
    return (alt.Color.from_dict(made["color"]), alt.StrokeDash.from_dict(made["strokeDash"]))
