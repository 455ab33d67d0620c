"""Advice beside the form of the Train page: does it fit, how long it takes, what to set and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import WinnowError
from studio import forms

if TYPE_CHECKING:
    from training.advice.advising import Advice, Suggestion
    from training.advice.hardware import Hardware
    from training.advice.mix_facts import MixFacts
    from training.config import TrainConfig

PARTS = {
    "weights": "weights",
    "gradients": "gradients",
    "optimizer": "optimizer",
    "activations": "activations",
    "overhead": "process",
}
"""Part of the memory -> what to call it."""
MACHINE_SECONDS = 30
"""How long the machine is thought to be as it was."""


def advice_box(mix: Path, config: TrainConfig, runs: Path, *, adapter_key: str) -> None:
    """What is known before the start, and a button that takes the suggestions.

    Args:
        mix: the folder of the mix.
        config: as the form has it.
        runs: folder of earlier runs, whose pace is the best estimate.
        adapter_key: key of the widget that chooses the adapter.
    """
    try:
        told = _advice(mix, config, runs)
    except WinnowError as error:
        st.caption(forms.plain(error.message))
        return
    with st.container(border=True):
        _headline(told)
        _suggestions(told, adapter_key)
        _memory_chart(told)
        _lengths_chart(told, config.max_length)


def _advice(mix: Path, config: TrainConfig, runs: Path) -> Advice:
    from training.advice.advising import advice
    from training.advice.base_facts import base_facts

    facts = base_facts(config.base_model)
    stamps = tuple(
        (mix / name).stat().st_mtime_ns if (mix / name).exists() else 0 for name in ("train.jsonl", "eval.jsonl")
    )
    return advice(
        _mix_facts(str(mix), config.base_model, stamps),
        facts,
        _hardware(),
        config,
        measured=_measured_pace(str(runs), config.model_dump_json(), _stamps(runs)),
    )


@st.cache_data(max_entries=32, show_spinner="Counting the tokens of the mix")
def _mix_facts(mix: str, base_model: str, stamps: tuple[int, ...]) -> MixFacts:
    from training.advice.base_facts import base_facts
    from training.advice.mix_facts import mix_facts

    return mix_facts(mix, base_facts(base_model))


def _stamps(runs: Path) -> tuple[tuple[str, int, int], ...]:
    """What changes with the runs that a pace is taken from."""
    found = []
    for path in sorted((*runs.glob("*/config.json"), *runs.glob("*/events.jsonl"))):
        told = path.stat()
        found.append((str(path), told.st_mtime_ns, told.st_size))
    return tuple(found)


@st.cache_data(max_entries=32, show_spinner=False)
def _measured_pace(runs: str, config: str, stamps: tuple[tuple[str, int, int], ...]) -> tuple[float, str] | None:
    from training.config import TrainConfig
    from training.runs.measured import measured_pace

    return measured_pace(Path(runs), TrainConfig.model_validate_json(config))


@st.cache_data(ttl=MACHINE_SECONDS, show_spinner=False)
def _hardware() -> Hardware:
    from training.advice.hardware import hardware

    return hardware()


def _headline(told: Advice) -> None:
    label, icon, colour = {
        True: ("fits", ":material/check:", "green"),
        False: ("does not fit", ":material/error:", "red"),
        None: ("memory not known", ":material/help:", "gray"),
    }[told.fits]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown("**Advice**", width="content")
        st.badge(label, icon=icon, color=colour)  # type: ignore[arg-type]
    st.caption(forms.plain(" · ".join(sentences(told))), help=reasons(told))


def sentences(told: Advice) -> list[str]:
    """Rows, tokens, steps and time, in a few words each."""
    machine = told.hardware
    parts = [f"{told.rows:,} rows", f"{told.tokens_per_epoch:,} tokens a pass"]
    if told.fill is not None:
        parts.append(f"packed rows {told.fill:.1%} full")
    if told.cut:
        parts.append(f"{told.cut:.1%} cut")
    if told.steps is not None:
        parts.append(f"{told.steps:,} steps")
    parts.append("time not known" if told.seconds is None else f"about {forms.duration(told.seconds)}")
    name = machine.device or f"{machine.cores} CPU cores"
    return [*parts, name if machine.memory_gib is None else f"{name}, {machine.memory_gib:g} GiB"]


def reasons(told: Advice) -> str:
    """Where the numbers come from, for a tooltip."""
    known = told.reasons
    return "  \n".join(
        forms.plain(f"{name.capitalize()}: {text}.")
        for name, text in (
            ("tokens", told.tokens_counted),
            ("parameters", known["parameters"]),
            ("memory", known["memory"]),
            ("time", known["seconds"]),
            ("machine", known["hardware"]),
        )
    )


def _memory_chart(told: Advice) -> None:
    import altair as alt
    import polars as pl

    memory, machine = told.memory, told.hardware
    limit = machine.memory_gib if machine.on_gpu else machine.free_gib or machine.memory_gib
    if memory.total is None:
        st.caption("Memory", help=forms.plain(memory.reason))
        st.caption(forms.plain(f"Not known: {memory.reason}."))
        return
    free = "" if limit is None else f" of {limit:g} GiB" + ("" if machine.on_gpu else " free")
    st.caption(forms.plain(f"Memory: {memory.total:.2f}{free or ' GiB'}"), help=forms.plain(memory.reason))
    parts = enumerate(PARTS.items())
    rows = [{"part": name, "GiB": getattr(memory, part) or 0.0, "order": i} for i, (part, name) in parts]
    top = max(memory.total, limit or 0.0) if memory.total > 0.2 * (limit or 0.0) else memory.total
    bars = alt.Chart(pl.DataFrame(rows)).mark_bar(height=18)
    names, legend = list(PARTS.values()), alt.Legend(orient="bottom", columns=3, labelLimit=90)
    chart = bars.encode(
        x=alt.X("GiB:Q", title=None, scale=alt.Scale(domain=[0, top], nice=False), axis=alt.Axis(tickCount=4)),
        color=alt.Color("part:N", sort=names, title=None, scale=alt.Scale(domain=names), legend=legend),
        order="order:Q",
        tooltip=["part:N", alt.Tooltip("GiB:Q", format=".3f")],
    )
    st.altair_chart(chart.properties(height=110), alt=f"Memory by part, {memory.total:.2f} GiB together")


def _lengths_chart(told: Advice, max_length: int) -> None:
    import altair as alt
    import polars as pl

    quantiles = told.length_quantiles
    st.caption(f"Tokens of a sample: half up to {quantiles['p50']:,}, 99 % up to {quantiles['p99']:,}")
    rows = [{"from": low, "to": high, "samples": count} for low, high, count in told.histogram]
    if not rows:
        st.caption("No sample could be read.")
        return
    bars = (
        alt.Chart(pl.DataFrame(rows))
        .mark_bar()
        .encode(
            x=alt.X("from:Q", title=None, bin="binned", axis=alt.Axis(tickCount=5, format="~s", labelFlush=True)),
            x2="to:Q",
            y=alt.Y("samples:Q", title=None, axis=alt.Axis(tickCount=3, format="~s")),
            tooltip=["from:Q", "to:Q", "samples:Q"],
        )
    )
    line = alt.Chart(pl.DataFrame([{"max_length": max_length}])).mark_rule(color="#D9652B", strokeWidth=2)
    layers = [bars, line.encode(x="max_length:Q", tooltip="max_length:Q")] if max_length <= rows[-1]["to"] else [bars]
    st.altair_chart(alt.layer(*layers).properties(height=110), alt="How many samples have how many tokens")


def _suggestions(told: Advice, adapter_key: str) -> None:
    changes = [suggestion for suggestion in told.suggestions if suggestion.changes]
    for suggestion in changes:
        st.markdown(_line(suggestion))
    st.button(
        f"Take {len(changes)} suggestions" if len(changes) > 1 else "Take the suggestion",
        key="train-take",
        icon=":material/checklist:",
        disabled=not changes,
        help=None if changes else "The form has them already.",
        on_click=take,
        args=(changes, adapter_key),
    )
    same = [suggestion for suggestion in told.suggestions if not suggestion.changes]
    if same:
        with st.expander("Why the other settings stay"):
            for suggestion in same:
                st.markdown(_line(suggestion))


def _line(suggestion: Suggestion) -> str:
    value = forms.plain(_worded(suggestion.value))
    now = ""
    if suggestion.changes:
        now = f" :orange-badge[now {forms.plain(_worded(suggestion.now))}]"
    name = forms.plain(suggestion.field.replace("_", " "))
    return f"**{name} {value}**{now}  \n:small[:gray[{forms.plain(suggestion.reason)}]]"


def _worded(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def take(suggestions: list[Suggestion], adapter_key: str) -> None:
    """Set the form's widgets to the suggested values; from a callback, before they are drawn."""
    for suggestion in suggestions:
        if suggestion.field == "learning_rate":
            st.session_state["train-learning_rate"] = f"{suggestion.value:g}"
        elif suggestion.field == "adapter":
            st.session_state[adapter_key] = suggestion.value
        else:
            st.session_state[f"train_{suggestion.field}"] = suggestion.value
