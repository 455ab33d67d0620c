"""Says to the browser, and to what reads the page aloud, which language the page is in."""

from __future__ import annotations

import streamlit as st

from studio.languages import language

_mounted = st.components.v2.component(
    "winnow_page_language",
    js="export default ({ data }) => { document.documentElement.lang = data.language }",
)


def draw() -> None:
    """Set the attribute `lang` of the page; nothing is drawn."""
    _mounted(data={"language": language()}, key="page_language", height="content")
