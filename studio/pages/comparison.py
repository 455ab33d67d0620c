"""Stored selections side by side: what each takes, what they share, and samples one takes that another leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.comparing import place
from curation.comparing import taken_and_left as taken_and_left
from curation.errors import WinnowError
from studio import forms
from studio.comparisons import POOL, label
from studio.pages import correlation, diversity_charts, score_charts
from studio.pages.corpus_state import corpus_state
from studio.pages.distribution import ROW_PIXELS, numeric_scores, read_on_browse, shortened, text_columns
from studio.printing import shown

if TYPE_CHECKING:
    import polars as pl

    from curation.comparing import Comparison
    from curation.corpus import Corpus

EXAMPLES = 10
SOURCES = 10
"""Sources in the chart by name; the rest are summed up."""


def section(corpus: Corpus) -> None:
    """The part of the page that compares selections."""
    st.subheader("Compare selections")
    names = corpus.selections()
    if not names:
        st.caption(
            "No selection is stored yet. Make two above, say one by a score and one at random, and compare them here."
        )
        return
    chosen = st.multiselect(
        "Selections", names, default=names[-4:], key=f"compare_{len(names)}_{names[-1]}", persist_state="session"
    )
    if not chosen:
        st.caption("Choose at least one selection.")
        return
    try:
        compared = _compared(corpus_state(corpus), tuple(chosen), corpus)
    except WinnowError as error:
        forms.show_error(error)
        return
    first = correlation.main_columns(corpus, numeric_scores(corpus))
    _sizes(compared)
    diversity_charts.section(compared)
    _scores(compared, first)
    scores, overlap = st.columns([3, 2], gap="large")
    with overlap:
        _overlap(compared, chosen)
        diversity_charts.tags(compared)
    with scores:
        score_charts.section(compared, first)
        _sources(compared)
    _examples(corpus, chosen)


@st.cache_data(show_spinner="Measuring the selections beside random draws", max_entries=16)
def _compared(state: str, names: tuple[str, ...], _corpus: Corpus) -> Comparison:
    """Measured once for a state of the corpus: the page is drawn anew at every click."""
    from curation.comparing import compare

    return compare(_corpus, names)


def _sizes(compared: Comparison) -> None:
    st.dataframe(
        sizes_table(compared),
        hide_index=True,
        column_config={
            "name": "Selection",
            "selector": "Selector",
            "samples": st.column_config.NumberColumn("Samples", format="localized"),
            "tokens": st.column_config.NumberColumn("Tokens", format="localized", help="Sum of length_tokens."),
            "each": st.column_config.NumberColumn("Tokens per sample", format="%.1f", help="Mean of length_tokens."),
        },
        placeholder="–",
        alt="Selector, samples and tokens of each selection, and of the pool",
    )
    dropped = [f"{n:,} of {forms.plain(name)}" for name, n in compared.sizes.select("name", "dropped").iter_rows() if n]
    if dropped:
        st.caption(f"Dropped since, and left out here as in a mix: {', '.join(dropped)}.")
    if compared.sizes["tokens"].null_count():
        st.caption("Tokens are empty until the scorer length has measured every chosen sample.")


def sizes_table(compared: Comparison) -> pl.DataFrame:
    """One row per selection, and the pool: name, selector, samples, tokens, each (mean tokens of a sample)."""
    import polars as pl

    means = compared.spreads.filter(column="length_tokens").filter(pl.col("kind") != "baseline")
    each = means.select("name", "kind", pl.col("mean").alias("each"))
    pool = pl.DataFrame({"name": [POOL], "kind": [POOL], "samples": [compared.matched.pool]})
    rows = compared.sizes.with_columns(pl.lit("selection").alias("kind")).drop("dropped")
    joined = pl.concat([rows, pool], how="diagonal").join(each, on=["name", "kind"], how="left", maintain_order="left")
    called = pl.Series("name", [label(row) for row in joined.iter_rows(named=True)])
    return joined.with_columns(called).select("name", "selector", "samples", "tokens", "each")


def _overlap(compared: Comparison, names: list[str]) -> None:
    if len(names) < 2:
        st.caption("Choose a second selection to see what the two share.")
        return
    st.markdown("**Overlap**: share of the row's samples that the column has too")
    st.altair_chart(
        overlap_chart(shares(compared, names), names), alt="Share of common samples for every pair of selections"
    )


def shares(compared: Comparison, names: list[str]) -> pl.DataFrame:
    """Every ordered pair: a, b, common, share (of the samples of `a` that `b` has too)."""
    import polars as pl

    sizes = dict(compared.sizes.select("name", "samples").iter_rows())
    common = {}
    for row in compared.overlap.iter_rows(named=True):
        common[row["a"], row["b"]] = common[row["b"], row["a"]] = row["common"]
    rows = [(a, b, common[a, b], common[a, b] / sizes[a] if sizes[a] else 0.0) for a in names for b in names]
    return pl.DataFrame(rows, schema=["a", "b", "common", "share"], orient="row")


def overlap_chart(pairs: pl.DataFrame, names: list[str]) -> Any:
    """A matrix with a number in each cell, so that colour is never alone."""
    import altair as alt

    base = alt.Chart(pairs).encode(
        x=alt.X(
            "b:N",
            sort=names,
            title=None,
            axis=alt.Axis(orient="top", labelAngle=-25, labelAlign="left", labelOverlap=False, labelLimit=110),
        ),
        y=alt.Y("a:N", sort=names, title=None, axis=alt.Axis(labelLimit=140)),
        tooltip=[
            "a",
            "b",
            alt.Tooltip("common:Q", format=",", title="common samples"),
            alt.Tooltip("share:Q", format=".1%"),
        ],
    )
    cells = base.mark_rect(cornerRadius=3, stroke=None).encode(
        color=alt.Color("share:Q", scale=alt.Scale(domain=[0, 1], range=["#E0E7FF", "#4338CA"]), legend=None)
    )
    text = base.mark_text(fontSize=12).encode(
        text=alt.Text("share:Q", format=".0%"),
        color=alt.condition("datum.share > 0.65", alt.value("#FFFFFF"), alt.value("#18181B")),
    )
    return alt.layer(cells, text).properties(height=70 + 40 * len(names))


def _sources(compared: Comparison) -> None:
    import altair as alt
    import polars as pl

    st.markdown("**Sources**: share of each selection, and of the pool")
    rows = _fewer(compared.sources)
    rows = rows.with_columns(pl.Series("name", [label(row) for row in rows.iter_rows(named=True)], dtype=pl.String))
    names = rows["name"].unique(maintain_order=True).to_list()
    chart = (
        alt.Chart(rows)
        .mark_bar()
        .encode(
            x=alt.X("share:Q", title=None, axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
            y=alt.Y("name:N", title=None, sort=names, axis=alt.Axis(labelLimit=140)),
            color=alt.Color("source:N", title=None, legend=alt.Legend(orient="bottom", columns=3, labelLimit=180)),
            order=alt.Order("source:N"),
            tooltip=["name", "source", alt.Tooltip("samples:Q", format=","), alt.Tooltip("share:Q", format=".1%")],
        )
        .properties(height=90 + 32 * len(names))
    )
    st.altair_chart(chart, alt="Share of every source in each selection and in the pool")


def _fewer(sources: pl.DataFrame) -> pl.DataFrame:
    """The largest sources by name and the others as one, so that the legend stays readable."""
    import polars as pl

    totals = (
        sources.filter(kind=POOL)
        .group_by("source")
        .agg(pl.col("samples").sum())
        .sort("samples", "source", descending=[True, False])
    )
    largest = totals["source"].head(SOURCES).implode()
    named = pl.when(pl.col("source").is_in(largest)).then(pl.col("source")).otherwise(pl.lit("other sources"))
    grouped = sources.with_columns(named.alias("source")).group_by("name", "kind", "source", maintain_order=True)
    return grouped.agg(pl.col("samples").sum(), pl.col("share").sum())


def _scores(compared: Comparison, first: list[str]) -> None:
    st.markdown("**Score means**: each selection beside the pool, random draws and the longest answers")
    if compared.scores.is_empty():
        st.caption("No score yet: run a scorer on the Score page.")
        return
    table = score_table(compared, first)
    numbers = {name: st.column_config.TextColumn(name, width=95, alignment="right") for name in table.columns[1:]}
    st.dataframe(
        table,
        hide_index=True,
        height="content" if table.height <= 10 else 380,
        column_config={"Score": st.column_config.TextColumn(width=150, pinned=True), **numbers},
        placeholder="–",
        alt="Mean of every score in the pool, in each selection and in the baselines",
    )
    st.caption("▲ above 9 of 10 random draws, ▼ below them; a flag's mean is the share of samples that have it.")


def score_table(compared: Comparison, first: list[str]) -> pl.DataFrame:
    """One row per score: its mean in the pool, in each selection (marked beside random draws) and in the baselines.

    Args:
        compared: with the means.
        first: scores that come before the others.
    """
    import polars as pl

    bands = compared.spreads.filter(kind="baseline", name="random")
    edges = {column: (low, high) for column, low, high in bands.select("column", "mean_low", "mean_high").iter_rows()}
    order = {"pool": 0, "selection": 1, "baseline": 2}
    rows: dict[str, dict[str, str | None]] = {column: {"Score": column} for column in first}
    for row in sorted(compared.spreads.iter_rows(named=True), key=lambda row: order[row["kind"]]):
        told = rows.setdefault(row["column"], {"Score": row["column"]})
        where = place(row["mean"], *edges.get(row["column"], (None, None))) if row["kind"] == "selection" else None
        mark = diversity_charts.MARKS.get(where or "", "")
        told[label(row)] = None if row["mean"] is None else shown(row["mean"]) + mark
    return pl.DataFrame([row for row in rows.values() if len(row) > 1], infer_schema_length=None)


def _examples(corpus: Corpus, names: list[str]) -> None:
    if len(names) < 2:
        return
    st.markdown("**Samples that one takes and another leaves**")
    taker_cell, leaver_cell = st.columns(2)
    taker = taker_cell.selectbox("Taken by", names, key=f"taker_{'|'.join(names)}")
    leaver = leaver_cell.selectbox("Left by", [n for n in names if n != taker], key=f"leaver_{taker}_{'|'.join(names)}")
    rows = shortened(taken_and_left(corpus, taker, leaver, EXAMPLES))
    if rows.is_empty():
        st.caption(forms.plain(f"{leaver} has every sample that {taker} has."))
        return
    state = st.dataframe(
        rows,
        hide_index=True,
        row_height=ROW_PIXELS,
        on_select="rerun",
        selection_mode="single-cell",
        key=f"examples_{taker}_{leaver}_{rows['id'][0]}",
        column_config=text_columns(**_example_columns(leaver)),
        alt=f"Samples taken by {taker} and left by {leaver}, with the reason",
    )
    read_on_browse(state, rows)
    st.caption("Click a row to read the whole sample on Browse.")


def _example_columns(leaver: str) -> dict[str, Any]:
    return {
        "rank": st.column_config.NumberColumn("Rank", width=50, help="Place in the selection that takes it."),
        "reason": st.column_config.TextColumn(f"Why {leaver} left it", width=150),
        "instruction": st.column_config.TextColumn("Instruction", width=220),
        "response": st.column_config.TextColumn("Response", width=330),
    }
