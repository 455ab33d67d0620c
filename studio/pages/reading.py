"""One sample as a reader sees it: the conversation, its scores with reasons, and where it came from."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.storage.sql import quoted, score_table
from studio import forms
from studio.pages import deciding
from studio.pages.conversations import conversation

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from curation.corpus import Corpus
    from curation.sample import Message, Sample

RELATIVES = 20
"""Parents or children that are listed."""


def pane(corpus: Corpus, sample: Sample) -> None:
    """Draw everything that is known of a sample."""
    facts = corpus.query(
        'SELECT source, shape, script, turns, held_out, coalesce(tags, []) AS tags, "row", batch, added_at, label, '
        "decision, decision_reason FROM versions WHERE id = ?",
        sample.id,
    ).row(0, named=True)
    later = corpus.query("SELECT replaced_by FROM states WHERE id = ? AND NOT is_current", sample.id)
    _badges(facts)
    if later.is_empty():
        deciding.on_sample(corpus, sample)
    else:
        _earlier(later["replaced_by"][0])
    turns(sample)
    _scores(corpus, sample.id)
    _relatives(corpus, sample)
    if sample.metadata:
        st.markdown("**Metadata**")
        st.json(sample.metadata, expanded=1)
    _choices(corpus, sample.id)
    _origin(corpus, sample, facts)


def _earlier(later: str | None) -> None:
    if later is None:
        st.info("The rewriting that made this version was undone.", icon=":material/history:")
        return
    st.info("This is an earlier version; it is in no working set.", icon=":material/history:")
    forms.link("browse", "Read the version that replaced it", icon=":material/history:", query={"sample": later})


def _badges(facts: dict[str, Any]) -> None:
    with st.container(horizontal=True, gap="xsmall"):
        for name in ("source", "shape", "script"):
            if facts[name]:
                st.badge(forms.plain(facts[name]), color="gray", help=name.capitalize())
        if facts["held_out"]:
            st.badge("held out", color="orange", icon=":material/lock:", help="Set aside for evaluation")
        if facts["decision"]:
            kept = facts["decision"] == "keep"
            st.badge(
                forms.plain(facts["decision_reason"] or "kept")
                if kept
                else forms.plain(f"dropped: {facts['decision_reason']}"),
                color="green" if kept else "red",
                icon=":material/check:" if kept else ":material/block:",
                help="Decided by hand or by a rule; the History page has who and when",
            )
        if facts["label"] is not None:
            st.badge(
                "desirable" if facts["label"] else "undesirable",
                color="green" if facts["label"] else "red",
                help="Label",
            )
        for tag in facts["tags"]:
            st.badge(forms.plain(tag), color="violet", icon=":material/sell:", help="Tag")


def prompt_and_answers(sample: Sample) -> tuple[Sequence[Message], Sequence[Message]]:
    """A preference sample's prompt, and the chosen turns that stand where the rejected ones would."""
    turns = sample.messages
    other = [m.role for m in sample.rejected or ()]
    for count in (len(other), 1):
        if [m.role for m in turns[len(turns) - count :]] == other or count == 1:
            return turns[: len(turns) - count], turns[len(turns) - count :]
    return turns, ()


def turns(sample: Sample) -> None:
    """The conversation; of a preference sample both answers, side by side."""
    if sample.tools:
        with st.expander("Tools it may call", icon=":material/build:"):
            st.code(_indented(sample.tools), language="json", wrap_lines=True)
    if sample.rejected is None:
        conversation(sample.messages)
        return
    prompt, chosen = prompt_and_answers(sample)
    conversation(prompt)
    better, worse = st.columns(2)
    with better:
        st.badge("chosen", color="green", icon=":material/thumb_up:")
        conversation(chosen)
    with worse:
        st.badge("rejected", color="red", icon=":material/thumb_down:")
        conversation(sample.rejected)


def _indented(text: str) -> str:
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except ValueError:
        return text


def score_rows(corpus: Corpus, sample_id: str) -> list[dict[str, str]]:
    """Every score of a sample: score, value, and why there is none."""
    rows, seen = [], set()
    for run in corpus.score_runs():
        columns = [c for c in run.columns if c not in seen]
        seen.update(columns)
        names = ", ".join(map(quoted, columns))
        found = corpus.query(f"SELECT {names or 'id'}, reason FROM {score_table(run.run)} WHERE id = ?", sample_id)
        for column in columns:
            value = None if found.is_empty() else found[column][0]
            reason = "not scored yet" if found.is_empty() else found["reason"][0]
            rows.append(
                {"score": column, "value": _number(value), "why": "" if value is not None else reason or "no value"}
            )
    return rows


def _number(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if isinstance(value, float) else str(value)


def _scores(corpus: Corpus, sample_id: str) -> None:
    st.markdown("**Scores**")
    rows = score_rows(corpus, sample_id)
    if not rows:
        st.caption("Nothing is scored yet.")
        return
    measured = [row for row in rows if not row["why"]]
    with st.container(horizontal=True, gap="xsmall"):
        for row in measured:
            if row["value"] not in ("yes", "no"):
                st.badge(forms.plain(f"{row['score']}: {row['value']}"), color="blue")
            elif row["value"] == "yes":
                st.badge(forms.plain(row["score"]), color="orange", icon=":material/flag:", help="This flag is set")
    if clear := [row["score"] for row in measured if row["value"] == "no"]:
        st.caption(forms.plain(f"Flags that are not set: {', '.join(clear)}"))
    missing = [{"score": row["score"], "why": row["why"]} for row in rows if row["why"]]
    if missing:
        st.dataframe(
            missing,
            hide_index=True,
            height="content",
            row_height=28,
            column_config={"score": "Not measured", "why": "Why"},
            alt="Scores that this sample has no value for, with the reason",
        )


def _relatives(corpus: Corpus, sample: Sample) -> None:
    parents = _texts(corpus, "list_contains(?, id)", list(sample.parents)) if sample.parents else None
    children = _texts(corpus, "list_contains(parents, ?)", sample.id)
    if sample.operator:
        st.markdown("**Made by**")
        st.json(json.loads(sample.operator), expanded=False)
    for title, found in (("Parents", parents), ("Children", children)):
        if found is None or found.is_empty():
            continue
        st.markdown(f"**{title}**")
        for sample_id, text in found.iter_rows():
            forms.link("browse", text or sample_id, icon=":material/account_tree:", query={"sample": sample_id})
    missing = 0 if parents is None else len(sample.parents) - parents.height
    if missing:
        st.caption(f"{missing:,} of its parents are not in this corpus.")


def _texts(corpus: Corpus, where: str, value: Any) -> pl.DataFrame:
    return corpus.query(
        f"SELECT id, left(regexp_replace(instruction, '\\s+', ' ', 'g'), 70) AS text FROM samples WHERE {where} "
        f"ORDER BY position LIMIT {RELATIVES}",
        value,
    )


def _choices(corpus: Corpus, sample_id: str) -> None:
    rows = corpus.query(
        "SELECT s.name AS selection, CASE WHEN c.id IS NOT NULL THEN 'rank ' || c.rank ELSE 'left' END AS chosen, "
        "coalesce(n.reason, CASE WHEN c.id IS NULL THEN 'not in its pool' ELSE '' END) AS reason FROM selections s "
        'LEFT JOIN (SELECT name, id, "rank" AS rank FROM selected WHERE id = ?) c USING (name) '
        "LEFT JOIN (SELECT name, id, reason FROM not_selected WHERE id = ?) n USING (name) ORDER BY s.created_at",
        sample_id,
        sample_id,
    )
    if rows.is_empty():
        return
    st.markdown("**Selections**")
    st.dataframe(
        rows,
        hide_index=True,
        height="content",
        column_config={
            "selection": st.column_config.TextColumn("Selection", width="small"),
            "chosen": st.column_config.TextColumn("Chosen", width="small"),
            "reason": "Why not",
        },
        alt="Which selections took this sample, and why others left it",
    )


def _origin(corpus: Corpus, sample: Sample, facts: dict[str, Any]) -> None:
    st.markdown("**Origin**")
    file = corpus.query('SELECT "file" FROM batches WHERE batch = ? ORDER BY added_at LIMIT 1', facts["batch"])
    told = []
    if not file.is_empty():
        told.append(f"File {file.item()}")
    if facts["row"] is not None:
        told.append(f"row {facts['row']:,}")
    told.append(f"added {facts['added_at']:%Y-%m-%d %H:%M}")
    again = corpus.query('SELECT source, "row" FROM duplicates WHERE id = ? LIMIT 20', sample.id)
    st.caption(forms.plain(", ".join(told)))
    if not again.is_empty():
        places = "; ".join(source if row is None else f"{source} row {row:,}" for source, row in again.iter_rows())
        st.caption(forms.plain(f"The same text came again in: {places}"))
    st.code(sample.id, language=None)
