"""The search bar: what is looked for, and whether as text, as a regular expression or by its meaning.

It is the same on every page that has one, and stands in the address: `?q=bread&by=meaning`, or `?like=ID`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import streamlit as st

from curation.searching import Kind, Query, warm
from studio import forms
from studio.languages import mark, t
from studio.pages.browsing import keep_link

if TYPE_CHECKING:
    from curation.corpus import Corpus

WAYS = {Kind.TEXT: mark("Text"), Kind.REGEX: mark("Regex"), Kind.MEANING: mark("Meaning")}
PLACEHOLDERS = {
    Kind.TEXT: mark("search the texts"),
    Kind.REGEX: mark("such as: python|java"),
    Kind.MEANING: mark("what it should be about"),
}
CASE_HELP = mark(
    "Capital and small letters differ. Text finds these very characters; Regex takes an expression as RE2 reads it."
)
Q, BY, LIKE, CASE = "search_q", "search_by", "search_like", "search_case"
"""Where the session keeps what is looked for, for the other pages too."""
SHOWN = 8
"""Characters of an id."""


def draw(corpus: Corpus, *, key: str, cases: bool = False) -> Query:
    """Draw the bar and say what it asks for; an empty query where it asks for nothing.

    Args:
        corpus: to search in.
        key: begins the keys of its widgets: the input is `KEY_search`, the switch `KEY_by`.
        cases: whether the reader can ask for the very letters, by `KEY_case`; it takes room.
    """
    _restore(key)
    like: tuple[str, ...] = st.session_state.get(LIKE, ())
    case = False
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", wrap=False):
        with st.container():
            if like:
                _likeness(like, key)
                text, way = "", Kind.MEANING
            else:
                text = st.text_input(
                    t("Search"), key=f"{key}_search", type="search", persist_state="session", max_chars=4_000,
                    placeholder=t(PLACEHOLDERS[Kind(st.session_state[f"{key}_by"])]), label_visibility="collapsed",
                )  # fmt: skip
        if not like:
            way = st.segmented_control(
                t("Search as"), list(WAYS), format_func=lambda w: t(WAYS[w]), key=f"{key}_by", required=True,
                label_visibility="collapsed", persist_state="session", on_change=_warm, args=(corpus, key),
            ) or Kind.TEXT  # fmt: skip
        if cases and way is not Kind.MEANING:
            case = st.checkbox(
                t("Match case"), key=f"{key}_case", persist_state="session", width="content", help=t(CASE_HELP)
            )
            st.session_state[CASE] = case
    query = Query((text or "").strip() if way is not Kind.TEXT else text or "", way, like, case)
    _keep(query)
    return query if not query.by_meaning or _is_embedded(corpus, key) else Query()


def _warm(corpus: Corpus, key: str) -> None:
    """Open the encoder while the reader types."""
    if st.session_state[f"{key}_by"] is Kind.MEANING:
        threading.Thread(target=warm, args=(corpus,), daemon=True).start()


def _likeness(like: tuple[str, ...], key: str) -> None:
    said = ", ".join(i[:SHOWN] for i in like)
    st.button(
        t("More like {ids}", ids=forms.plain(said)), key=f"{key}_like", icon=":material/close:", on_click=clear,
        help=t("The nearest samples by meaning, the nearest first. Press to search for something else."),
    )  # fmt: skip


def like(*ids: str) -> None:
    """Look for what is like these samples; from a callback."""
    st.session_state[LIKE] = ids
    keep_link("like", ",".join(ids))


def clear() -> None:
    """Look for nothing; from a callback."""
    st.session_state[LIKE], st.session_state[Q] = (), ""
    for name in ("q", "by", "like", "case"):
        keep_link(name, None)
    for key in [str(k) for k in st.session_state if str(k).endswith("_search")]:
        st.session_state[key] = ""


def _restore(key: str) -> None:
    """What a link asks, once; else what another page was asked."""
    state, asked = st.session_state, st.query_params
    if asked.get("like") is not None and asked.get("like") != state.get("linked_like"):
        state[LIKE] = tuple(part for part in asked["like"].split(",") if part)
        state["linked_like"] = asked["like"]
    if asked.get("q") is not None and asked.get("q") != state.get("linked_q"):
        state[f"{key}_search"] = state["linked_q"] = asked["q"]
    if asked.get("by") in list(Kind) and asked.get("by") != state.get("linked_by"):
        state[f"{key}_by"] = Kind(asked["by"])
        state["linked_by"] = asked["by"]
    if asked.get("case") is not None and asked.get("case") != state.get("linked_case"):
        state[f"{key}_case"], state["linked_case"] = True, asked["case"]
    state.setdefault(f"{key}_search", state.get(Q, ""))
    state.setdefault(f"{key}_case", state.get(CASE, False))
    state.setdefault(f"{key}_by", state.get(BY, Kind.TEXT))


def _keep(query: Query) -> None:
    if not query.like:
        st.session_state[Q], st.session_state[BY] = query.text, query.kind
    keep_link("like", ",".join(query.like) or None)
    keep_link("q", query.text or None)
    keep_link("by", str(query.kind) if query.text and query.kind is not Kind.TEXT else None)
    keep_link("case", "1" if query.text and query.case else None)


def _is_embedded(corpus: Corpus, key: str) -> bool:
    """Whether there is an embedding; where not, the bar says how to make one."""
    if any((corpus.path / "embeddings").glob("*/about.json")):
        return True
    st.caption(t("Meaning compares vectors, and this corpus has none yet."))
    forms.command_box(corpus, ["embed", str(corpus.path)], key=f"{key}_embed", label=t("Embed all samples"))
    return False
