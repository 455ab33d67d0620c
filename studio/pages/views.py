"""A page in several views: one is drawn, the address names it."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from studio.languages import t


def chosen(page: str, views: Mapping[str, str], *, first: str) -> str:
    """A switch between the views of a page, and the one that is to be drawn.

    Args:
        page: its name.
        views: name in the address -> marked title.
        first: drawn where the address names none.
    """
    key, state = f"{page}_view", st.session_state
    asked = st.query_params.get("view")
    if asked in views and asked != state.get(f"{key}_asked"):
        state[key] = asked
    state.setdefault(key, state.get(f"{key}_kept", first))
    view = st.segmented_control(
        t("View"),
        list(views),
        format_func=lambda name: t(views[name]),
        required=True,
        key=key,
        label_visibility="collapsed",
    )
    view = str(view or first)
    if view != first or asked:
        st.query_params["view"] = view
    state[f"{key}_asked"] = state[f"{key}_kept"] = view
    return view


def show(page: str, view: str) -> None:
    """Switch the view of a page; from a callback."""
    st.session_state[f"{page}_view"] = view
