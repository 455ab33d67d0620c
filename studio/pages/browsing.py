"""Where the reader is on the Browse page: which samples are shown, which one is read, and how to go on from it.

All of it stands in the address too, so that a link shows the same. What is shown keeps its order while the reader
decides: a sample that no longer meets the filter stays in its place until another page, order or filter is asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from studio.languages import t

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus

SAMPLE, SHOWN, HELD = "browse_sample", "browse_shown", "browse_held"
TURN, LAST, JUMPS = "browse_turn", "browse_last", "browse_jumps"


@dataclass(frozen=True)
class Shown:
    """What the page shows now; callbacks start from it."""

    view: str
    """Tells filter, search, order, page and way of showing apart."""
    ids: list[str]
    table: str | None
    """Key of the table; null for cards."""


def view_key(*parts: Any) -> str:
    """A short name for what tells views apart."""
    return hashlib.sha256("|".join(map(str, parts)).encode()).hexdigest()[:10]


# -------------------------------------------------------------------- the address


def take_link(name: str, key: str, read: Callable[[str], Any | None] = str) -> None:
    """Take a value from the address into the session, where a link brought it; what can't be read is left alone."""
    asked = st.query_params.get(name)
    if asked is not None and asked != st.session_state.get(f"linked_{name}"):
        st.session_state[f"linked_{name}"] = asked
        if (value := read(asked)) is not None:
            st.session_state[key] = value


def keep_link(name: str, value: str | None) -> None:
    """Write a value into the address; null takes it out."""
    st.session_state[f"linked_{name}"] = value
    if value is None:
        st.query_params.pop(name, None)
    elif st.query_params.get(name) != value:
        st.query_params[name] = value


def one_of(values: Sequence[str]) -> Callable[[str], str | None]:
    """Reads a value that has to be one of these."""
    return lambda asked: asked if asked in values else None


def whole_number(asked: str) -> int | None:
    """Reads a number of at least one."""
    return int(asked) if asked.isascii() and asked.isdigit() and 0 < len(asked) < 9 and int(asked) else None


# -------------------------------------------------------------------- which samples


def page_key(base: str) -> str:
    """The key of the widget that turns the pages of a view."""
    return f"browse_page_{view_key(base)}_{st.session_state.get(JUMPS, 0)}"


def page_number(base: str) -> int:
    """The page of a view that is shown, from 1."""
    return int(st.session_state.get(page_key(base)) or st.session_state.get(f"browse_at_{view_key(base)}", 1))


def go_to(base: str, number: int) -> int:
    """Show another page of a view than its widget says: the widget is made anew, with this page chosen."""
    st.session_state[JUMPS] = st.session_state.get(JUMPS, 0) + 1
    st.session_state[f"browse_at_{view_key(base)}"] = number
    return number


def held(view: str) -> list[str] | None:
    """The samples of this view in the order they were shown, if the reader has decided about one of them."""
    kept = st.session_state.get(HELD)
    return list(kept[1]) if kept is not None and kept[0] == view else None


def hold() -> None:
    """Keep what is shown where it is; called before a decision changes who meets the filter."""
    shown: Shown | None = st.session_state.get(SHOWN)
    if shown is not None and held(shown.view) is None:
        st.session_state[HELD] = (shown.view, shown.ids)


def let_go() -> None:
    """Ask the corpus again what meets the filter."""
    st.session_state.pop(HELD, None)


def replaced(old: str, new: str) -> None:
    """A new version takes the place of a sample that is shown."""
    kept = st.session_state.get(HELD)
    if kept is not None:
        st.session_state[HELD] = (kept[0], [new if shown == old else shown for shown in kept[1]])


def left(corpus: Corpus, ids: Sequence[str], where: str | None) -> int:
    """How many of these samples do not meet the condition any more."""
    import polars as pl

    if not where:
        return 0
    frame = pl.DataFrame({"id": list(ids)}, schema={"id": pl.String})
    meets = corpus.run(
        f"SELECT count(*) AS n FROM everything SEMI JOIN held_frame USING (id) WHERE ({where}\n)",
        frames={"held_frame": frame},
    )
    return len(ids) - int(meets.item())


def turned(number: int, pages: int, gone: int, shown: int) -> tuple[int, int | None]:
    """The page to show after the reader went past the end of this one, and which of its rows to read.

    Args:
        number: of this page, from 1.
        pages: there are now.
        gone: samples of this page that no longer meet the filter: so many others have moved up to it.
        shown: samples of this page.

    Returns:
        The page and the row, counted from 0, -1 for the last; the row is null where the reader stays.
    """
    by = int(st.session_state.pop(TURN, 0))
    if by > 0 and gone:
        return min(number, max(1, pages)), shown - gone
    if by > 0 and number < pages:
        return number + 1, 0
    if by < 0 and number > 1:
        return number - 1, -1
    if by:
        st.toast(t("That was the last sample.") if by > 0 else t("That was the first sample."))
    return number, None


# -------------------------------------------------------------------- which one is read


def step(by: int) -> None:
    """Read the next sample (1) or the one before (-1); past the end, that of the next page. For callbacks."""
    shown: Shown | None = st.session_state.get(SHOWN)
    if shown is None or not shown.ids:
        return
    now = st.session_state.get(SAMPLE)
    at = shown.ids.index(now) if now in shown.ids else -1 if by > 0 else len(shown.ids)
    if 0 <= at + by < len(shown.ids):
        read(shown.ids[at + by])
    else:
        st.session_state[TURN] = by


def read(sample_id: str) -> None:
    """Read a sample of the page; the table marks its row. For callbacks."""
    state, shown = st.session_state, st.session_state.get(SHOWN)
    state[SAMPLE] = sample_id
    keep_link("sample", sample_id)
    if shown is None or shown.table is None or sample_id not in shown.ids:
        return
    row = shown.ids.index(sample_id)
    rows = list(state.get(shown.table, {}).get("selection", {}).get("rows", []))
    state[shown.table] = {"selection": {"rows": rows, "columns": [], "cells": [[row, "instruction"]]}}
    state[LAST] = (shown.view, row)


def chosen(shown: Shown, choice: int | None, row: int | None) -> str:
    """The sample to read: what a link names, what was clicked, what the keys went to, or the first one.

    Args:
        shown: what the page shows; at least one sample.
        choice: the row of the table that is chosen.
        row: the row to read after a page was turned.
    """
    state = st.session_state
    last, now = state.get(LAST), state.get(SAMPLE)
    asked = st.query_params.get("sample")
    clicked = choice is not None and last is not None and choice != last[1]
    if asked and asked != state.get("linked_sample"):
        now = asked
    elif row is not None:
        now = shown.ids[min(row, len(shown.ids) - 1)]
    elif choice is not None and (clicked or last is None):
        now = shown.ids[choice]
    elif now is None or (last is not None and last[0] != shown.view and now not in shown.ids):
        now, asked = shown.ids[choice or 0], None
    state[SAMPLE], state[LAST], state[SHOWN] = now, (shown.view, choice), shown
    moved = asked or row is not None or choice is not None or now != shown.ids[0]
    keep_link("sample", str(now) if moved else None)
    return str(now)


def ticked(table: Any, frame: pl.DataFrame) -> list[str]:
    """The samples whose boxes are ticked, by the state of the table."""
    rows = table["selection"]["rows"]
    return [frame["id"][row] for row in rows if row < frame.height]
