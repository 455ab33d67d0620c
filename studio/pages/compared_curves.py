"""Losses of several runs in one chart: over steps, tokens or seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from studio import plots
from studio.languages import mark, t
from studio.pages.run_charts import IN_NATS
from studio.pages.run_colours import by_name
from studio.pages.run_points import thinned

if TYPE_CHECKING:
    from training.comparing_runs import Point, RunComparison

OVER = {"step": mark("steps"), "tokens": mark("tokens"), "seconds": mark("seconds")}


def section(compared: RunComparison) -> None:
    """The part of the page with the curves."""
    st.subheader(t("Curves"))
    over_cell, smooth_cell, _ = st.columns([2, 2, 3], vertical_alignment="bottom")
    over = over_cell.segmented_control(
        t("Over"), list(OVER), format_func=lambda o: t(OVER[o]), default="step", required=True, key="curves_over"
    )
    window = smooth_cell.slider(
        t("Mean of training losses"), 1, 50, 5, key="curves_window", help=t("Steps in each mean.")
    )
    names = [side.name for side in compared.runs]
    in_nats = all(side.method in IN_NATS for side in compared.runs)
    title = t("nats per token") if in_nats else t("loss of the method")
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown(f"**{t('Training loss')}**")
        _training(compared.curves, names, over or "step", window, title)
    with right:
        st.markdown(f"**{t('Held-out loss by source')}**")
        _held_out(compared.curves, names, over or "step")


def _training(curves: Sequence[Point], names: list[str], over: str, window: int, title: str) -> None:
    of_runs = ([p for p in curves if p.run == name and p.source is None] for name in names)
    rows = [row for points in of_runs for row in smoothed(points, window)]
    if not rows:
        st.caption(t("No run has made a step yet."))
        return
    chart = _lines(rows, names, over, title, points=False).properties(height=_height(300, names))
    plots.draw(
        chart,
        lambda: _frame(rows),
        name="training-loss-of-runs",
        alt=t("Training loss of {n} runs over {over}", n=len(names), over=t(OVER[over])),
    )


def _held_out(curves: Sequence[Point], names: list[str], over: str) -> None:
    sources = sorted({p.source for p in curves if p.source is not None}, key=lambda s: (s != "all", s))
    if not sources:
        st.caption(t("The mixes have no held-out rows, or they are not measured yet."))
        return
    shown = st.selectbox(
        t("Source"),
        sources,
        format_func=lambda source: t("all sources") if source == "all" else source,
        key=f"curves_source_{len(sources)}",
        label_visibility="collapsed",
    )
    rows = [_row(p, p.loss) for p in curves if p.source == shown]
    chart = _lines(rows, names, over, t("nats per token"), points=True).properties(height=_height(252, names))
    plots.draw(
        chart,
        lambda: _frame(rows),
        name="held-out-loss-of-runs",
        alt=t("Held-out loss of {n} runs on {source} over {over}", n=len(names), source=shown, over=t(OVER[over])),
    )


def _height(plot: int, names: list[str]) -> int:
    """Pixels: the legend takes a line for each run whose name is long."""
    return plot + (20 if max(map(len, names)) < 16 else 18 * len(names))


def smoothed(points: Sequence[Point], window: int) -> list[dict[str, Any]]:
    """The running mean of a curve over so many points, thinned to a few hundred."""
    means = []
    for i in range(len(points)):
        recent = [p.loss for p in points[max(0, i - window + 1) : i + 1]]
        means.append((i, sum(recent) / len(recent)))
    return [_row(points[i], loss) for i, loss in thinned(means)]


def _row(point: Point, loss: float) -> dict[str, Any]:
    return {"run": point.run, "step": point.step, "tokens": point.tokens, "seconds": point.seconds, "loss": loss}


def _frame(rows: list[dict[str, Any]]) -> Any:
    import polars as pl

    return pl.DataFrame(rows, infer_schema_length=None)


def _lines(rows: list[dict[str, Any]], names: list[str], over: str, title: str, *, points: bool) -> Any:
    import altair as alt

    short = max(map(len, names)) < 16
    colour, dash = by_name("run", names, columns=3 if short else 1, limit=400)
    tooltip = [
        alt.Tooltip("run:N", title=t("run")),
        alt.Tooltip("step:Q", title=t("Step"), format=","),
        alt.Tooltip("tokens:Q", title=t("tokens"), format=","),
        alt.Tooltip("seconds:Q", title=t("seconds"), format=",.1f"),
        alt.Tooltip("loss:Q", title=t("loss"), format=".4f"),
    ]
    base = alt.Chart(_frame(rows)).encode(
        x=alt.X(f"{over}:Q", title=t(OVER[over]), axis=alt.Axis(format="~s", tickMinStep=1)),
        y=alt.Y("loss:Q", title=title, axis=alt.Axis(format=".3~f"), scale=alt.Scale(zero=False)),
        tooltip=tooltip,
    )
    line = base.mark_line(strokeWidth=1.8, point=points).encode(color=colour, strokeDash=dash)
    return alt.layer(line, base.mark_point(size=60, opacity=0))
