"""The Select page: choose samples by a published method, and see what the choice changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from curation.errors import WinnowError
from curation.storage.sql import working
from studio import forms
from studio.pages import choosing, comparison, hybrid_form
from studio.pages.corpus_state import corpus_state

if TYPE_CHECKING:
    from curation.corpus import Corpus
    from curation.operators import Selector


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    st.title("Select")
    st.caption(
        "Choose the samples to train on by a published method, keep the choice under a name, and compare choices."
    )
    if not corpus.count():
        forms.empty_state("Selections appear here", "There are no samples to choose from yet.", "ingest")
        return
    where = forms.working_set(corpus)
    section(corpus, where)
    _hold_out(corpus)
    comparison.section(corpus)


def section(corpus: Corpus, where: str | None) -> None:
    """The form that chooses samples, and its command."""
    from curation.selectors import SELECTORS

    form, command = st.columns([3, 2], gap="large")
    with form:
        offered = choosing.offered(corpus)
        selector, options = forms.operator_form(SELECTORS, key="selector", exclude=hybrid_form.FIELDS, choices=offered)
        options += hybrid_form.options(selector, options, offered)
        filled = choosing.filled("selector", selector, options)
        waits = choosing.waits_for(corpus, filled)
        pool = _pool(corpus_state(corpus), where, getattr(filled.operator, "target_where", None), corpus)
        budget, keep = _budget(pool)
        name = _name(selector, budget)
        by_vectors = filled.operator is not None and filled.operator.needs_vectors
        embedding, no_vectors = _embedding(corpus) if by_vectors else ([], None)
    with command:
        argv = ["select", str(corpus.path), selector.name, budget, "--name", name, *options, *embedding]
        argv += ["--where", where] if where else []
        replaced = name in corpus.selections()
        if replaced:
            st.caption(f"A selection {forms.plain(name)} is stored already: running this replaces it.")
        reason = waits or no_vectors or ("The working set is empty." if not pool else None)
        forms.command_box(
            corpus, argv, key="select", label=f"Select {keep:,} samples", disabled_reason=reason, rows=pool
        )


@st.cache_data(show_spinner=False, max_entries=16)
def _pool(state: str, where: str | None, target: str | None, _corpus: Corpus) -> int:
    """Samples of the working set that a selector may take; target samples are none of them."""
    from curation.size_matched import candidates

    found = candidates(_corpus, where)["id"]
    try:
        targets = _corpus.frame(["id"], where=working(target))["id"] if target is not None else found[:0]
    except WinnowError:  # the form says that the target is no condition
        return len(found)
    return len(set(found) - set(targets))


def _budget(pool: int) -> tuple[str, int]:
    """The budget as the command takes it, and as a number of samples."""
    unit_cell, number_cell = st.columns([1, 2], vertical_alignment="bottom")
    unit = unit_cell.segmented_control(
        "Budget in", ["percent", "samples"], default="percent", required=True, key="budget_unit"
    )
    if unit == "samples":
        keep = int(
            number_cell.number_input("Samples to keep", 1, max(1, pool), min(max(1, pool), 500), key="budget_samples")
        )
        return str(keep), keep
    share = number_cell.number_input("Percent to keep", 0.1, 100.0, 10.0, 1.0, format="%.1f", key="budget_percent")
    keep = round(share / 100 * pool)
    st.caption(
        f"{keep:,} of the {pool:,} samples in the pool: the working set without held-out, leaked and target samples."
    )
    return f"{share:g}%", keep


def _name(selector: type[Selector], budget: str) -> str:
    suggested = f"{selector.name}-{budget.removesuffix('%')}{'pct' if budget.endswith('%') else ''}"
    typed = st.text_input(
        "Name", placeholder=suggested, key="selection_name", help="Empty: the suggested name."
    ).strip()
    return typed or suggested


def _embedding(corpus: Corpus) -> tuple[list[str], str | None]:
    from curation.vectors import embeddings

    names = [about["name"] for about in embeddings(corpus)]
    if not names:
        st.info("This selector compares vectors. Make an embedding on the Score page first.")
        return [], "No embedding is stored yet: make one on the Score page, tab Embeddings."
    chosen = st.selectbox("Embedding", names, index=len(names) - 1, key="selection_embedding")
    return ["--embedding", chosen], None


def _hold_out(corpus: Corpus) -> None:
    held = corpus.count(working("held_out"))
    with st.expander(f"Held-out samples: {held:,}", icon=":material/lock:"):
        st.caption(
            "Set samples aside before you select: no selection takes them, and every trained model is judged on them. "
            "Each source gives its share."
        )
        form, command = st.columns([3, 2], gap="large")
        samples = corpus.count()
        suggested = max(1, min(200, samples // 10))
        keep = form.number_input("Samples to hold out", 1, max(1, samples - 1), suggested, key="hold_out_samples")
        seed = form.number_input("Random seed", 0, value=0, key="hold_out_seed")
        with command:
            argv = ["hold-out", str(corpus.path), str(keep), *(["--seed", str(seed)] if seed else [])]
            enough = f"{held:,} samples are held out already." if held >= keep else None
            forms.command_box(corpus, argv, key="hold_out", label="Hold out", disabled_reason=enough)
