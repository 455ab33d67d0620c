"""The Browse page: samples as a table with one of them read beside it, or as cards."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.corpus import OWN_COLUMNS
from curation.errors import WinnowError
from curation.searching import Found, Query, both, search
from curation.searching import search_condition as search_condition
from curation.storage.sql import quoted
from studio import forms
from studio.languages import mark, t
from studio.pages import browsing, cards, deciding, deciding_many, places, reading, rejected_rows, search_bar
from studio.pages.browsing import Shown, keep_link, one_of, take_link, view_key, whole_number
from studio.pages.drawn_with import DrawnWith, up_to_date
from studio.pages.known import known

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from curation.corpus import Corpus

ROWS = 50
"""Rows of a page: only these leave the database."""
TEXT = 240
"""Characters of a text in the table; the whole one is in the reading pane."""
HEIGHT = 590
"""Of the table and of the reading pane, in pixels: both end above the fold of a laptop's screen."""
SCORES = 2
"""Score columns that are shown unless the user chooses others."""
USUAL = (
    "position", "turns", "response_chars", "source", "added_at", "shape", "script", "decision", "label", "held_out",
)  # fmt: skip
"""Columns of every corpus that are offered for sorting; nobody sorts by ids, hashes and JSON."""
AS_INGESTED = mark("as ingested")
NEAREST = mark("nearest first")
"""What the order of ingestion gives way to when samples are looked for by their meaning."""
VIEWS = {"samples": mark("All samples"), "rejected": mark("Rejected rows")}
WAYS = {"table": mark("Table"), "cards": mark("Cards")}
ICONS = {"table": ":material/table_rows:", "cards": ":material/view_agenda:"}


@dataclass(frozen=True)
class Asked:
    """What the controls above the samples say."""

    query: Query
    column: str
    order: str | None
    scores: list[str]


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    _take_links(corpus)
    rejected = known(corpus, "rejected", lambda: corpus.query("SELECT count(*) AS n FROM rejected").item())
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.title(t("Browse"), width="content")
        with st.container(horizontal=True, width="content", gap="small"):
            view = st.segmented_control(
                t("What to look at"), list(VIEWS), key="browse_view", required=True, label_visibility="collapsed",
                format_func=lambda v: t(VIEWS[v]) + (f" ({rejected:,})" if v == "rejected" else ""),
            )  # fmt: skip
            way = st.segmented_control(
                t("Show as"), list(WAYS), key="browse_way", required=True, label_visibility="collapsed",
                format_func=lambda w: f"{ICONS[w]} {t(WAYS[w])}", disabled=view == "rejected",
            )  # fmt: skip
    keep_link("view", view if view != "samples" else None)
    keep_link("as", way if way != "table" else None)
    if view == "rejected":
        rejected_rows.draw(corpus, rejected)
    elif not corpus.count():
        forms.empty_state(t("Samples appear here"), t("There are none yet."), ["ingest", str(corpus.path), "FILE"])
    else:
        where = forms.working_set(corpus)
        # By itself it sorts, turns pages and reads on without the sidebar and the filter being drawn again.
        drawn = DrawnWith.now(corpus, where)
        st.fragment(_samples)(corpus, where, str(way), drawn)
        drawn.whole = True


def _take_links(corpus: Corpus) -> None:
    take_link("view", "browse_view", one_of(list(VIEWS)))
    take_link("as", "browse_way", one_of(list(WAYS)))
    take_link("sort", "browse_sort", one_of(sortable(corpus)))
    take_link("low", "browse_descending", lambda _: False)
    take_link("page", "browse_page", whole_number)
    for key, value in (("browse_view", "samples"), ("browse_way", "table"), ("browse_descending", True)):
        st.session_state.setdefault(key, value)


def columns_of(corpus: Corpus) -> dict[str, str]:
    """Every column -> its type."""
    return known(corpus, "columns", corpus.columns)


def score_columns(corpus: Corpus) -> list[str]:
    """The columns that scorers made."""
    return [name for name in columns_of(corpus) if name not in OWN_COLUMNS]


def sortable(corpus: Corpus) -> list[str]:
    """The columns by which somebody may want to sort: what was measured first, then what is known of every sample."""
    columns = columns_of(corpus)
    measured = [name for name in score_columns(corpus) if columns[name][-1:] != "]"]
    told = [name for name in measured if columns[name] == "VARCHAR"]
    return [*(name for name in measured if name not in told), *(n for n in USUAL if n in columns), *told]


def order_by(column: str, descending: bool) -> str | None:
    """The SQL order of a column; samples without a value come last."""
    return None if column == AS_INGESTED else f"{quoted(column)} {'DESC' if descending else 'ASC'} NULLS LAST"


def page_of(
    corpus: Corpus, scores: list[str], where: str | None, order: str | None, number: int, rows: int = ROWS
) -> pl.DataFrame:
    """One page of the table, in order: the samples first, then the columns and texts of those only."""
    shown = corpus.frame(["id", "position"], where=where, order=order, limit=rows, offset=(number - 1) * rows)
    return rows_of(corpus, scores, places.remember(corpus, shown))


def rows_of(corpus: Corpus, scores: list[str], ids: Sequence[str]) -> pl.DataFrame:
    """The table's row of each of these samples, in this order; one that is no current sample is left out."""
    import polars as pl

    asked = pl.DataFrame({"id": ids}, schema={"id": pl.String})
    shown = list(dict.fromkeys(["id", "source", "turns", "tags", "decision", *scores]))
    # All scores at once, for one who reads the page row by row.
    measured, kept = reading.stored_scores(corpus), reading.kept_scores(corpus)
    names = ", ".join(map(quoted, dict.fromkeys([*shown, *measured])))
    rows = places.read(corpus, f"SELECT {names} FROM everything {places.JOIN}", ids)
    kept.update(reading.by_id(rows.select("id", *measured)))
    rows = rows.select(shown)
    found = asked.join(rows, on="id", how="inner", maintain_order="left")
    texts = _texts(corpus, tuple(found["id"]))
    return found.join(texts, on="id", maintain_order="left").with_columns(pl.col("tags").fill_null([]))


@functools.lru_cache(maxsize=64)
def _texts(corpus: Corpus, ids: tuple[str, ...]) -> pl.DataFrame:
    """Kept while somebody decides: the text of an id never changes."""
    import polars as pl

    shortened = f"left(instruction, {TEXT}) AS instruction, left(response, {TEXT}) AS response"
    texts = places.read(corpus, f"SELECT id, {shortened} FROM samples {places.JOIN}", ids)
    return texts.with_columns(pl.col("instruction", "response").str.replace_all(r"\s+", " "))


def _samples(corpus: Corpus, where: str | None, way: str, drawn: DrawnWith) -> None:
    up_to_date(corpus, drawn)
    asked = _controls(corpus)
    try:
        found = search(corpus, asked.query, where=where)
    except WinnowError as error:
        forms.show_error(error)
        return
    wanted, quick = both(where, found.where), both(corpus.found(where), found.condition)
    base = f"{wanted}|{asked.order}|{way}"
    size = cards.CARDS if way == "cards" else ROWS
    number, row, ids = _which(corpus, asked, found, quick, base, size)
    if not ids:
        _nothing_found()
        return
    frame = known(corpus, f"rows {asked.scores} {ids}", lambda: rows_of(corpus, asked.scores, ids))
    view = view_key(base, number)
    if way == "cards":
        _as_cards(corpus, asked, frame, view, row, (number, size, found.total, wanted))
    else:
        _as_table(corpus, asked, frame, view, row, (number, size, found.total, wanted))


def _nothing_found() -> None:
    with st.container(border=True, width=560):
        st.subheader(t("No sample matches"))
        st.caption(t("Nothing in the corpus meets the filter and the search together."))
        st.button(t("Clear filter and search"), type="primary", on_click=_clear)


def _which(
    corpus: Corpus, asked: Asked, found: Found, quick: str | None, base: str, size: int
) -> tuple[int, int | None, list[str]]:
    """The number of the page, the row to read on it if it was just turned, and the samples it shows."""
    pages = max(1, -(-found.total // size))
    number, row = browsing.page_number(base), None
    if (linked := st.session_state.pop("browse_page", None)) is not None:
        number = browsing.go_to(base, min(pages, linked))
    kept = browsing.held(view_key(base, number))
    if st.session_state.get(browsing.TURN):
        gone = browsing.left(corpus, kept, quick) if kept else 0
        turned, row = browsing.turned(number, pages, gone, len(kept or ()))
        if row is not None:
            browsing.let_go()
            number, kept = browsing.go_to(base, turned), None
    if kept is not None:
        return number, row, kept
    if number > pages:
        number = browsing.go_to(base, pages)
    return number, row, _ids(corpus, asked, found, quick, number, size)


def _ids(corpus: Corpus, asked: Asked, found: Found, quick: str | None, number: int, size: int) -> list[str]:
    if found.ids is not None and asked.column == AS_INGESTED:  # by meaning: the nearest first
        return found.ids.slice((number - 1) * size, size).to_list()

    def ask() -> list[str]:
        wanted = ["id", "position"]
        shown = corpus.frame(wanted, where=quick, order=asked.order, limit=size, offset=(number - 1) * size)
        return places.remember(corpus, shown)

    return known(corpus, f"ids {quick}|{asked.order}|{size}|{number}", ask)


def _pages(view: tuple[int, int, int, str | None], asked: Asked, way: str) -> None:
    number, size, matching, wanted = view
    pages = max(number, -(-matching // size))
    if pages > 1:
        base = f"{wanted}|{asked.order}|{way}"
        st.pagination(pages, default=number, key=browsing.page_key(base), persist_state="session")
    keep_link("page", str(number) if number > 1 else None)


Place = tuple[int, int, int, "str | None"]
"""Number of the page, samples on a page, samples that match, the condition that they match."""


def _as_table(corpus: Corpus, asked: Asked, frame: pl.DataFrame, view: str, row: int | None, place: Place) -> None:
    actions = st.container()
    left, right = st.columns([11, 9], gap="small")
    with left:
        # The caption stands above: the toolbar of a table with a chosen cell covers what is there on the right.
        caption, many = st.container(), st.container()
        state = _table(corpus, frame, asked.scores, f"browse_table_{view_key(view, asked.scores)}", row)
        _pages(place, asked, "table")
    shown = Shown(view, frame["id"].to_list(), f"browse_table_{view_key(view, asked.scores)}")
    sample = browsing.chosen(shown, forms.chosen_row(_latest(state), frame.height), row)
    with caption:
        _caption(corpus, frame, place, shown, t("Click a row to read it, tick rows to decide on several."))
    with many:
        deciding_many.on_ticked(corpus, browsing.ticked(state, frame))
    read = _read(corpus, sample)
    if read is None:
        return
    if read.is_current:
        with actions:
            deciding.on_sample(corpus, read.sample, moving=True)
    with right, st.container(height=HEIGHT, border=True):
        reading.pane(corpus, read)
    deciding.listen()


def _as_cards(corpus: Corpus, asked: Asked, frame: pl.DataFrame, view: str, row: int | None, place: Place) -> None:
    shown = Shown(view, frame["id"].to_list(), None)
    sample = browsing.chosen(shown, None, row)
    _caption(corpus, frame, place, shown, t("Keys act on the card that is being read."))
    deciding_many.on_ticked(corpus, cards.ticked(shown))
    cards.draw(corpus, frame, asked.scores, sample, shown)
    _pages(place, asked, "cards")


def _caption(corpus: Corpus, frame: pl.DataFrame, place: Place, shown: Shown, told: str) -> None:
    number, size, matching, wanted = place
    first = (number - 1) * size + 1
    kept = browsing.held(shown.view)
    gone = browsing.left(corpus, kept, wanted) if kept and wanted else 0
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        rows = t("Rows {first:,} to {last:,} of {all:,}.", first=first, last=first + frame.height - 1, all=matching)
        with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", width="content"):
            st.caption(rows, width="content", help=told)
            if gone:
                st.button(
                    t("{n:,} no longer match", n=gone), key="browse_refresh", type="tertiary",
                    icon=":material/refresh:", on_click=browsing.let_go,
                    help=t("They stay in their place until you ask again: press to do it now."),
                )  # fmt: skip
        deciding_many.on_working_set(corpus, wanted, matching)


def _clear() -> None:
    search_bar.clear()
    forms.set_filter("")


def _controls(corpus: Corpus) -> Asked:
    """Search, order, score columns to show: one row, so that the samples begin high up."""
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", wrap=False):
        with st.container():
            query = search_bar.draw(corpus, key="browse", cases=True)
        first = NEAREST if query.by_meaning and query else AS_INGESTED
        column = st.selectbox(
            t("Sort by"), [AS_INGESTED, *sortable(corpus)], key="browse_sort", persist_state="session", width=170,
            format_func=lambda name: t("Sort: {column}", column=t(first) if name == AS_INGESTED else name),
            label_visibility="collapsed",
        )  # fmt: skip
        descending = bool(st.session_state["browse_descending"])
        if column != AS_INGESTED:
            st.button(
                t("High first") if descending else t("Low first"), key="browse_turn_order", on_click=_turn_order,
                icon=f":material/{'arrow_downward' if descending else 'arrow_upward'}:",
                help=t("Press to sort the other way round"),
            )  # fmt: skip
        scores = _scores_shown(corpus)
    if column in score_columns(corpus):  # what it is sorted by is seen without scrolling
        scores = [column, *(name for name in scores if name != column)]
    keep_link("sort", column if column != AS_INGESTED else None)
    keep_link("low", "1" if column != AS_INGESTED and not descending else None)
    return Asked(query, column, order_by(column, descending), scores)


def _turn_order() -> None:
    st.session_state["browse_descending"] = not st.session_state["browse_descending"]


def _scores_shown(corpus: Corpus) -> list[str]:
    """The score columns to show, as the reader chooses them."""
    measured = score_columns(corpus)
    default = [run.columns[0] for run in known(corpus, "score runs", corpus.score_runs)[::-1]][:SCORES]
    with st.popover(t("Columns"), icon=":material/view_column:", key="browse_columns"):
        return st.multiselect(
            t("Scores"), measured, default=[name for name in default if name in measured], width=340,
            key=f"browse_scores_{len(measured)}", placeholder=t("none") if measured else t("none yet"),
            disabled=not measured, help=t("Score columns of the table; Score makes more of them."),
        )  # fmt: skip


def _latest(state: Any) -> Any:
    """The state of a table, where the row that was ticked last counts as clicked if no cell is."""
    selection = state["selection"]
    if selection.get("cells") or not selection["rows"]:
        return state
    return {"selection": {"cells": [], "rows": [selection["rows"][-1]]}}


def _table(corpus: Corpus, frame: pl.DataFrame, scores: list[str], key: str, row: int | None) -> Any:
    kinds = columns_of(corpus)
    few = [name for name in ("turns", "tags") if _differs(frame, name)]
    decided = ["decision"] if frame["decision"].null_count() < frame.height else []
    if row is not None:
        at = row if row >= 0 else frame.height - 1
        st.session_state[key] = {"selection": {"rows": [], "columns": [], "cells": [[at, "instruction"]]}}
    # The selection is kept by position, so a table with other rows must be another table.
    return st.dataframe(
        frame.with_columns(frame["decision"].replace({"keep": t("kept"), "drop": t("dropped")})),
        hide_index=True,
        height=HEIGHT - 90 if frame.height > 13 else "content",
        row_height=36,
        on_select="rerun",
        # A click anywhere in a row reads it, and the arrow keys go on; the boxes are for deciding on several.
        selection_mode=["multi-row", "single-cell"],
        key=key,
        placeholder="–",
        column_order=[*decided, "instruction", "response", *scores, "source", *few],
        column_config={
            "instruction": st.column_config.TextColumn(t("Instruction"), width=150),
            "response": st.column_config.TextColumn(t("Response"), width=84),
            "source": st.column_config.TextColumn(t("Source"), width=74),
            "decision": st.column_config.TextColumn(t("Decision"), width=66),
            "turns": st.column_config.NumberColumn(t("Turns"), width=48),
            "tags": st.column_config.ListColumn(t("Tags"), width=110),
            **{name: _score_column(name, kinds[name]) for name in scores},
        },
        alt=t("Samples of this page"),
    )


def _score_column(name: str, kind: str) -> Any:
    if "[]" in kind:
        return st.column_config.ListColumn(name, width=110)
    if kind == "BOOLEAN":
        return st.column_config.CheckboxColumn(name, width=66)
    if kind == "VARCHAR":
        return st.column_config.TextColumn(name, width=110)
    return st.column_config.NumberColumn(name, format="localized" if "INT" in kind else "%.4g", width=74)


def _differs(frame: pl.DataFrame, column: str) -> bool:
    """Whether a column tells the rows of this page apart."""
    return frame[column].n_unique() > 1


def _read(corpus: Corpus, sample_id: str) -> reading.Read | None:
    try:
        return reading.read(corpus, sample_id)
    except WinnowError as error:
        forms.show_error(error)
        return None
