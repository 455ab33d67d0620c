"""The Clean page: duplicates, leaked benchmark questions, normalizers, and a classifier that is taught by hand."""

from __future__ import annotations

import streamlit as st

from studio import forms

VIEWS = {"duplicates": "Duplicates", "leaks": "Leaks", "normalize": "Normalize", "teach": "Teach a classifier"}


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    st.title("Clean")
    st.caption("Find what should not be trained on, look at it, and drop or rewrite it. Nothing is deleted.")
    asked = st.query_params.get("view")
    if asked in VIEWS:
        st.session_state["clean_view"] = asked
        del st.query_params["view"]
    st.session_state.setdefault("clean_view", "duplicates")
    view = st.segmented_control(
        "View", list(VIEWS), format_func=VIEWS.__getitem__, required=True, key="clean_view",
        label_visibility="collapsed",
    )  # fmt: skip
    if not corpus.count():
        forms.empty_state("Findings appear here", "The corpus has no samples yet.", "ingest")
    elif view == "duplicates":
        from studio.pages import duplicates

        duplicates.draw(corpus)
    elif view == "leaks":
        from studio.pages import leaks

        leaks.draw(corpus)
    elif view == "normalize":
        from studio.pages import normalizing

        normalizing.draw(corpus)
    else:
        from studio.pages import teaching

        teaching.draw(corpus)
