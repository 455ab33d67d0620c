"""Columns that are asked for and not there."""

from __future__ import annotations

from curation.corpus import Corpus
from curation.errors import CorpusError, unknown

SCORED_BY = {
    "length": "length", "ifd": "ifd", "heuristics": "heuristics", "language": "language",
    "near_duplicate": "near-duplicate", "semantic_duplicate": "semantic-duplicate", "contaminat": "contamination",
    "importance": "importance", "classifier": "classifier", "novelty": "novelty", "toxic": "toxicity",
    "arithmetic": "arithmetic",
}  # fmt: skip
"""How a column's name begins -> the scorer that writes it."""


def unscored_column(corpus: Corpus, column: str) -> CorpusError:
    """The error for a column that no scorer has written, with the command that writes it."""
    scorer = next((s for prefix, s in SCORED_BY.items() if column.startswith(prefix)), None)
    known = unknown("column", column, corpus.score_columns())
    fix = f"winnow score {corpus.path} {scorer}" if scorer else known.fix
    return CorpusError(f"The corpus has no column {column!r}.", fix=fix)
