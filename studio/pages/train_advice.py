"""Advice beside the form of the Train page: does it fit, how long it takes, what to set and why."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import WinnowError
from studio import forms, plots
from studio.languages import mark, t, tn, told_text
from studio.languages import told as said

if TYPE_CHECKING:
    from training.advice.advising import Advice, Suggestion
    from training.advice.hardware import Hardware
    from training.advice.mix_facts import MixFacts
    from training.config import TrainConfig

PARTS = {
    "weights": mark("weights"),
    "gradients": mark("gradients"),
    "optimizer": mark("optimizer"),
    "activations": mark("activations"),
    "overhead": mark("process"),
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
        told = advice_of(mix, config, runs)
    except WinnowError as error:
        st.caption(forms.plain(said(error)[0]))
        return
    with st.container(border=True):
        _headline(told)
        _suggestions(told, adapter_key)
        icon = ":material/bar_chart:"
        charts = st.expander(t("Memory and lengths"), icon=icon, key="train_charts", on_change="rerun")
        # Closed it draws nothing: the form answers in half the time.
        if charts.open:
            with charts:
                _memory_chart(told, mix.name)
                _lengths_chart(told, config.max_length, mix.name)


def advice_of(mix: Path, config: TrainConfig, runs: Path) -> Advice:
    """What can be said of a run before it starts; what is slow to find out is found out once.

    Raises:
        WinnowError: the mix can't be read.
    """
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


def _mix_facts(mix: str, base_model: str, stamps: tuple[int, ...]) -> MixFacts:
    with st.spinner(t("Counting the tokens of the mix"), show_time=True):
        return _counted(mix, base_model, stamps)


@st.cache_resource(max_entries=32, show_spinner=False)
def _counted(mix: str, base_model: str, stamps: tuple[int, ...]) -> MixFacts:
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
        True: (t("fits"), ":material/check:", "green"),
        False: (t("does not fit"), ":material/error:", "red"),
        None: (t("memory not known"), ":material/help:", "gray"),
    }[told.fits]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{t('Advice')}**", width="content")
        st.badge(label, icon=icon, color=colour)  # type: ignore[arg-type]
    st.caption(forms.plain(" · ".join(sentences(told))), help=reasons(told))


def sentences(told: Advice) -> list[str]:
    """Rows, tokens, steps and time, in a few words each."""
    machine = told.hardware
    parts = [
        tn("{n} row", "{n:,} rows", told.rows),
        t("{tokens:,} tokens a pass", tokens=told.tokens_per_epoch),
    ]
    if told.fill is not None:
        parts.append(t("packed rows {share:.1%} full", share=told.fill))
    if told.cut:
        parts.append(t("{share:.1%} cut", share=told.cut))
    if told.steps is not None:
        parts.append(tn("{n} step", "{n:,} steps", told.steps))
    if told.seconds is None:
        parts.append(t("time not known"))
    else:
        parts.append(t("about {duration}", duration=forms.duration(told.seconds)))
    name = machine.device or tn("{n} CPU core", "{n} CPU cores", machine.cores)
    return [*parts, name if machine.memory_gib is None else f"{name}, {machine.memory_gib:g} GiB"]


def reasons(told: Advice) -> str:
    """Where the numbers come from, for a tooltip."""
    known = told.reasons
    return "  \n".join(
        forms.plain(t("{what}: {reason}.", what=what, reason=told_text(text)))
        for what, text in (
            (t("Tokens"), told.tokens_counted),
            (t("Parameters"), known["parameters"]),
            (t("Memory"), known["memory"]),
            (t("Time"), known["seconds"]),
            (t("Machine"), known["hardware"]),
        )
    )


def _memory_chart(told: Advice, mix: str) -> None:
    import altair as alt
    import polars as pl

    memory, machine = told.memory, told.hardware
    limit = machine.memory_gib if machine.on_gpu else machine.free_gib or machine.memory_gib
    why = forms.plain(told_text(memory.reason))
    if memory.total is None:
        st.caption(forms.plain(t("Memory not known: {reason}.", reason=told_text(memory.reason))))
        return
    if limit is None:
        st.caption(t("Memory: {used:.2f} GiB", used=memory.total), help=why)
    elif machine.on_gpu:
        st.caption(t("Memory: {used:.2f} of {limit:g} GiB", used=memory.total, limit=limit), help=why)
    else:
        st.caption(t("Memory: {used:.2f} of {limit:g} GiB free", used=memory.total, limit=limit), help=why)
    names = [t(name) for name in PARTS.values()]
    parts = enumerate(zip(PARTS, names, strict=True))
    rows = [{"part": name, "GiB": getattr(memory, part) or 0.0, "order": i} for i, (part, name) in parts]
    top = max(memory.total, limit or 0.0) if memory.total > 0.2 * (limit or 0.0) else memory.total
    frame = pl.DataFrame(rows)
    legend = alt.Legend(orient="bottom", columns=3, labelLimit=90)
    chart = (
        alt.Chart(frame)
        .mark_bar(height=18)
        .encode(
            x=alt.X("GiB:Q", title=t("GiB"), scale=alt.Scale(domain=[0, top], nice=False), axis=alt.Axis(tickCount=4)),
            color=alt.Color("part:N", sort=names, title=None, scale=alt.Scale(domain=names), legend=legend),
            order="order:Q",
            tooltip=[alt.Tooltip("part:N", title=t("part")), alt.Tooltip("GiB:Q", title=t("GiB"), format=".3f")],
        )
        .properties(height=130)
    )
    alt_text = t("Memory by part, {total:.2f} GiB together", total=memory.total)
    plots.draw(chart, frame.drop("order"), name=f"memory-{mix}", alt=alt_text, key="train_memory")


def _lengths_chart(told: Advice, max_length: int, mix: str) -> None:
    import altair as alt
    import polars as pl

    quantiles = told.length_quantiles
    st.caption(
        t(
            "Tokens of a sample: half up to {half:,}, 99 % up to {most:,}; the line is max_length",
            half=quantiles["p50"],
            most=quantiles["p99"],
        )
    )
    rows = [{"from": low, "to": high, "samples": count} for low, high, count in told.histogram]
    if not rows:
        st.caption(t("No sample could be read."))
        return
    frame = pl.DataFrame(rows)
    x = alt.X("from:Q", title=t("tokens"), bin="binned", axis=alt.Axis(tickCount=5, format="~s", labelFlush=True))
    tooltip = [
        alt.Tooltip("from:Q", title=t("from"), format=","),
        alt.Tooltip("to:Q", title=t("to"), format=","),
        alt.Tooltip("samples:Q", title=t("samples"), format=","),
    ]
    y = alt.Y("samples:Q", title=t("samples"), axis=alt.Axis(tickCount=3, format="~s"))
    layers = [alt.Chart(frame).mark_bar().encode(x=x, x2="to:Q", y=y, tooltip=tooltip)]
    if max_length <= rows[-1]["to"]:
        line = alt.Chart(pl.DataFrame([{"max_length": max_length}])).mark_rule(color="#D9652B", strokeWidth=2)
        layers.append(line.encode(x="max_length:Q", tooltip=alt.Tooltip("max_length:Q", format=",")))
    chart = alt.layer(*layers).properties(height=150)
    alt_text = t("How many samples have how many tokens")
    plots.draw(chart, frame, name=f"lengths-{mix}", alt=alt_text, key="train_lengths")


def _suggestions(told: Advice, adapter_key: str) -> None:
    changes = [suggestion for suggestion in told.suggestions if suggestion.changes]
    for suggestion in changes:
        st.markdown(_line(suggestion))
    st.button(
        tn("Take the suggestion", "Take {n} suggestions", max(1, len(changes))),
        key="train-take",
        icon=":material/checklist:",
        disabled=not changes,
        help=None if changes else t("The form has them already."),
        on_click=take,
        args=(changes, adapter_key),
    )
    same = [suggestion for suggestion in told.suggestions if not suggestion.changes]
    if same:
        with st.expander(t("Why the other settings stay")):
            for suggestion in same:
                st.markdown(_line(suggestion))


def _line(suggestion: Suggestion) -> str:
    value = forms.plain(_worded(suggestion.value))
    now = ""
    if suggestion.changes:
        now = f" :orange-badge[{t('now {value}', value=forms.plain(_worded(suggestion.now)))}]"
    name = forms.plain(t(suggestion.field.replace("_", " ").capitalize()))
    return f"**{name} {value}**{now}  \n:small[:gray[{forms.plain(told_text(suggestion.reason))}]]"


def _worded(value: Any) -> str:
    return t("none") if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def take(suggestions: list[Suggestion], adapter_key: str) -> None:
    """Set the form's widgets to the suggested values; from a callback, before they are drawn."""
    for suggestion in suggestions:
        if suggestion.field == "learning_rate":
            st.session_state["train-learning_rate"] = f"{suggestion.value:g}"
        elif suggestion.field == "adapter":
            st.session_state[adapter_key] = suggestion.value
        else:
            st.session_state[f"train_{suggestion.field}"] = suggestion.value
