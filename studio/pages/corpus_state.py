"""A key for what a page keeps between two drawings: it changes when the corpus does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from curation.vectors import embeddings

if TYPE_CHECKING:
    from curation.corpus import Corpus


def corpus_state(corpus: Corpus) -> str:
    """Changes with samples, scores, decisions, tags, selections, held-out samples and embeddings."""
    stored = [(about["name"], about["samples"], about.get("number")) for about in embeddings(corpus)]
    if corpus.database.narrow is not None:  # this process sees every write, so nothing has to be asked
        return repr((str(corpus.path), corpus.database.narrow.state, stored))
    row = corpus.query(
        "SELECT (SELECT max(created_at) FROM selections), (SELECT count(*) FROM selected), "
        "(SELECT max(used_at) FROM score_runs), (SELECT count(*) FROM shards), (SELECT count(*) FROM samples), "
        "(SELECT count(*) FROM held_out), (SELECT count(*) FROM tags), (SELECT count(*) FROM actions)"
    ).row(0)
    return repr((str(corpus.path), row, stored))
