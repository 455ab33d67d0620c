"""How one score is distributed in selections, beside the pool and the baselines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from studio import forms, plots
from studio.comparisons import POOL
from studio.languages import t
from studio.pages.diversity_charts import GREY, called, colours

if TYPE_CHECKING:
    import polars as pl

    from curation.comparing import Comparison


@st.fragment
def section(compared: Comparison, first: Sequence[str] = ()) -> None:
    """A score to look at: its histogram in each selection, and quartiles. A fragment: nothing else is drawn anew.

    Args:
        compared: what is drawn.
        first: scores that are offered before the others.
    """
    measured = list(dict.fromkeys(compared.histograms["column"])) if compared.histograms.width else []
    columns = [*(c for c in first if c in measured), *(c for c in measured if c not in first)]
    if not columns:
        return
    column = st.selectbox(
        t("Distribution of"),
        columns,
        _telling(compared, columns),
        key="compared_score",
        persist_state="session",
        width=300,
    )
    bins = _labelled(compared.histograms.filter(column=column))
    plots.draw(
        chart(bins, column),
        bins.drop("column", "kind", "name"),
        name=f"{column}_by_selection",
        key="compared_distribution",
        alt=t("Distribution of {column} in the pool and in each selection", column=column),
    )
    spreads = _labelled(compared.spreads.filter(column=column))
    st.dataframe(
        spreads.drop_nulls("mean").select("label", "measured", "mean", "q25", "median", "q75"),
        hide_index=True,
        height="content",
        column_config={
            "label": t("Samples"),
            "measured": st.column_config.NumberColumn(t("Measured"), format="localized"),
            **{
                name: st.column_config.NumberColumn(title, format="%.4g")
                for name, title in (("mean", t("Mean")), ("q25", "25 %"), ("median", t("Median")), ("q75", "75 %"))
            },
        },
        alt=t("Mean and quartiles of {column}", column=column),
    )
    st.caption(
        t("The baselines have as many samples as the smallest selection. The outer bars count what lies beyond.")
    )
    unmeasured = spreads.filter(spreads["mean"].is_null())["label"].to_list()
    if unmeasured:
        st.caption(forms.plain(t("No sample has {column} in: {names}.", column=column, names=", ".join(unmeasured))))


def _telling(compared: Comparison, columns: list[str]) -> int:
    """The first score that half the pool has and that is not the same for half the pool."""
    pool = compared.spreads.filter(kind="pool")
    telling = (pool["q25"] != pool["q75"]) & (pool["measured"] >= compared.matched.pool / 2)
    varied = pool.filter(telling)["column"].to_list()
    return next((place for place, column in enumerate(columns) if column in varied), 0)


def _labelled(frame: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return frame.with_columns(pl.Series("label", [called(row) for row in frame.iter_rows(named=True)], dtype=pl.String))


def chart(bins: pl.DataFrame, column: str) -> Any:
    """The pool as a grey area, each selection as a line, the baselines as dashed lines."""
    import altair as alt

    names = [name for name in dict.fromkeys(bins["label"]) if name != t(POOL)]
    axis = alt.Axis(format=",.4~g", tickCount=8)
    x = alt.X("low:Q", title=column, scale=alt.Scale(zero=False, nice=False), axis=axis)
    bins = bins.with_columns(((bins["low"] + bins["high"]) / 2).alias("middle"))
    middle = alt.X("middle:Q", title=column, axis=axis)
    y = alt.Y("share:Q", title=t("share of samples"), axis=alt.Axis(format="%"))
    tooltip = [
        alt.Tooltip("label:N", title=t("samples")),
        alt.Tooltip("low:Q", title=t("from"), format=",.4~g"),
        alt.Tooltip("high:Q", title=t("to"), format=",.4~g"),
        alt.Tooltip("share:Q", title=t("share"), format=".1%"),
    ]
    pool = alt.Chart(bins.filter(kind="pool")).mark_bar(color=GREY, opacity=0.25, binSpacing=0)
    lines = alt.Chart(bins.filter(bins["kind"] != "pool")).mark_line(interpolate="step", strokeWidth=2)
    colour = alt.Color(
        "label:N", scale=colours(names), title=None, legend=alt.Legend(orient="top", labelLimit=160, columns=4)
    )
    dashes = {t("random draws"): [5, 3], t("longest answers"): [2, 2]}
    dash = alt.StrokeDash(
        "label:N", scale=alt.Scale(domain=names, range=[dashes.get(n, [1, 0]) for n in names]), legend=None
    )
    return alt.layer(
        pool.encode(x=x, x2="high:Q", y=y, y2=alt.datum(0), tooltip=tooltip),
        lines.encode(x=middle, y=y, color=colour, strokeDash=dash, detail="label:N", tooltip=tooltip),
    ).properties(height=300)
