"""What synthesis made: how many came through, what rejected the others, and each result beside its seed sample."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import WinnowError
from studio import forms
from studio.pages.conversations import conversation
from studio.pages.distribution import ROW_PIXELS, shortened, text_columns

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus
    from curation.language_models.calls import Totals

REJECTED = 100
"""Rejected outcomes in the table."""

ACCEPTED = "FROM samples WHERE batch = ? AND coalesce(root, id) = id"
"""SQL: what a run made, as it made it. A later version has the batch of the sample it came from, and is no outcome."""


@dataclass(frozen=True)
class SynthesisRun:
    """A synthesis run as it is stored."""

    run: str
    name: str
    model: str
    started: str

    @property
    def title(self) -> str:
        """As the list of runs shows it."""
        replayed = self.model.startswith("replay:replies.jsonl@")
        return f"{self.name} · {'demo answers' if replayed else self.model} · {self.started}"


def runs(corpus: Corpus) -> list[SynthesisRun]:
    """The synthesis runs, the latest first."""
    found = corpus.query(
        "SELECT run, operator, model, strftime(started_at, '%Y-%m-%d %H:%M') AS started "
        "FROM synthesis_runs ORDER BY started_at DESC, run"
    )
    return [
        SynthesisRun(run, json.loads(operator)["name"], model, started)
        for run, operator, model, started in found.iter_rows()
    ]


def outcomes(corpus: Corpus, run: str) -> pl.DataFrame:
    """outcome, samples: the accepted ones first, then the rejected by rule."""
    return corpus.query(
        f"SELECT 'accepted' AS outcome, count(*) AS samples {ACCEPTED} UNION ALL "
        "(SELECT rejected_by, count(*) FROM synthesis_rejected WHERE run = ? GROUP BY rejected_by ORDER BY 2 DESC, 1)",
        run,
        run,
    )


def section(corpus: Corpus) -> None:
    """The part of the page that shows results."""
    st.subheader("Results")
    stored = runs(corpus)
    if not stored:
        st.caption("No synthesis has run yet. Accepted samples, rejected ones and the cost of the calls appear here.")
        return
    run = st.selectbox("Run", stored, format_func=lambda r: r.title, key=f"synthesis_run_{len(stored)}")
    counted = outcomes(corpus, run.run)
    funnel, calls = st.columns([3, 2], gap="large")
    with funnel:
        st.altair_chart(funnel_chart(counted), alt="Accepted outcomes, and rejected ones by rule")
    with calls:
        _calls(corpus, run.run, counted)
    accepted, rejected = st.tabs(["Accepted", "Rejected"])
    with accepted:
        _pairs(corpus, run.run)
    with rejected:
        _rejected(corpus, run.run)


def funnel_chart(counted: pl.DataFrame) -> Any:
    """Bars with their numbers: accepted first, each rule below."""
    import altair as alt

    base = alt.Chart(counted).encode(
        y=alt.Y("outcome:N", sort=None, title=None, axis=alt.Axis(labelLimit=200)),
        x=alt.X("samples:Q", title=None, axis=None),
    )
    colour = alt.condition("datum.outcome == 'accepted'", alt.value("#4F46E5"), alt.value("#A1A1AA"))
    text = base.mark_text(align="left", dx=4).encode(text=alt.Text("samples:Q", format=","), color=alt.value("#71717A"))
    return alt.layer(base.mark_bar().encode(color=colour), text).properties(height=24 + 30 * counted.height)


def _calls(corpus: Corpus, run: str, counted: pl.DataFrame) -> None:
    total = int(counted["samples"].sum())
    accepted = int(counted["samples"][0])
    numbers = st.columns(2)
    numbers[0].metric("Accepted", f"{accepted:,}", help="New samples in the corpus, each with its parents.")
    numbers[1].metric("Acceptance", f"{accepted / total:.0%}" if total else "none yet")
    try:
        spent = totals(corpus, run)
    except WinnowError as error:
        forms.show_error(error)
        return
    if spent is not None:
        st.caption(forms.plain(_spent(spent)))


def totals(corpus: Corpus, run: str) -> Totals | None:
    """What the calls of a run took; null where no call was ever kept."""
    from curation.language_models.calls import CallStore

    path = corpus.path / "calls.sqlite"
    if not path.exists():
        return None
    with CallStore(path) as calls:
        return calls.totals(run)


def _spent(spent: Totals) -> str:
    def shown(tokens: int | None) -> str:
        return "an unknown number of" if tokens is None else f"{tokens:,}"

    if spent.cost_usd is None:
        cost = f"cost unknown, which is not zero: {spent.cost_reason or 'no price is known for this model'}"
    else:
        cost = f"cost: {spent.cost_usd:,.4f} US dollars" if spent.cost_usd else "nothing paid"
    tokens = f"{shown(spent.input_tokens)} tokens in, {shown(spent.output_tokens)} tokens out"
    if spent.input_tokens is None and spent.output_tokens is None:
        tokens = "tokens not reported"
    return f"{spent.calls:,} calls answered, {tokens}, {cost}."


def _pairs(corpus: Corpus, run: str) -> None:
    made = corpus.query(f"SELECT id, parents {ACCEPTED} ORDER BY position", run)
    if made.is_empty():
        st.caption("Nothing was accepted.")
        return
    number = st.pagination(made.height, key=f"pairs_{run}_{made.height}") if made.height > 1 else 1
    sample_id, parents = made.row(number - 1)
    before, after = st.columns(2, gap="large")
    with before:
        st.markdown("**Seed sample**")
        _parent(corpus, parents)
    with after:
        st.markdown("**New sample**")
        made_by = corpus.sample(sample_id)
        conversation(made_by.messages)
        told = {k: v for k, v in made_by.metadata.items() if isinstance(v, str | int | float)}
        st.caption(forms.plain(" · ".join([sample_id, *(f"{k}: {v}" for k, v in told.items() if len(str(v)) < 60)])))


def _parent(corpus: Corpus, parents: list[str] | None) -> None:
    if not parents:
        st.caption("It has no parent.")
        return
    try:
        parent = corpus.sample(parents[0])
    except WinnowError as error:
        forms.show_error(error)
        return
    conversation(parent.messages)
    st.caption(forms.plain(f"{parent.id} · source: {parent.source}"))


def _rejected(corpus: Corpus, run: str) -> None:
    rows = corpus.query(
        'SELECT r.rejected_by AS "rule", r.detail, left(s.instruction, 400) AS seed_sample, '
        "left(r.instruction, 400) AS instruction, left(r.response, 400) AS response "
        "FROM synthesis_rejected r LEFT JOIN samples s ON s.id = r.parents[1] WHERE r.run = ? "
        f"ORDER BY r.rejected_by, r.added_at, r.id LIMIT {REJECTED}",
        run,
    )
    if rows.is_empty():
        st.caption("Nothing was rejected.")
        return
    st.dataframe(
        shortened(rows),
        hide_index=True,
        row_height=ROW_PIXELS,
        placeholder="–",
        column_config=text_columns(
            rule=st.column_config.TextColumn("Rule", width=130),
            detail=st.column_config.TextColumn("What the rule saw", width=150),
            seed_sample=st.column_config.TextColumn("Seed sample", width=180),
            instruction=st.column_config.TextColumn("New instruction", width=200),
            response=st.column_config.TextColumn("New response", width=200),
        ),
        alt="Rejected outcomes with the rule, the seed sample and the texts",
    )
