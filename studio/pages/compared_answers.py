"""What rose and what fell between models, and the same prompts answered by all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import streamlit as st

from studio import forms, plots
from studio.languages import mark, t, tn, told_text
from studio.pages.run_colours import GREY

if TYPE_CHECKING:
    import polars as pl

    from training.comparing_runs import RunComparison
    from training.judging.seesaw import Change

MARKS = {
    "better": mark("▲ better"),
    "worse": mark("▼ worse"),
    "not proven": mark("– not proven"),
    "no interval": mark("no interval"),
}
COUNTED = {
    "better": mark("{n} better"),
    "worse": mark("{n} worse"),
    "not proven": mark("{n} not proven"),
    "no interval": mark("{n} without an interval"),
}
METRICS = {
    "held-out loss": mark("held-out loss"),
    "right final answers": mark("right final answers"),
    "passed tests": mark("passed tests"),
}
COLOURS = {"better": "#0D9488", "worse": "#C83A74", "not proven": GREY, "no interval": GREY}
CHART_ROWS = 16
AT_ONCE = 3
"""Answers beside each other; more stand below."""
LONG_TEXT, LINES, BOX = 900, 16, 380
"""Characters or lines from which a text scrolls in a box, and the pixels of the box."""


def seesaw_section(compared: RunComparison) -> None:
    """The part of the page that says what rose and fell."""
    st.subheader(t("What rose and what fell"))
    if not any(compared.seesaw.values()):
        st.caption(t("Nothing is measured yet. Judge the runs on the Evaluate page, and the changes appear here."))
        forms.link("evaluate", t("Evaluate the runs"), icon=":material/balance:")
        return
    measured = {name: changes for name, changes in compared.seesaw.items() if changes}
    name = next(iter(measured))
    if len(measured) > 1:
        name = st.segmented_control(
            t("Training run"),
            list(measured),
            default=name,
            required=True,
            key=f"seesaw_{len(measured)}_{name}",
            label_visibility="collapsed",
        )
    _seesaw(name, compared.against, measured[name])


def _seesaw(name: str, against: str, changes: list[Change]) -> None:
    from training.judging.seesaw import by_chance

    other = forms.plain(t("base") if against == "base" else against)
    st.markdown(t("**{run}** against {other}: {counts}", run=forms.plain(name), other=other, counts=_counts(changes)))
    st.dataframe(
        seesaw_table(changes),
        hide_index=True,
        height="content" if len(changes) <= 10 else 388,
        column_config=_columns(),
        placeholder="–",
        alt=t("What rose and fell of {run} against {other}, the largest change first", run=name, other=other),
    )
    _without_interval(changes)
    chance = by_chance(changes)
    if chance:
        st.caption(forms.plain(t("{sentence}.", sentence=told_text(chance))))
    chart, frame = _chart(changes)
    told = t("Changes of {run} with their intervals", run=name)
    plots.draw(chart, frame, name=f"changes-of-{name}", alt=told, key="seesaw")


def _counts(changes: list[Change]) -> str:
    counted = {verdict: sum(c.verdict == verdict for c in changes) for verdict in MARKS}
    return ", ".join(t(COUNTED[verdict], n=n) for verdict, n in counted.items() if n)


def seesaw_table(changes: list[Change]) -> pl.DataFrame:
    """One row per group and metric, the largest change first."""
    import polars as pl

    rows = [
        {
            "group": _group(c),
            "metric": t(METRICS.get(c.metric, c.metric)),
            "examples": c.examples,
            "before": c.before,
            "after": c.after,
            "change": c.difference,
            "interval": _interval(c),
            "verdict": t(MARKS[c.verdict]),
        }
        for c in changes
    ]
    return pl.DataFrame(rows, infer_schema_length=None)


def _without_interval(changes: list[Change]) -> None:
    """Why some have no interval; groups that are too small are said in one line, not in one for each size."""
    from training.judging.comparison import FEWEST_EXAMPLES

    small = [c for c in changes if c.reason and c.examples is not None and c.examples < FEWEST_EXAMPLES]
    for reason in dict.fromkeys(c.reason for c in changes if c.reason and c not in small):
        st.caption(forms.plain(t("No interval: {reason}.", reason=told_text(reason))))
    if small:
        st.caption(
            tn(
                "{n} value has no interval: that needs {fewest} examples.",
                "{n:,} values have no interval: that needs {fewest} examples.",
                len(small),
                fewest=FEWEST_EXAMPLES,
            )
        )


def _group(change: Change) -> str:
    if change.kind == "all":
        return t("all sources")
    return change.name if change.kind == "source" else f"{change.kind}: {told_text(change.name)}"


def _interval(change: Change) -> str | None:
    if change.low is None or change.high is None:
        return None
    return t("{low:+.4f} to {high:+.4f}", low=change.low, high=change.high)


def _columns() -> dict[str, Any]:
    number = st.column_config.NumberColumn
    return {
        "group": st.column_config.TextColumn(t("Held-out group"), width=150),
        "metric": st.column_config.TextColumn(t("Metric"), width=110),
        "examples": number(t("Examples"), format="localized", width=70),
        "before": number(t("Value before"), format="%.4f", width=65),
        "after": number(t("Value after"), format="%.4f", width=65),
        "change": number(t("Change"), format="%+.4f", width=70),
        "interval": st.column_config.TextColumn(t("95 % interval"), width=130, help=t("Paired by example.")),
        "verdict": st.column_config.TextColumn(
            t("Verdict"),
            width=110,
            help=t("Not proven: the interval crosses 0. Lower losses and higher shares are better."),
        ),
    }


def _chart(changes: list[Change]) -> tuple[Any, pl.DataFrame]:
    """Differences with their intervals, of the metric that most rows have, and their frame; 0 is a line."""
    import altair as alt
    import polars as pl

    metrics = [c.metric for c in changes]
    metric = max(dict.fromkeys(metrics), key=metrics.count)
    shown = [c for c in changes if c.metric == metric][:CHART_ROWS]
    rows = [
        {
            "group": _group(c),
            "change": c.difference,
            "low": c.low,
            "high": c.high,
            "verdict": t(MARKS[c.verdict]),
        }
        for c in shown
    ]
    frame = pl.DataFrame(rows, schema_overrides={"low": pl.Float64, "high": pl.Float64}, infer_schema_length=None)
    order = list(dict.fromkeys(map(_group, shown)))
    y = alt.Y("group:N", sort=order, title=None, axis=alt.Axis(labelLimit=220, labelOverlap=False))
    found = [v for v in MARKS if any(c.verdict == v for c in shown)]
    verdicts = [t(MARKS[v]) for v in found]
    colour = alt.Color(
        "verdict:N",
        title=None,
        scale=alt.Scale(domain=verdicts, range=[COLOURS[v] for v in found]),
        legend=alt.Legend(orient="top"),
    )
    zero = alt.Chart(pl.DataFrame({"x": [0.0]})).mark_rule(color=GREY, strokeDash=[3, 3]).encode(x="x:Q")
    shown_metric = t(METRICS.get(metric, metric))
    if "loss" in metric:
        title = t("change of {metric} (nats per token)", metric=shown_metric)
    else:
        title = t("change of {metric}", metric=shown_metric)
    whole = alt.Axis(labelFlush=True)  # a last label is not cut off at the edge
    low = alt.X("low:Q", title=title, axis=whole)
    bars = alt.Chart(frame).mark_rule(strokeWidth=2).encode(x=low, x2="high:Q", y=y, color=colour)
    dots = (
        alt.Chart(frame)
        .mark_point(filled=True, size=80, opacity=1)
        .encode(
            x=alt.X("change:Q", title=title, axis=whole),
            y=y,
            color=colour,
            shape=alt.Shape("verdict:N", title=None, scale=alt.Scale(domain=verdicts), legend=None),
            tooltip=[
                alt.Tooltip("group:N", title=t("group")),
                alt.Tooltip("change:Q", title=t("change"), format="+.4f"),
                alt.Tooltip("low:Q", title=t("from"), format="+.4f"),
                alt.Tooltip("high:Q", title=t("to"), format="+.4f"),
                alt.Tooltip("verdict:N", title=t("verdict")),
            ],
        )
    )
    return alt.layer(zero, bars, dots).properties(height=120 + 30 * len(order)), frame


def section(compared: RunComparison) -> None:
    """The part of the page with the answers."""
    st.subheader(t("The same prompts, answered side by side"))
    if not compared.answers:
        st.caption(
            t("No prompt is answered by more than one of them. Evaluate the runs with answers on the Evaluate page.")
        )
        return
    sources = sorted({row.source for row in compared.answers})
    source_cell, number_cell = st.columns([2, 1])
    source = source_cell.selectbox(
        t("Source"),
        [None, *sources],
        format_func=lambda s: t("all sources") if s is None else s,
        key=f"answers_source_{len(sources)}",
    )
    rows = [row for row in compared.answers if source in (None, row.source)]
    number = number_cell.number_input(t("Prompt"), 1, len(rows), 1, key=f"answers_number_{source}_{len(rows)}")
    row = rows[int(number) - 1]
    place = t("{number:,} of {n:,} prompts, from {source}", number=int(number), n=len(rows), source=row.source)
    st.caption(forms.plain(place))
    asked = {t("Asked"): row.question, t("Reference"): row.reference}
    _beside({f"**{title}**": text for title, text in asked.items() if text})
    names = {"base": t("base")}
    sides = [(f"**{forms.plain(names.get(name, name))}**", answer) for name, answer in row.answers.items()]
    for first in range(0, len(sides), AT_ONCE):
        _beside(dict(sides[first : first + AT_ONCE]), min(AT_ONCE, len(sides)))


def _beside(texts: Mapping[str, str], columns: int | None = None) -> None:
    """Texts beside each other under their titles; long ones scroll."""
    tall = any(len(text) > LONG_TEXT or text.count("\n") > LINES for text in texts.values())
    for cell, (title, text) in zip(st.columns(columns or len(texts)), texts.items(), strict=False):
        with cell.container(border=True, height=BOX if tall else "stretch"):
            st.markdown(title)
            st.text(text if text.strip() else t("(empty)"))
