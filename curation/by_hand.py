"""Selections made by hand: samples that somebody pointed at, rather than a selector."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from curation.corpus import Corpus
from curation.deciding import targets_of
from curation.errors import CorpusError
from curation.names import checked_name
from curation.selection import SelectReport, never_candidates


def select_by_hand(
    corpus: Corpus, ids: Sequence[str], *, name: str, how: Mapping[str, Any] | None = None
) -> SelectReport:
    """Store samples as a selection, in the order given; one of the same name is replaced.

    What no selection may hold stays out, with the reason: dropped and held-out samples, their twins, leaks.

    Args:
        corpus: whose samples.
        ids: of current samples.
        name: what to call it.
        how: what was done to choose them; kept with the selection.

    Raises:
        CorpusError: there are no ids, one is of no current sample, none of the samples may be selected, or the name
            can't be one.
    """
    checked_name("selection", name)
    if not ids:
        raise CorpusError(
            "No sample was named.", fix="name them: --id ID, or a file with an id in each line: --ids FILE"
        )
    _, frames = targets_of(corpus, None, ids)
    asked = frames["asked_frame"].with_row_index("place")
    found = corpus.run(
        "SELECT id, decision, decision_reason FROM everything JOIN asked_frame USING (id) ORDER BY place",
        frames={"asked_frame": asked},
    )
    left = never_candidates(corpus, found["id"])
    dropped = found.filter(pl.col("decision") == "drop")
    left |= {i: f"dropped: {reason}" for i, reason in dropped.select("id", "decision_reason").iter_rows()}
    chosen = [i for i in found["id"] if i not in left]
    if not chosen:
        raise CorpusError(
            f"None of the {len(asked):,} samples can be selected: they are dropped or held out.",
            fix="choose other samples, or keep these first",
        )
    corpus.save_selection(name, json.dumps({"name": "by-hand", **(how or {})}), None, found.height, chosen, left)
    return SelectReport(name, "by-hand", chosen, left, found.height)
