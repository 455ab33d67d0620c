"""The map's drawing, and its words: a component of its own, so that what the pointer asks redraws nothing."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
HEIGHT = 540
"""Of the drawing, in pixels."""


@cache
def _drawing() -> Any:
    read: dict[str, Any] = {kind: (HERE / f"map.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")}
    return st.components.v2.component("winnow_map", **read)


@cache
def _words() -> Any:
    code = (HERE / "map_words.js").read_text(encoding="utf-8")
    return st.components.v2.component("winnow_map_words", html="<span></span>", js=code)


def draw(payload: bytes, *, key: str, heard: Callable[[], None]) -> None:
    """Draw the map.

    Args:
        payload: what `studio.map_payload.packed` made.
        key: where the session keeps what happened: `lasso` (polygon and hidden colours) or `pick` (a row).
        heard: called when something did, before the page is drawn again.
    """
    _drawing()(data=payload, key=key, height=HEIGHT, on_lasso_change=heard, on_pick_change=heard)


def tell(row: int | None, text: str, cleared: int, *, key: str, heard: Callable[[], None]) -> None:
    """Tell the map the words of a row, and how often its lasso was cleared.

    Args:
        row: of which words were asked for; null where none were.
        text: its words.
        cleared: the lasso is taken off when this changes.
        key: where the session keeps `row`, when words are wanted.
        heard: called then.
    """
    _words()(data={"row": row, "text": text, "cleared": cleared}, key=key, height=1, on_row_change=heard)
