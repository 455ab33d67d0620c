"""Who is logged in, what they may do, and the way out."""

from __future__ import annotations

import streamlit as st

from studio.door import access
from studio.languages import t

_mounted = st.components.v2.component(
    "winnow_log_out",
    html='<span id="who"></span><a id="out" href="/logout" target="_self"></a>',
    css="""
    span, a { font-family: var(--st-font); font-size: 0.875rem; color: var(--st-text-color); overflow-wrap: anywhere; }
    span:not(:empty) { margin-right: 12px; opacity: 0.8; }
    a { color: var(--st-link-color); white-space: nowrap; }
    a:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 2px; }
    """,
    js="""
    export default ({ data, parentElement }) => {
      parentElement.querySelector('#who').textContent = data.who
      parentElement.querySelector('#out').textContent = data.out
    }
    """,
)


def draw() -> None:
    """Draw it in the sidebar; nothing on a studio without a login."""
    person = access.reader()
    if person is None:
        return
    if person.role is access.Role.EDITOR:
        told = t("{name}, editor", name=person.name) if person.name else t("Editor")
    else:
        told = t("{name}, viewer", name=person.name) if person.name else t("Viewer")
    _mounted(data={"who": told, "out": t("Log out")}, key="log_out")
