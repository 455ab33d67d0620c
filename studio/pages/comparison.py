"""Stored selections side by side: what each takes, what they share, and samples one takes that another leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.comparing import place
from curation.comparing import taken_and_left as taken_and_left
from curation.errors import WinnowError
from studio import forms, plots
from studio.commands.printing import shown
from studio.comparisons import POOL
from studio.languages import t, told_text
from studio.pages import correlation, diversity_charts, measuring, overlap, score_charts, views
from studio.pages.corpus_state import corpus_state
from studio.pages.distribution import ROW_PIXELS, numeric_scores, read_on_browse, shortened, text_columns
from studio.pages.diversity_charts import called

if TYPE_CHECKING:
    import polars as pl

    from curation.comparing import Comparison
    from curation.corpus import Corpus

AT_ONCE = 2000
"""Samples of a corpus up to which diversity is measured without being asked for: that takes about a second."""
EXAMPLES = 10
SOURCES = 7
"""Sources in the chart by name, so that each has a colour of its own; the rest are summed up."""


def section(corpus: Corpus) -> None:
    """The part of the page that compares selections."""
    names = corpus.selections()
    if not names:
        st.info(t("No selection is stored yet. Make two, say one by a score and one at random, and compare them here."))
        st.button(
            t("Choose samples"), icon=":material/arrow_back:", key="to_choose", type="primary", on_click=views.show,
            args=("select", "choose"),
        )  # fmt: skip
        return
    chosen = st.multiselect(
        t("Selections"), names, default=names[-4:], key=f"compare_{len(names)}_{names[-1]}", persist_state="session"
    )
    if not chosen:
        st.caption(t("Choose at least one selection."))
        return
    # What is quick stands there while the rest is measured.
    overlap.section(corpus, chosen)
    small = corpus.count() <= AT_ONCE
    try:
        with st.spinner(t("Comparing the selections")):
            compared = _compared(corpus_state(corpus), tuple(chosen), small, corpus)
    except WinnowError as error:
        forms.show_error(error)
        return
    first = correlation.main_columns(corpus, numeric_scores(corpus))
    _sizes(compared)
    _scores(compared, first)
    scores, shares = st.columns([3, 2], gap="large")
    with scores:
        score_charts.section(compared, first)
    with shares:
        _sources(compared)
        diversity_charts.tags(compared)
    if small:
        st.markdown(f"**{t('Diversity')}**")
        diversity_charts.section(compared)
    else:
        measuring.section(corpus, chosen)
    _examples(corpus, chosen)


@st.cache_data(show_spinner=False, max_entries=16)
def _compared(state: str, names: tuple[str, ...], diversity: bool, _corpus: Corpus) -> Comparison:
    """Measured once for a state of the corpus: the page is drawn anew at every click."""
    from curation.comparing import compare

    return compare(_corpus, names, diversity=diversity)


def _sizes(compared: Comparison) -> None:
    st.dataframe(
        sizes_table(compared),
        hide_index=True,
        column_config={
            "name": t("Selection"),
            "selector": t("Selector"),
            "samples": st.column_config.NumberColumn(t("Samples"), format="localized"),
            "tokens": st.column_config.NumberColumn(t("Tokens"), format="localized", help=t("Sum of length_tokens.")),
            "each": st.column_config.NumberColumn(
                t("Tokens per sample"), format="%.1f", help=t("Mean of length_tokens.")
            ),
        },
        placeholder="–",
        alt=t("Selector, samples and tokens of each selection, and of the pool"),
    )
    gone = [(n, name) for name, n in compared.sizes.select("name", "dropped").iter_rows() if n]
    if gone:
        dropped = ", ".join(t("{n:,} of {name}", n=n, name=forms.plain(name)) for n, name in gone)
        st.caption(t("Dropped since, and left out here as in a mix: {dropped}.", dropped=dropped))
    if compared.sizes["tokens"].null_count():
        st.caption(t("Tokens are empty until the scorer length has measured every chosen sample."))


def sizes_table(compared: Comparison) -> pl.DataFrame:
    """One row per selection, and the pool: name, selector, samples, tokens, each (mean tokens of a sample)."""
    import polars as pl

    means = compared.spreads.filter(column="length_tokens").filter(pl.col("kind") != "baseline")
    each = means.select("name", "kind", pl.col("mean").alias("each"))
    pool = pl.DataFrame({"name": [POOL], "kind": [POOL], "samples": [compared.matched.pool]})
    rows = compared.sizes.with_columns(pl.lit("selection").alias("kind")).drop("dropped")
    joined = pl.concat([rows, pool], how="diagonal").join(each, on=["name", "kind"], how="left", maintain_order="left")
    names = pl.Series("name", [called(row) for row in joined.iter_rows(named=True)])
    return joined.with_columns(names).select("name", "selector", "samples", "tokens", "each")


def _sources(compared: Comparison) -> None:
    import altair as alt
    import polars as pl

    st.markdown(f"**{t('Sources')}**")
    rows = _fewer(compared.sources)
    rows = rows.with_columns(pl.Series("name", [called(row) for row in rows.iter_rows(named=True)], dtype=pl.String))
    names = rows["name"].unique(maintain_order=True).to_list()
    chart = (
        alt.Chart(rows)
        .mark_bar()
        .encode(
            x=alt.X("share:Q", title=None, axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
            y=alt.Y("name:N", title=None, sort=names, axis=alt.Axis(labelLimit=140, labelOverlap=False)),
            color=alt.Color("source:N", title=None, legend=alt.Legend(orient="bottom", columns=2, labelLimit=110)),
            order=alt.Order("source:N"),
            tooltip=[
                alt.Tooltip("name:N", title=t("samples")),
                alt.Tooltip("source:N", title=t("source")),
                alt.Tooltip("samples:Q", title=t("number"), format=","),
                alt.Tooltip("share:Q", title=t("share"), format=".1%"),
            ],
        )
        .properties(height=130 + 32 * len(names))
    )
    plots.draw(
        chart,
        rows,
        name="sources_by_selection",
        alt=t("Share of every source in each selection and in the pool"),
    )


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
    named = pl.when(pl.col("source").is_in(largest)).then(pl.col("source")).otherwise(pl.lit(t("other sources")))
    grouped = sources.with_columns(named.alias("source")).group_by("name", "kind", "source", maintain_order=True)
    return grouped.agg(pl.col("samples").sum(), pl.col("share").sum())


def _scores(compared: Comparison, first: list[str]) -> None:
    st.markdown(f"**{t('Score means')}**")
    if compared.scores.is_empty():
        st.caption(t("No score yet: run a scorer on the Score page."))
        return
    table = score_table(compared, first)
    numbers = {name: st.column_config.TextColumn(name, width=95, alignment="right") for name in table.columns[1:]}
    st.dataframe(
        table,
        hide_index=True,
        height="content" if table.height <= 10 else 380,
        column_config={"Score": st.column_config.TextColumn(t("Score column"), width=150, pinned=True), **numbers},
        placeholder="–",
        alt=t("Mean of every score in the pool, in each selection and in the baselines"),
    )
    st.caption(t("▲ above 9 of 10 random draws, ▼ below them; a flag's mean is the share of samples that have it."))


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
        told[called(row)] = None if row["mean"] is None else shown(row["mean"]) + mark
    return pl.DataFrame([row for row in rows.values() if len(row) > 1], infer_schema_length=None)


@st.fragment
def _examples(corpus: Corpus, names: list[str]) -> None:
    import polars as pl

    if len(names) < 2:
        return
    st.markdown(f"**{t('Samples that one takes and another leaves')}**")
    taker_cell, leaver_cell = st.columns(2)
    taker = taker_cell.selectbox(t("Taken by"), names, key=f"taker_{'|'.join(names)}")
    leaver = leaver_cell.selectbox(
        t("Left by"), [n for n in names if n != taker], key=f"leaver_{taker}_{'|'.join(names)}"
    )
    rows = _taken_and_left(corpus_state(corpus), taker, leaver, corpus)
    if rows.is_empty():
        st.caption(forms.plain(t("{leaver} has every sample that {taker} has.", leaver=leaver, taker=taker)))
        return
    why = [told_text(reason) for reason in rows["reason"]]
    state = st.dataframe(
        rows.with_columns(reason=pl.Series(why, dtype=pl.String)),
        hide_index=True,
        row_height=ROW_PIXELS,
        on_select="rerun",
        selection_mode="single-cell",
        key=f"examples_{taker}_{leaver}_{rows['id'][0]}",
        column_config=text_columns(**_example_columns(leaver)),
        alt=t("Samples taken by {taker} and left by {leaver}, with the reason", taker=taker, leaver=leaver),
    )
    read_on_browse(state, rows)
    st.caption(t("Click a row to read the whole sample on Browse."))


@st.cache_data(show_spinner=False, max_entries=64)
def _taken_and_left(state: str, taker: str, leaver: str, _corpus: Corpus) -> pl.DataFrame:
    return shortened(taken_and_left(_corpus, taker, leaver, EXAMPLES))


def _example_columns(leaver: str) -> dict[str, Any]:
    return {
        "rank": st.column_config.NumberColumn(t("Rank"), width=50, help=t("Place in the selection that takes it.")),
        "reason": st.column_config.TextColumn(t("Why {name} left it", name=leaver), width=150),
        "instruction": st.column_config.TextColumn(t("Instruction"), width=220),
        "response": st.column_config.TextColumn(t("Response"), width=330),
    }
