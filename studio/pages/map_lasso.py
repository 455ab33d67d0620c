"""What was drawn around or clicked on the map: a table, what to do with its samples, and one of them to read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from curation.errors import WinnowError
from curation.mapping.polygons import inside
from curation.storage.sql import literal
from studio import forms
from studio.components.map import HEIGHT
from studio.door import access
from studio.languages import t, tn
from studio.pages import reading
from studio.pages.deciding import PROBLEM

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus
    from studio.map_payload import Picture
    from studio.pages.map_ground import Ground

DRAWN, PICKED, CLEARED = "map_drawn", "map_picked", "map_cleared"
LISTED = 200
"""Samples of the table."""
TEXT = 160
NAME = "lasso"
"""What the selection is called that Browse shows."""


def heard(key: str, ground: Ground, rows: np.ndarray | None, picture: Picture) -> Callable[[], None]:
    """What keeps a lasso or a click for the next drawing of the page."""

    def keep() -> None:
        state = st.session_state[key]
        lasso, pick = state.get("lasso"), state.get("pick")
        if isinstance(lasso, dict):
            found = chosen_rows(ground, picture, lasso)
            st.session_state[DRAWN] = (ground.drawn.number, ground.drawn.embedding, found, lasso["polygon"])
            st.session_state.pop(PICKED, None)
        if isinstance(pick, int) and 0 <= pick < (len(ground.positions) if rows is None else len(rows)):
            st.session_state[PICKED] = int(ground.positions[pick if rows is None else rows[pick]])

    return keep


def chosen_rows(ground: Ground, picture: Picture, lasso: dict[str, Any]) -> np.ndarray:
    """Rows of the map inside a polygon, without those whose colour was hidden in the legend."""
    found = inside(ground.drawn.xy, lasso.get("polygon") or [])
    hidden = [n for n in lasso.get("hidden") or [] if isinstance(n, int) and 0 <= n < 256]
    if hidden and len(picture.colours.index):
        found = found[~np.isin(picture.colours.index[found], hidden)]
    return found


def pane(
    corpus: Corpus, ground: Ground, within: np.ndarray, picture: Picture, first: Callable[[], None] | None = None
) -> None:
    """The samples inside the lasso with what can be done to them, and the sample that is read.

    Args:
        corpus: whose map.
        ground: the map.
        within: bool per point: in the working set.
        picture: as it is drawn.
        first: draws what stands here as long as nothing is chosen; what can be chosen, when null.
    """
    problem = st.session_state.pop(PROBLEM, None)
    if problem is not None:
        forms.show_error(problem)
    number, embedding, inside_line, polygon = st.session_state.get(DRAWN) or (0, "", np.zeros(0, np.int64), [])
    rows = None
    if polygon and (number, embedding) == (ground.drawn.number, ground.drawn.embedding):
        rows = inside_line[within[inside_line]]
    with st.container(height=HEIGHT, border=True):
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
    _actions(corpus, positions, polygon, ground)
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
    texts = corpus.run(
        f"SELECT id, {cut.format('instruction', 'instruction')}, {cut.format('response', 'response')} "
        "FROM samples SEMI JOIN drawn_frame USING (id)",
        frames={"drawn_frame": short.select("id")},
    )
    found = short.join(texts.unique("id"), on="id", how="left", maintain_order="left").select(
        "position", "instruction", "response", "source", "decision"
    )
    return found if found["decision"].null_count() < found.height else found.drop("decision")


# -------------------------------------------------------------------- what can be done


def _actions(corpus: Corpus, positions: np.ndarray, polygon: list[list[float]], ground: Ground) -> None:
    off, why = not access.may_edit(), None if access.may_edit() else t("You may look, but not change anything.")
    n = len(positions)

    def button(label: str, verb: str, icon: str, **more: Any) -> None:
        arguments = (verb, corpus, positions, polygon, ground)
        more.setdefault("disabled", off)
        st.button(label, key=f"map_{verb}", icon=icon, on_click=_do, args=arguments, help=why, **more)

    with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
        button(t("Keep"), "keep", ":material/check:")
        with st.popover(t("Drop"), icon=":material/block:", disabled=off, help=why):
            reason = st.text_input(t("Reason"), key="map_reason")
            button(
                tn("Drop {n} sample", "Drop {n:,} samples", n), "drop", ":material/block:", disabled=off or not reason
            )
        with st.popover(t("Tag"), icon=":material/sell:", disabled=off, help=why):
            tag = st.text_input(t("Tag"), key="map_tag_name")
            button(tn("Tag {n} sample", "Tag {n:,} samples", n), "tag", ":material/sell:", disabled=off or not tag)
        with st.popover(t("Save"), icon=":material/bookmark_add:", disabled=off, help=why):
            name = st.text_input(t("Name of the selection"), key="map_name")
            button(t("Save as a selection"), "save", ":material/bookmark_add:", disabled=off or not name)
        button(t("Open in Browse"), "browse", ":material/table_rows:")
    if st.session_state.pop("map_go", False):
        _go_to_browse()


def _go_to_browse() -> None:
    target = st.session_state.get(forms.PAGES_KEY, {}).get("browse")
    if target is not None:
        st.switch_page(target)


def _ids(corpus: Corpus, positions: np.ndarray) -> list[str]:
    import polars as pl

    found = corpus.run(
        "SELECT id FROM everything SEMI JOIN drawn_frame USING (position) ORDER BY position",
        frames={"drawn_frame": pl.DataFrame({"position": positions}, schema={"position": pl.Int64})},
    )
    return found["id"].to_list()


def _do(verb: str, corpus: Corpus, positions: np.ndarray, polygon: list[list[float]], ground: Ground) -> None:
    from curation import deciding
    from curation.by_hand import select_by_hand

    state = st.session_state
    try:
        access.require_editor()
        ids = _ids(corpus, positions)
        if verb in ("save", "browse"):
            name = state.get("map_name", "").strip() if verb == "save" else NAME
            how = {"drawn_on": ground.drawn.embedding, "layout": ground.drawn.spec.method, "polygon": _short(polygon)}
            report = select_by_hand(corpus, ids, name=name, how=how)
            _told(verb, name, len(report.ids), len(report.rejected))
            return
        if verb == "keep":
            done = deciding.keep(corpus, ids=ids)
        elif verb == "drop":
            done = deciding.drop(corpus, ids=ids, reason=state.get("map_reason", ""))
        else:
            done = deciding.tag(corpus, state.get("map_tag_name", ""), ids=ids)
        st.toast(tn("{n} sample changed.", "{n:,} samples changed.", done.changed))
    except WinnowError as error:
        state[PROBLEM] = error


def _told(verb: str, name: str, chosen: int, left: int) -> None:
    if verb == "browse":
        forms.set_filter(f"id IN (SELECT id FROM selected WHERE name = {literal(name)})")
        st.session_state["map_go"] = True
        return
    told = tn(
        "Saved {n} sample as the selection {name}.", "Saved {n:,} samples as the selection {name}.", chosen, name=name
    )
    st.toast(forms.plain(told))
    if left:
        st.toast(
            tn("{n} stays out: dropped, held out or like a held-out sample.",
               "{n:,} stay out: dropped, held out or like a held-out sample.", left)
        )  # fmt: skip


def _short(polygon: list[list[float]]) -> list[list[float]]:
    return [[round(float(x), 4), round(float(y), 4)] for x, y in polygon]


def _clear() -> None:
    st.session_state.pop(DRAWN, None)
    st.session_state[CLEARED] = st.session_state.get(CLEARED, 0) + 1
