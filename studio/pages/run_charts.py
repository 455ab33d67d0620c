"""The curves of a run: training and held-out loss, by source, and what moves beside them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import streamlit as st

from studio import forms
from studio.pages.run_points import ALL, held_out_points, named_points, series, thinned, training_points

if TYPE_CHECKING:
    import altair as alt

    from studio.pages.run_data import RunData

HEIGHT = 300
SMALL_HEIGHT = 150
MOST_SOURCES = 8
"""Sources that are drawn unless others are chosen: colours repeat from there on."""
GREY = "#8A8F98"
IN_NATS = ("sft", "pretrain")
"""Methods whose training loss is one of tokens."""

SMALL = (
    ("Learning rate", "learning_rate", "~e"),
    ("Gradient norm", "grad_norm", ".3~g"),
    ("Tokens per second", "tokens_per_second", "~s"),
    ("Peak memory (GiB)", "peak_memory_gib", ".2~f"),
)
"""(title, key of a log, format of the axis)."""

DIAGNOSTICS: tuple[tuple[str, str, dict[str, str], str], ...] = (
    ("Held-out accuracy", "held_out", {"accuracy": "accuracy"}, "Share of pairs where chosen is preferred."),
    ("Reward margin", "log", {"reward_margins": "margin"}, "By how much more than the reference chosen is preferred."),
    ("Held-out margin", "held_out", {"margin": "margin"}, "The same on held-out pairs, in nats."),
    (
        "Likelihood against the base",
        "held_out",
        {"chosen_log_ratio": "chosen", "rejected_log_ratio": "rejected"},
        "Both may fall; chosen should fall less.",
    ),
    ("Reward", "log", {"reward": "training"}, "Mean reward of the answers that are written."),
    ("Held-out reward", "held_out", {"reward": "held-out"}, "Mean reward on prompts that are not trained on."),
    ("KL to the base", "held_out", {"kl": "held-out"}, "Nats per token: how far the model has moved away."),
    ("KL while training", "log", {"kl": "training"}, "Nats per token: how far the model has moved away."),
    (
        "Answer length (tokens)",
        "held_out",
        {"chosen_tokens": "chosen", "rejected_tokens": "rejected", "answer_tokens": "written"},
        "Rewards that only follow length show here.",
    ),
    ("Written length (tokens)", "log", {"answer_tokens": "training"}, "Mean tokens of the answers that are written."),
    (
        "Answers without spread",
        "log",
        {"no_spread": "share"},
        "Prompts whose answers all have one reward teach nothing.",
    ),
    ("Answers cut off", "log", {"cut_off": "share"}, "Share of answers that reached max_answer_tokens."),
)
"""(title, type of event, key -> name of the curve, what it says)."""


def losses(data: RunData) -> None:
    """Training and held-out loss side by side, with their controls."""
    left, right = st.columns(2, gap="large")
    with left:
        _training(data)
    with right:
        _held_out(data)


def _training(data: RunData) -> None:
    st.markdown("**Training loss**")
    name, sources = data.folder.name, [source for source in data.sources if _has_loss(data, source)]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        split = len(sources) > 1 and (
            st.segmented_control(
                "Curves",
                ["total", "by source"],
                default="total",
                required=True,
                key=f"curves_{name}",
                label_visibility="collapsed",
            )
            == "by source"
        )
        smoothing = st.slider(
            "Smoothing", 0.0, 0.98, 0.6, 0.02, key=f"smoothing_{name}", width=200, help="Weight of what was before."
        )
    if not data.logs:
        st.caption("The first step is still to come.")
        return
    chosen = _chosen_sources(sources, f"sources_{name}") if split else []
    rows = training_points(data.logs, chosen, smoothing)
    if not rows:
        st.caption("Choose a source.")
        return
    room = 22 * math.ceil(len(chosen) / 2)  # for the legend
    st.altair_chart(
        _training_chart(rows, data, split).properties(height=HEIGHT + room),
        alt=f"Training loss over {data.reached} steps, the last {data.logs[-1]['loss']:.3f}",
        key=f"training_{name}",
    )


def _has_loss(data: RunData, source: str) -> bool:
    return any(source in (event.get("loss_by_source") or {}) for event in data.logs)


def _chosen_sources(sources: list[str], key: str) -> list[str]:
    if len(sources) <= MOST_SOURCES:
        return sources
    return st.multiselect(
        "Sources", sources, default=sources[:MOST_SOURCES], key=key, label_visibility="collapsed", max_selections=20
    )


def _training_chart(rows: list[dict[str, Any]], data: RunData, split: bool) -> Any:
    import altair as alt
    import polars as pl

    base = alt.Chart(pl.DataFrame(rows)).encode(x=_steps(data.steps))
    title = "nats per token" if data.config.get("method", "sft") in IN_NATS else "loss of the method"
    y = alt.Y("loss:Q", title=title, axis=alt.Axis(format=".3~f"), scale=alt.Scale(zero=False))
    tooltip = [
        "source:N",
        "step:Q",
        alt.Tooltip("loss:Q", format=".4f", title="smoothed"),
        alt.Tooltip("raw:Q", format=".4f"),
    ]
    if split:
        return alt.layer(
            base.mark_line(strokeWidth=1.8).encode(y=y, color=_by_source(rows), tooltip=tooltip),
            base.mark_point(size=60, opacity=0).encode(y=y, tooltip=tooltip),
        )
    raw = base.mark_line(strokeWidth=1, opacity=0.55, color=GREY).encode(y=alt.Y("raw:Q", scale=alt.Scale(zero=False)))
    line = base.mark_line(strokeWidth=2, point=len(rows) < 30).encode(y=y, tooltip=tooltip[1:])
    return alt.layer(raw, line, base.mark_point(size=60, opacity=0).encode(y=y, tooltip=tooltip[1:]))


def _held_out(data: RunData) -> None:
    st.markdown("**Held-out loss by source**")
    name = data.folder.name
    if not held_out_points(data.held_out):
        st.caption("The mix has no held-out rows, or they are not measured yet.")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        change = (
            st.segmented_control(
                "Held-out curves",
                ["loss", "change since before"],
                default="loss",
                required=True,
                key=f"held_{name}",
                label_visibility="collapsed",
            )
            == "change since before"
        )
    rows = held_out_points(data.held_out, change=change)
    shown = {ALL, *_chosen_sources(data.sources, f"held_sources_{name}")}
    chart = _held_out_chart([row for row in rows if row["source"] in shown], data, change)
    st.altair_chart(chart, alt="Held-out loss of every source over the steps", key=f"held_out_{name}")


def _held_out_chart(rows: list[dict[str, Any]], data: RunData, change: bool) -> Any:
    import altair as alt
    import polars as pl

    title = "change in nats per token" if change else "nats per token"
    base = alt.Chart(pl.DataFrame(rows)).encode(
        x=_steps(data.steps),
        y=alt.Y("loss:Q", title=title, axis=alt.Axis(format=".3~f"), scale=alt.Scale(zero=False)),
        color=_by_source(rows),
        tooltip=["source:N", "step:Q", alt.Tooltip("loss:Q", format="+.4f" if change else ".4f")],
    )
    layers = [
        base.mark_line(point=alt.OverlayMarkDef(size=28)).encode(
            strokeWidth=alt.condition(f"datum.source == '{ALL}'", alt.value(3), alt.value(1.5))
        )
    ]
    best = data.report.best_step
    if best:
        rule = alt.Chart(pl.DataFrame([{"step": best, "told": "kept"}]))
        layers.append(rule.mark_rule(strokeDash=[4, 4], color=GREY).encode(x="step:Q", tooltip=["step:Q", "told:N"]))
    height = HEIGHT + 22 * math.ceil(len({row["source"] for row in rows}) / 2)
    return alt.layer(*layers).properties(height=height)


def _by_source(rows: list[dict[str, Any]]) -> alt.Color:
    import altair as alt

    # Its colour must not change when another source is left out.
    named = sorted({row["source"] for row in rows} - {ALL})
    domain = [*([ALL] if any(row["source"] == ALL for row in rows) else []), *named]
    legend = alt.Legend(orient="bottom", columns=2, labelLimit=160)
    return alt.Color("source:N", title=None, sort=domain, scale=alt.Scale(domain=domain), legend=legend)


def _steps(steps: int) -> alt.X:
    import altair as alt

    axis = alt.Axis(format="~s", tickMinStep=1, labelFlush=True)
    return alt.X("step:Q", title="step", axis=axis, scale=alt.Scale(domain=[0, steps], nice=False))


def small_multiples(data: RunData) -> None:
    """Learning rate, gradient norm, speed and memory, in a row."""
    shown = [(title, key, form) for title, key, form in SMALL if series(data.logs, key)]
    if not shown:
        return
    cells = st.columns(len(shown), gap="medium")
    for cell, (title, key, form) in zip(cells, shown, strict=True):
        with cell:
            rows = [{"step": s, "name": title, "value": v} for s, v in thinned(series(data.logs, key))]
            _small(title, rows, data, form, key=key)


def diagnostics(data: RunData) -> None:
    """What a method of preferences or rewards tells beside its loss."""
    found = []
    for title, kind, keys, told in DIAGNOSTICS:
        rows = named_points(data.logs if kind == "log" else data.held_out, keys)
        if rows:
            found.append((title, rows, told))
    if not found:
        return
    st.markdown("**Is it the preference that is learnt?**")
    for start in range(0, len(found), 4):
        cells = st.columns(4, gap="medium")
        for cell, (title, rows, told) in zip(cells, found[start : start + 4], strict=False):
            with cell:
                _small(title, rows, data, ".3~g", key=title, told=told)


def _small(title: str, rows: list[dict[str, Any]], data: RunData, form: str, *, key: str, told: str = "") -> None:
    import altair as alt
    import polars as pl

    st.caption(forms.plain(title), help=told or None)
    several = len({row["name"] for row in rows}) > 1
    x = alt.X(
        "step:Q",
        title=None,
        axis=alt.Axis(format="~s", tickCount=4, tickMinStep=1, labelFlush=True),
        scale=alt.Scale(domain=[0, data.steps], nice=False),
    )
    y = alt.Y("value:Q", title=None, axis=alt.Axis(format=form, tickCount=4), scale=alt.Scale(zero=False))
    tooltip = ["step:Q", alt.Tooltip("value:Q", format=".4~g")]
    chart = alt.Chart(pl.DataFrame(rows)).mark_line(strokeWidth=1.5, point=len(rows) < 15).encode(x=x, y=y)
    if several:
        legend = alt.Legend(orient="bottom", title=None)
        chart = chart.encode(color=alt.Color("name:N", legend=legend), tooltip=["name:N", *tooltip])
    else:
        chart = chart.encode(tooltip=tooltip)
    st.altair_chart(
        chart.properties(height=SMALL_HEIGHT + (24 if several else 0)),
        alt=f"{title} over the steps, the last {rows[-1]['value']:.4g}",
        key=f"small_{key}_{data.folder.name}",
    )
