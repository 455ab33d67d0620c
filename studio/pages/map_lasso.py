"""What was drawn around or clicked on the map: a table, what to do with its samples, and one of them to read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from curation.mapping.polygons import inside
from studio import forms
from studio.components import map as drawing
from studio.languages import t, tn
from studio.pages import map_actions, reading
from studio.pages.deciding import PROBLEM
from studio.pages.drawn_with import up_to_date
from studio.pages.map_ground import UNCOLOURED, colours_by

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus
    from studio.map_payload import Colours
    from studio.pages.drawn_with import DrawnWith
    from studio.pages.map_ground import Ground

DRAWN, PICKED, CLEARED = "map_drawn", "map_picked", "map_cleared"
EAR, COLOUR, SENT = "map_ear", "map_colour", "map_colours_sent"
LISTED = 200
"""Samples of the table."""
TEXT = 160


def colour() -> str:
    """What colours the map."""
    return str(st.session_state.get(COLOUR) or UNCOLOURED)


def keep_colours(ground: Ground, shown: Colours) -> None:
    """Keep the colours that are sent: the browser names by their numbers what its legend hides.

    Those before them are kept too, for a lasso that is on its way.
    """
    now = (ground.name, shown.version)
    before = [(key, index) for key, index in (st.session_state.get(SENT) or {}).items() if key != now]
    st.session_state[SENT] = dict([*before[-1:], (now, shown.index)])


def heard(corpus: Corpus, ground: Ground) -> Callable[[], None]:
    """What keeps a lasso or a click for the drawing of the pane that follows."""

    def keep() -> None:
        state = st.session_state[EAR]
        lasso, pick = state.get("lasso"), ground.row(state.get("pick"))
        if isinstance(lasso, dict):
            found = chosen_rows(corpus, ground, lasso)
            st.session_state[DRAWN] = (ground.name, found, lasso["polygon"])
            st.session_state.pop(PICKED, None)
        if pick is not None:
            st.session_state[PICKED] = int(ground.positions[pick])

    return keep


def chosen_rows(corpus: Corpus, ground: Ground, lasso: dict[str, Any]) -> np.ndarray:
    """Rows of the map inside a polygon, without those whose colour was hidden in the legend."""
    found = inside(ground.drawn.xy, lasso.get("polygon") or [])
    hidden = [n for n in lasso.get("hidden") or [] if isinstance(n, int) and 0 <= n < 256]
    if hidden:
        index = (st.session_state.get(SENT) or {}).get((ground.name, lasso.get("colours")))
        if index is None:
            index = colours_by(corpus, ground, colour()).index
        found = found[~np.isin(index[found], hidden)] if len(index) else found
    return found


def pane(
    corpus: Corpus, ground: Ground, within: np.ndarray, drawn: DrawnWith, first: Callable[[], None] | None = None
) -> None:
    """The samples inside the lasso with what can be done to them, and the sample that is read.

    Args:
        corpus: whose map.
        ground: the map.
        within: bool per point: in the working set.
        drawn: what this was drawn with.
        first: draws what stands here as long as nothing is chosen; what can be chosen, when null.
    """
    map_actions.finish()
    up_to_date(corpus, drawn)
    place = st.container(gap=None)
    with place:
        drawing.hear(["lasso", "pick"], key=EAR, heard=heard(corpus, ground), cleared=st.session_state.get(CLEARED, 0))
    problem = st.session_state.pop(PROBLEM, None)
    if problem is not None:
        forms.show_error(problem)
    name, inside_line, polygon = st.session_state.get(DRAWN) or (None, np.zeros(0, np.int64), [])
    rows = None
    if polygon and name == ground.name:
        rows = inside_line[within[inside_line]]
    with place.container(height=drawing.HEIGHT, border=True):
        if rows is not None:
            _drawn_around(corpus, ground, rows, polygon)
        shown = st.session_state.get(PICKED)
        if shown is not None:
            _read(corpus, shown)
        elif rows is None:
            (first or _nothing_yet)()


def _nothing_yet() -> None:
    st.subheader(t("Samples you choose appear here"))
    st.caption(t("Draw a line around samples to list them; then tag, keep or drop them, or save them as a selection."))
    st.caption(t("Click a point to read its sample."))


def _read(corpus: Corpus, position: int) -> None:
    found = corpus.query("SELECT id FROM everything WHERE position = ?", position)
    if found.is_empty():
        st.caption(t("This sample is no longer in the corpus."))
        return
    reading.pane(corpus, reading.read(corpus, found["id"][0]))


def _drawn_around(corpus: Corpus, ground: Ground, rows: np.ndarray, polygon: list[list[float]]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.subheader(tn("{n} sample inside", "{n:,} samples inside", len(rows)), width="content")
        st.button(t("Clear"), key="map_clear", icon=":material/close:", on_click=_clear, type="tertiary")
    if not len(rows):
        st.caption(t("No sample that meets the filter lies inside the line."))
        return
    positions = ground.positions[rows]
    map_actions.draw(corpus, positions, polygon, ground)
    frame = listed(corpus, positions[:LISTED])
    mark = hashlib.sha256(positions.tobytes()).hexdigest()[:10]
    state = st.dataframe(
        frame.drop("position"),
        hide_index=True,
        height=210 if frame.height > 5 else "content",
        row_height=30,
        key=f"map_table_{mark}",
        on_select="rerun",
        selection_mode="single-cell",
        column_config={
            "instruction": st.column_config.TextColumn(t("Instruction"), width=190),
            "response": st.column_config.TextColumn(t("Response"), width=120),
            "source": st.column_config.TextColumn(t("Source"), width=90),
            "decision": st.column_config.TextColumn(t("Decision"), width=70),
        },
        placeholder="–",
        alt=t("Samples inside the lasso"),
    )
    if len(rows) > LISTED:
        st.caption(t("The first {n:,} are listed; Browse has all of them.", n=LISTED))
    row = forms.chosen_row(state, frame.height)
    if row is not None and st.session_state.get("map_row") != (mark, row):
        st.session_state["map_row"] = (mark, row)
        st.session_state[PICKED] = int(frame["position"][row])


def listed(corpus: Corpus, positions: np.ndarray) -> pl.DataFrame:
    """Samples by position as rows of a table: position, decision, first words, source."""
    import polars as pl

    cut = f"left(regexp_replace(left({{}}, 400), '\\s+', ' ', 'g'), {TEXT}) AS {{}}"
    frame = pl.DataFrame({"position": positions}, schema={"position": pl.Int64})
    # What is short lies in memory; of the texts only these are read.
    short = corpus.run(
        "SELECT id, position, source, decision FROM everything SEMI JOIN drawn_frame USING (position) "
        "ORDER BY position",
        frames={"drawn_frame": frame},
    )
    # By row numbers that are known beforehand a database reads these rows; by anything else it reads all texts.
    rows = corpus.run(
        "SELECT s.rowid AS n FROM samples s SEMI JOIN drawn_frame USING (position)", frames={"drawn_frame": frame}
    )
    texts = corpus.run(
        f"SELECT id, {cut.format('instruction', 'instruction')}, {cut.format('response', 'response')} "
        "FROM samples WHERE rowid IN (SELECT n FROM rows_frame)",
        frames={"rows_frame": rows},
    )
    found = short.join(texts.unique("id"), on="id", how="left", maintain_order="left").select(
        "position", "instruction", "response", "source", "decision"
    )
    return found if found["decision"].null_count() < found.height else found.drop("decision")


def _clear() -> None:
    st.session_state.pop(DRAWN, None)
    st.session_state[CLEARED] = st.session_state.get(CLEARED, 0) + 1
