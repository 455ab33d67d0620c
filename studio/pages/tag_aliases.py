"""What became of every tag when the tags were normalised, to be searched and corrected."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from curation.errors import CorpusError
from studio import jobs
from studio.pages.corpus_state import corpus_state

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus
    from curation.tag_normalizing import Alias, Merge

SHOWN = 1_000
"""Tags in the table, the most frequent of those that are searched for."""
KINDS = ("merged", "left out", "as it was", "all")


@st.fragment
def section(corpus: Corpus) -> None:
    """The part of the page for the scorer `instag-normalized`; nothing where it has not run. A fragment."""
    found = _aliases(corpus_state(corpus), corpus)
    if not found:
        return
    st.subheader("Tags after normalisation")
    counts = Counter(kind(alias) for alias in found)
    st.caption(
        f"{len(found):,} tags became {len({a.canonical for a in found} - {None}):,}. Merged into another: "
        f"{counts['merged']:,}; left out: {counts['left out']:,}; as they were: {counts['as it was']:,}."
    )
    search_cell, kind_cell = st.columns([2, 3], vertical_alignment="bottom")
    search = search_cell.text_input(
        "Search tags", placeholder="a tag, or what it became", icon=":material/search:", key="aliases_search"
    )
    wanted = kind_cell.segmented_control(
        "What became of them", KINDS, default="merged", required=True, key="aliases_kind"
    )
    rows = table(found, search or "", wanted or "all")
    if rows.is_empty():
        st.caption("No tag is like that.")
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
            "tag": st.column_config.TextColumn("Tag", width=190),
            "canonical": st.column_config.TextColumn("Became", width=190),
            "count": st.column_config.NumberColumn("Samples", format="localized", width=80),
            "how": st.column_config.TextColumn("How", width=480),
        },
        placeholder="–",
        alt="Tags, what each became, how many samples have it, and how it was merged",
    )
    if rows.height > SHOWN:
        st.caption(f"The {SHOWN:,} most frequent of {rows.height:,}: search for the others.")


def _correction(corpus: Corpus) -> None:
    st.caption(
        'To correct it, write lines such as `{"tag": "maths", "canonical": "Mathematics"}` into a file (`null` leaves '
        "a tag out) and normalise again with it; it outranks every step."
    )
    st.code(jobs.command_line(again(corpus)), language="bash", wrap_lines=True)


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
    return "; then ".join(map(_told, alias.merges)) or "stays"


def _told(merge: Merge) -> str:
    if merge.step == "correction":
        return "left out by your correction" if merge.into is None else f"your correction: {merge.into}"
    if merge.step == "frequency":
        return "too rare"
    if merge.into is None:
        return "nothing but marks"
    if merge.step == "semantic":
        return f"cosine {merge.similarity:.3f} to {merge.into}, its group at most {merge.diameter:.3f} apart"
    if merge.step == "association":
        return f"{merge.support:,} samples have {merge.into} too, {merge.confidence:.1%} of those that have it"
    return f"another spelling of {merge.into}"
