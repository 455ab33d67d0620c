"""The map's drawing, what colours and marks it, and what hears it: apart, so that each redraws nothing but itself."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

HERE = Path(__file__).parent
HEIGHT = 540
"""Of the drawing, in pixels."""


@cache
def _drawing() -> Any:
    read: dict[str, Any] = {kind: (HERE / f"map.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")}
    return st.components.v2.component("winnow_map", **read)


@cache
def _unseen(name: str) -> Any:
    code = (HERE / f"{name}.js").read_text(encoding="utf-8")
    return st.components.v2.component(f"winnow_{name}", html="<span></span>", js=code)


def draw(points: bytes, *, key: str) -> None:
    """Draw the map, from what `studio.map_payload.points` made; it waits for its colours and marks."""
    _drawing()(data=points, key=key, height=HEIGHT)


def send(part: bytes, *, key: str) -> None:
    """Colours or marks for the map on this page, from anywhere on it: `studio.map_payload` makes them."""
    _unseen("map_part")(data=part, key=key)


def hear(
    what: Sequence[str],
    *,
    key: str,
    heard: Callable[[], None],
    cleared: int = 0,
    row: int | None = None,
    text: str = "",
) -> None:
    """Draw the fragment in which this is called anew when something happens on the map.

    Args:
        what: `lasso` (polygon, hidden colours, and of which colours they are), `pick` or `hover` (a row).
        key: where the session keeps what happened, under its name.
        heard: called before the fragment is drawn.
        cleared: the lasso is taken off when this changes.
        row: the map is told the words of this one.
        text: its words.
    """
    events: dict[str, Any] = {f"on_{kind}_change": heard for kind in what}
    data = {"hears": list(what), "cleared": cleared, "row": row, "text": text}
    _unseen("map_ear")(data=data, key=key, **events)
