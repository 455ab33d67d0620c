"""Columns that are asked for and not there."""

from __future__ import annotations

from curation.corpus import Corpus
from curation.errors import CorpusError, unknown

SCORED_BY = {
    "instag_normalized": "instag-normalized", "instag": "instag",
    "length": "length", "ifd": "ifd", "heuristics": "heuristics", "language": "language",
    "near_duplicate": "near-duplicate", "semantic_duplicate": "semantic-duplicate", "contaminat": "contamination",
    "importance": "importance", "classifier": "classifier", "novelty": "novelty", "toxic": "toxicity",
    "arithmetic": "arithmetic", "s_ifd": "s-ifd", "perplexity": "perplexity", "target_fit": "target-fit",
    "deita_complexity": "deita-complexity", "deita_quality": "deita-quality", "reward": "reward", "less": "less",
    "ranked_judge": "ranked-judge", "judge": "judge", "final_answer": "final-answer", "code_tests": "code-tests",
    "constraints": "constraints", "pass_rate": "pass-rate", "concept": "concept",
}  # fmt: skip
"""How a column's name begins -> the scorer that writes it."""


def unscored_column(corpus: Corpus, column: str) -> CorpusError:
    """The error for a column that no scorer has written, with the command that writes it."""
    scorer = next((s for prefix, s in SCORED_BY.items() if column.startswith(prefix)), None)
    known = unknown("column", column, corpus.score_columns())
    fix = f"winnow score {corpus.path} {scorer}" if scorer else known.fix
    return CorpusError(f"The corpus has no column {column!r}.", fix=fix)
