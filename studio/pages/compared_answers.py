"""What rose and what fell between models, and the same prompts answered by all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from studio import forms
from studio.comparing_runs import group_name

if TYPE_CHECKING:
    import polars as pl

    from training.comparing_runs import RunComparison
    from training.judging.seesaw import Change

MARKS = {"better": "▲ better", "worse": "▼ worse", "not proven": "– not proven", "no interval": "no interval"}
COLOURS = {"better": "#0D9488", "worse": "#C83A74", "not proven": "#A1A1AA", "no interval": "#A1A1AA"}
CHART_ROWS = 16
AT_ONCE = 3
"""Answers beside each other; more stand below."""


def seesaw_section(compared: RunComparison) -> None:
    """The part of the page that says what rose and fell."""
    st.subheader("What rose and what fell")
    if not any(compared.seesaw.values()):
        st.caption("Nothing is measured yet. Judge the runs on the Evaluate page, and the changes appear here.")
        return
    measured = {name: changes for name, changes in compared.seesaw.items() if changes}
    name = next(iter(measured))
    if len(measured) > 1:
        name = st.segmented_control(
            "Run",
            list(measured),
            default=name,
            required=True,
            key=f"seesaw_{len(measured)}_{name}",
            label_visibility="collapsed",
        )
    _seesaw(name, compared.against, measured[name])


def _seesaw(name: str, against: str, changes: list[Change]) -> None:
    from training.judging.seesaw import by_chance

    st.markdown(f"**{forms.plain(name)}** against {forms.plain(against)}: {_counts(changes)}")
    st.dataframe(
        seesaw_table(changes),
        hide_index=True,
        height="content" if len(changes) <= 10 else 388,
        column_config=_columns(),
        placeholder="–",
        alt=f"What rose and fell of {name} against {against}, the largest change first",
    )
    for reason in dict.fromkeys(c.reason for c in changes if c.reason):
        st.caption(forms.plain(f"No interval: {reason}."))
    chance = by_chance(changes)
    if chance:
        st.caption(forms.plain(f"{chance}."))
    st.altair_chart(_chart(changes), alt=f"Changes of {name} with their intervals")


def _counts(changes: list[Change]) -> str:
    counted = {verdict: sum(c.verdict == verdict for c in changes) for verdict in MARKS}
    return ", ".join(f"{n} {verdict}" for verdict, n in counted.items() if n)


def seesaw_table(changes: list[Change]) -> pl.DataFrame:
    """One row per group and metric, the largest change first."""
    import polars as pl

    rows = [
        {
            "group": group_name(c.kind, c.name),
            "metric": c.metric,
            "examples": c.examples,
            "before": c.before,
            "after": c.after,
            "change": c.difference,
            "interval": None if c.low is None or c.high is None else f"{c.low:+.4f} to {c.high:+.4f}",
            "verdict": MARKS[c.verdict],
        }
        for c in changes
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def _columns() -> dict[str, Any]:
    number = st.column_config.NumberColumn
    return {
        "group": st.column_config.TextColumn("Group", width=150),
        "metric": st.column_config.TextColumn("Metric", width=110),
        "examples": number("Examples", format="localized", width=70),
        "before": number("Before", format="%.4f", width=65),
        "after": number("After", format="%.4f", width=65),
        "change": number("Change", format="%+.4f", width=70),
        "interval": st.column_config.TextColumn("95 % interval", width=130, help="Paired by example."),
        "verdict": st.column_config.TextColumn(
            "Verdict", width=100, help="Not proven: the interval crosses 0. Lower losses and higher shares are better."
        ),
    }


def _chart(changes: list[Change]) -> Any:
    """Differences with their intervals, of the metric that most rows have; 0 is a line."""
    import altair as alt
    import polars as pl

    metrics = [c.metric for c in changes]
    metric = max(dict.fromkeys(metrics), key=metrics.count)
    shown = [c for c in changes if c.metric == metric][:CHART_ROWS]
    rows = [
        {
            "group": group_name(c.kind, c.name),
            "change": c.difference,
            "low": c.low,
            "high": c.high,
            "verdict": c.verdict,
        }
        for c in shown
    ]
    frame = pl.DataFrame(rows, schema_overrides={"low": pl.Float64, "high": pl.Float64}, infer_schema_length=None)
    order = list(dict.fromkeys(group_name(c.kind, c.name) for c in shown))
    y = alt.Y("group:N", sort=order, title=None, axis=alt.Axis(labelLimit=220, labelOverlap=False))
    verdicts = [v for v in MARKS if any(row["verdict"] == v for row in rows)]
    colour = alt.Color(
        "verdict:N",
        title=None,
        scale=alt.Scale(domain=verdicts, range=[COLOURS[v] for v in verdicts]),
        legend=alt.Legend(orient="top"),
    )
    zero = alt.Chart(pl.DataFrame({"x": [0.0]})).mark_rule(color="#A1A1AA", strokeDash=[3, 3]).encode(x="x:Q")
    title = f"change of {metric}" + (" (nats per token)" if "loss" in metric else "")
    bars = (
        alt.Chart(frame).mark_rule(strokeWidth=2).encode(x=alt.X("low:Q", title=title), x2="high:Q", y=y, color=colour)
    )
    dots = (
        alt.Chart(frame)
        .mark_point(filled=True, size=80, opacity=1)
        .encode(
            x=alt.X("change:Q", title=title),
            y=y,
            color=colour,
            shape=alt.Shape("verdict:N", title=None, scale=alt.Scale(domain=verdicts), legend=None),
            tooltip=["group", alt.Tooltip("change:Q", format="+.4f"), "verdict"],
        )
    )
    return alt.layer(zero, bars, dots).properties(height=120 + 30 * len(order))


def section(compared: RunComparison) -> None:
    """The part of the page with the answers."""
    st.subheader("The same prompts, answered side by side")
    if not compared.answers:
        st.caption(
            "No prompt is answered by more than one of them. Evaluate the runs with answers on the Evaluate page."
        )
        return
    sources = sorted({row.source for row in compared.answers})
    source_cell, number_cell = st.columns([2, 1])
    source = source_cell.selectbox("Source", ["all sources", *sources], key=f"answers_source_{len(sources)}")
    rows = [row for row in compared.answers if source in ("all sources", row.source)]
    number = number_cell.number_input("Prompt", 1, len(rows), 1, key=f"answers_number_{source}_{len(rows)}")
    row = rows[int(number) - 1]
    st.caption(f"{int(number):,} of {len(rows):,} prompts, from {forms.plain(row.source)}")
    with st.container(border=True):
        st.markdown("**Asked**")
        st.text(row.question)
        if row.reference:
            st.markdown("**Reference**")
            st.text(row.reference)
    sides = list(row.answers.items())
    for first in range(0, len(sides), AT_ONCE):
        for cell, (name, answer) in zip(st.columns(AT_ONCE), sides[first : first + AT_ONCE], strict=False):
            with cell.container(border=True):
                st.markdown(f"**{forms.plain(name)}**")
                st.text(answer if answer.strip() else "(empty)")
