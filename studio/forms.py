"""What the pages share: the corpus, the working set, forms made from operators, and boxes that run commands."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from curation.errors import WinnowError
from curation.storage.sql import literal as literal
from studio import jobs
from studio.conditions import conditions as conditions
from studio.door import access, workspace
from studio.fields import setting, takes_several
from studio.filtering import set_filter as set_filter
from studio.filtering import working_set as working_set
from studio.languages import mark, t
from studio.pages.outcomes import duration as duration
from studio.pages.outcomes import summary as summary
from studio.running import AFTER as AFTER
from studio.running import command_box as command_box
from studio.running import follow as follow
from studio.running import show_job as show_job
from studio.shown import DRAWN_KEY as DRAWN_KEY
from studio.shown import PAGES_KEY as PAGES_KEY
from studio.shown import SEEN_KEY as SEEN_KEY
from studio.shown import button_to as button_to
from studio.shown import chosen_row as chosen_row
from studio.shown import link as link
from studio.shown import page_named as page_named
from studio.shown import plain as plain
from studio.shown import show_error as show_error

if TYPE_CHECKING:
    from curation.corpus import Corpus
    from curation.operators import AnyOperator

CORPUS_VARIABLE = "WINNOW_CORPUS"
PAGE_OF = {
    "ingest": "ingest", "inspect": "browse", "score": "score", "embed": "score", "warm-up": "score", "select": "select",
    "map": "map",
    "hold-out": "select", "compare": "select", "synthesize": "synthesize", "export": "mix", "train": "train",
    "evaluate": "evaluate", "jobs": "jobs", "normalize": "clean", "drop": "browse", "keep": "browse", "tag": "browse",
    "serve-model": "chat", "export-model": "chat",
    "search": "browse", "annotate": "annotate", "agreement": "annotate", "teach": "concepts",
    "snapshot": "history", "undo": "history", "history": "history", "diff": "history",
}  # fmt: skip
"""Verb -> the page that has its form."""

PLACEHOLDER = re.compile(r"[A-Z][A-Z_]+(\.\.\.)?")
KINDS = {
    "scorer": mark("Scorer"), "selector": mark("Selector"), "synthesizer": mark("Synthesizer"),
    "normalizer": mark("Normalizer"),
}  # fmt: skip
"""Kind of operator -> the label of the list one chooses it from."""


def corpus_path() -> Path:
    """The corpus the studio was started on: `streamlit run app.py -- CORPUS`, WINNOW_CORPUS, or the folder `demo`."""
    chosen = st.session_state.get("corpus_path")
    given = sys.argv[1] if len(sys.argv) == 2 and not sys.argv[1].startswith("-") else None
    return Path(chosen or os.environ.get(CORPUS_VARIABLE) or given or "demo").expanduser()


def current_corpus() -> Corpus:
    """The corpus, open in this process; where it can't be opened the page says why and ends."""
    from studio.owner import serve

    try:
        return serve(corpus_path())
    except WinnowError as error:
        st.title(t("Open a corpus"))
        show_error(error)
        _choose_corpus()
        st.stop()


def _choose_corpus() -> None:
    from curation.corpus import Corpus

    with st.form("choose_corpus", width=640):
        typed = st.text_input(t("Corpus folder"), placeholder=t("a folder on this machine, such as ~/corpora/chat"))
        create = st.checkbox(t("Make an empty corpus where there is none"))
        if st.form_submit_button(t("Open"), type="primary") and typed.strip():
            try:
                access.require_editor()
                workspace.inside(typed.strip())
                (Corpus.create if create else Corpus)(typed.strip())
            except WinnowError as error:
                show_error(error)
                return
            st.session_state["corpus_path"] = typed.strip()
            st.rerun()


def empty_state(title: str, text: str, action: Sequence[str] | str | None = None) -> None:
    """What will be here, and one action: a command, or the name of a page.

    A command with something left to fill in (FILE, MIX) leads to the page that has its form.
    """
    with st.container(border=True, width=760):
        st.subheader(title)
        st.markdown(plain(text))
        if isinstance(action, str):
            _go_to(action, title)
        elif action and any(PLACEHOLDER.fullmatch(Path(word).name) for word in action):
            st.code(jobs.command_line(action), language=None, wrap_lines=True)
            _go_to(PAGE_OF.get(action[0], "overview"), title)
        elif action:
            command_box(current_corpus(), list(action), key=f"empty-{title}", label=t("Run"))


def _go_to(name: str, title: str) -> None:
    from studio.app import titles

    button_to(name, t("Go to {page}", page=t(titles().get(name, name))), key=f"empty-{title}-go")


# -------------------------------------------------------------------- forms


def operator_form(
    operators: Sequence[type[AnyOperator]],
    *,
    key: str,
    exclude: Sequence[str] = (),
    choices: Mapping[str, Sequence[str]] | None = None,
) -> tuple[type[AnyOperator], list[str]]:
    """Choose an operator and set its parameters: its class, and `--set` options for the values that were changed.

    Args:
        operators: to choose from.
        key: unique on the page; also the label.
        exclude: fields that have widgets elsewhere.
        choices: field -> values to offer, where the corpus knows them.
    """
    by_name = {operator.name: operator for operator in operators}
    name = st.selectbox(t(KINDS.get(key, key)), list(by_name), key=f"{key}-operator")
    operator = by_name[name]
    st.caption(plain(t(operator.summary())))
    fields = [field for field in operator.model_fields if field not in exclude]
    cells = st.columns(2) if len(fields) > 1 else [st.container()]
    options: list[str] = []
    # What takes several values needs the whole width: half of it shows two.
    wide = [field for field in fields if takes_several(operator, field)]
    for place, field in enumerate(field for field in fields if field not in wide):
        with cells[place % len(cells)]:
            options += setting(operator, field, key=f"{key}-{name}", choices=(choices or {}).get(field))
    for field in wide:
        options += setting(operator, field, key=f"{key}-{name}", choices=(choices or {}).get(field))
    return operator, options
