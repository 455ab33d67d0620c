"""The Select page: choose samples by a published method, and see what the choice changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from curation.errors import WinnowError
from curation.storage.sql import working
from studio import forms
from studio.languages import mark, t, tn
from studio.pages import choosing, comparison, hybrid_form, views
from studio.pages.corpus_state import corpus_state

if TYPE_CHECKING:
    from curation.corpus import Corpus
    from curation.operators import Selector


VIEWS = {"choose": mark("Choose samples"), "compare": mark("Compare selections"), "hold-out": mark("Hold out")}
UNITS = {"percent": mark("percent"), "samples": mark("samples")}


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    st.title(t("Select"))
    st.caption(
        t("Choose the samples to train on by a published method, keep the choice under a name, and compare choices.")
    )
    if not corpus.count():
        forms.empty_state(t("Selections appear here"), t("There are no samples to choose from yet."), "ingest")
        return
    view = views.chosen("select", VIEWS, first="choose")
    if view == "compare":
        comparison.section(corpus)
    elif view == "hold-out":
        _hold_out(corpus)
    else:
        section(corpus, forms.working_set(corpus))
        _stored(corpus)


def section(corpus: Corpus, where: str | None) -> None:
    """The form that chooses samples, and its command."""
    from curation.selectors import SELECTORS

    _propose(corpus)
    form, command = st.columns([3, 2], gap="large")
    with form:
        _leave_out_flagged(corpus, where)
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
            st.caption(forms.plain(t("A selection {name} is stored already: running this replaces it.", name=name)))
        reason = waits or no_vectors or (t("The working set is empty.") if not pool else None)
        label = tn("Select {n} sample", "Select {n:,} samples", keep)
        forms.command_box(corpus, argv, key="select", label=label, disabled_reason=reason, rows=pool)


def _propose(corpus: Corpus) -> None:
    """The selector one begins with: of those that need no score, one that our own measurements don't speak against.

    README, "Does selection help?": semdedup was better than random draws; k-center alone and the longest were worse.
    """
    from curation.vectors import embeddings

    st.session_state.setdefault("selector-operator", "semdedup" if embeddings(corpus) else "stratified")


def _leave_out_flagged(corpus: Corpus, where: str | None) -> None:
    """Offer the filter that the scorer heuristics is for."""
    if where is not None or corpus.score_columns().get("heuristics") is None:
        return
    flagged = corpus.count(working("heuristics > 0"))
    if flagged and flagged < corpus.count():
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.caption(
                tn("{n} sample is flagged by the heuristics.", "{n:,} samples are flagged by the heuristics.", flagged),
                width="content",
            )
            st.button(
                t("Leave them out"), key="leave_flagged", icon=":material/filter_alt:", type="tertiary",
                on_click=forms.set_filter, args=("heuristics = 0",),
            )  # fmt: skip


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
    unit_cell, number_cell = st.columns([1, 2])
    unit = unit_cell.segmented_control(
        t("Budget in"),
        list(UNITS),
        format_func=lambda name: t(UNITS[name]),
        default="percent",
        required=True,
        key="budget_unit",
    )
    if unit == "samples":
        keep = int(
            number_cell.number_input(
                t("Samples to keep"), 1, max(1, pool), min(max(1, pool), 500), key="budget_samples"
            )
        )
        return str(keep), keep
    share = number_cell.number_input(t("Percent to keep"), 0.1, 100.0, 10.0, 1.0, format="%.1f", key="budget_percent")
    keep = round(share / 100 * pool)
    st.caption(
        t(
            "{keep:,} of the {pool:,} samples in the pool: the working set without held-out, leaked and "
            "target samples.",
            keep=keep,
            pool=pool,
        )
    )
    return f"{share:g}%", keep


def _name(selector: type[Selector], budget: str) -> str:
    suggested = f"{selector.name}-{budget.removesuffix('%')}{'pct' if budget.endswith('%') else ''}"
    typed = st.text_input(
        t("Name"), placeholder=suggested, key="selection_name", help=t("Empty: the suggested name.")
    ).strip()
    return typed or suggested


def _embedding(corpus: Corpus) -> tuple[list[str], str | None]:
    from curation.vectors import embeddings

    names = [about["name"] for about in embeddings(corpus)]
    if not names:
        st.info(t("This selector compares vectors. Make an embedding on the Score page first."))
        return [], t("No embedding is stored yet: make one on the Score page, tab Embeddings.")
    chosen = st.selectbox(t("Embedding"), names, index=len(names) - 1, key="selection_embedding")
    return ["--embedding", chosen], None


def _stored(corpus: Corpus) -> None:
    """The selections there are, and the way on to comparing them."""
    stored = corpus.query(
        "SELECT name, operator->>'name' AS selector, (SELECT count(*) FROM selected WHERE selected.name = s.name) "
        "AS samples, created_at FROM selections s ORDER BY created_at DESC"
    )
    if stored.is_empty():
        return
    st.subheader(t("Selections"))
    st.dataframe(
        stored,
        hide_index=True,
        height="content" if stored.height <= 8 else 330,
        column_config={
            "name": st.column_config.TextColumn(t("Selection")),
            "selector": st.column_config.TextColumn(t("Selector")),
            "samples": st.column_config.NumberColumn(t("Samples"), format="localized"),
            "created_at": st.column_config.DatetimeColumn(t("Made at"), format="YYYY-MM-DD HH:mm"),
        },
        alt=t("Stored selections with their selector, samples and date"),
    )
    st.button(
        t("Compare them"), icon=":material/compare_arrows:", key="to_compare", on_click=views.show,
        args=("select", "compare"),
    )  # fmt: skip


def _hold_out(corpus: Corpus) -> None:
    held = corpus.count(working("held_out"))
    st.caption(
        t(
            "Set samples aside before you select: no selection takes them, and every trained model is judged on them. "
            "Each source gives its share."
        )
    )
    form, command = st.columns([3, 2], gap="large")
    samples = corpus.count()
    suggested = max(1, min(200, samples // 10))
    form.metric(t("Held-out samples"), f"{held:,}")
    keep = form.number_input(t("Samples to hold out"), 1, max(1, samples - 1), suggested, key="hold_out_samples")
    seed = form.number_input(t("Random seed"), 0, value=0, key="hold_out_seed")
    with command:
        argv = ["hold-out", str(corpus.path), str(keep), *(["--seed", str(seed)] if seed else [])]
        enough = (
            tn("{n} sample is held out already.", "{n:,} samples are held out already.", held) if held >= keep else None
        )
        forms.command_box(corpus, argv, key="hold_out", label=t("Hold out"), disabled_reason=enough)
