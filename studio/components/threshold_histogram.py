"""A histogram on which both thresholds are dragged; what is kept differs from what is not by more than its colour."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from studio.languages import language, t

if TYPE_CHECKING:
    import polars as pl

HEIGHT = 300

_mounted = st.components.v2.component(
    "winnow_threshold_histogram",
    html='<div class="plot"><svg></svg><div class="tip" hidden></div></div>',
    css=Path(__file__).with_suffix(".css").read_text(encoding="utf-8"),
    js=Path(__file__).with_suffix(".js").read_text(encoding="utf-8"),
)


def draw(
    bins: pl.DataFrame,
    limits: tuple[float | None, float | None],
    *,
    title: str,
    alt: str,
    whole: bool,
    clipped: tuple[bool, bool],
    key: str,
    on_range_change: Callable[[], None],
) -> Any:
    """Draw the histogram.

    Args:
        bins: low, high, samples of every bar; empty ones may be left out.
        limits: the thresholds, both included; null where there is none.
        title: of the horizontal axis.
        alt: what the chart shows, in words.
        whole: whether all values are whole numbers; then thresholds are, too.
        clipped: whether the first and the last bar count what lies beyond their edges.
        key: unique on the page.
        on_range_change: called when a threshold was let go; `session_state[key]["range"]` has both.
    """
    texts = {
        "lower": t("Lower threshold"),
        "upper": t("Upper threshold"),
        "samples": t("samples"),
        "from": t("from"),
        "to": t("to"),
        "beyond": t("and what lies beyond"),
        "about": t("about"),
        "none": t("no limit"),
    }
    data = {
        "bins": bins.select("low", "high", "samples").rows(),
        "limits": list(limits),
        "title": title,
        "alt": alt,
        "whole": whole,
        "clipped": list(clipped),
        "locale": "zh-CN" if language() == "zh" else "en-US",
        "texts": texts,
    }
    return _mounted(data=data, key=key, height=HEIGHT, on_range_change=on_range_change)
