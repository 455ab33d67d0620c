"""Duplicates as a reader checks them: clusters, each with the sample that is kept and how much the others repeat it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from studio import forms
from studio.languages import mark, t
from studio.pages.differences import show

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus

KINDS = {
    "near_duplicate": ("near-duplicate", mark("Near duplicates: shared words")),
    "semantic_duplicate": ("semantic-duplicate", mark("Semantic duplicates: close in the embedding")),
}
"""Column -> (scorer, what to call it)."""

REASONS = {"near_duplicate": "near duplicate", "semantic_duplicate": "semantic duplicate"}
"""Column -> the reason that is stored."""

CLUSTERS = 500
"""Clusters in the table: the largest."""
MEMBERS = 12


def draw(corpus: Corpus) -> None:
    """Draw the clusters that a scorer found, with the commands that find and drop them."""
    known = corpus.score_columns()
    kind = st.segmented_control(
        t("Kind"), list(KINDS), format_func=lambda k: t(KINDS[k][1]), default="near_duplicate", required=True,
        key="duplicates_kind",
    )  # fmt: skip
    column, scorer = str(kind), KINDS[str(kind)][0]
    if column not in known:
        forms.empty_state(
            t("Duplicates appear here"), t("Nobody has looked for them yet."), ["score", str(corpus.path), scorer]
        )
        return
    # What was kept by hand stays, and so does the last of a cluster whose kept sample was dropped since.
    repeats = (
        f"{column} AND decision IS NULL AND {column}_of IN "
        "(SELECT id FROM everything WHERE decision IS DISTINCT FROM 'drop')"
    )
    counts = corpus.query(
        f"SELECT count(*) FILTER ({column}) AS found, count(*) FILTER ({repeats}) AS left_, count({column}) AS looked "
        "FROM everything"
    ).row(0, named=True)
    cells = st.columns(4)
    cells[0].metric(t("Looked at"), f"{counts['looked']:,}")
    cells[1].metric(t("Repeat another"), f"{counts['found']:,}")
    cells[2].metric(t("Undecided"), f"{counts['left_']:,}", help=t("Neither kept nor dropped, and its like is kept"))
    least = cells[3].slider(
        t("Drop from similarity"), 0.5, 1.0, 0.5, 0.01, key=f"{column}_least",
        help=t("Data made from templates differs in the one word that matters: look at the pairs, then choose."),
    )  # fmt: skip
    if counts["found"]:
        _clusters(corpus, column)
    where = repeats if least == 0.5 else f"{repeats} AND {column}_similarity >= {least:g}"
    argv = ["drop", str(corpus.path), "--where", where, "--reason", REASONS[column]]
    nothing = None if counts["left_"] else t("There is none left to drop.")
    forms.command_box(corpus, argv, key="drop_duplicates", label=t("Drop the repeats"), disabled_reason=nothing)


def _clusters(corpus: Corpus, column: str) -> None:
    clusters = clusters_of(corpus, column)
    largest = clusters.height == CLUSTERS
    told = t("The {n:,} largest clusters", n=CLUSTERS) if largest else t("Clusters: {n:,}", n=clusters.height)
    st.markdown(f"**{told}**")
    table, reading = st.columns([2, 3], gap="medium")
    with table:
        state = st.dataframe(
            clusters,
            hide_index=True,
            on_select="rerun",
            selection_mode="single-row",
            height="content" if clusters.height <= 12 else 460,
            key=f"clusters_{column}_{clusters.height}",
            column_order=["instruction", "samples", "lowest"],
            column_config={
                "instruction": st.column_config.TextColumn(t("Kept sample"), width=140),
                "samples": st.column_config.NumberColumn(t("Samples"), format="localized", width=68),
                "lowest": st.column_config.NumberColumn(
                    t("Similarity"),
                    format="%.2f",
                    width=76,
                    help=t("Of the sample that resembles the kept one least"),
                ),
            },
            alt=t("Clusters of duplicates, the largest first"),
        )
    row = clusters.row(forms.chosen_row(state, clusters.height) or 0, named=True)
    with reading, st.container(height=460, border=True):
        _members(corpus, column, row["kept"])


def clusters_of(corpus: Corpus, column: str) -> pl.DataFrame:
    """The clusters: kept (id), instruction of the kept sample, samples, lowest, highest; the largest first."""
    of, similarity = f"{column}_of", f"{column}_similarity"
    return corpus.query(
        f"""WITH found AS (SELECT {of} AS kept, count(*) + 1 AS samples, min({similarity}) AS lowest,
            max({similarity}) AS highest FROM everything WHERE {column} GROUP BY {of})
        SELECT kept, left(regexp_replace(s.instruction, '\\s+', ' ', 'g'), 160) AS instruction, samples, lowest, highest
        FROM found JOIN samples s ON s.id = kept ORDER BY samples DESC, highest DESC, kept LIMIT {CLUSTERS}"""
    )


def _members(corpus: Corpus, column: str, kept: str) -> None:
    members = corpus.query(
        f"""SELECT id, {column}_similarity AS similarity, source FROM everything WHERE {column} AND {column}_of = ?
        ORDER BY {column}_similarity DESC, position LIMIT {MEMBERS}""",
        kept,
    )
    original = corpus.sample(kept)
    st.badge(t("kept"), color="green", icon=":material/check:")
    st.text(_whole(original))
    for row in members.iter_rows(named=True):
        _member(corpus, original, row)


def _member(corpus: Corpus, original: Any, row: dict[str, Any]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.badge(f"{row['similarity']:.2f}", color="orange", help=t("Similarity to the sample it repeats"))
        st.badge(forms.plain(row["source"]), color="gray", help=t("Source"))
        forms.link("browse", t("Read it"), icon=":material/arrow_forward:", query={"sample": row["id"]})
    show(_whole(original), _whole(corpus.sample(row["id"])))


def _whole(sample: Any) -> str:
    return "\n\n".join(m.content for m in sample.messages)
