"""What synthesis made: how many came through, what rejected the others, what it cost, and each result in full."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import WinnowError
from studio import forms
from studio.pages import synthesis_outcomes
from studio.pages.synthesis_calls import calls_of

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus
    from curation.language_models.calls import Totals

ACCEPTED = "FROM samples WHERE batch = ? AND coalesce(root, id) = id"
"""SQL: what a run made, as it made it. A later version has the batch of the sample it came from, and is no outcome."""


@dataclass(frozen=True)
class SynthesisRun:
    """A synthesis run as it is stored."""

    run: str
    name: str
    model: str
    started: str
    folder: Path
    """Where its shards lie."""

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
        SynthesisRun(run, json.loads(operator)["name"], model, started, corpus.path / "jobs" / f"synthesize-{run}")
        for run, operator, model, started in found.iter_rows()
    ]


@dataclass(frozen=True)
class Counts:
    """How many came how far."""

    seeds: int
    """Seed samples with outcomes."""
    outcomes: int
    rules: dict[str, int]
    """Rule -> outcomes it rejected, most first; without those accepted by hand."""
    by_hand: int
    """Accepted although a rule had rejected them."""
    accepted: int
    new: int
    """Accepted ones whose text the corpus did not have."""

    @property
    def known(self) -> int:
        """Accepted ones whose text the corpus had already."""
        return self.accepted + self.by_hand - self.new

    def steps(self) -> list[tuple[str, int, str]]:
        """Stage, number and kind (seeds, rule or accepted), from the seed samples to the corpus."""
        rules = [(rule, count, "rule") for rule, count in self.rules.items()]
        first = [("seed samples", self.seeds, "seeds"), ("outcomes", self.outcomes, "seeds")]
        hand = [("accepted by hand", self.by_hand, "accepted")] if self.by_hand else []
        accepted = ("accepted", self.accepted, "accepted")
        return [*first, *rules, accepted, *hand, ("new in the corpus", self.new, "accepted")]


def outcomes(corpus: Corpus, run: str) -> pl.DataFrame:
    """outcome, samples: the accepted ones first, then the rejected by rule, without those accepted by hand."""
    return corpus.query(
        f"SELECT 'accepted' AS outcome, count(*) AS samples {ACCEPTED} UNION ALL "
        "(SELECT rejected_by, count(*) FROM synthesis_rejected "
        "WHERE run = ? AND id NOT IN (SELECT id FROM samples WHERE batch = ?) "
        "GROUP BY rejected_by ORDER BY 2 DESC, 1)",
        *([run] * 3),
    )


def counts(corpus: Corpus, run: str) -> Counts:
    """How many outcomes of a run came how far."""
    (_, fresh), *rules = outcomes(corpus, run).rows()
    whole = corpus.query(
        f"""SELECT (SELECT coalesce(sum("rows"), 0) FROM shards WHERE run = ?) AS outcomes,
        (SELECT count(*) FROM synthesis_rejected WHERE run = ?) AS rejected,
        (SELECT count(*) {ACCEPTED} AND id IN (SELECT id FROM synthesis_rejected WHERE run = ?)) AS by_hand,
        (SELECT count(DISTINCT seed) FROM (
            SELECT json_extract_string(metadata, '$.seed_id') AS seed FROM samples WHERE batch = ?
            UNION ALL SELECT json_extract_string(metadata, '$.seed_id') FROM synthesis_rejected WHERE run = ?
            UNION ALL SELECT json_extract_string(metadata, '$.seed_id') FROM duplicates WHERE batch = ?)) AS seeds""",
        *([run] * 7),
    ).row(0, named=True)
    return Counts(
        seeds=int(whole["seeds"]),
        outcomes=int(whole["outcomes"]),
        rules=dict(rules),
        by_hand=int(whole["by_hand"]),
        accepted=int(whole["outcomes"]) - int(whole["rejected"]),
        new=int(fresh),
    )


def section(corpus: Corpus) -> None:
    """The part of the page that shows results."""
    st.subheader("Results")
    stored = runs(corpus)
    if not stored:
        st.caption("No synthesis has run yet. Accepted samples, rejected ones and the cost of the calls appear here.")
        return
    run = st.selectbox("Run", stored, format_func=lambda r: r.title, key=f"synthesis_run_{len(stored)}")
    counted = counts(corpus, run.run)
    if counted.outcomes and not counted.accepted:
        _failed(corpus, run, counted)
    funnel, calls = st.columns([3, 2], gap="large")
    with funnel:
        st.altair_chart(funnel_chart(counted), alt="From seed samples over outcomes and rules to the corpus")
    with calls:
        _calls(corpus, run.run, counted)
    accepted, rejected = st.tabs(["Accepted", "Rejected"])
    with accepted:
        synthesis_outcomes.accepted(corpus, run.run, counted.known)
    with rejected:
        synthesis_outcomes.rejected(corpus, run.run, list(counted.rules))


def _failed(corpus: Corpus, run: SynthesisRun, counted: Counts) -> None:
    """A run of which nothing was accepted has failed: why, and the first answer as it came."""
    rule, detail, metadata = corpus.query(
        "SELECT rejected_by, detail, metadata FROM synthesis_rejected WHERE run = ? ORDER BY added_at, id LIMIT 1",
        run.run,
    ).row(0)
    st.error(
        forms.plain(f"Failed: none of {counted.outcomes:,} outcomes was accepted. The first: {rule}, {detail}."),
        icon=":material/error:",
    )
    st.caption("Read the raw answer, then change the parameter, the prompt or the model.")
    calls_of(corpus.path, json.loads(metadata), key=f"failed-{run.run}", opened=True)


def funnel_chart(counted: Counts) -> Any:
    """Bars with their numbers, from the seed samples down to what is new in the corpus."""
    import altair as alt
    import polars as pl

    stages = pl.DataFrame(counted.steps(), schema=["stage", "samples", "kind"], orient="row")
    stages = stages.with_columns(
        label=pl.when(pl.col("kind") == "rule").then(pl.lit("− ") + pl.col("stage")).otherwise(pl.col("stage"))
    )
    base = alt.Chart(stages).encode(
        y=alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=220)),
        x=alt.X("samples:Q", title=None, axis=None),
        tooltip=["stage", "samples"],
    )
    kinds, colours = ["seeds", "rule", "accepted"], ["#A1A1AA", "#D97706", "#4F46E5"]
    colour = alt.Color("kind:N", scale=alt.Scale(domain=kinds, range=colours), legend=None)
    text = base.mark_text(align="left", dx=4).encode(text=alt.Text("samples:Q", format=","), color=alt.value("#71717A"))
    return alt.layer(base.mark_bar().encode(color=colour), text).properties(height=20 + 26 * stages.height)


def _calls(corpus: Corpus, run: str, counted: Counts) -> None:
    numbers = st.columns(2)
    kept = counted.accepted + counted.by_hand
    numbers[0].metric("New samples", f"{counted.new:,}", help="In the corpus, each with its parents.")
    numbers[1].metric("Acceptance", f"{kept / counted.outcomes:.0%}" if counted.outcomes else "none yet")
    if counted.known:
        st.caption(f"{counted.known:,} accepted texts were in the corpus already.")
    try:
        spent = totals(corpus, run)
    except WinnowError as error:
        forms.show_error(error)
        return
    if spent is not None:
        st.caption(forms.plain(_spent(spent)))
    report = _last_report(corpus, run)
    if report.get("budget_usd") is not None:
        from curation.language_models.budget import usd

        st.caption(forms.plain(f"Of a budget of {usd(report['budget_usd'])} US dollars."))
    if report.get("stopped"):
        st.warning(forms.plain(report["stopped"]), icon=":material/pause_circle:")


def _last_report(corpus: Corpus, run: str) -> dict[str, Any]:
    """What the last command that worked on this run reported; empty where it is not known."""
    from studio import jobs

    for job in jobs.jobs(corpus.path):
        report = job.report or {}
        if job.argv[0] == "synthesize" and report.get("run") == run:
            return report.get("pilot") or report
    return {}


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
