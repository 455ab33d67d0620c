"""How a score is distributed: a histogram from the database, thresholds on it, and both ends."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.storage.sql import condition, quoted, score_table, working
from studio import forms
from studio.languages import t, told_text
from studio.pages import thresholds
from studio.pages.corpus_state import corpus_state
from studio.pages.outcomes import cut
from studio.pages.thresholds import both as both
from studio.pages.thresholds import narrowed as narrowed

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
        f"max({value}) AS high, quantile_cont({value}, [0.005, 0.25, 0.5, 0.75, 0.995]) AS quantiles, "
        f"avg({value}) AS mean, "
        f"coalesce(bool_and({value} = floor({value})), false) AS whole "
        f"FROM everything{condition(where)}"
    ).row(0, named=True)
    quantiles = row.pop("quantiles")
    if not row["measured"]:
        return None
    row |= dict(zip(("first", "q25", "median", "q75", "last"), quantiles, strict=True))
    if row["high"] - row["low"] <= LONG_TAIL * (row["last"] - row["first"]) or row["first"] == row["last"]:
        row["first"], row["last"] = row["low"], row["high"]
    return Spread(column=column, **row)


def histogram(corpus: Corpus, shape: Spread, where: str | None) -> pl.DataFrame:
    """Counts per bin: low, high, samples. At most `BINS` rows leave the database.

    A bin of one whole number has that number in its middle.
    """
    width = (shape.last - shape.first) / BINS or 1.0
    if shape.whole:  # the last number has a place in the last bin, too
        width = float(math.ceil((shape.last - shape.first + 1) / BINS))
    place = f"least({BINS - 1}, greatest(0, floor(({quoted(shape.column)}::DOUBLE - ?) / ?)))::INTEGER"
    counted = corpus.query(
        f"SELECT {place} AS bin, count(*) AS samples FROM everything{condition(where)} "
        f"{'AND' if condition(where) else 'WHERE'} {quoted(shape.column)} IS NOT NULL GROUP BY bin ORDER BY bin",
        shape.first,
        width,
    )
    low = counted["bin"] * width + shape.first - (0.5 if shape.whole and width == 1 else 0)
    return counted.with_columns(low.alias("low"), (low + width).alias("high")).select("low", "high", "samples")


def section(corpus: Corpus, where: str | None) -> None:
    """The view of one score: its histogram with thresholds, and both ends."""
    columns = numeric_scores(corpus)
    if not columns:
        forms.empty_state(
            t("Distributions appear here"),
            t("Nothing is scored yet. Run a scorer: its histogram, best and worst samples appear here."),
            ["score", str(corpus.path), "length"],
        )
        return
    _follow_latest(corpus, columns)
    thresholds.take_address(columns)
    column = st.selectbox(t("Score column"), columns, key="distribution_score", persist_state="session", width=360)
    alive = working(where)
    state = corpus_state(corpus)
    shape = _spread(state, column, alive, corpus)
    if shape is None:
        if not corpus.count(alive):
            st.info(t("No sample is in this working set, or all of it was dropped."))
            return
        st.info(forms.plain(t("No sample of this working set has a number in {column}.", column=column)))
        _unmeasured(corpus, column, alive)
        return
    thresholds.section(corpus, shape, _histogram(state, shape, alive, corpus), where)
    _ends(corpus, column, alive)
    if shape.unmeasured:
        _unmeasured(corpus, column, alive)


@st.cache_data(show_spinner=False, max_entries=64)
def _spread(state: str, column: str, where: str | None, _corpus: Corpus) -> Spread | None:
    return spread(_corpus, column, where)


@st.cache_data(show_spinner=False, max_entries=64)
def _histogram(state: str, shape: Spread, where: str | None, _corpus: Corpus) -> pl.DataFrame:
    return histogram(_corpus, shape, where)


def _follow_latest(corpus: Corpus, columns: list[str]) -> None:
    # What was measured last is what one wants to see; after that the user decides.
    latest = corpus.score_runs()[0]
    seen = st.session_state.get("distribution_latest")
    st.session_state["distribution_latest"] = latest.run
    shown = next((name for name in latest.columns if name in columns), None)
    if seen not in (None, latest.run) and shown is not None:
        st.session_state["distribution_score"] = shown


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


@st.cache_data(show_spinner=False, max_entries=64)
def _extremes(state: str, column: str, where: str | None, highest: bool, _corpus: Corpus) -> pl.DataFrame:
    return ends(_corpus, column, where, highest=highest)


def _ends(corpus: Corpus, column: str, where: str | None) -> None:
    top, bottom = st.tabs([t("Highest {n}", n=ENDS), t("Lowest {n}", n=ENDS)])
    for tab, highest in ((top, True), (bottom, False)):
        frame = _extremes(corpus_state(corpus), column, where, highest, corpus)
        most, least = t("The {n} samples with the highest {column}"), t("The {n} samples with the lowest {column}")
        state = tab.dataframe(
            frame,
            hide_index=True,
            row_height=ROW_PIXELS,
            on_select="rerun",
            selection_mode="single-cell",
            key=f"ends_{column}_{highest}_{hash(where)}",
            column_config=text_columns(**{column: st.column_config.NumberColumn(column, format="%.5g", width=90)}),
            alt=(most if highest else least).format(n=ENDS, column=column),
        )
        read_on_browse(state, frame)
    st.caption(t("Click a row to read the whole sample on Browse."))


def text_columns(**more: Any) -> dict[str, Any]:
    """How the columns of a sample look in a table."""
    return {
        "instruction": st.column_config.TextColumn(t("Instruction"), width=300),
        "response": st.column_config.TextColumn(t("Response"), width=340),
        "source": st.column_config.TextColumn(t("Source"), width=115),
        "id": None,
        **more,
    }


def _unmeasured(corpus: Corpus, column: str, where: str | None) -> None:
    import polars as pl

    run = next((r for r in corpus.score_runs() if column in r.columns), None)
    if run is None:
        return
    table, of = score_table(run.run), quoted(column)
    reasons = corpus.query(
        f"SELECT {table}.reason AS reason, count(*) AS samples "
        f"FROM (SELECT id, {of} FROM everything{condition(corpus.found(where))}) e LEFT JOIN {table} USING (id) "
        f"WHERE e.{of} IS NULL GROUP BY 1 ORDER BY samples DESC, reason"
    )
    said = [told_text(text) if text else t("not scored yet") for text in reasons["reason"]]
    st.caption(forms.plain(t("Samples without a number in {column}, by reason", column=column)))
    st.dataframe(
        reasons.with_columns(reason=pl.Series(said, dtype=pl.String)),
        hide_index=True,
        width=560,
        column_config={
            "reason": st.column_config.TextColumn(t("Reason")),
            "samples": st.column_config.NumberColumn(t("Samples"), format="localized"),
        },
        alt=t("Why samples have no {column}", column=column),
    )
