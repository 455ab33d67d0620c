"""The outcomes of a synthesis run one by one: seed sample beside result, what changed, and a decision by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from curation.errors import WinnowError
from studio import forms
from studio.door import access
from studio.languages import mark, t, told_text
from studio.pages import deciding, differences
from studio.pages.conversations import conversation
from studio.pages.distribution import ROW_PIXELS, shortened, text_columns
from studio.pages.synthesis_calls import calls_of

if TYPE_CHECKING:
    from curation.corpus import Corpus
    from curation.sample import Sample

SHOWN = 200
"""Rejected outcomes in the table."""
PROBLEM = "by_hand_problem"
INSTRUCTION_CHANGED, RESPONSE_CHANGED = mark("What changed in the instruction"), mark("What changed in the response")
MADE = "FROM samples WHERE batch = ? AND coalesce(root, id) = id"


def accepted(corpus: Corpus, run: str, known: int) -> None:
    """The new samples of a run, one at a time; of so many accepted ones the corpus had the text already."""
    made = corpus.query(f"SELECT id, parents {MADE} ORDER BY position", run)
    if made.is_empty():
        st.caption(t("What was accepted was in the corpus already.") if known else t("Nothing was accepted."))
        return
    number = st.pagination(made.height, key=f"pairs_{run}_{made.height}") if made.height > 1 else 1
    sample_id, parents = made.row(number - 1)
    sample = corpus.sample(sample_id)
    state = corpus.query("SELECT decision, reason FROM states WHERE id = ?", sample.id)
    if state.height and state["decision"][0] == "drop":
        st.warning(forms.plain(t("Dropped: {reason}", reason=state["reason"][0])), icon=":material/block:")
    parent = _parent(corpus, parents)
    _side_by_side(parent, sample)
    deciding.on_sample(corpus, sample)
    calls_of(corpus.path, sample.metadata, key=f"made-{sample.id}")


def rejected(corpus: Corpus, run: str, rules: list[str]) -> None:
    """The rejected outcomes of a run as a table, and the one that is chosen in full."""
    import polars as pl

    rule = st.pills(t("Rule"), rules, key=f"rule-{run}", label_visibility="collapsed") if len(rules) > 1 else None
    rows = corpus.query(
        'SELECT r.id, r.rejected_by AS "rule", r.detail, left(s.instruction, 400) AS seed_sample, '
        "left(r.instruction, 400) AS instruction, left(r.response, 400) AS response "
        "FROM synthesis_rejected r LEFT JOIN samples s ON s.id = r.parents[1] "
        "WHERE r.run = ? AND (? IS NULL OR r.rejected_by = ?) "
        "AND r.id NOT IN (SELECT id FROM samples WHERE batch = ?) "
        f"ORDER BY r.rejected_by, r.added_at, r.id LIMIT {SHOWN}",
        run, rule, rule, run,
    )  # fmt: skip
    problem = st.session_state.pop(PROBLEM, None)
    if problem is not None:
        forms.show_error(problem)
    if rows.is_empty():
        st.caption(t("Nothing was rejected."))
        return
    st.caption(t("Click a row to read it in full, see its calls, and accept it by hand."))
    told = rows.drop("id").with_columns(pl.col("detail").map_elements(told_text, return_dtype=pl.String))
    state = st.dataframe(
        shortened(told),
        hide_index=True,
        row_height=ROW_PIXELS,
        placeholder="–",
        on_select="rerun",
        selection_mode="single-cell",
        key=f"rejected-{run}-{rule}-{rows.height}",
        column_config=text_columns(
            rule=st.column_config.TextColumn(t("Rule"), width=130),
            detail=st.column_config.TextColumn(t("What the rule saw"), width=150),
            seed_sample=st.column_config.TextColumn(t("Seed sample"), width=180),
            instruction=st.column_config.TextColumn(t("New instruction"), width=200),
            response=st.column_config.TextColumn(t("New response"), width=200),
        ),
        alt=t("Rejected outcomes with the rule, the seed sample and the texts"),
    )
    chosen = forms.chosen_row(state, rows.height)
    if chosen is not None:
        _one_rejected(corpus, run, rows["id"][chosen])


def _one_rejected(corpus: Corpus, run: str, outcome: str) -> None:
    from synthesis import by_hand

    try:
        found = by_hand.rejected(corpus.path, run, outcome)
    except WinnowError as error:
        forms.show_error(error)
        return
    detail = told_text(found.detail) if found.detail else t("no more is known")
    st.markdown(f"**{forms.plain(found.rule)}**: {forms.plain(detail)}")
    _side_by_side(_parent(corpus, list(found.sample.parents)), found.sample)
    st.button(
        t("Accept by hand"), key=f"accept-{outcome}", icon=":material/check:", on_click=_accept,
        args=(corpus, run, outcome), disabled=not access.may_edit(),
        help=access.refused() or t("It becomes a sample with its parents; the History page takes it back."),
    )  # fmt: skip
    calls_of(corpus.path, found.sample.metadata, key=f"rejected-{outcome}")


def _accept(corpus: Corpus, run: str, outcome: str) -> None:
    from synthesis import by_hand

    try:
        access.require_editor()
        by_hand.accept(corpus, run, [outcome])
    except WinnowError as error:
        st.session_state[PROBLEM] = error
        return
    st.toast(t("It is a sample of the corpus now."))


def _parent(corpus: Corpus, parents: list[str] | None) -> Sample | None:
    if not parents:
        return None
    try:
        return corpus.sample(parents[0])
    except WinnowError as error:
        forms.show_error(error)
        return None


def _side_by_side(parent: Sample | None, sample: Sample) -> None:
    before, after = st.columns(2, gap="large")
    with before:
        st.markdown(f"**{t('Seed sample')}**")
        if parent is None:
            st.caption(t("It has no parent in the corpus."))
        else:
            conversation(parent.messages)
            st.caption(forms.plain(t("{id} · source: {source}", id=parent.id, source=parent.source)))
    with after:
        st.markdown(f"**{t('Result')}**")
        conversation(sample.messages)
        if sample.rejected:
            with st.expander(t("The rejected answer")):
                conversation(sample.rejected)
        told = {k: v for k, v in sample.metadata.items() if isinstance(v, str | int | float) and k != "seed_id"}
        shown = [f"{k}: {v}" for k, v in told.items() if len(str(v)) < 60]
        st.caption(forms.plain(" · ".join([sample.id, *shown])))
    if parent is not None:
        _changed(parent, sample)


def _changed(parent: Sample, sample: Sample) -> None:
    """What synthesis changed: the instruction, or where that is the same the answer."""
    if parent.instruction.strip() != sample.instruction.strip():
        what, old, new = INSTRUCTION_CHANGED, parent.instruction, sample.instruction
    elif parent.response and sample.response and parent.response != sample.response:
        what, old, new = RESPONSE_CHANGED, parent.response, sample.response
    else:
        return
    with st.container(border=True):
        st.caption(t(what))
        differences.show(old, new)
