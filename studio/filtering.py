"""The working set: a filter that is the same on every page, its conditions as chips, and views kept under a name."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import WinnowError
from curation.storage.sql import quoted
from curation.views import View, remove_view, save_view, view_named, views
from studio.components import copy_link
from studio.conditions import LONG, TESTS, Condition, conditions, joined, kind_of
from studio.door import access
from studio.languages import KEY as LANGUAGE
from studio.languages import LANGUAGES, mark, t, tn
from studio.pages.corpus_state import corpus_state
from studio.shown import DRAWN_KEY, PAGES_KEY, link, page_named, plain, show_error

if TYPE_CHECKING:
    from pathlib import Path

    from curation.corpus import Corpus

SAVED = "saved"
"""In the address: the name of a view to open."""
OFFERED = 40
"""Values of a column that are offered, the most frequent."""
USUAL = ("source", "shape", "script", "tags", "turns", "instruction", "response", "decision", "held_out", "label")
"""Columns that come first in the list, before the scores."""
KINDS = {
    "number": mark("number"), "text": mark("text"), "list": mark("list"), "yes or no": mark("yes or no"),
    "time": mark("time"), "other": mark("other"),
}  # fmt: skip


def working_set(corpus: Corpus) -> str | None:
    """The filter that page and command share: an input, its conditions as chips, and how many samples meet it.

    It stands in the URL (`?where=...`) and is the same on every page. A filter that does not work ends the page.
    """
    _restore_filter()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        typed = st.text_input(
            t("Filter (SQL)"),
            key="where",
            placeholder=t("a condition such as: source = 'alpaca' AND length_tokens > 50"),
            icon=":material/filter_alt:",
            label_visibility="collapsed",
        )
        with st.popover(t("Add a condition"), icon=":material/add:", key="add_condition", on_change="rerun") as adding:
            if adding.open is not False:
                _builder(corpus)
        with st.popover(t("Views"), icon=":material/bookmark:", key="saved_views", on_change="rerun") as kept:
            if kept.open is not False:
                _views(corpus.path)
    where = (typed or "").strip() or None
    _keep_filter(where)
    total, dropped = corpus.count(), corpus.count("decision = 'drop'")
    try:
        matching = corpus.count(where)
    except WinnowError as error:
        show_error(error)
        st.button(t("Clear the filter"), icon=":material/filter_alt_off:", on_click=set_filter, args=("",))
        st.stop()
    _chips(where, matching, total, dropped)
    return where


def _chips(where: str | None, matching: int, total: int, dropped: int) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        told = (
            t("**{matching:,}** of {total:,} samples", matching=matching, total=total)
            if where
            else tn("**{n}** sample", "**{n:,}** samples", total)
        )
        left = t("{n:,} dropped", n=dropped) if dropped else ""
        st.caption(" · ".join(filter(None, [told, left])), width="content")
        parts = conditions(where or "")
        for place, part in enumerate(parts):
            st.button(
                plain(part if len(part) < 60 else part[:57] + "…"),
                key=f"chip-{place}-{part}",
                icon=":material/close:",
                help=t("Remove this condition"),
                on_click=_drop_condition,
                args=(place,),
            )
        if len(parts) > 1:
            st.button(t("Clear all"), key="clear_filter", type="tertiary", on_click=set_filter, args=("",))


def _restore_filter() -> None:
    state, asked = st.session_state, st.query_params.get("where")
    if asked is not None and asked != state.get("kept_where"):
        state["where"] = asked
    elif "where" not in state:
        state["where"] = state.get("kept_where") or ""


def _keep_filter(where: str | None) -> None:
    st.session_state["kept_where"] = where
    if where and st.query_params.get("where") != where:
        st.query_params["where"] = where
    elif not where and "where" in st.query_params:
        del st.query_params["where"]


def _drop_condition(place: int) -> None:
    rest = conditions(st.session_state["where"])
    if place < len(rest):
        del rest[place]
    set_filter(" AND ".join(rest))


def set_filter(where: str) -> None:
    """Replace the filter; from a callback, before the input is drawn."""
    st.session_state["where"] = where
    _keep_filter(where)


# -------------------------------------------------------------------- a condition without SQL


def _builder(corpus: Corpus) -> None:
    kinds = {name: kind_of(column_type) for name, column_type in corpus.columns().items()}
    own = [name for name in USUAL if name in kinds]
    scores = [name for name in corpus.score_columns() if name not in own]
    names = [*own, *scores, *(name for name in kinds if name not in own and name not in scores)]
    column = st.selectbox(
        t("Column"),
        names,
        key="condition_column",
        format_func=lambda name: f"{name} · {t(KINDS[kinds[name]])}",
        width=340,
    )
    if column is None:
        return
    kind = kinds[column]
    tests = TESTS[kind]
    test = st.selectbox(t("Test"), list(tests), key=f"condition_test_{kind}", format_func=lambda code: t(tests[code]))
    condition = Condition(column, kind, test, _compared(corpus, column, kind, test))
    ready = condition.is_whole
    st.code(condition.sql if ready else "…", language="sql", wrap_lines=True)
    st.button(
        t("Add"),
        key="condition_add",
        icon=":material/add:",
        disabled=not ready,
        help=None if ready else t("Say what to compare with first."),
        on_click=_add,
        args=(condition,),
    )


def _add(condition: Condition) -> None:
    st.session_state["add_condition"] = False
    set_filter(joined(st.session_state.get("where"), condition.sql))


def _compared(corpus: Corpus, column: str, kind: str, test: str) -> tuple[str | float | date, ...]:
    """What the column is compared with, as far as it was given."""
    key = f"condition_{column}_{test}"
    if test in ("known", "unknown", "yes", "no"):
        return ()
    if kind == "number":
        return _numbers(corpus, column, test, key)
    if kind == "time":
        day = st.date_input(t("Day"), value=None, key=key)
        return (day,) if isinstance(day, date) else ()
    if test in ("contains", "begins"):
        typed = st.text_input(t("Text"), key=key)
        return (typed,) if typed else ()
    found = [] if column in LONG else _values(corpus_state(corpus), corpus, column, kind)
    counts = dict(found)
    return tuple(
        st.multiselect(
            t("Values"),
            list(counts),
            key=key,
            accept_new_options=True,
            placeholder=t("choose or type"),
            format_func=lambda value: f"{value} ({counts[value]:,})" if value in counts else str(value),
        )
    )


def _numbers(corpus: Corpus, column: str, test: str, key: str) -> tuple[str | float | date, ...]:
    low, high = _range(corpus_state(corpus), corpus, column)
    given: list[float | None] = [st.number_input(t("Number"), value=None, key=key, step=None, format="%g")]
    if test == "between":
        given.append(st.number_input(t("and"), value=None, key=f"{key}_high", format="%g"))
    if low is not None and high is not None:
        st.caption(t("Its values go from {low:,.6g} to {high:,.6g}.", low=low, high=high))
    return tuple(number for number in given if number is not None)


@st.cache_data(max_entries=200, show_spinner=False)
def _values(state: str, _corpus: Corpus, column: str, kind: str) -> list[tuple[str, int]]:
    name = quoted(column)
    value = f"unnest({name})" if kind == "list" else name
    found = _corpus.query(
        f"SELECT value, count(*) AS samples FROM (SELECT {value} AS value FROM everything) "
        "WHERE value IS NOT NULL AND value <> '' AND length(value) < 100 "
        f"GROUP BY value ORDER BY samples DESC, value LIMIT {OFFERED}"
    )
    return list(found.iter_rows())


@st.cache_data(max_entries=200, show_spinner=False)
def _range(state: str, _corpus: Corpus, column: str) -> tuple[float | None, float | None]:
    name = quoted(column)
    low, high = _corpus.query(f"SELECT min({name})::DOUBLE, max({name})::DOUBLE FROM everything").row(0)
    return low, high


# -------------------------------------------------------------------- views with a name


def _views(folder: Path) -> None:
    copy_link.draw(key="copy_link")
    with st.form("save_view", border=False, clear_on_submit=True):
        st.text_input(t("Name of this view"), key="view_name", max_chars=100, placeholder=t("such as: long answers"))
        st.form_submit_button(
            t("Save view"),
            icon=":material/bookmark_add:",
            disabled=not access.may_edit(),
            help=access.refused(),
            on_click=_save,
            args=(folder, _here()),
        )
    problem = st.session_state.pop("view_problem", None)
    if problem is not None:
        show_error(problem)
    kept = views(folder)
    if not kept:
        st.caption(t("Saved views are listed here: a filter, its order and its page under a name."))
    for view in kept:
        with st.container(horizontal=True, vertical_alignment="center", gap="small", width=340):
            with st.container():
                link(view.page if page_named(view.page) else "browse", view.name, query={SAVED: view.name})
            st.button(
                t("Forget"),
                key=f"forget-{view.name}",
                help=access.refused() or t("Forget the view {name}", name=plain(view.name)),
                icon=":material/delete:",
                type="tertiary",
                disabled=not access.may_edit(),
                on_click=_forget,
                args=(folder, view.name),
            )


def _here() -> str:
    """The address of the page that is drawn."""
    return str(st.session_state.get(DRAWN_KEY) or "browse")


def _save(folder: Path, page: str) -> None:
    # In a callback the address is the one the reader saw when they pressed the button.
    query = {name: value for name, value in st.query_params.to_dict().items() if name not in (LANGUAGE, SAVED)}
    try:
        access.require_editor()
        saved = save_view(folder, View(st.session_state.get("view_name") or "", page, query))
    except WinnowError as error:
        st.session_state["view_problem"] = error
        return
    st.toast(t("Saved as {name}", name=plain(saved.name)), icon=":material/bookmark_added:")


def _forget(folder: Path, name: str) -> None:
    try:
        access.require_editor()
        remove_view(folder, name)
    except WinnowError as error:
        st.session_state["view_problem"] = error


def open_saved(folder: Path) -> None:
    """Where the address names a view (`?saved=NAME`): go to it; a name that is not known is said and passed over."""
    name = st.query_params.get(SAVED)
    if name is None:
        return
    del st.query_params[SAVED]
    try:
        view = view_named(folder, name)
    except WinnowError as error:
        show_error(error)
        return
    pages: dict[str, Any] = st.session_state.get(PAGES_KEY, {})
    st.session_state["kept_where"] = view.query.get("where")
    st.session_state["where"] = view.query.get("where", "")
    spoken = st.query_params.get(LANGUAGE)
    query = {**view.query, **({LANGUAGE: spoken} if spoken in LANGUAGES else {})}
    if view.page in pages:
        st.switch_page(pages[view.page], query_params=query)
