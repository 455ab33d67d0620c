"""The Overview page: what the corpus holds, what was measured and made of it, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from studio import forms, plots, running
from studio.languages import mark, t, tn
from studio.pages import distribution, guide, treemap
from studio.pages.score import runs_table

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus

SHOWN_REJECTED = 5
MANY = 12
"""Sources, or tags, beyond which a treemap takes the place of their table."""
GROUPS = {
    "source": (mark("Sources"), mark("Source")),
    "shape": (mark("Shapes"), mark("Shape")),
    "script": (mark("Languages by script"), mark("Script")),
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


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    st.title(t("Overview"))
    st.caption(forms.plain(str(corpus.path)))
    with st.container():  # always there, so that what follows stays in its place when a job ends
        _running(corpus)
    guide.draw(corpus)
    now = totals(corpus)
    if not now.samples:
        st.caption(
            t(
                "Your data appears here: how many samples and where from, how long they are, what was measured, and "
                "what was chosen and trained. Files may be JSON, JSONL, CSV, Parquet or plain text; nothing is written "
                "before you have seen how the rows will be read."
            )
        )
        _rejected(corpus, now)
        return
    _numbers(now)
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


def _numbers(now: Totals) -> None:
    told = {
        t("Samples"): (
            now.samples,
            tn(
                "{n} more row had the text of one of them.",
                "{n:,} more rows had the text of one of them.",
                now.duplicates,
            ),
        ),
        t("Sources"): (now.sources, None),
        t("Turns"): (now.turns, t("Messages of all conversations, the system's included.")),
        t("Held out"): (now.held_out, t("Set aside for evaluation: no selection takes them.")),
        t("Rejected rows"): (
            now.rejected,
            t("Rows of the files that could not be read; listed below with their reasons."),
        ),
    }
    for cell, (label, (value, help_text)) in zip(st.columns(len(told)), told.items(), strict=True):
        cell.metric(label, f"{value:,}", help=help_text, border=True)


def _running(corpus: Corpus) -> None:
    for job in running.live(corpus.path):
        with st.container(border=True):
            st.code(job.line, language=None, wrap_lines=True)
            forms.follow(corpus.path, job, key=f"overview-{job.id}")


def _contents(corpus: Corpus) -> None:
    found = {column: groups(corpus, column) for column in GROUPS}
    # Many are easier to see as areas; few as a table, which has their numbers.
    many = found["source"].height > MANY
    in_tables = [column for column in GROUPS if column != "source" or not many]
    if many:
        st.subheader(t("Sources"))
        treemap.of_column(corpus, "source")
    for cell, column in zip(st.columns([5, 4, 4][-len(in_tables) :], gap="small"), in_tables, strict=True):
        title, label = GROUPS[column]
        with cell:
            st.subheader(
                t(title),
                help=None
                if column != "script"
                else t("The script of most letters; a cheap stand-in for the language."),
            )
            _group(found[column], column, t(label))
    st.caption(t("Click a row to browse its samples."))
    _tags(corpus)


def _tags(corpus: Corpus) -> None:
    import polars as pl

    column = next(iter(treemap.tag_columns(corpus)), None)
    if column is None:
        return
    counted = treemap.counted(corpus, column)
    if counted.is_empty():
        return
    st.subheader(t("Tags"))
    if counted.height > MANY:
        treemap.of_column(corpus, column)
        return
    with st.columns([5, 8], gap="small")[0]:
        shares = counted.select(value="name", samples="samples", share=100 * pl.col("samples") / corpus.count())
        _group(shares, column, t("Tag"))


def _group(found: pl.DataFrame, column: str, label: str) -> None:
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
            "samples": st.column_config.NumberColumn(t("Samples"), format="localized", width=64),
            "share": st.column_config.ProgressColumn(
                t("Share"), format="%.1f %%", min_value=0, max_value=100, width=70
            ),
        },
        alt=t("Samples by {column}", column=label),
    )
    row = forms.chosen_row(chosen, found.height)
    browse = st.session_state.get(forms.PAGES_KEY, {}).get("browse")
    if row is not None and browse is not None:
        value = str(found["value"][row])
        rule = f"{column} = {forms.literal(value)}" if column in GROUPS else treemap.rule(column, value)
        st.switch_page(browse, query_params={"where": rule})


def _lengths(corpus: Corpus) -> None:
    st.subheader(t("Token lengths"))
    shape = distribution.spread(corpus, "length_tokens", None) if "length_tokens" in corpus.score_columns() else None
    if shape is None:
        st.caption(t("Lengths are measured by the scorer length: characters, tokens and turns, in seconds."))
        forms.command_box(corpus, ["score", str(corpus.path), "length"], key="first_length", primary=False)
        return
    response = corpus.query("SELECT sum(length_tokens)::BIGINT, median(length_response_tokens) FROM everything").row(0)
    numbers, chart = st.columns([1, 4], vertical_alignment="center")
    numbers.metric(t("Tokens"), f"{response[0]:,}")
    numbers.metric(t("Median conversation"), t("{n:,.0f} tokens", n=shape.median))
    numbers.metric(t("Median answer"), t("{n:,.0f} tokens", n=response[1]))
    bins = distribution.histogram(corpus, shape, None)
    total = corpus.count()
    with chart:
        plots.draw(
            _bars(bins),
            bins,
            name="tokens_per_conversation",
            alt=t("Histogram of tokens per conversation, median {median:,.0f}", median=shape.median),
        )
        told = [
            t("Tokens per conversation, {measured:,} of {total:,} samples.", measured=shape.measured, total=total),
            t("Longer ones stand in the last bar.") if shape.clipped else "",
            t("The others came later: run the scorer length again, it measures only those.")
            if shape.unmeasured
            else "",
        ]
        st.caption(" ".join(filter(None, told)))


def _bars(bins: pl.DataFrame) -> Any:
    import altair as alt

    return (
        alt.Chart(bins)
        .mark_bar(binSpacing=1)
        .encode(
            x=alt.X("low:Q", bin="binned", title=t("tokens")),
            x2="high:Q",
            y=alt.Y("samples:Q", title=t("samples"), axis=alt.Axis(format=",d", tickMinStep=1)),
            tooltip=[
                alt.Tooltip("low:Q", format=",.0f", title=t("from")),
                alt.Tooltip("high:Q", format=",.0f", title=t("to")),
                alt.Tooltip("samples:Q", format=",", title=t("samples")),
            ],
        )
        .properties(height=220)
    )


def _scores(corpus: Corpus) -> None:
    st.subheader(t("Scores"))
    runs = corpus.score_runs()
    if not runs:
        st.caption(t("Nothing is scored yet: which scorers ran, with which model, and what they could not measure."))
        return
    st.dataframe(
        runs_table(corpus, runs),
        hide_index=True,
        height="content" if len(runs) <= 8 else 330,
        column_config={
            "scorer": t("Scorer"),
            "parameters": st.column_config.TextColumn(t("Parameters and model"), width="medium"),
            "columns": st.column_config.ListColumn(t("Columns"), width="medium"),
            "scored": st.column_config.NumberColumn(t("Scored"), format="localized", width="small"),
            "unscored": st.column_config.NumberColumn(t("Not measured"), format="localized", width="small"),
            "reasons": st.column_config.TextColumn(t("Why values are missing"), width="medium"),
        },
        alt=t("Scoring runs: parameters, columns, scored and unscored samples with reasons"),
    )


def _made(corpus: Corpus) -> None:
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader(t("Selections"))
        chosen = corpus.query(
            "SELECT name, budget, pool, working_set, created_at FROM selections ORDER BY created_at DESC"
        )
        if chosen.is_empty():
            st.caption(t("None yet: a selection is a list of samples that a selector chose, best first."))
        else:
            _table(
                chosen,
                t("Stored selections"),
                name=t("Selection"),
                budget=t("Samples"),
                pool=t("Chosen from"),
                working_set=t("Filter"),
            )
    with right:
        st.subheader(t("Mixes"))
        mixes = corpus.mixes()
        if not mixes:
            st.caption(t("None yet: a mix is what training reads, made of selections."))
        else:
            rows = [_mix(name, manifest) for name, manifest in mixes.items()]
            _table(
                rows[::-1],
                t("Exported mixes"),
                name=t("Mix"),
                rows=t("Training rows"),
                tokens=t("Tokens"),
                format=t("Format"),
            )


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
        config["created_at"] = st.column_config.DatetimeColumn(t("Made"), format="YYYY-MM-DD HH:mm", width=130)
    height: Any = "content" if frame.height <= 7 else 260
    st.dataframe(frame, hide_index=True, height=height, column_config=config, placeholder="–", alt=alt)


def _rejected(corpus: Corpus, now: Totals) -> None:
    if not now.rejected:
        return
    st.subheader(t("Rejected rows"))
    first = corpus.query(
        'SELECT "file", line, reason, left("text", 200) AS "text" FROM rejected ORDER BY "file", line LIMIT ?',
        SHOWN_REJECTED,
    )
    st.dataframe(
        first,
        hide_index=True,
        height="content",
        column_config={
            "file": st.column_config.TextColumn(t("File"), width="medium"),
            "line": st.column_config.NumberColumn(t("Line"), format="localized", width="small"),
            "reason": st.column_config.TextColumn(t("Reason"), width="medium"),
            "text": st.column_config.TextColumn(t("Text"), width="large"),
        },
        alt=t("The first rows that could not be read"),
    )
    forms.link(
        "browse",
        tn("See the rejected row", "See all {n:,} rejected rows", now.rejected),
        icon=":material/arrow_forward:",
        query={"view": "rejected"},
    )
