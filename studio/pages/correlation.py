"""How scores go together: Spearman's rank correlation of every pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from curation.storage.sql import condition, quoted, working
from studio import plots
from studio.languages import t
from studio.pages.corpus_state import corpus_state
from studio.pages.distribution import numeric_scores

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus

ROWS = 20_000
"""Samples that are correlated at most; a rank correlation of so many is good to about 0.01."""
COLUMNS = 10
"""Scores that are shown at first: the main ones of the latest scorers."""


def section(corpus: Corpus, where: str | None) -> None:
    """The part of the page that shows which scores measure the same."""
    columns = numeric_scores(corpus)
    if len(columns) < 2:
        return
    st.subheader(t("Correlation"))
    chosen = st.multiselect(
        t("Scores to correlate"),
        columns,
        default=main_columns(corpus, columns),
        key=f"correlated_{len(columns)}",
        persist_state="session",
    )
    if len(chosen) < 2:
        st.caption(t("Choose two scores or more."))
        return
    pairs, samples = _measured(corpus_state(corpus), tuple(chosen), where, corpus)
    if pairs["rho"].null_count() == pairs.height:
        st.caption(t("No two of these scores vary among the same samples."))
        return
    plots.draw(
        heat_map(pairs, chosen),
        pairs,
        name="correlation",
        alt=t("Spearman's rank correlation of every pair of the chosen scores"),
    )
    st.caption(
        t(
            "Spearman's rank correlation over {samples:,} samples: near 1 two scores order samples alike, near -1 "
            "the other way round. An empty cell: a score is the same everywhere, or no sample has both.",
            samples=samples,
        )
    )


def of_pair(corpus: Corpus, a: str, b: str, where: str | None) -> tuple[float | None, int]:
    """Spearman's rank correlation of two scores (null where it is not defined), and the samples that have both."""
    if a == b:
        return None, 0
    pairs, _ = _measured(corpus_state(corpus), (a, b), where, corpus)
    rho, samples = pairs.filter(a=a, b=b).select("rho", "samples").row(0)
    return rho, samples


@st.cache_data(show_spinner=False, max_entries=64)
def _measured(state: str, columns: tuple[str, ...], where: str | None, _corpus: Corpus) -> tuple[pl.DataFrame, int]:
    frame = values_of(_corpus, columns, where)
    return correlations(frame), frame.height


def main_columns(corpus: Corpus, columns: list[str]) -> list[str]:
    """The first number of each scoring run, the latest run first; filled up with further ones."""
    first = [next((c for c in run.columns if c in columns), None) for run in corpus.score_runs()]
    flags = {name for name, kind in corpus.score_columns().items() if kind == "BOOLEAN"}
    rest = [c for run in corpus.score_runs() for c in run.columns if c in columns and c not in flags]
    return list(dict.fromkeys([*(c for c in first if c and c not in flags), *rest]))[:COLUMNS]


def values_of(corpus: Corpus, columns: Sequence[str], where: str | None) -> pl.DataFrame:
    """The scores as Float64, of at most `ROWS` samples of the working set, always the same ones."""
    values = ", ".join(f"{quoted(c)}::DOUBLE AS {quoted(c)}" for c in columns)
    return corpus.query(
        f"SELECT {values} FROM everything{condition(corpus.found(working(where)))} ORDER BY hash(id) LIMIT {ROWS}"
    )


def correlations(frame: pl.DataFrame) -> pl.DataFrame:
    """Every ordered pair of columns: a, b, rho (-1..1, null where it is not defined), samples that have both."""
    import polars as pl

    columns = frame.columns
    values = {c: frame[c].to_numpy() for c in columns}
    known = {c: np.isfinite(values[c]) for c in columns}
    ranks = {c: _ranks(values[c][known[c]]) for c in columns}
    found: dict[tuple[str, str], tuple[float | None, int]] = {}
    for i, a in enumerate(columns):
        for b in columns[i:]:
            both = known[a] & known[b]
            same = all(int(both.sum()) == int(known[c].sum()) for c in (a, b))
            left, right = (ranks[c] if same else _ranks(values[c][both]) for c in (a, b))
            found[a, b] = found[b, a] = _pearson(left, right), int(both.sum())
    rows = [(a, b, *found[a, b]) for a in columns for b in columns]
    schema = {"a": pl.String, "b": pl.String, "rho": pl.Float64, "samples": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _ranks(values: np.ndarray) -> np.ndarray:
    """Places in ascending order; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    shared: np.ndarray = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return shared


def _pearson(a: np.ndarray, b: np.ndarray) -> float | None:
    if len(a) < 3:
        return None
    left, right = a - a.mean(), b - b.mean()
    size = float(np.sqrt((left @ left) * (right @ right)))
    return float(left @ right) / size if size > 0 else None


def heat_map(pairs: pl.DataFrame, columns: list[str]) -> Any:
    """A matrix with a number in each cell, so that colour is never alone."""
    import altair as alt

    axis = alt.Axis(orient="top", labelAngle=-35, labelAlign="left", labelOverlap=False, labelLimit=150)
    base = alt.Chart(pairs.drop_nulls("rho")).encode(
        x=alt.X("b:N", sort=columns, title=None, axis=axis, scale=alt.Scale(domain=columns)),
        y=alt.Y("a:N", sort=columns, title=None, axis=alt.Axis(labelLimit=200), scale=alt.Scale(domain=columns)),
        tooltip=[
            alt.Tooltip("a:N", title=t("score")),
            alt.Tooltip("b:N", title=t("other score")),
            alt.Tooltip("rho:Q", title=t("correlation"), format=".3f"),
            alt.Tooltip("samples:Q", title=t("samples"), format=","),
        ],
    )
    scale = alt.Scale(domain=[-1, 0, 1], range=["#D9652B", "#F4F4F7", "#4F46E5"], interpolate="rgb")
    cells = base.mark_rect(cornerRadius=3, stroke=None).encode(color=alt.Color("rho:Q", scale=scale, legend=None))
    text = base.mark_text(fontSize=12).encode(
        text=alt.Text("rho:Q", format=".2f"),
        color=alt.condition("abs(datum.rho) > 0.7", alt.value("#FFFFFF"), alt.value("#18181B")),
    )
    return alt.layer(cells, text).properties(height=110 + 34 * len(columns))
