"""Thresholds on a score: dragged on its histogram or typed, counted at once, kept in the address, used as a filter."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import streamlit as st

from curation.storage.sql import quoted, working
from studio import forms, plots
from studio.components import threshold_histogram
from studio.languages import t

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus
    from studio.pages.distribution import Spread

Limits = tuple[float | None, float | None]
"""The lower and the upper threshold, both included; null where there is none."""

NO_LIMITS: Limits = (None, None)
FIELDS = ("least", "most")
IN_ADDRESS = ("score", "from", "to")


def rule(column: str, limits: Limits) -> str | None:
    """The SQL condition of the thresholds, as a user would write it; null where there is none."""
    name, (low, high) = column if column.isidentifier() else quoted(column), limits
    if low is not None and high is not None:
        return f"{name} BETWEEN {low:.10g} AND {high:.10g}"
    if low is not None:
        return f"{name} >= {low:.10g}"
    return f"{name} <= {high:.10g}" if high is not None else None


def both(where: str | None, more: str) -> str:
    """Two conditions as one."""
    return f"({where}\n) AND {more}" if where and where.strip() else more


def narrowed(where: str | None, more: str) -> str:
    """The filter with one condition more, as a user would write it."""
    if not where:
        return more
    kept = f"({where})" if " or " in f" {where.lower()} " else where
    return where if more in forms.conditions(where) else f"{kept} AND {more}"


def take_address(columns: list[str]) -> None:
    """Show the score and the thresholds that the address names, where they are new."""
    asked = tuple(st.query_params.get(name) for name in IN_ADDRESS)
    column = asked[0]
    if column not in columns or asked == st.session_state.get("thresholds_address"):
        return
    st.session_state["distribution_score"] = column
    st.session_state[f"limits_{column}"] = (_number(asked[1]), _number(asked[2]))
    st.session_state["thresholds_address"] = asked


def _number(text: str | None) -> float | None:
    try:
        found = float(text) if text else None
    except ValueError:
        return None
    return found if found is not None and math.isfinite(found) else None


def keep_address(column: str) -> None:
    """Write the score and its thresholds into the address."""
    limits = limits_of(column)
    kept = (column, *(None if limit is None else f"{limit:.10g}" for limit in limits))
    for name, text in zip(IN_ADDRESS, kept, strict=True):
        if text is None:
            st.query_params.pop(name, None)
        elif st.query_params.get(name) != text:
            st.query_params[name] = text
    st.session_state["thresholds_address"] = kept


def limits_of(column: str) -> Limits:
    """The thresholds that the session has for a score."""
    found: Limits = st.session_state.get(f"limits_{column}", NO_LIMITS)
    return found


@st.fragment
def section(corpus: Corpus, shape: Spread, bins: pl.DataFrame, where: str | None) -> None:
    """The histogram and what its thresholds leave. A fragment: a threshold asks for one count and draws nothing else.

    Args:
        corpus: in which samples are counted.
        shape: of the score.
        bins: low, high, samples.
        where: the working set that is narrowed.
    """
    column = shape.column
    keep_address(column)
    limits = limits_of(column)
    kept = rule(column, limits)
    left = shape.measured if kept is None else corpus.count(working(both(where, kept)))
    _plot(shape, bins, limits, left)
    _numbers(shape, limits, left)
    _use(where, kept, column)


def _plot(shape: Spread, bins: pl.DataFrame, limits: Limits, left: int) -> None:
    column = shape.column
    key = _key(column)
    with st.container(key=f"{key}_plot", gap="xxsmall"):
        threshold_histogram.draw(
            bins,
            limits,
            title=column,
            alt=t(
                "Histogram of {column} over {measured:,} samples; the thresholds keep {left:,}",
                column=column,
                measured=shape.measured,
                left=left,
            ),
            whole=shape.whole,
            clipped=(shape.first > shape.low, shape.last < shape.high),
            key=key,
            on_range_change=lambda: _dragged(column),
        )
        plots.downloads(bins, name=f"histogram_{column}", key=key)
    if shape.clipped:
        st.caption(
            t(
                "The outer bars also count what lies beyond: the values go from {low} to {high}.",
                low=f"{shape.low:,.4g}",
                high=f"{shape.high:,.4g}",
            )
        )


def _key(column: str) -> str:
    return plots.plain_key(f"histogram_{column}")


def _dragged(column: str) -> None:
    low, high = st.session_state[_key(column)]["range"]
    st.session_state[f"limits_{column}"] = (low, high)


def _typed(column: str) -> None:
    low, high = (st.session_state[f"{field}_{column}"] for field in FIELDS)
    if low is not None and high is not None and low > high:
        low, high = high, low
    st.session_state[f"limits_{column}"] = (low, high)


def _numbers(shape: Spread, limits: Limits, left: int) -> None:
    column = shape.column
    cells = st.columns([1.2, 1.2, 1, 1, 1, 1], vertical_alignment="bottom")
    labels = (t("Lower threshold"), t("Upper threshold"))
    for cell, field, label, limit in zip(cells, FIELDS, labels, limits, strict=False):
        # What was dragged and what is typed are one: the field shows it, whichever way it came.
        shown = None if limit is None else int(limit) if shape.whole else float(limit)
        st.session_state[f"{field}_{column}"] = shown
        cell.number_input(
            label,
            value=None,
            step=1 if shape.whole else _step(shape),
            format="%d" if shape.whole else "%.6g",
            key=f"{field}_{column}",
            placeholder=t("no limit"),
            on_change=_typed,
            args=(column,),
        )
    cells[2].metric(t("Kept"), f"{left:,}", help=t("Samples of the working set in the range"))
    cells[3].metric(t("Share of measured"), f"{left / shape.measured:.1%}")
    cells[4].metric(t("Median"), f"{shape.median:,.4g}")
    cells[5].metric(t("Not measured"), f"{shape.unmeasured:,}")


def _step(shape: Spread) -> float:
    wide = shape.last - shape.first
    return float(10.0 ** math.floor(math.log10(wide / 100))) if wide > 0 else 0.1


def _use(where: str | None, kept: str | None, column: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        used = st.button(
            t("Use as filter"),
            icon=":material/filter_alt:",
            key=f"use_{column}",
            disabled=kept is None,
            help=t("Drag a threshold on the histogram first.") if kept is None else None,
            on_click=forms.set_filter,
            args=(narrowed(where, kept or ""),),
        )
        st.button(
            t("Clear"),
            icon=":material/close:",
            key=f"clear_{column}",
            type="tertiary",
            disabled=kept is None,
            on_click=_clear,
            args=(column,),
        )
        if kept is not None:
            st.code(kept, language="sql", width="content")
        else:
            st.caption(t("Drag over the bars, move an orange line, or type a number."), width="content")
    if used:
        st.rerun()


def _clear(column: str) -> None:
    st.session_state[f"limits_{column}"] = NO_LIMITS
