"""The Clean page: duplicates, leaked benchmark questions, normalizers, and a classifier that is taught by hand."""

from __future__ import annotations

import streamlit as st

from studio import forms
from studio.languages import mark, t
from studio.pages import views

VIEWS = {
    "duplicates": mark("Duplicates"),
    "leaks": mark("Leaks"),
    "normalize": mark("Normalize"),
    "teach": mark("Teach a classifier"),
}


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    st.title(t("Clean"))
    st.caption(t("Find what should not be trained on, look at it, and drop or rewrite it. Nothing is deleted."))
    view = views.chosen("clean", VIEWS, first="duplicates")
    if not corpus.count():
        forms.empty_state(t("Findings appear here"), t("The corpus has no samples yet."), "ingest")
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
