"""What stands around a sample: parents and children, versions, the selections that took it, the file it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from studio import forms
from studio.languages import t, tn
from studio.pages import lineage_graph
from studio.pages.known import known
from studio.pages.prose import visible

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus
    from curation.sample import Sample

RELATIVES = 20
"""Parents or children that are listed."""
LONGEST_FACT = 20_000
"""Characters of metadata, or of a made sample's operator, that are shown."""


def relatives(corpus: Corpus, sample: Sample) -> None:
    """Draw links to the samples it was made of, and to those that were made of it."""
    families = known(corpus, "families", lambda: corpus.query(_ANY_PARENT).item())
    parents = _texts(corpus, "list_contains(?, id)", list(sample.parents)) if sample.parents else None
    children = _texts(corpus, "list_contains(parents, ?)", sample.id) if families else None
    if sample.operator:
        st.markdown(f"**{t('Made by')}**")
        facts_as_json(sample.operator)
    for title, found in ((t("Parents"), parents), (t("Children"), children)):
        if found is None or found.is_empty():
            continue
        st.markdown(f"**{title}**")
        for sample_id, text in found.iter_rows():
            told = visible(text) or sample_id
            forms.link("browse", told, icon=":material/account_tree:", query={"sample": sample_id})
    missing = 0 if parents is None else len(sample.parents) - parents.height
    if missing:
        st.caption(t("{n:,} of its parents are not in this corpus.", n=missing))


def lineage(corpus: Corpus, sample: Sample, *, edited: bool) -> None:
    """Draw its lineage as a graph, once the reader opens it."""
    if not edited and not known(corpus, "families", lambda: corpus.query(_ANY_PARENT).item()):
        return
    with st.expander(t("Lineage"), icon=":material/account_tree:", on_change="rerun", key="read_lineage") as shown:
        if shown.open:  # else nothing is asked for it
            lineage_graph.draw(corpus, sample.id)


_ANY_PARENT = "SELECT count(*) > 0 AS n FROM (SELECT 1 FROM samples WHERE len(parents) > 0 LIMIT 1)"


def _texts(corpus: Corpus, where: str, value: Any) -> pl.DataFrame:
    return corpus.query(
        f"SELECT id, left(regexp_replace(instruction, '\\s+', ' ', 'g'), 70) AS text FROM samples WHERE {where} "
        f"ORDER BY position LIMIT {RELATIVES}",
        value,
    )


def facts_as_json(text: str) -> None:
    """Draw JSON, its beginning only where it is long."""
    if len(text) > LONGEST_FACT:
        st.code(visible(text[:LONGEST_FACT]), language=None, wrap_lines=True, height=240)
        st.caption(tn("{n} more character", "{n:,} more characters", len(text) - LONGEST_FACT))
    else:
        st.json(text, expanded=1)


def choices(corpus: Corpus, sample_id: str) -> None:
    """Draw which selections took it, once the reader opens it: among millions of reasons that takes a while."""
    if not known(corpus, "selections", lambda: corpus.query("SELECT count(*) AS n FROM selections").item()):
        return
    with st.expander(t("Selections"), icon=":material/filter_alt:", on_change="rerun", key="read_choices") as shown:
        if shown.open:
            _choices(known(corpus, f"choices {sample_id}", lambda: _ask_choices(corpus, sample_id)))


def _ask_choices(corpus: Corpus, sample_id: str) -> pl.DataFrame:
    return corpus.query(
        'SELECT s.name AS selection, c.id IS NOT NULL AS chosen, c."rank", n.reason, n.id IS NOT NULL AS seen '
        'FROM selections s LEFT JOIN (SELECT name, id, "rank" FROM selected WHERE id = ?) c USING (name) '
        "LEFT JOIN (SELECT name, id, reason FROM not_selected WHERE id = ?) n USING (name) ORDER BY s.created_at",
        sample_id,
        sample_id,
    )


def _choices(rows: pl.DataFrame) -> None:
    told = [
        {
            "selection": row["selection"],
            "chosen": t("rank {rank:,}", rank=row["rank"]) if row["chosen"] else t("not chosen"),
            "reason": row["reason"] or ("" if row["chosen"] or row["seen"] else t("not in its pool")),
        }
        for row in rows.iter_rows(named=True)
    ]
    st.dataframe(
        told,
        hide_index=True,
        height="content",
        column_config={
            "selection": st.column_config.TextColumn(t("Selection"), width="small"),
            "chosen": st.column_config.TextColumn(t("Chosen"), width="small"),
            "reason": st.column_config.TextColumn(t("Why not")),
        },
        alt=t("Which selections took this sample, and why others left it"),
    )


def origin(corpus: Corpus, sample: Sample, facts: dict[str, Any]) -> None:
    """Draw the file and row it came from."""
    st.markdown(f"**{t('Origin')}**")
    files = known(corpus, "files", lambda: dict(corpus.query(_FILES).iter_rows()))
    file, row, added = files.get(facts["batch"]), facts["row"], f"{facts['added_at']:%Y-%m-%d %H:%M}"
    if file is not None and row is not None:
        told = t("File {file}, row {row:,}, added {time}", file=file, row=row, time=added)
    elif file is not None:
        told = t("File {file}, added {time}", file=file, time=added)
    else:
        told = t("Added {time}", time=added)
    st.caption(forms.plain(visible(told)))
    repeated = known(corpus, "repeated", lambda: corpus.query("SELECT count(*) AS n FROM duplicates").item())
    again = known(corpus, f"again {sample.id}", lambda: corpus.query(_AGAIN, sample.id)) if repeated else None
    if again is not None and not again.is_empty():
        places = [s if row is None else t("{source} row {row:,}", source=s, row=row) for s, row in again.iter_rows()]
        st.caption(forms.plain(visible(t("The same text came again in: {places}", places="; ".join(places)))))
    st.code(sample.id, language=None)


_AGAIN = 'SELECT source, "row" FROM duplicates WHERE id = ? LIMIT 20'
_FILES = 'SELECT batch, arg_min("file", added_at) AS "file" FROM batches GROUP BY batch'
