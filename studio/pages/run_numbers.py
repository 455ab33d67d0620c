"""A run in numbers, and what looks wrong in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from studio import forms

if TYPE_CHECKING:
    from studio.pages.run_data import RunData
    from training.concerns import Concern

AT_ONCE = 3
"""Warnings that are shown before the others fold away."""


def warnings(data: RunData) -> None:
    """What looks wrong, serious things first, each with what to do."""
    for concern in data.concerns[:AT_ONCE]:
        _warning(concern)
    rest = data.concerns[AT_ONCE:]
    if rest:
        with st.expander(f"{len(rest)} more"):
            for concern in rest:
                _warning(concern)


def _warning(concern: Concern) -> None:
    draw, icon = (st.warning, ":material/warning:") if concern.serious else (st.info, ":material/lightbulb:")
    draw(f"{forms.plain(concern.text)}  \n**What to do:** {forms.plain(concern.fix)}.", icon=icon)


def numbers(data: RunData, *, live: bool) -> None:
    """Six numbers in a row."""
    told = data.report
    cells = st.columns(6)
    cells[0].metric(
        "Training loss",
        "none yet" if told.train_loss is None else f"{told.train_loss:.3f}",
        help="The last logged one. For SFT in nats per token.",
    )
    with cells[1]:
        _held_out(data)
    with cells[2]:
        _speed(data, live=live)
    with cells[3]:
        _memory(data)
    with cells[4]:
        _time(data, live=live)
    cells[5].metric(
        "Rows", f"{told.rows:,}", help=f"{told.tokens:,} tokens, {told.truncated:,} rows cut, once through."
    )


def _held_out(data: RunData) -> None:
    losses = [event["loss"] for event in data.held_out if event.get("loss") is not None]
    change = f"{losses[-1] - losses[0]:+.3f}" if len(losses) > 1 else None
    accuracy = next((e["accuracy"] for e in reversed(data.held_out) if e.get("accuracy") is not None), None)
    if accuracy is not None:
        interval = next(e.get("accuracy_interval") for e in reversed(data.held_out) if e.get("accuracy") is not None)
        shown = f"{interval[0]:.0%} to {interval[1]:.0%}" if interval else None
        st.metric(
            "Held-out accuracy",
            f"{accuracy:.1%}",
            shown,
            delta_color="off",
            delta_arrow="off",
            help="Held-out pairs in which the chosen answer is preferred, with its 95 % interval.",
        )
        return
    st.metric(
        "Held-out loss",
        f"{losses[-1]:.3f}" if losses else "none",
        change,
        delta_color="inverse",
        help="On eval.jsonl, with its change since before training; none without held-out rows.",
    )


def _speed(data: RunData, *, live: bool) -> None:
    speed = data.recent("tokens_per_second") if live else None
    speed = data.report.tokens_per_second if speed is None else speed
    mfu = data.recent("mfu")
    reason = data.last("mfu_reason")
    told = "Through the model since it was started or resumed; held-out losses and checkpoints do not count."
    share = (
        "MFU is the share of the GPU's dense bf16 peak." if mfu is not None else f"No MFU: {reason}." if reason else ""
    )
    st.metric(
        "Tokens per second",
        "none yet" if speed is None else f"{speed:,.0f}",
        f"MFU {mfu:.1%}" if mfu is not None else None,
        delta_color="off",
        delta_arrow="off",
        help=f"{told} {share}".strip(),
    )


def _memory(data: RunData) -> None:
    peak = data.last("peak_memory_gib") or data.report.peak_memory_gib
    gpu = "cuda" in (data.report.device or "")
    st.metric(
        "Peak memory",
        "none yet" if peak is None else f"{peak:.2f} GiB",
        help="Most that tensors took on the GPU." if gpu else "Most that the process took.",
    )


def _time(data: RunData, *, live: bool) -> None:
    left = data.last("seconds_left")
    if live and left is not None:
        st.metric(
            "Time left",
            forms.duration(left),
            help="From the steps since it was started or resumed, held-out losses and checkpoints included.",
        )
        return
    st.metric("Training time", forms.duration(data.report.seconds), help="In training steps, over all resumptions.")
