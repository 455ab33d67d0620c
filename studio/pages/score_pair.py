"""Score against score: where samples lie by two scores, and a rectangle of them as a filter."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.storage.sql import condition, quoted, working
from studio import forms, plots
from studio.languages import t, tn
from studio.pages import correlation
from studio.pages.corpus_state import corpus_state
from studio.pages.distribution import Spread, numeric_scores, spread
from studio.pages.thresholds import Limits, both, narrowed, rule

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus

POINTS = 1_500
"""Samples that are drawn one by one; more are counted in cells."""
CELLS = 36
"""Cells from side to side; the database counts, so that no more than its square leave it."""
BRUSH = "brush"


@dataclass(frozen=True)
class Pair:
    """Two scores of the samples that have both."""

    a: Spread
    b: Spread
    samples: int
    frame: pl.DataFrame
    """Points: a, b; or cells: a, a_high, b, b_high, samples."""
    binned: bool


def measured(corpus: Corpus, a: str, b: str, where: str | None) -> Pair | None:
    """Two scores of a working set, as points or counted in cells; null where no sample has both."""
    known = both(where, f"{quoted(a)} IS NOT NULL AND {quoted(b)} IS NOT NULL")
    shapes = spread(corpus, a, known), spread(corpus, b, known)
    if shapes[0] is None or shapes[1] is None:
        return None
    samples = shapes[0].measured
    if samples <= POINTS:
        columns = f"{quoted(a)}::DOUBLE AS a, {quoted(b)}::DOUBLE AS b"
        frame = corpus.query(f"SELECT {columns} FROM everything{condition(corpus.found(known))}")
        return Pair(shapes[0], shapes[1], samples, frame, binned=False)
    return Pair(shapes[0], shapes[1], samples, _cells(corpus, shapes[0], shapes[1], known), binned=True)


def _cells(corpus: Corpus, a: Spread, b: Spread, where: str) -> pl.DataFrame:
    import polars as pl

    (from_a, wide), (from_b, high) = grid(a), grid(b)
    place = "least({}, greatest(0, floor(({}::DOUBLE - ?) / ?)))::INTEGER"
    counted = corpus.query(
        f"SELECT {place.format(CELLS - 1, quoted(a.column))} AS i, {place.format(CELLS - 1, quoted(b.column))} AS j, "
        f"count(*) AS samples FROM everything{condition(corpus.found(where))} GROUP BY i, j ORDER BY i, j",
        from_a, wide, from_b, high,
    )  # fmt: skip
    edges = (pl.col("i") * wide + from_a).alias("a"), (pl.col("j") * high + from_b).alias("b")
    found = counted.with_columns(*edges)
    uppers = (pl.col("a") + wide).alias("a_high"), (pl.col("b") + high).alias("b_high")
    return found.with_columns(*uppers).select("a", "a_high", "b", "b_high", "samples")


def grid(shape: Spread) -> tuple[float, float]:
    """Where the cells of a score begin, and how wide one is; whole numbers lie in the middle of theirs."""
    width = (shape.last - shape.first) / CELLS
    if shape.whole:
        width = float(-((shape.first - shape.last - 1) // CELLS))
        return shape.first - 0.5, width
    return shape.first, width or 1.0


def brushed(chosen: Any, pair: Pair) -> tuple[Limits, Limits] | None:
    """The thresholds of a rectangle: none where it reaches the edge of what is shown; null where nothing is chosen."""
    box = (chosen or {}).get("selection", {}).get(BRUSH) or {}
    if not {"a", "b"} <= set(box):
        return None
    return _limits(box["a"], pair.a), _limits(box["b"], pair.b)


def _limits(ends: list[float], shape: Spread) -> Limits:
    low, high, wide = min(ends), max(ends), shape.last - shape.first
    near = max(wide / (2 * CELLS), 0.5 if shape.whole else 0.0)
    if shape.whole:
        lower, upper = float(math.ceil(low)), float(math.floor(high))
    else:  # a thousandth of what is shown is finer than a hand
        digits = 0 if wide <= 0 else max(0, 3 - math.floor(math.log10(wide)))
        lower, upper = round(low, digits), round(high, digits)
    return (None if low <= shape.first + near else lower), (None if high >= shape.last - near else upper)


@st.fragment
def section(corpus: Corpus, where: str | None) -> None:
    """The view of two scores, and of how all scores go together. A fragment."""
    columns = numeric_scores(corpus)
    if len(columns) < 2:
        forms.empty_state(
            t("Two scores side by side appear here"),
            t("They need two scores of the same samples: run another scorer."),
            ["score", str(corpus.path), "heuristics"],
        )
        return
    a, b = _choice(corpus, columns)
    pair = _measured(corpus_state(corpus), a, b, working(where), corpus)
    if pair is None:
        st.info(forms.plain(t("No sample of this working set has both {a} and {b}.", a=a, b=b)))
    else:
        _draw(corpus, pair, where)
    correlation.section(corpus, where)


@st.cache_data(show_spinner=False, max_entries=64)
def _measured(state: str, a: str, b: str, where: str, _corpus: Corpus) -> Pair | None:
    return measured(_corpus, a, b, where)


def _choice(corpus: Corpus, columns: list[str]) -> tuple[str, str]:
    first = _telling(corpus_state(corpus), tuple(columns), corpus)
    state = st.session_state
    for name, place in (("x", 0), ("y", 1)):
        asked = st.query_params.get(name)
        if asked in columns and asked != state.get(f"pair_{name}_asked"):
            state[f"pair_{name}"] = asked
        if state.get(f"pair_{name}") not in columns:
            state[f"pair_{name}"] = state.get(f"pair_{name}_asked") or first[place]
    cells = st.columns([2, 2, 3])
    a = cells[0].selectbox(t("Across"), columns, key="pair_x")
    b = cells[1].selectbox(t("Upwards"), columns, key="pair_y")
    for name, column in (("x", a), ("y", b)):
        st.query_params[name] = state[f"pair_{name}_asked"] = column
    return a, b


@st.cache_data(show_spinner=False, max_entries=16)
def _telling(state: str, columns: tuple[str, ...], _corpus: Corpus) -> list[str]:
    """The columns, those with many different values first: a flag says little beside another score."""
    main = correlation.main_columns(_corpus, list(columns))
    asked = ", ".join(f"approx_count_distinct({quoted(c)})" for c in main)
    varied = [c for c, n in zip(main, _corpus.query(f"SELECT {asked} FROM everything").row(0), strict=True) if n > 20]
    return list(dict.fromkeys([*varied, *main, *columns]))


def _draw(corpus: Corpus, pair: Pair, where: str | None) -> None:
    a, b = pair.a.column, pair.b.column
    rho, _ = correlation.of_pair(corpus, a, b, where)
    chosen = plots.draw(
        chart(pair),
        pair.frame.rename({"a": a, "b": b} if a != b else {"a": a}),
        name=f"{a}_against_{b}",
        key=f"pair_{a}_{b}",
        on_select="rerun",
        alt=t("{b} against {a} of {samples:,} samples", a=a, b=b, samples=pair.samples),
    )
    told = tn("{n:,} sample has both.", "{n:,} samples have both.", pair.samples)
    if rho is not None:
        told += " " + t("Spearman's rank correlation: {rho}.", rho=f"{rho:.2f}")
    if pair.a.clipped or pair.b.clipped:
        told += " " + t("The outer cells also count what lies beyond.")
    st.caption(told)
    _use(corpus, pair, brushed(chosen, pair), where)


def _use(corpus: Corpus, pair: Pair, limits: tuple[Limits, Limits] | None, where: str | None) -> None:
    rules = [rule(shape.column, of) for shape, of in zip((pair.a, pair.b), limits or (), strict=False)]
    kept = " AND ".join(filter(None, rules)) or None
    left = corpus.count(working(both(where, kept))) if kept else pair.samples
    with st.container(horizontal=True, vertical_alignment="center"):
        used = st.button(
            t("Use as filter"),
            icon=":material/filter_alt:",
            key="pair_use",
            disabled=kept is None,
            help=t("Drag a rectangle on the chart first.") if kept is None else None,
            on_click=forms.set_filter,
            args=(narrowed(where, kept or ""),),
        )
        if kept is None:
            st.caption(t("Drag a rectangle on the chart to choose samples by both scores."), width="content")
        else:
            st.caption(tn("{n:,} sample in the rectangle", "{n:,} samples in the rectangle", left), width="content")
            st.code(kept, language="sql", width="content")
    if used:
        st.rerun()


def chart(pair: Pair) -> Any:
    """Cells or points, and a rectangle that can be dragged over them."""
    import altair as alt
    import polars as pl

    a, b = pair.a.column, pair.b.column
    brush = alt.selection_interval(name=BRUSH, encodings=["x", "y"])
    axes = [_axis(shape) for shape in (pair.a, pair.b)]
    if not pair.binned:
        points = alt.Chart(pair.frame).mark_circle(size=36, opacity=0.55, clip=True)
        domains = [alt.Scale(domain=_padded(shape), zero=False, nice=False) for shape in (pair.a, pair.b)]
        drawn = points.encode(
            x=alt.X("a:Q", title=a, axis=axes[0], scale=domains[0]),
            y=alt.Y("b:Q", title=b, axis=axes[1], scale=domains[1]),
            tooltip=[alt.Tooltip("a:Q", title=a, format=",.4~g"), alt.Tooltip("b:Q", title=b, format=",.4~g")],
        )
        return drawn.add_params(brush).properties(height=420)
    colour = alt.Color(
        "samples:Q",
        title=t("samples"),
        scale=alt.Scale(type="log"),
        legend=alt.Legend(format="~s", orient="right", tickCount=4),
    )
    ranges = {"a": a, "a_high": t("to"), "b": b, "b_high": t("to")}
    tight = alt.Scale(zero=False, nice=False)
    cells = alt.Chart(pair.frame.cast({"samples": pl.Int64})).mark_rect(stroke=None)
    drawn = cells.encode(
        x=alt.X("a:Q", title=a, axis=axes[0], scale=tight),
        x2="a_high:Q",
        y=alt.Y("b:Q", title=b, axis=axes[1], scale=tight),
        y2="b_high:Q",
        color=colour,
        tooltip=[
            *(alt.Tooltip(f"{name}:Q", title=title, format=",.4~g") for name, title in ranges.items()),
            alt.Tooltip("samples:Q", title=t("samples"), format=","),
        ],
    )
    return drawn.add_params(brush).properties(height=420)


def _axis(shape: Spread) -> Any:
    import altair as alt

    least: dict[str, Any] = {"tickMinStep": 1} if shape.whole else {}
    return alt.Axis(format=",.4~g", tickCount=8, **least)


def _padded(shape: Spread) -> list[float]:
    margin = (shape.last - shape.first) * 0.02 or 1.0
    return [shape.first - margin, shape.last + margin]
