"""Losses of several runs in one chart: over steps, tokens or seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from studio.pages.diversity_charts import COLOURS
from studio.pages.run_charts import IN_NATS
from studio.pages.run_points import thinned

if TYPE_CHECKING:
    from training.comparing_runs import Point, RunComparison

OVER = {"step": "steps", "tokens": "tokens", "seconds": "seconds"}
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
"""So that colour is never alone."""


def section(compared: RunComparison) -> None:
    """The part of the page with the curves."""
    st.subheader("Curves")
    over_cell, smooth_cell, _ = st.columns([2, 2, 3], vertical_alignment="bottom")
    over = over_cell.segmented_control(
        "Over", list(OVER), format_func=lambda o: OVER[o], default="step", required=True, key="curves_over"
    )
    window = smooth_cell.slider("Mean of training losses", 1, 50, 5, key="curves_window", help="Steps in each mean.")
    names = [side.name for side in compared.runs]
    title = "nats per token" if all(side.method in IN_NATS for side in compared.runs) else "loss of the method"
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown("**Training loss**")
        _training(compared.curves, names, over or "step", window, title)
    with right:
        st.markdown("**Held-out loss by source**")
        _held_out(compared.curves, names, over or "step")


def _training(curves: Sequence[Point], names: list[str], over: str, window: int, title: str) -> None:
    of_runs = ([p for p in curves if p.run == name and p.source is None] for name in names)
    rows = [row for points in of_runs for row in smoothed(points, window)]
    if not rows:
        st.caption("No run has made a step yet.")
        return
    chart = _lines(rows, names, over, title, points=False).properties(height=_height(300, names))
    st.altair_chart(chart, alt=f"Training loss of {len(names)} runs over {OVER[over]}")


def _held_out(curves: Sequence[Point], names: list[str], over: str) -> None:
    sources = sorted({p.source for p in curves if p.source is not None}, key=lambda s: (s != "all", s))
    if not sources:
        st.caption("The mixes have no held-out rows, or they are not measured yet.")
        return
    shown = st.selectbox("Source", sources, key=f"curves_source_{len(sources)}", label_visibility="collapsed")
    rows = [_row(p, p.loss) for p in curves if p.source == shown]
    chart = _lines(rows, names, over, "nats per token", points=True).properties(height=_height(252, names))
    st.altair_chart(chart, alt=f"Held-out loss of {len(names)} runs on {shown} over {OVER[over]}")


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


def _lines(rows: list[dict[str, Any]], names: list[str], over: str, title: str, *, points: bool) -> Any:
    import altair as alt
    import polars as pl

    colours = alt.Scale(domain=names, range=[COLOURS[i % len(COLOURS)] for i in range(len(names))])
    dashes = alt.Scale(domain=names, range=[DASHES[i % len(DASHES)] for i in range(len(names))])
    columns = 3 if max(map(len, names)) < 16 else 1
    legend = alt.Legend(orient="bottom", columns=columns, labelLimit=400, symbolType="stroke", symbolStrokeWidth=2)
    return (
        alt.Chart(pl.DataFrame(rows))
        .mark_line(strokeWidth=1.8, point=points)
        .encode(
            x=alt.X(f"{over}:Q", title=OVER[over], axis=alt.Axis(format="~s", tickMinStep=1)),
            y=alt.Y("loss:Q", title=title, axis=alt.Axis(format=".3~f"), scale=alt.Scale(zero=False)),
            color=alt.Color("run:N", title=None, scale=colours, legend=legend),
            strokeDash=alt.StrokeDash("run:N", title=None, scale=dashes, legend=legend),
            tooltip=[
                "run",
                alt.Tooltip("step:Q", format=","),
                alt.Tooltip("tokens:Q", format=","),
                alt.Tooltip("loss:Q", format=".4f"),
            ],
        )
    )
