"""How varied selections are: a chart of all metrics beside the band of random draws, their numbers, and tags."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import streamlit as st

from studio import forms, plots
from studio.commands.printing import shown
from studio.comparisons import POOL
from studio.comparisons import label as label
from studio.languages import mark, t, tn, told_text

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


THEIR_OWN = {POOL: mark("pool"), "random draws": mark("random draws"), "longest answers": mark("longest answers")}
"""What stands beside selections, as `label` calls it -> what it is called."""


def called(row: dict[str, Any]) -> str:
    """What a row of a comparison is called, in the reader's language; a selection by its own name."""
    name = label(row)
    if row.get("kind") != "selection":
        return t(THEIR_OWN[name]) if name in THEIR_OWN else name
    return t("{name} (selection)", name=name) if name in map(t, THEIR_OWN.values()) else name


def section(compared: Comparison) -> None:
    """The metrics of diversity, of equally many samples of each selection."""
    st.caption(forms.plain(measured_on(compared)))
    points = chart_points(compared)
    if points.height:
        plots.draw(
            chart(points),
            points,
            name="diversity",
            alt=t("How far each selection lies outside the band of random draws, for every metric of diversity"),
        )
        st.caption(
            t(
                "The shaded band is where 9 of 10 random draws of this size lie; right of it is more varied than "
                "random, left of it less. The scale counts half-widths of the band."
            )
        )
    table = diversity_table(compared)
    st.dataframe(
        table,
        hide_index=True,
        height="content",
        column_config={"Metric": st.column_config.TextColumn(t("Metric"), pinned=True, width=200, help=_explained())},
        alt=t("Metrics of diversity of each selection, of random draws and of the longest answers"),
    )
    st.caption(t("▲ above the random band, ▼ below it. Near-duplicates and compression: less is more varied."))
    _missing(compared)


def measured_on(compared: Comparison) -> str:
    """How many samples of each were measured, and beside what."""
    m = compared.matched
    told = (
        tn("Of the {n} best sample of each", "Of the {n:,} best samples of each", m.size)
        if m.measured == m.size
        else t("Of {n:,} of the {size:,} best samples of each", n=m.measured, size=m.size)
    )
    pool = (
        t("the pool of {n:,}", n=m.pool)
        if not m.where
        else t("the pool of {n:,} where {where}", n=m.pool, where=m.where)
    )
    if not m.draws:
        return t("{these}; {pool} is smaller, so that nothing random stands beside it.", these=told, pool=pool)
    return t(
        "{these}, beside {draws} random draws of as many from {pool} and its longest answers.",
        these=told, draws=m.draws, pool=pool,
    )  # fmt: skip


def _explained() -> str:
    return t(
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
        st.caption(forms.plain(t("Not measured: {names}; {why}.", names=names, why=told_text(why))))
        if command:
            st.code(command, language=None, wrap_lines=True)


def _titles() -> dict[str, str]:
    from curation.size_matched import METRICS

    return {metric.name: t(metric.title) for metric in METRICS}


def colours(names: list[str]) -> Any:
    """A scale for selections and baselines."""
    import altair as alt

    theirs = {t(mine): colour for mine, colour in BASELINE_COLOURS.items()}
    selections = [name for name in names if name not in theirs]
    own = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(selections)}
    return alt.Scale(domain=names, range=[theirs.get(name) or own[name] for name in names])


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
        band = t("{low} to {high}", low=shown(row["low"]), high=shown(row["high"]))
        rows.append((titles[row["metric"]], called(row), row["value"], band, widths))
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
    ticks = [tick for tick in (-30, -10, -3, -1, 0, 1, 3, 10, 30) if abs(tick) <= edge]
    x = alt.X(
        "widths:Q", scale=scale, title=t("less varied than random   ·   more varied"), axis=alt.Axis(values=ticks)
    )
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
            tooltip=[
                alt.Tooltip("name:N", title=t("samples")),
                alt.Tooltip("metric:N", title=t("metric")),
                alt.Tooltip("value:Q", title=t("value"), format=",.4~g"),
                alt.Tooltip("band:N", title=t("random draws")),
            ],
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
            low, high = row["low"], row["high"]
            told[called(row)] = "–" if low is None else t("{low} to {high}", low=shown(low), high=shown(high))
        else:
            told[called(row)] = "–" if row["value"] is None else shown(row["value"]) + MARKS.get(row["place"] or "", "")
    return pl.DataFrame([rows[name] for name in titles if name in rows])


def tags(compared: Comparison) -> None:
    """Shares of the pool's most frequent tags."""
    import polars as pl

    if compared.tags.is_empty():
        return
    st.markdown(f"**{t('Tags')}**")
    st.caption(t("Share of samples that have one of the pool's most frequent tags"))
    rows = compared.tags.with_columns(pl.Series("label", [called(r) for r in compared.tags.iter_rows(named=True)]))
    plots.draw(
        tags_chart(rows), rows, name="tag_shares", alt=t("Share of samples with each frequent tag, by selection")
    )


def tags_chart(rows: pl.DataFrame) -> Any:
    """A matrix with a number in each cell."""
    import altair as alt

    names, kinds = list(dict.fromkeys(rows["label"])), list(dict.fromkeys(rows["tag"]))
    highest = max([share for share in rows["share"] if share] or [1.0])
    axis = alt.Axis(orient="top", labelAngle=-25, labelAlign="left", labelOverlap=False, labelLimit=110)
    base = alt.Chart(rows).encode(
        x=alt.X("label:N", sort=names, title=None, axis=axis),
        y=alt.Y("tag:N", sort=kinds, title=None, axis=alt.Axis(labelLimit=140)),
        tooltip=[
            alt.Tooltip("label:N", title=t("samples")),
            alt.Tooltip("tag:N", title=t("tag")),
            alt.Tooltip("samples:Q", title=t("number"), format=","),
            alt.Tooltip("share:Q", title=t("share"), format=".1%"),
        ],
    )
    scale = alt.Scale(domain=[0, highest], range=["#E0E7FF", "#4338CA"])
    cells = base.mark_rect(cornerRadius=3, stroke=None).encode(color=alt.Color("share:Q", scale=scale, legend=None))
    dark = f"datum.share > {0.65 * highest}"
    text = base.mark_text(fontSize=11).encode(
        text=alt.Text("share:Q", format=".0%"),
        color=alt.condition(dark, alt.value("#FFFFFF"), alt.value("#18181B")),
    )
    return alt.layer(cells, text).properties(height=80 + 24 * len(kinds))
