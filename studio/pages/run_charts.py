"""The curves of a run: training and held-out loss, by source, and what moves beside them."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import streamlit as st

from studio import forms, plots
from studio.languages import mark, t
from studio.pages.run_colours import ACCENT, GREY, channels, plain_key
from studio.pages.run_points import ALL, held_out_points, named_points, series, thinned, training_points

if TYPE_CHECKING:
    from studio.pages.run_data import RunData

Spec = dict[str, Any]
"""Of Vega-Lite, plain: Altair would check each of them against its schema at every redraw."""
HEIGHT = 300
SMALL_HEIGHT = 150
MOST_SOURCES = 8
"""Sources that are drawn unless others are chosen: colours repeat from there on."""
IN_NATS = ("sft", "pretrain")
"""Methods whose training loss is one of tokens."""

SMALL = (
    (mark("Learning rate"), "learning_rate", "~g"),
    (mark("Gradient norm"), "grad_norm", ".3~g"),
    (mark("Tokens per second"), "tokens_per_second", "~s"),
    (mark("Peak memory (GiB)"), "peak_memory_gib", ".2~f"),
)
"""(title, key of a log, format of the axis)."""

DIAGNOSTICS: tuple[tuple[str, str, dict[str, str], str], ...] = (
    (
        mark("Held-out accuracy"),
        "held_out",
        {"accuracy": mark("accuracy")},
        mark("Share of pairs where chosen is preferred."),
    ),
    (
        mark("Reward margin"),
        "log",
        {"reward_margins": mark("margin")},
        mark("By how much more than the reference chosen is preferred."),
    ),
    (mark("Held-out margin"), "held_out", {"margin": mark("margin")}, mark("The same on held-out pairs, in nats.")),
    (
        mark("Likelihood against the base"),
        "held_out",
        {"chosen_log_ratio": mark("chosen answers"), "rejected_log_ratio": mark("rejected answers")},
        mark("In nats. Both may fall; chosen should fall less."),
    ),
    (mark("Reward"), "log", {"reward": mark("training")}, mark("Mean reward of the answers that are written.")),
    (
        mark("Held-out reward"),
        "held_out",
        {"reward": mark("held-out")},
        mark("Mean reward on prompts that are not trained on."),
    ),
    (
        mark("KL to the base"),
        "held_out",
        {"kl": mark("held-out")},
        mark("Nats per token: how far the model has moved away."),
    ),
    (
        mark("KL while training"),
        "log",
        {"kl": mark("training")},
        mark("Nats per token: how far the model has moved away."),
    ),
    (
        mark("Answer length (tokens)"),
        "held_out",
        {
            "chosen_tokens": mark("chosen answers"),
            "rejected_tokens": mark("rejected answers"),
            "answer_tokens": mark("written"),
        },
        mark("Rewards that only follow length show here."),
    ),
    (
        mark("Written length (tokens)"),
        "log",
        {"answer_tokens": mark("training")},
        mark("Mean tokens of the answers that are written."),
    ),
    (
        mark("Answers without spread"),
        "log",
        {"no_spread": mark("share")},
        mark("Prompts whose answers all have one reward teach nothing."),
    ),
    (
        mark("Answers cut off"),
        "log",
        {"cut_off": mark("share")},
        mark("Share of answers that reached max_answer_tokens."),
    ),
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
    st.markdown(f"**{t('Training loss')}**")
    name, sources = data.folder.name, [source for source in data.sources if _has_loss(data, source)]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        split = len(sources) > 1 and _either(
            t("Curves"), {"total": t("total"), "by source": t("by source")}, f"curves_{name}"
        )
        smoothing = st.slider(
            t("Smoothing"),
            0.0,
            0.98,
            0.6,
            0.02,
            key=f"smoothing_{name}",
            width=200,
            help=t("Weight of what was before."),
        )
    if not data.logs:
        st.caption(t("The first step is still to come."))
        return
    chosen = _chosen_sources(sources, f"sources_{name}") if split else []
    rows = training_points(data.logs, chosen, smoothing)
    if not rows:
        st.caption(t("Choose a source."))
        return
    room = 22 * max(1, math.ceil(len(chosen) / 2))  # for the legend
    last = data.logs[-1]["loss"]
    plots.draw(
        {**_training_chart(rows, data, bool(chosen)), "height": HEIGHT + room},
        _frame(rows),
        name=f"training-loss-{name}",
        alt=t("Training loss over {steps:,} steps, the last {loss:.3f}", steps=data.reached, loss=last),
        key=f"training_{plain_key(name)}",
    )


def _frame(rows: list[dict[str, Any]]) -> Any:
    import polars as pl

    return pl.DataFrame(rows, infer_schema_length=None)


def _either(label: str, names: dict[str, str], key: str) -> bool:
    """Which of two ways to draw: whether it is the second."""
    first, second = names
    chosen = st.segmented_control(
        label, list(names), default=first, required=True, key=key, format_func=names.__getitem__,
        label_visibility="collapsed",
    )  # fmt: skip
    return bool(chosen == second)


def _has_loss(data: RunData, source: str) -> bool:
    return any(source in (event.get("loss_by_source") or {}) for event in data.logs)


def _chosen_sources(sources: list[str], key: str) -> list[str]:
    if len(sources) <= MOST_SOURCES:
        return sources
    return st.multiselect(
        t("Sources"), sources, default=sources[:MOST_SOURCES], key=key, label_visibility="collapsed", max_selections=20
    )


def _training_chart(rows: list[dict[str, Any]], data: RunData, split: bool) -> Spec:
    title = t("nats per token") if data.config.get("method", "sft") in IN_NATS else t("loss of the method")
    tooltip = [
        *([{"field": "source", "type": "nominal", "title": t("source")}] if split else []),
        {"field": "step", "type": "quantitative", "title": t("Step"), "format": ","},
        {"field": "loss", "type": "quantitative", "format": ".4f", "title": t("smoothed")},
        {"field": "raw", "type": "quantitative", "format": ".4f", "title": t("as logged")},
    ]
    x, y = _steps(data.steps), _values("loss", title, ".3~f")
    seen = {"mark": {"type": "point", "size": 60, "opacity": 0}, "encoding": {"x": x, "y": y, "tooltip": tooltip}}
    if split:
        told_apart = channels("source", sorted({row["source"] for row in rows}), skipped=1)
        line = {"x": x, "y": y, **told_apart, "tooltip": tooltip}
        return {"layer": [{"mark": {"type": "line", "strokeWidth": 1.8}, "encoding": line}, seen]}
    scale = {"domain": [t("smoothed"), t("as logged")], "range": [ACCENT, GREY]}
    legend = {"orient": "bottom", "symbolType": "stroke", "symbolOpacity": 1}

    def curve(field: str, kind: str, mark: dict[str, Any]) -> Spec:
        colour = {"field": "kind", "type": "nominal", "title": None, "scale": scale, "legend": legend}
        return {
            "transform": [{"calculate": json.dumps(kind), "as": "kind"}],
            "mark": {"type": "line", **mark},
            "encoding": {"x": x, "y": _values(field, title, ".3~f"), "color": colour, "tooltip": tooltip},
        }

    raw = curve("raw", t("as logged"), {"strokeWidth": 1, "opacity": 0.6})
    smooth = curve("loss", t("smoothed"), {"strokeWidth": 2, "point": len(rows) < 30})
    return {"layer": [raw, smooth, seen]}


def _held_out(data: RunData) -> None:
    st.markdown(f"**{t('Held-out loss by source')}**")
    name = data.folder.name
    if not held_out_points(data.held_out):
        st.caption(t("The mix has no held-out rows, or they are not measured yet."))
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        ways = {"loss": t("loss"), "change since before": t("change since before")}
        change = _either(t("Held-out curves"), ways, f"held_{name}")
    # A single source is all of them: one curve, not two on top of each other.
    sources = data.sources if len(data.sources) > 1 else []
    shown = {ALL, *_chosen_sources(sources, f"held_sources_{name}")}
    rows = [
        {**row, "source": t("all sources") if row["source"] == ALL else row["source"]}
        for row in held_out_points(data.held_out, change=change)
        if row["source"] in shown
    ]
    plots.draw(
        _held_out_chart(rows, data, change),
        _frame(rows),
        name=f"held-out-loss-{name}",
        alt=t("Held-out loss of every source over the steps"),
        key=f"held_out_{plain_key(name)}",
    )


def _held_out_chart(rows: list[dict[str, Any]], data: RunData, change: bool) -> Spec:
    whole = t("all sources")
    encoding = {
        "x": _steps(data.steps),
        "y": _values("loss", t("change in nats per token") if change else t("nats per token"), ".3~f"),
        **channels("source", [row["source"] for row in rows], first=whole),
        "strokeWidth": {"condition": {"test": {"field": "source", "equal": whole}, "value": 3}, "value": 1.5},
        "tooltip": [
            {"field": "source", "type": "nominal", "title": t("source")},
            {"field": "step", "type": "quantitative", "title": t("Step"), "format": ","},
            {
                "field": "loss",
                "type": "quantitative",
                "title": t("change") if change else t("loss"),
                "format": "+.4f" if change else ".4f",
            },
        ],
    }
    layers: list[Spec] = [{"mark": {"type": "line", "point": {"size": 28}}, "encoding": encoding}]
    best = data.report.best_step
    if best:
        told = [
            {"field": "step", "type": "quantitative", "title": t("Step")},
            {"field": "told", "type": "nominal", "title": t("weights")},
        ]
        layers.append(
            {
                "data": {"values": [{"step": best, "told": t("weights kept")}]},
                "mark": {"type": "rule", "strokeDash": [4, 4], "color": GREY},
                "encoding": {"x": {"field": "step", "type": "quantitative"}, "tooltip": told},
            }
        )
    height = HEIGHT + 22 * math.ceil(len({row["source"] for row in rows}) / 2)
    return {"layer": layers, "height": height}


def _steps(steps: int, **axis: Any) -> Spec:
    return {
        "field": "step",
        "type": "quantitative",
        "title": t("steps"),
        "axis": {"format": "~s", "tickMinStep": 1, "labelFlush": True, **axis},
        "scale": {"domain": [0, steps], "nice": False},
    }


def _values(field: str, title: str | None, form: str, **axis: Any) -> Spec:
    return {
        "field": field,
        "type": "quantitative",
        "title": title,
        "axis": {"format": form, **axis},
        "scale": {"zero": False},
    }


def small_multiples(data: RunData) -> None:
    """Learning rate, gradient norm, speed and memory, in a row."""
    shown = [(title, key, form) for title, key, form in SMALL if series(data.logs, key)]
    if not shown:
        return
    cells = st.columns(len(shown), gap="medium")
    for cell, (title, key, form) in zip(cells, shown, strict=True):
        with cell:
            rows = [{"step": s, "name": t(title), "value": v} for s, v in thinned(series(data.logs, key))]
            _small(title, rows, data, form, key=key)


def diagnostics(data: RunData) -> None:
    """What a method of preferences or rewards tells beside its loss."""
    found = []
    for title, kind, keys, told in DIAGNOSTICS:
        rows = named_points(data.logs if kind == "log" else data.held_out, {key: t(name) for key, name in keys.items()})
        if rows:
            found.append((title, rows, told))
    if not found:
        return
    st.markdown(f"**{t('Is it the preference that is learnt?')}**")
    for start in range(0, len(found), 4):
        cells = st.columns(4, gap="medium")
        for cell, (title, rows, told) in zip(cells, found[start : start + 4], strict=False):
            with cell:
                _small(title, rows, data, ".3~g", key=title, told=told)


def _small(title: str, rows: list[dict[str, Any]], data: RunData, form: str, *, key: str, told: str = "") -> None:
    st.caption(forms.plain(t(title)), help=t(told) if told else None)
    names = list(dict.fromkeys(row["name"] for row in rows))
    tooltip = [
        {"field": "step", "type": "quantitative", "title": t("Step"), "format": ","},
        {"field": "value", "type": "quantitative", "title": t(title), "format": ".4~g"},
    ]
    if len(names) > 1:
        tooltip = [{"field": "name", "type": "nominal", "title": t("curve")}, *tooltip]
    place = {"x": _steps(data.steps, tickCount=4), "y": _values("value", None, form, tickCount=4), "tooltip": tooltip}
    # Four charts share the width: two names stand below each other.
    told_apart = channels("name", names, columns=1) if len(names) > 1 else {}
    line = {"mark": {"type": "line", "strokeWidth": 1.5, "point": len(rows) < 15}, "encoding": {**place, **told_apart}}
    height = SMALL_HEIGHT + (22 * len(names) if len(names) > 1 else 0)
    plots.draw(
        {"layer": [line, {"mark": {"type": "point", "size": 60, "opacity": 0}, "encoding": place}], "height": height},
        _frame(rows),
        name=f"{key}-{data.folder.name}",
        alt=t("{title} over the steps, the last {value:.4g}", title=t(title), value=rows[-1]["value"]),
        key=f"small_{plain_key(key + data.folder.name)}",
    )
