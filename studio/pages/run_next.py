"""What comes after a run: it is judged with one click."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from curation.errors import WinnowError
from studio import forms, jobs
from studio.door import access
from studio.languages import t

if TYPE_CHECKING:
    from curation.corpus import Corpus

PROMPTS = 40
"""Held-out prompts that the models answer unless somebody says otherwise."""


def viewer() -> str:
    """Why a button is off for one who may only look."""
    return t(access.ONLY_LOOK)


def evaluate_command(folder: Path) -> list[str]:
    """What the Evaluate page runs on a run when nothing is changed in its form."""
    return ["evaluate", str(folder), "--answers", str(PROMPTS)]


def evaluate_button(corpus: Corpus, folder: Path) -> None:
    """Judge the run, and go where it is followed; a run that is judged already has a link there."""
    from training.evaluation import evaluation

    if evaluation(folder) is not None:
        forms.link("evaluate", t("See how it was judged"), icon=":material/balance:", query={"run": folder.name})
        return
    may = access.may_edit()
    pressed = st.button(
        t("Evaluate the run"),
        icon=":material/balance:",
        key=f"evaluate_{folder.name}",
        disabled=not may,
        help=t("Against its base model and one trained on random samples of as many tokens.") if may else viewer(),
    )
    if not pressed:
        return
    try:
        access.require_editor()
        jobs.start(corpus.path, evaluate_command(folder))
    except WinnowError as error:
        forms.show_error(error)
        return
    page = st.session_state.get(forms.PAGES_KEY, {}).get("evaluate")
    if page is not None:
        st.switch_page(page, query_params={"run": folder.name})
