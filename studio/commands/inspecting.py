"""What `winnow inspect` answers: samples with all their scores, as plain values."""

from __future__ import annotations

import json
from typing import Any

from curation.corpus import Corpus
from curation.storage.sql import literal, quoted

SHOWN = ("id", "messages", "rejected", "label", "tools", "source", "row", "parents", "operator", "tags", "metadata")


def samples(corpus: Corpus, where: str | None, selection: str | None, order: str | None, limit: int) -> dict[str, Any]:
    """`count` and up to `limit` samples.

    Raises:
        CorpusError: the condition is wrong, or there is no such selection.
    """
    scores = list(corpus.score_columns())
    if selection is not None:
        name = literal(corpus.selection(selection).name)
        inside = f"id IN (SELECT id FROM selected WHERE name = {name})"
        rank = f'(SELECT "rank" FROM selected WHERE name = {name} AND selected.id = everything.id)'
        where, order = f"({where}\n) AND {inside}" if where else inside, order or rank
    frame = corpus.frame([*SHOWN, *scores], where=where, order=order, limit=limit)
    found = [_sample(row, scores) for row in frame.iter_rows(named=True)]
    return {"count": corpus.count(where), "samples": found}


def _sample(row: dict[str, Any], scores: list[str]) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": row["id"], "messages": [_turn(m) for m in row["messages"]]}
    if row["rejected"] is not None:
        shown["rejected"] = [_turn(m) for m in row["rejected"]]
    for name in ("label", "tools", "operator"):
        if row[name] is not None:
            shown[name] = row[name]
    return {
        **shown,
        "source": row["source"],
        "row": row["row"],
        "parents": row["parents"] or [],
        "metadata": json.loads(row["metadata"] or "{}"),
        "scores": {name: row[name] for name in scores},
        "tags": row["tags"] or [],
    }


def _turn(message: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in message.items() if v is not None}


def rejected_rows(corpus: Corpus, limit: int) -> dict[str, Any]:
    """`count` and the rows that could not be read: file, line, reason, text."""
    rows = corpus.rejected()
    return {"count": rows.height, "rows": rows.head(limit).to_dicts()}


def reasons(corpus: Corpus, sample_id: str) -> dict[str, str]:
    """Score column -> why this sample has no number there.

    Raises:
        CorpusError: the corpus can't be read.
    """
    found: dict[str, str | None] = {}
    for run in corpus.score_runs():
        table = quoted(f"score_{run.run}")
        row = corpus.query(f"SELECT reason FROM {table} WHERE id = ?", sample_id)
        if row.height:
            found = {**{column: row.item() for column in run.columns}, **found}
    return {column: reason for column, reason in found.items() if reason is not None}
