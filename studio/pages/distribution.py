"""How a score is distributed: a histogram from the database, a threshold with what it leaves, and both ends."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.storage.sql import condition, quoted, score_table, working
from studio import forms
from studio.pages.outcomes import cut

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus

BINS = 50
ENDS = 10
"""Samples shown from each end of a score."""
TEXTS = ("instruction", "response", "seed_sample")
ROW_PIXELS = 76
"""Height of a table row whose texts break over lines."""
TEXT = 215
"""Width of a text in a table, in Latin letters: four lines; the whole one is on Browse."""
NUMERIC = ("DOUBLE", "FLOAT", "DECIMAL", "BIGINT", "INTEGER", "SMALLINT", "TINYINT", "HUGEINT", "UBIGINT", "UINTEGER")
LONG_TAIL = 3
"""A range this many times the middle 99 % is a long tail: it would press the rest into a few bins."""


@dataclass(frozen=True)
class Spread:
    """Where the values of a score lie in a working set."""

    column: str
    measured: int
    unmeasured: int
    low: float
    high: float
    first: float
    """Lower edge of the first bin; smaller values are counted in that bin."""
    last: float
    """Upper edge of the last bin; larger values are counted in that bin."""
    q25: float
    median: float
    q75: float
    mean: float
    whole: bool
    """Whether all values are whole numbers."""

    @property
    def clipped(self) -> bool:
        """Whether the outer bins hold values beyond their edges."""
        return self.first > self.low or self.last < self.high


def numeric_scores(corpus: Corpus) -> list[str]:
    """Score columns that have a histogram."""
    return [name for name, kind in corpus.score_columns().items() if kind == "BOOLEAN" or kind.startswith(NUMERIC)]


def spread(corpus: Corpus, column: str, where: str | None) -> Spread | None:
    """The range of a score; null where nothing in the working set was measured."""
    value = f"{quoted(column)}::DOUBLE"
    row = corpus.query(
        f"SELECT count({value}) AS measured, count(*) - count({value}) AS unmeasured, min({value}) AS low, "
        f"max({value}) AS high, quantile_cont({value}, 0.005) AS first, quantile_cont({value}, 0.995) AS last, "
        f"quantile_cont({value}, 0.25) AS q25, median({value}) AS median, quantile_cont({value}, 0.75) AS q75, "
        f"avg({value}) AS mean, "
        f"coalesce(bool_and({value} = floor({value})), false) AS whole "
        f"FROM everything{condition(where)}"
    ).row(0, named=True)
    if not row["measured"]:
        return None
    if row["high"] - row["low"] <= LONG_TAIL * (row["last"] - row["first"]) or row["first"] == row["last"]:
        row["first"], row["last"] = row["low"], row["high"]
    return Spread(column=column, **row)


def histogram(corpus: Corpus, shape: Spread, where: str | None) -> pl.DataFrame:
    """Counts per bin: low, high, samples. At most `BINS` rows leave the database.

    A bin of one whole number has that number in its middle.
    """
    width = (shape.last - shape.first) / BINS or 1.0
    if shape.whole:
        width = float(max(1, math.ceil(width)))
    place = f"least({BINS - 1}, greatest(0, floor(({quoted(shape.column)}::DOUBLE - ?) / ?)))::INTEGER"
    counted = corpus.query(
        f"SELECT {place} AS bin, count(*) AS samples FROM everything{condition(where)} "
        f"{'AND' if condition(where) else 'WHERE'} {quoted(shape.column)} IS NOT NULL GROUP BY bin ORDER BY bin",
        shape.first,
        width,
    )
    low = counted["bin"] * width + shape.first - (0.5 if shape.whole and width == 1 else 0)
    return counted.with_columns(low.alias("low"), (low + width).alias("high")).select("low", "high", "samples")


def rule(column: str, side: str, threshold: float, upper: float | None = None) -> str:
    """The SQL condition of a threshold (`at least`, `at most`) or of two (`between`, both included)."""
    name = column if column.isidentifier() else quoted(column)
    if side == "between":
        return f"{name} BETWEEN {threshold:.10g} AND {upper if upper is not None else threshold:.10g}"
    return f"{name} {'>=' if side == 'at least' else '<='} {threshold:.10g}"


def both(where: str | None, more: str) -> str:
    """Two conditions as one."""
    return f"({where}\n) AND {more}" if where and where.strip() else more


def narrowed(where: str | None, more: str) -> str:
    """The filter with one condition more, as a user would write it."""
    if not where:
        return more
    kept = f"({where})" if " or " in f" {where.lower()} " else where
    return where if more in forms.conditions(where) else f"{kept} AND {more}"


def section(corpus: Corpus, where: str | None) -> None:
    """The part of the page that shows one score."""
    st.subheader("Distribution")
    columns = numeric_scores(corpus)
    if not columns:
        st.caption("Nothing is scored yet. Run a scorer above: its histogram, best and worst samples appear here.")
        return
    _follow_latest(corpus, columns)
    column = st.selectbox("Score", columns, key="distribution_score", persist_state="session", width=360)
    alive = working(where)
    shape = spread(corpus, column, alive)
    if shape is None:
        if not corpus.count(alive):
            st.info("No sample is in this working set, or all of it was dropped.")
            return
        st.info(f"No sample of this working set has a number in {column}.")
        _unmeasured(corpus, column, alive)
        return
    _threshold(corpus, shape, histogram(corpus, shape, alive), where)
    _ends(corpus, column, alive)
    if shape.unmeasured:
        _unmeasured(corpus, column, alive)


def _follow_latest(corpus: Corpus, columns: list[str]) -> None:
    # What was measured last is what one wants to see; after that the user decides.
    latest = corpus.score_runs()[0]
    seen = st.session_state.get("distribution_latest")
    st.session_state["distribution_latest"] = latest.run
    shown = next((name for name in latest.columns if name in columns), None)
    if seen not in (None, latest.run) and shown is not None:
        st.session_state["distribution_score"] = shown


@st.fragment
def _threshold(corpus: Corpus, shape: Spread, bins: pl.DataFrame, where: str | None) -> None:
    """A fragment, so that moving the slider asks for one count and draws nothing else."""
    key = f"{shape.column}_{hash((where, shape.low, shape.high))}"
    side_cell, slider_cell = st.columns([1, 3], vertical_alignment="bottom")
    side = side_cell.segmented_control(
        "Keep values", ["at least", "at most", "between"], default="at least", required=True, key=f"side_{key}"
    )
    side = side or "at least"
    low, high = _slider(slider_cell, shape, side, key)
    kept = rule(shape.column, side, low if side != "at most" else high, high)
    left = corpus.count(working(both(where, kept)))
    least, most = None if side == "at most" else low, None if side == "at least" else high
    st.altair_chart(
        _bars(bins, shape, least, most),
        alt=f"Histogram of {shape.column} over {shape.measured:,} samples; {left:,} are kept by {kept}",
    )
    total = shape.measured + shape.unmeasured
    numbers = st.columns(4)
    numbers[0].metric("Kept by the threshold", f"{left:,}", help=kept)
    numbers[1].metric("Share of the working set", f"{left / total:.1%}")
    numbers[2].metric("Median", f"{shape.median:,.4g}")
    numbers[3].metric("Not measured", f"{shape.unmeasured:,}")
    if shape.clipped:
        st.caption(
            f"The outer bars also count what lies beyond: the values go from {shape.low:,.4g} to {shape.high:,.4g}."
        )
    if st.button(
        "Narrow the working set to these",
        icon=":material/filter_alt:",
        key=f"use_{key}",
        on_click=forms.set_filter,
        args=(narrowed(where, kept),),
    ):
        st.rerun()


def _slider(cell: Any, shape: Spread, side: str, key: str) -> tuple[float, float]:
    """The thresholds: the same one twice, but for `between`."""
    low, high = shape.first, shape.last
    if low == high:
        cell.caption(f"Every measured sample has {low:,.4g}.")
        return low, low
    limits, middles, more = _steps(shape)
    if side == "between":
        chosen = cell.slider("Thresholds", *limits, middles[1:], key=f"between_{key}", **more)
        return float(chosen[0]), float(chosen[1])
    at = float(cell.slider("Threshold", *limits, middles[0], key=f"at_{key}", **more))
    return at, at


def _steps(shape: Spread) -> tuple[tuple[Any, Any], tuple[Any, ...], dict[str, Any]]:
    """Of a slider: its ends, where it begins (median and quartiles), its step and format."""
    marks = (shape.median, shape.q25, shape.q75)
    if shape.whole:
        low, high = int(shape.first), int(shape.last)
        return (low, high), tuple(min(max(int(v), low), high) for v in marks), {}
    step = 10.0 ** math.floor(math.log10((shape.last - shape.first) / 100))
    decimals = max(0, -math.floor(math.log10(step)))
    ends = math.floor(shape.first / step) * step, math.ceil(shape.last / step) * step
    places = tuple(round(min(max(v, ends[0]), ends[1]), decimals) for v in marks)
    return ends, places, {"step": step, "format": f"%.{decimals}f"}


def _bars(bins: pl.DataFrame, shape: Spread, least: float | None, most: float | None) -> Any:
    import altair as alt
    import polars as pl

    single = shape.whole and bins["high"][0] - bins["low"][0] == 1 and bins["low"][0] % 1 == 0.5
    kept = [f"datum.high > {least}"] if least is not None else []
    kept += [f"datum.low <= {most}"] if most is not None else []
    # Beside the bar of the number itself, so that it is seen which side the number falls on.
    beside = 0.5 if single else 0.0
    at = [*([least - beside] if least is not None else []), *([most + beside] if most is not None else [])]
    ticks: dict[str, Any] = {"tickMinStep": 1} if shape.whole else {}
    between = [alt.Tooltip("low:Q", title="from", format=",.4~g"), alt.Tooltip("high:Q", title="to", format=",.4~g")]
    bins = bins.with_columns(((bins["low"] + bins["high"]) / 2).alias("value"))
    tooltip = [
        *([alt.Tooltip("value:Q", title=shape.column, format=",.4~g")] if single else between),
        alt.Tooltip("samples:Q", title="samples", format=","),
    ]
    bars = alt.Chart(bins).encode(
        x=alt.X(
            "low:Q",
            title=shape.column,
            scale=alt.Scale(zero=False, nice=False),
            axis=alt.Axis(format=",.4~g", tickCount=10, **ticks),
        ),
        x2="high:Q",
        y=alt.Y("samples:Q", title="samples", axis=alt.Axis(format=",d", tickMinStep=1)),
        y2=alt.datum(0),
        opacity=alt.condition(" && ".join(kept), alt.value(1.0), alt.value(0.28)),
        tooltip=tooltip,
    )
    line = alt.Chart(pl.DataFrame({"at": at})).mark_rule(strokeDash=[4, 3], strokeWidth=2, color="#E0712B")
    return alt.layer(bars.mark_bar(binSpacing=1), line.encode(x="at:Q")).properties(height=260)


def ends(corpus: Corpus, column: str, where: str | None, *, highest: bool) -> pl.DataFrame:
    """The samples with the highest or lowest values: the score, instruction, response, source, id."""
    measured = both(where, f"{quoted(column)} IS NOT NULL")
    order = f"{quoted(column)} {'DESC' if highest else 'ASC'}"
    frame = corpus.frame([column, "instruction", "response", "source", "id"], where=measured, order=order, limit=ENDS)
    return shortened(frame)


def shortened(frame: pl.DataFrame) -> pl.DataFrame:
    """Texts cut for a table."""
    import polars as pl

    texts = [name for name in TEXTS if name in frame.columns]
    return frame.with_columns(
        pl.Series(name, [None if text is None else cut(text, TEXT) for text in frame[name]], dtype=pl.String)
        for name in texts
    )


def read_on_browse(state: Any, frame: pl.DataFrame) -> None:
    """Open the sample whose row was clicked."""
    row = forms.chosen_row(state, frame.height)
    browse = st.session_state.get(forms.PAGES_KEY, {}).get("browse")
    if row is not None and browse is not None:
        st.switch_page(browse, query_params={"sample": frame["id"][row]})


def _ends(corpus: Corpus, column: str, where: str | None) -> None:
    top, bottom = st.tabs([f"Highest {ENDS}", f"Lowest {ENDS}"])
    for tab, highest in ((top, True), (bottom, False)):
        frame = ends(corpus, column, where, highest=highest)
        state = tab.dataframe(
            frame,
            hide_index=True,
            row_height=ROW_PIXELS,
            on_select="rerun",
            selection_mode="single-cell",
            key=f"ends_{column}_{highest}_{hash(where)}",
            column_config=text_columns(**{column: st.column_config.NumberColumn(column, format="%.5g", width=90)}),
            alt=f"The {ENDS} samples with the {'highest' if highest else 'lowest'} {column}",
        )
        read_on_browse(state, frame)
    st.caption("Click a row to read the whole sample on Browse.")


def text_columns(**more: Any) -> dict[str, Any]:
    """How the columns of a sample look in a table."""
    return {
        "instruction": st.column_config.TextColumn("Instruction", width=300),
        "response": st.column_config.TextColumn("Response", width=340),
        "source": st.column_config.TextColumn("Source", width=115),
        "id": None,
        **more,
    }


def _unmeasured(corpus: Corpus, column: str, where: str | None) -> None:
    run = next((r for r in corpus.score_runs() if column in r.columns), None)
    if run is None:
        return
    table, of = score_table(run.run), quoted(column)
    reasons = corpus.query(
        f"SELECT coalesce({table}.reason, 'not scored yet') AS reason, count(*) AS samples "
        f"FROM (SELECT id, {of} FROM everything{condition(corpus.found(where))}) e LEFT JOIN {table} USING (id) "
        f"WHERE e.{of} IS NULL GROUP BY 1 ORDER BY samples DESC, reason"
    )
    st.caption(f"Samples without a number in {column}, by reason")
    st.dataframe(
        reasons,
        hide_index=True,
        width=560,
        column_config={"reason": "Reason", "samples": st.column_config.NumberColumn("Samples", format="localized")},
        alt=f"Why samples have no {column}",
    )
