"""What became of every tag when the tags were normalised, to be searched and corrected."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from curation.errors import CorpusError
from studio import jobs
from studio.languages import mark, t
from studio.pages.corpus_state import corpus_state

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus
    from curation.tag_normalizing import Alias, Merge

SHOWN = 1_000
"""Tags in the table, the most frequent of those that are searched for."""
KINDS = {
    "merged": mark("merged"),
    "left out": mark("left out"),
    "as it was": mark("as it was"),
    "all": mark("all"),
}
"""What became of a tag -> what it is called."""


@st.fragment
def section(corpus: Corpus) -> None:
    """The part of the page for the scorer `instag-normalized`; nothing where it has not run. A fragment."""
    found = _aliases(corpus_state(corpus), corpus)
    if not found:
        return
    st.subheader(t("Tags after normalisation"))
    counts = Counter(kind(alias) for alias in found)
    st.caption(
        t(
            "{before:,} tags became {after:,}. Merged into another: {merged:,}; left out: {left_out:,}; as they were: "
            "{same:,}.",
            before=len(found),
            after=len({a.canonical for a in found} - {None}),
            merged=counts["merged"],
            left_out=counts["left out"],
            same=counts["as it was"],
        )
    )
    search_cell, kind_cell = st.columns([2, 3], vertical_alignment="bottom")
    search = search_cell.text_input(
        t("Search tags"), placeholder=t("a tag, or what it became"), icon=":material/search:", key="aliases_search"
    )
    wanted = kind_cell.segmented_control(
        t("What became of them"),
        list(KINDS),
        format_func=lambda name: t(KINDS[name]),
        default="merged",
        required=True,
        key="aliases_kind",
    )
    rows = table(found, search or "", wanted or "all")
    if rows.is_empty():
        st.caption(t("No tag is like that."))
    else:
        _show(rows)
    _correction(corpus)


@st.cache_data(show_spinner=False, max_entries=4)
def _aliases(state: str, _corpus: Corpus) -> list[Alias]:
    from curation.tag_normalizing import aliases

    try:
        return aliases(_corpus)
    except CorpusError:  # they never were normalised
        return []


def _show(rows: pl.DataFrame) -> None:
    st.dataframe(
        rows.head(SHOWN),
        hide_index=True,
        height="content" if rows.height <= 8 else 330,
        column_config={
            "tag": st.column_config.TextColumn(t("Tag"), width=190),
            "canonical": st.column_config.TextColumn(t("Became"), width=190),
            "count": st.column_config.NumberColumn(t("Samples"), format="localized", width=80),
            "how": st.column_config.TextColumn(t("How"), width=480),
        },
        placeholder="–",
        alt=t("Tags, what each became, how many samples have it, and how it was merged"),
    )
    if rows.height > SHOWN:
        st.caption(t("The {shown:,} most frequent of {n:,}: search for the others.", shown=SHOWN, n=rows.height))


def _correction(corpus: Corpus) -> None:
    st.caption(
        t(
            'To correct it, write lines such as `{"tag": "maths", "canonical": "Mathematics"}` into a file (`null` '
            "leaves a tag out) and normalise again with it; it outranks every step."
        )
    )
    st.code(jobs.command_line(again(corpus)), language=None, wrap_lines=True)


def again(corpus: Corpus) -> list[str]:
    """The command of the latest normalisation, with a file of corrections."""
    from curation.scorers import InsTagNormalized

    run = next(run for run in corpus.score_runs() if run.scorer == InsTagNormalized.name)
    fields = InsTagNormalized.model_fields
    used = {n: v for n, v in json.loads(run.operator)["parameters"].items() if n in fields and n != "aliases"}
    changed = [f"{n}={'' if v is None else v}" for n, v in used.items() if v != fields[n].get_default()]
    words = [word for setting in (*changed, "aliases=FILE") for word in ("--set", setting)]
    return ["score", str(corpus.path), run.scorer, *words]


def table(found: Sequence[Alias], search: str = "", wanted: str = "all") -> pl.DataFrame:
    """One row per tag: tag, canonical, count, how; in the order given.

    Args:
        found: what became of each tag.
        search: part of a tag or of its canonical one, whatever its case.
        wanted: one of `KINDS`.
    """
    import polars as pl

    part = search.strip().casefold()
    rows = [
        (alias.tag, alias.canonical, alias.count, how(alias))
        for alias in found
        if wanted in ("all", kind(alias))
        and (part in alias.tag.casefold() or part in (alias.canonical or "").casefold())
    ]
    schema = {"tag": pl.String, "canonical": pl.String, "count": pl.Int64, "how": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def kind(alias: Alias) -> str:
    """Whether a tag was merged, left out or stays as it was."""
    if alias.canonical is None:
        return "left out"
    return "as it was" if alias.canonical == alias.tag else "merged"


def how(alias: Alias) -> str:
    """Every step that changed a tag, in words."""
    return t("; then ").join(map(_told, alias.merges)) or t("stays")


def _told(merge: Merge) -> str:
    if merge.step == "correction":
        if merge.into is None:
            return t("left out by your correction")
        return t("your correction: {tag}", tag=merge.into)
    if merge.step == "frequency":
        return t("too rare")
    if merge.into is None:
        return t("nothing but marks")
    if merge.step == "semantic":
        return t(
            "cosine {similarity:.3f} to {tag}, its group at most {diameter:.3f} apart",
            similarity=merge.similarity,
            tag=merge.into,
            diameter=merge.diameter,
        )
    if merge.step == "association":
        return t(
            "{support:,} samples have {tag} too, {confidence:.1%} of those that have it",
            support=merge.support,
            tag=merge.into,
            confidence=merge.confidence,
        )
    return t("another spelling of {tag}", tag=merge.into)
