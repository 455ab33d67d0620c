"""What synthesis made: how many came through, what rejected the others, what it cost, and each result in full."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import WinnowError
from studio import forms, plots
from studio.languages import mark, t, tn, told_text
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
        return f"{self.name} · {t('demo answers') if replayed else self.model} · {self.started}"


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
        """Stage, number and kind (seeds, rule or accepted), from the seed samples to the corpus.

        A stage that is no rule is a text for `t`.
        """
        rules = [(rule, count, "rule") for rule, count in self.rules.items()]
        first = [(mark("seed samples"), self.seeds, "seeds"), (mark("outcomes"), self.outcomes, "seeds")]
        hand = [(mark("accepted by hand"), self.by_hand, "accepted")] if self.by_hand else []
        accepted = (mark("accepted"), self.accepted, "accepted")
        return [*first, *rules, accepted, *hand, (mark("new in the corpus"), self.new, "accepted")]


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
    st.subheader(t("Results"))
    stored = runs(corpus)
    if not stored:
        st.caption(
            t(
                "No synthesis has run yet. Accepted samples, rejected ones and the cost of the calls appear here: fill "
                "in the form above and press its button."
            )
        )
        return
    run = st.selectbox(t("Synthesis run"), stored, format_func=lambda r: r.title, key=f"synthesis_run_{len(stored)}")
    counted = counts(corpus, run.run)
    if counted.outcomes and not counted.accepted:
        _failed(corpus, run, counted)
    funnel, calls = st.columns([3, 2], gap="large")
    with funnel:
        plots.draw(
            funnel_chart(counted), _stages(counted), name=f"synthesis_funnel_{run.run}", key="synthesis_funnel",
            alt=t("From seed samples over outcomes and rules to the corpus"),
        )  # fmt: skip
    with calls:
        _calls(corpus, run.run, counted)
    accepted, rejected = st.tabs([t("Accepted"), t("Rejected by a rule")])
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
    why = t(
        "Failed: none of {n:,} outcomes was accepted. The first: {rule}, {detail}.",
        n=counted.outcomes, rule=rule, detail=told_text(detail or ""),
    )  # fmt: skip
    st.error(forms.plain(why), icon=":material/error:")
    st.caption(t("Read the raw answer, then change the parameter, the prompt or the model."))
    calls_of(corpus.path, json.loads(metadata), key=f"failed-{run.run}", opened=True)


def _stages(counted: Counts) -> pl.DataFrame:
    """Columns stage (in the reader's language, rules by their names), samples, kind."""
    import polars as pl

    told = [(f"− {stage}" if kind == "rule" else t(stage), number, kind) for stage, number, kind in counted.steps()]
    return pl.DataFrame(told, schema=["stage", "samples", "kind"], orient="row")


def funnel_chart(counted: Counts) -> Any:
    """Bars with their numbers, from the seed samples down to what is new in the corpus."""
    import altair as alt

    stages = _stages(counted)
    base = alt.Chart(stages).encode(
        y=alt.Y("stage:N", sort=None, title=None, axis=alt.Axis(labelLimit=220)),
        x=alt.X("samples:Q", title=None, axis=None),
        tooltip=[alt.Tooltip("stage", title=t("Stage")), alt.Tooltip("samples", title=t("Samples"), format=",")],
    )
    kinds, colours = ["seeds", "rule", "accepted"], ["#A1A1AA", "#D97706", "#635BEF" if plots.is_dark() else "#4F46E5"]
    colour = alt.Color("kind:N", scale=alt.Scale(domain=kinds, range=colours), legend=None)
    ink = "#E4E4E7" if plots.is_dark() else "#3F3F46"
    text = base.mark_text(align="left", dx=4, color=ink).encode(text=alt.Text("samples:Q", format=","))
    return alt.layer(base.mark_bar().encode(color=colour), text).properties(height=20 + 26 * stages.height)


def _calls(corpus: Corpus, run: str, counted: Counts) -> None:
    numbers = st.columns(2)
    kept = counted.accepted + counted.by_hand
    numbers[0].metric(t("New samples"), f"{counted.new:,}", help=t("In the corpus, each with its parents."))
    numbers[1].metric(t("Acceptance"), f"{kept / counted.outcomes:.0%}" if counted.outcomes else t("none yet"))
    if counted.known:
        known = counted.known
        st.caption(
            tn(
                "{n} accepted text was in the corpus already.",
                "{n:,} accepted texts were in the corpus already.",
                known,
            )
        )
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

        st.caption(forms.plain(t("Of a budget of {amount} US dollars.", amount=usd(report["budget_usd"]))))
    if report.get("stopped"):
        st.warning(forms.plain(told_text(report["stopped"])), icon=":material/pause_circle:")


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
    calls = tn("{n} call answered", "{n:,} calls answered", spent.calls)
    if spent.input_tokens is None and spent.output_tokens is None:
        tokens = t("tokens not reported")
    else:
        tokens = t("{sent} tokens in, {received} tokens out", sent=_known(spent.input_tokens),
                   received=_known(spent.output_tokens))  # fmt: skip
    if spent.cost_usd is None:
        why = told_text(spent.cost_reason) if spent.cost_reason else t("no price is known for this model")
        cost = t("cost unknown, which is not zero: {why}", why=why)
    else:
        cost = t("cost: {amount:,.4f} US dollars", amount=spent.cost_usd) if spent.cost_usd else t("nothing paid")
    return " · ".join((calls, tokens, cost))


def _known(tokens: int | None) -> str:
    return t("an unknown number of") if tokens is None else f"{tokens:,}"
