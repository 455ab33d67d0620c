"""How one score is distributed in selections, beside the pool and the baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from studio.pages.diversity_charts import GREY, colours, label

if TYPE_CHECKING:
    import polars as pl

    from curation.comparing import Comparison

POOL = "pool"


@st.fragment
def section(compared: Comparison) -> None:
    """A score to look at: its histogram in each selection, and quartiles. A fragment: nothing else is drawn anew."""
    columns = list(dict.fromkeys(compared.histograms["column"])) if compared.histograms.width else []
    if not columns:
        return
    column = st.selectbox(
        "Distribution of",
        columns,
        _telling(compared, columns),
        key="compared_score",
        persist_state="session",
        width=300,
    )
    bins = _labelled(compared.histograms.filter(column=column))
    st.altair_chart(chart(bins, column), alt=f"Distribution of {column} in the pool and in each selection")
    spreads = _labelled(compared.spreads.filter(column=column))
    st.dataframe(
        spreads.select("label", "measured", "mean", "q25", "median", "q75"),
        hide_index=True,
        height="content",
        column_config={
            "label": "Samples",
            "measured": st.column_config.NumberColumn("Measured", format="localized"),
            **{
                name: st.column_config.NumberColumn(title, format="%.4g")
                for name, title in (("mean", "Mean"), ("q25", "25 %"), ("median", "Median"), ("q75", "75 %"))
            },
        },
        alt=f"Mean and quartiles of {column}",
    )
    st.caption("The baselines have as many samples as the smallest selection. The outer bars count what lies beyond.")


def _telling(compared: Comparison, columns: list[str]) -> int:
    """The first score that is not the same for half the pool."""
    pool = compared.spreads.filter(kind="pool")
    varied = pool.filter(pool["q25"] != pool["q75"])["column"].to_list()
    return next((place for place, column in enumerate(columns) if column in varied), 0)


def _labelled(frame: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return frame.with_columns(pl.Series("label", [label(row) for row in frame.iter_rows(named=True)], dtype=pl.String))


def chart(bins: pl.DataFrame, column: str) -> Any:
    """The pool as a grey area, each selection as a line, the baselines as dashed lines."""
    import altair as alt

    names = [name for name in dict.fromkeys(bins["label"]) if name != POOL]
    axis = alt.Axis(format=",.4~g", tickCount=8)
    x = alt.X("low:Q", title=column, scale=alt.Scale(zero=False, nice=False), axis=axis)
    bins = bins.with_columns(((bins["low"] + bins["high"]) / 2).alias("middle"))
    middle = alt.X("middle:Q", title=column, axis=axis)
    y = alt.Y("share:Q", title="share of samples", axis=alt.Axis(format="%"))
    tooltip = [
        alt.Tooltip("label:N", title="samples"),
        alt.Tooltip("low:Q", title="from", format=",.4~g"),
        alt.Tooltip("high:Q", title="to", format=",.4~g"),
        alt.Tooltip("share:Q", format=".1%"),
    ]
    pool = alt.Chart(bins.filter(kind="pool")).mark_bar(color=GREY, opacity=0.25, binSpacing=0)
    lines = alt.Chart(bins.filter(bins["kind"] != "pool")).mark_line(interpolate="step", strokeWidth=2)
    colour = alt.Color(
        "label:N", scale=colours(names), title=None, legend=alt.Legend(orient="top", labelLimit=160, columns=4)
    )
    dash = alt.condition("datum.kind == 'baseline'", alt.value([4, 3]), alt.value([1, 0]))
    return alt.layer(
        pool.encode(x=x, x2="high:Q", y=y, y2=alt.datum(0), tooltip=tooltip),
        lines.encode(x=middle, y=y, color=colour, strokeDash=dash, detail="label:N", tooltip=tooltip),
    ).properties(height=230)
