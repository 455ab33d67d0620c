"""What a run rejected, read again, and accepted by hand where the rule was wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from curation.actions import ActionReport
from curation.corpus import Corpus
from curation.deciding import keep
from curation.errors import CorpusError
from curation.sample import Sample, from_row, response_of, to_frame

BY_HAND = "accepted_by_hand"
"""Metadata of a sample that a rule had rejected: that rule."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """An outcome that a rule rejected, as its shard has it."""

    sample: Sample
    rule: str
    detail: str | None


def rejected(folder: Path, run: str, outcome: str) -> Rejected:
    """An outcome of a run by its id.

    Args:
        folder: of the corpus.
        run: the synthesis run.
        outcome: its id.

    Raises:
        CorpusError: the run rejected no such outcome, or its shards are gone.
    """
    import polars as pl

    for path in sorted((folder / "jobs" / f"synthesize-{run}").glob("out-*.parquet")):
        # One text may have been rejected more than once; the first says as much as the others.
        found = pl.read_parquet(path).filter(pl.col("id") == outcome, pl.col("rejected_by").is_not_null())
        if found.height:
            row = found.row(0, named=True)
            return Rejected(from_row(row), row["rejected_by"], row["detail"])
    raise CorpusError(
        f"The run {run} rejected no outcome {outcome!r}, or its shards are gone.",
        fix="take the id from the table of rejected outcomes on the page Synthesize",
    )


def accept(
    corpus: Corpus, run: str, outcomes: Sequence[str], *, note: str = "", who: str | None = None
) -> ActionReport:
    """Make samples of outcomes that a rule rejected, with their parents, and mark them as kept.

    Args:
        corpus: that the run belongs to.
        run: the synthesis run.
        outcomes: their ids.
        note: why.
        who: decided it; the name of the user when null.

    Raises:
        CorpusError: the run rejected no such outcome, or it has no answer to learn from.
    """
    samples = []
    for outcome in outcomes:
        found = rejected(corpus.path, run, outcome)
        if not response_of(found.sample.messages).strip():
            raise CorpusError(
                f"The outcome {outcome} has no answer: the rule {found.rule!r} rejected it before one was asked for.",
                fix="accept others, or run again with another setting",
            )
        samples.append(replace(found.sample, metadata={**found.sample.metadata, BY_HAND: found.rule}))
    corpus.add(to_frame(samples), batch=run)
    rules = ", ".join(dict.fromkeys(s.metadata[BY_HAND] for s in samples))
    return keep(corpus, ids=[s.id for s in samples], note=note or f"accepted by hand, rejected by {rules}", who=who)
