"""How varied selections are: a chart of all metrics beside the band of random draws, their numbers, and tags."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import streamlit as st

from studio import forms
from studio.comparisons import label, measured_on
from studio.printing import shown

if TYPE_CHECKING:
    import polars as pl

    from curation.comparing import Comparison

MARKS = {"above": " ▲", "below": " ▼", "inside": ""}
FARTHEST = 30.0
"""Widths of the random band, from its middle, that the chart shows; what lies beyond is at its edge."""
GREY = "#8A8A95"
COLOURS = ("#4F46E5", "#0D9488", "#D9652B", "#C83A74", "#5F8C1A", "#7C4DEE", "#2B74C4", "#96600B")
"""Of selections, in the order in which they were chosen; baselines are grey."""
BASELINE_COLOURS = {"random draws": "#A1A1AA", "longest answers": "#7A7A86"}


def section(compared: Comparison) -> None:
    """The metrics of diversity, of equally many samples of each selection."""
    st.markdown(f"**Diversity**: {forms.plain(measured_on(compared).removeprefix('Diversity of '))}")
    points = chart_points(compared)
    if points.height:
        st.altair_chart(
            chart(points),
            alt="How far each selection lies outside the band of random draws, for every metric of diversity",
        )
        st.caption(
            "The shaded band is where 9 of 10 random draws of this size lie; right of it is more varied than random, "
            "left of it less. The scale counts half-widths of the band."
        )
    table = diversity_table(compared)
    st.dataframe(
        table,
        hide_index=True,
        height="content",
        column_config={"Metric": st.column_config.TextColumn(pinned=True, width=200, help=_explained())},
        alt="Metrics of diversity of each selection, of random draws and of the longest answers",
    )
    st.caption("▲ above the random band, ▼ below it. Near-duplicates and compression: less is more varied.")
    _missing(compared)


def _explained() -> str:
    return (
        "NovelSum: distances to all others, near ones count most, more so in crowded regions of the pool. "
        "Vendi: effective number of different samples. Tag coverage: share of the pool's tags. "
        "Tag entropy: of the tags' shares, in nats. Compression ratio: bytes of the texts by bytes when compressed."
    )


def _missing(compared: Comparison) -> None:
    rows = compared.diversity.filter(kind="selection").drop_nulls("reason")
    titles = _titles()
    for reason, metrics in rows.group_by("reason", maintain_order=True).agg("metric").iter_rows():
        names = ", ".join(dict.fromkeys(titles[m] for m in metrics))
        why, _, command = reason.partition(": ")
        st.caption(forms.plain(f"Not measured: {names}; {why}."))
        if command:
            st.code(command, language="bash", wrap_lines=True)


def _titles() -> dict[str, str]:
    from curation.size_matched import METRICS

    return {metric.name: metric.title for metric in METRICS}


def colours(names: list[str]) -> Any:
    """A scale for selections and baselines."""
    import altair as alt

    selections = [name for name in names if name not in BASELINE_COLOURS]
    own = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(selections)}
    return alt.Scale(domain=names, range=[BASELINE_COLOURS.get(name) or own[name] for name in names])


def chart_points(compared: Comparison) -> pl.DataFrame:
    """One row per metric and selection: metric, name, value, band (as text), widths (right is more varied).

    A metric without a band has no place in the chart; where all random draws are equal, what differs is at the edge.
    """
    import polars as pl

    from curation.size_matched import METRICS

    more, titles = {m.name: m.more for m in METRICS}, _titles()
    rows = []
    for row in compared.diversity.drop_nulls(["value", "place"]).iter_rows(named=True):
        widths = _widths(row) * (1 if more[row["metric"]] else -1)
        band = f"{shown(row['low'])} to {shown(row['high'])}"
        rows.append((titles[row["metric"]], label(row), row["value"], band, widths))
    schema = {"metric": pl.String, "name": pl.String, "value": pl.Float64, "band": pl.String, "widths": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _widths(row: dict[str, Any]) -> float:
    """How far a value lies from the middle of the band, in half-widths of the band, at most `FARTHEST`."""
    half, away = (row["high"] - row["low"]) / 2, row["value"] - (row["high"] + row["low"]) / 2
    if half < 1e-12:
        return math.copysign(FARTHEST, away) if abs(away) > 1e-12 else 0.0
    return float(max(-FARTHEST, min(FARTHEST, away / half)))


def chart(points: pl.DataFrame) -> Any:
    """Every metric on a line of its own, the random band in the middle."""
    import altair as alt
    import polars as pl

    names = list(dict.fromkeys(points["name"]))
    metrics = list(dict.fromkeys(points["metric"]))
    edge = max(2.0, math.ceil(max(points["widths"].abs().to_list())))
    scale = alt.Scale(type="symlog", constant=1, domain=[-edge, edge])
    ticks = [t for t in (-30, -10, -3, -1, 0, 1, 3, 10, 30) if abs(t) <= edge]
    x = alt.X("widths:Q", scale=scale, title="less varied than random   ·   more varied", axis=alt.Axis(values=ticks))
    band = (
        alt.Chart(pl.DataFrame({"low": [-1.0], "high": [1.0]}))
        .mark_rect(opacity=0.16, color=GREY)
        .encode(x=alt.X("low:Q", scale=scale), x2="high:Q")
    )
    legend = alt.Legend(orient="top", labelLimit=200)
    dots = (
        alt.Chart(points)
        .mark_point(size=110, filled=True, opacity=0.9)
        .encode(
            x=x,
            y=alt.Y("metric:N", sort=metrics, title=None, axis=alt.Axis(labelLimit=220, grid=True)),
            color=alt.Color("name:N", scale=colours(names), title=None, legend=legend),
            shape=alt.Shape("name:N", scale=alt.Scale(domain=names), title=None),
            tooltip=["name", "metric", alt.Tooltip("value:Q", format=",.4~g"), alt.Tooltip("band", title="random")],
        )
    )
    return alt.layer(band, dots).properties(height=60 + 30 * len(metrics))


def diversity_table(compared: Comparison) -> pl.DataFrame:
    """One row per metric: the random band, the longest answers, each selection, with its mark."""
    import polars as pl

    titles = _titles()
    rows: dict[str, dict[str, str]] = {}
    for row in compared.diversity.sort("kind", maintain_order=True, descending=True).iter_rows(named=True):
        told = rows.setdefault(row["metric"], {"Metric": titles[row["metric"]]})
        if row["kind"] == "baseline" and row["name"] == "random":
            told[label(row)] = "–" if row["low"] is None else f"{shown(row['low'])} to {shown(row['high'])}"
        else:
            told[label(row)] = "–" if row["value"] is None else shown(row["value"]) + MARKS.get(row["place"] or "", "")
    return pl.DataFrame([rows[name] for name in titles if name in rows])


def tags(compared: Comparison) -> None:
    """Shares of the pool's most frequent tags."""
    import polars as pl

    if compared.tags.is_empty():
        return
    st.markdown("**Tags**: share of samples that have one of the pool's most frequent")
    rows = compared.tags.with_columns(pl.Series("label", [label(r) for r in compared.tags.iter_rows(named=True)]))
    st.altair_chart(tags_chart(rows), alt="Share of samples with each frequent tag, by selection")


def tags_chart(rows: pl.DataFrame) -> Any:
    """A matrix with a number in each cell."""
    import altair as alt

    names, kinds = list(dict.fromkeys(rows["label"])), list(dict.fromkeys(rows["tag"]))
    highest = max([share for share in rows["share"] if share] or [1.0])
    axis = alt.Axis(orient="top", labelAngle=-25, labelAlign="left", labelOverlap=False, labelLimit=110)
    base = alt.Chart(rows).encode(
        x=alt.X("label:N", sort=names, title=None, axis=axis),
        y=alt.Y("tag:N", sort=kinds, title=None, axis=alt.Axis(labelLimit=140)),
        tooltip=["label", "tag", alt.Tooltip("samples:Q", format=","), alt.Tooltip("share:Q", format=".1%")],
    )
    scale = alt.Scale(domain=[0, highest], range=["#E0E7FF", "#4338CA"])
    cells = base.mark_rect(cornerRadius=3, stroke=None).encode(color=alt.Color("share:Q", scale=scale, legend=None))
    dark = f"datum.share > {0.65 * highest}"
    text = base.mark_text(fontSize=11).encode(
        text=alt.Text("share:Q", format=".0%"),
        color=alt.condition(dark, alt.value("#FFFFFF"), alt.value("#18181B")),
    )
    return alt.layer(cells, text).properties(height=80 + 24 * len(kinds))
