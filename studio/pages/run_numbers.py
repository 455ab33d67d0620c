"""A run in numbers, and what looks wrong in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from studio import forms
from studio.languages import t, told_text

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
        with st.expander(t("{n} more", n=len(rest))):
            for concern in rest:
                _warning(concern)


def _warning(concern: Concern) -> None:
    draw, icon = (st.warning, ":material/warning:") if concern.serious else (st.info, ":material/lightbulb:")
    seen, fix = forms.plain(told_text(concern.text)), forms.plain(told_text(concern.fix))
    draw("  \n".join([seen, t("**What to do:** {advice}.", advice=fix)]), icon=icon)


def numbers(data: RunData, *, live: bool) -> None:
    """Six numbers in a row."""
    told = data.report
    cells = st.columns(6)
    cells[0].metric(
        t("Training loss"),
        t("none yet") if told.train_loss is None else f"{told.train_loss:.3f}",
        help=t("The last logged one. For SFT in nats per token."),
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
        t("Rows"),
        f"{told.rows:,}",
        help=t("{tokens:,} tokens, {cut:,} rows cut, once through.", tokens=told.tokens, cut=told.truncated),
    )


def _held_out(data: RunData) -> None:
    losses = [event["loss"] for event in data.held_out if event.get("loss") is not None]
    change = f"{losses[-1] - losses[0]:+.3f}" if len(losses) > 1 else None
    accuracy = next((e["accuracy"] for e in reversed(data.held_out) if e.get("accuracy") is not None), None)
    if accuracy is not None:
        interval = next(e.get("accuracy_interval") for e in reversed(data.held_out) if e.get("accuracy") is not None)
        shown = t("{low:.0%} to {high:.0%}", low=interval[0], high=interval[1]) if interval else None
        st.metric(
            t("Held-out accuracy"),
            f"{accuracy:.1%}",
            shown,
            delta_color="off",
            delta_arrow="off",
            help=t("Held-out pairs in which the chosen answer is preferred, with its 95 % interval."),
        )
        return
    st.metric(
        t("Held-out loss"),
        f"{losses[-1]:.3f}" if losses else t("none"),
        change,
        delta_color="inverse",
        help=t("On eval.jsonl, with its change since before training; none without held-out rows."),
    )


def _speed(data: RunData, *, live: bool) -> None:
    speed = data.recent("tokens_per_second") if live else None
    speed = data.report.tokens_per_second if speed is None else speed
    mfu = data.recent("mfu")
    reason = data.last("mfu_reason")
    told = [t("Through the model since it was started or resumed; held-out losses and checkpoints do not count.")]
    if mfu is not None:
        told.append(t("MFU is the share of the GPU's dense bf16 peak."))
    elif reason:
        told.append(t("No MFU: {reason}.", reason=told_text(reason)))
    st.metric(
        t("Tokens per second"),
        t("none yet") if speed is None else f"{speed:,.0f}",
        f"MFU {mfu:.1%}" if mfu is not None else None,
        delta_color="off",
        delta_arrow="off",
        help="  \n".join(map(forms.plain, told)),
    )


def _memory(data: RunData) -> None:
    peak = data.last("peak_memory_gib") or data.report.peak_memory_gib
    gpu = "cuda" in (data.report.device or "")
    st.metric(
        t("Peak memory"),
        t("none yet") if peak is None else f"{peak:.2f} GiB",
        help=t("Most that tensors took on the GPU.") if gpu else t("Most that the process took."),
    )


def _time(data: RunData, *, live: bool) -> None:
    left = data.last("seconds_left")
    if live and left is not None:
        st.metric(
            t("Time left"),
            forms.duration(left),
            help=t("From the steps since it was started or resumed, held-out losses and checkpoints included."),
        )
        return
    st.metric(
        t("Training time"),
        forms.duration(data.report.seconds),
        help=t("In training steps, over all resumptions."),
    )
