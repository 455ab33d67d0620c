"""The Overview page: what the corpus holds, what was measured and made of it, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from studio import forms, jobs
from studio.pages import distribution
from studio.pages.score import runs_table

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus

SHOWN_REJECTED = 5
GROUPS = {
    "source": ("Sources", "Source"),
    "shape": ("Shapes", "Shape"),
    "script": ("Languages by script", "Script"),
}
"""Column -> title of its table, name of its first column."""


@dataclass(frozen=True)
class Totals:
    """What a corpus holds, in numbers."""

    samples: int
    sources: int
    turns: int
    held_out: int
    rejected: int
    duplicates: int


@dataclass(frozen=True)
class Step:
    """What to do next, and on which page."""

    page: str
    label: str
    why: str


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    st.title("Overview")
    st.caption(forms.plain(str(corpus.path)))
    now = totals(corpus)
    with st.container():  # always there, so that what follows stays in its place when a job ends
        _running(corpus)
    if not now.samples:
        forms.empty_state(
            "Your data appears here",
            "Bring raw instruction, chat or preference files: JSON, JSONL, Parquet or CSV. Nothing is written before "
            "you have seen how the rows will be read.",
            ["ingest", str(corpus.path), "FILE"],
        )
        _rejected(corpus, now)
        return
    _numbers(now)
    _next(next_step(corpus))
    _contents(corpus)
    _lengths(corpus)
    _scores(corpus)
    _made(corpus)
    _rejected(corpus, now)


def totals(corpus: Corpus) -> Totals:
    """Count what the corpus holds."""
    row = corpus.query(
        "SELECT count(*), count(DISTINCT source), coalesce(sum(turns), 0)::BIGINT, count(*) FILTER (held_out), "
        "(SELECT count(*) FROM rejected), (SELECT count(*) FROM duplicates) FROM everything"
    ).row(0)
    return Totals(*row)


def groups(corpus: Corpus, column: str) -> pl.DataFrame:
    """Samples by the values of a column, the most frequent first: value, samples, share (percent)."""
    return corpus.query(
        f"SELECT coalesce({column}, '') AS value, count(*) AS samples, 100 * count(*) / sum(count(*)) OVER () AS share "
        "FROM everything GROUP BY value ORDER BY samples DESC, value"
    )


def next_step(corpus: Corpus) -> Step:
    """The first thing of the loop that has not been done."""
    if not corpus.score_runs():
        return Step("score", "Score the samples", "Length and quality signals take seconds and need no model.")
    if not corpus.selections():
        return Step(
            "select", "Select samples", "Choose the samples worth training on, and compare ways to choose them."
        )
    if not corpus.mixes():
        return Step("mix", "Make a mix", "Put selections together and write the files that training reads.")
    runs = list((corpus.path / "runs").glob("*/config.json"))
    if not runs:
        return Step("train", "Train on a mix", "Fine-tune a base model on the mix with one click.")
    if not any(run.with_name("evaluation.json").exists() for run in runs):
        return Step("evaluate", "Evaluate the run", "See whether the mix was better than random samples.")
    return Step(
        "synthesize", "Synthesize new samples", "The loop is closed: make new samples from the best, and go again."
    )


def _numbers(now: Totals) -> None:
    told = {
        "Samples": (now.samples, f"{now.duplicates:,} more rows had the text of one of them."),
        "Sources": (now.sources, None),
        "Turns": (now.turns, "Messages of all conversations, the system's included."),
        "Held out": (now.held_out, "Set aside for evaluation: no selection takes them."),
        "Rejected rows": (now.rejected, "Rows of the files that could not be read; listed below with their reasons."),
    }
    for cell, (label, (value, help_text)) in zip(st.columns(len(told)), told.items(), strict=True):
        cell.metric(label, f"{value:,}", help=help_text, border=True)


def _next(step: Step) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown(f"**Next:** {step.why}", width="content")
        if st.button(
            step.label, type="primary", icon=":material/arrow_forward:", icon_position="right", key="next_step"
        ):
            target = st.session_state.get(forms.PAGES_KEY, {}).get(step.page)
            if target is not None:
                st.switch_page(target)


def _running(corpus: Corpus) -> None:
    for job in jobs.jobs(corpus.path):
        if job.state == "running":
            with st.container(border=True):
                st.code(job.line, language="bash", wrap_lines=True)
                forms.follow(corpus.path, job, key=f"overview-{job.id}")


def _contents(corpus: Corpus) -> None:
    cells = st.columns([5, 4, 4], gap="small")
    for cell, (column, (title, label)) in zip(cells, GROUPS.items(), strict=True):
        with cell:
            st.subheader(
                title,
                help=None if column != "script" else "The script of most letters; a cheap stand-in for the language.",
            )
            _group(corpus, column, label)
    st.caption("Click a row to browse its samples.")


def _group(corpus: Corpus, column: str, label: str) -> None:
    found = groups(corpus, column)
    chosen = st.dataframe(
        found,
        hide_index=True,
        height="content" if found.height <= 7 else 260,
        on_select="rerun",
        selection_mode="single-cell",
        key=f"overview-{column}-{found.height}",
        column_config={
            # Fixed widths: a column as wide as its text would push the last one over the edge.
            "value": st.column_config.TextColumn(label, width=110),
            "samples": st.column_config.NumberColumn("Samples", format="localized", width=64),
            "share": st.column_config.ProgressColumn("Share", format="%.1f %%", min_value=0, max_value=100, width=70),
        },
        alt=f"Samples by {column}",
    )
    row = forms.chosen_row(chosen, found.height)
    browse = st.session_state.get(forms.PAGES_KEY, {}).get("browse")
    if row is not None and browse is not None:
        value = str(found["value"][row])
        st.switch_page(browse, query_params={"where": f"{column} = {forms.literal(value)}"})


def _lengths(corpus: Corpus) -> None:
    st.subheader("Token lengths")
    shape = distribution.spread(corpus, "length_tokens", None) if "length_tokens" in corpus.score_columns() else None
    if shape is None:
        forms.empty_state(
            "Token lengths appear here",
            "Lengths are measured by the scorer length: characters, tokens and turns, in seconds.",
            ["score", str(corpus.path), "length"],
        )
        return
    response = corpus.query("SELECT sum(length_tokens)::BIGINT, median(length_response_tokens) FROM everything").row(0)
    numbers, chart = st.columns([1, 4], vertical_alignment="center")
    numbers.metric("Tokens", f"{response[0]:,}")
    numbers.metric("Median conversation", f"{shape.median:,.0f} tokens")
    numbers.metric("Median answer", f"{response[1]:,.0f} tokens")
    bins = distribution.histogram(corpus, shape, None)
    whole = shape.unmeasured == 0
    counted = f"{shape.measured:,} samples" if whole else f"{shape.measured:,} of {corpus.count():,} samples"
    said = ", longer ones in the last bar" if shape.clipped else ""
    with chart:
        st.altair_chart(_bars(bins), alt=f"Histogram of tokens per conversation, median {shape.median:,.0f}")
        st.caption(f"Tokens per conversation, {counted}{said}.")
        if not whole:
            st.caption("The others came later: run the scorer length again, it measures only those.")


def _bars(bins: pl.DataFrame) -> Any:
    import altair as alt

    return (
        alt.Chart(bins)
        .mark_bar(binSpacing=1)
        .encode(
            x=alt.X("low:Q", bin="binned", title="tokens"),
            x2="high:Q",
            y=alt.Y("samples:Q", title="samples", axis=alt.Axis(format=",d", tickMinStep=1)),
            tooltip=[
                alt.Tooltip("low:Q", format=",.0f", title="from"),
                alt.Tooltip("high:Q", format=",.0f", title="to"),
                alt.Tooltip("samples:Q", format=","),
            ],
        )
        .properties(height=220)
    )


def _scores(corpus: Corpus) -> None:
    st.subheader("Scores")
    runs = corpus.score_runs()
    if not runs:
        st.caption("Nothing is scored yet: which scorers ran, with which model, and what they could not measure.")
        return
    st.dataframe(
        runs_table(corpus, runs),
        hide_index=True,
        height="content" if len(runs) <= 8 else 330,
        column_config={
            "scorer": "Scorer",
            "parameters": st.column_config.TextColumn("Parameters and model", width="medium"),
            "columns": st.column_config.ListColumn("Columns", width="medium"),
            "scored": st.column_config.NumberColumn("Scored", format="localized", width="small"),
            "unscored": st.column_config.NumberColumn("Not measured", format="localized", width="small"),
            "reasons": st.column_config.TextColumn("Why values are missing", width="medium"),
        },
        alt="Scoring runs: parameters, columns, scored and unscored samples with reasons",
    )


def _made(corpus: Corpus) -> None:
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Selections")
        chosen = corpus.query(
            "SELECT name, budget, pool, working_set, created_at FROM selections ORDER BY created_at DESC"
        )
        if chosen.is_empty():
            st.caption("None yet: a selection is a list of samples that a selector chose, best first.")
        else:
            _table(
                chosen,
                "Stored selections",
                name="Selection",
                budget="Samples",
                pool="Chosen from",
                working_set="Filter",
            )
    with right:
        st.subheader("Mixes")
        mixes = corpus.mixes()
        if not mixes:
            st.caption("None yet: a mix is what training reads, made of selections.")
        else:
            rows = [_mix(name, manifest) for name, manifest in mixes.items()]
            _table(rows[::-1], "Exported mixes", name="Mix", rows="Training rows", tokens="Tokens", format="Format")


def _mix(name: str, manifest: dict[str, Any]) -> dict[str, Any]:
    tokens = (manifest.get("tokens") or {}).get("train")
    return {
        "name": name,
        "rows": manifest["files"]["train"]["rows"],
        "tokens": tokens if isinstance(tokens, int) else None,
        "format": manifest["format"],
    }


def _table(found: Any, alt: str, **labels: str) -> None:
    import polars as pl

    frame = pl.DataFrame(found)
    config: dict[str, Any] = dict(labels)
    for name, label in labels.items():
        if frame[name].dtype.is_integer():
            config[name] = st.column_config.NumberColumn(label, format="localized", width="small")
    if "created_at" in frame.columns:
        config["created_at"] = st.column_config.DatetimeColumn("Made", format="distance", width="small")
    height: Any = "content" if frame.height <= 7 else 260
    st.dataframe(frame, hide_index=True, height=height, column_config=config, placeholder="–", alt=alt)


def _rejected(corpus: Corpus, now: Totals) -> None:
    if not now.rejected:
        return
    st.subheader("Rejected rows")
    first = corpus.query(
        'SELECT "file", line, reason, left("text", 200) AS "text" FROM rejected ORDER BY "file", line LIMIT ?',
        SHOWN_REJECTED,
    )
    st.dataframe(
        first,
        hide_index=True,
        height="content",
        column_config={
            "file": st.column_config.TextColumn("File", width="medium"),
            "line": st.column_config.NumberColumn("Line", format="localized", width="small"),
            "reason": st.column_config.TextColumn("Reason", width="medium"),
            "text": st.column_config.TextColumn("Text", width="large"),
        },
        alt="The first rows that could not be read",
    )
    forms.link(
        "browse",
        f"See all {now.rejected:,} rejected rows" if now.rejected > 1 else "See the rejected row",
        icon=":material/arrow_forward:",
        query={"view": "rejected"},
    )
