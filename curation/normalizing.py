"""Normalizing: let an operator rewrite samples, each change a recorded version that can be undone."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from curation.actions import replace_samples
from curation.corpus import SAMPLE_COLUMNS, Corpus
from curation.operators import Normalizer
from curation.progress import Progress, silent
from curation.sample import Sample, from_row
from curation.sql import working

SHARD_ROWS = 10_000


@dataclass(frozen=True)
class NormalizeReport:
    """What a normalizer rewrote."""

    normalizer: str
    action: str
    """By which it can be undone; empty where nothing changed."""
    looked_at: int
    changed: int
    examples: tuple[str, ...]
    """Ids of the first changed samples, as they are now."""


def normalize(
    corpus: Corpus,
    normalizer: Normalizer,
    *,
    where: str | None = None,
    note: str = "",
    who: str | None = None,
    progress: Progress = silent,
) -> NormalizeReport:
    """Rewrite the samples of the working set. Shard by shard: a killed run leaves whole samples, and a rerun goes on.

    Args:
        corpus: whose samples.
        normalizer: with its parameters.
        where: a condition on the samples; all that were not dropped when null.
        note: why, for the history.
        who: does it; the name of the user when null.
        progress: told the samples looked at so far.

    Raises:
        CorpusError: the condition is wrong.
    """
    action, changed, done = uuid.uuid4().hex[:12], 0, 0
    examples: list[str] = []
    ids = corpus.frame(["id"], where=working(where))["id"].to_list()
    for start in range(0, len(ids), SHARD_ROWS):
        shard = ids[start : start + SHARD_ROWS]
        new = {old: rewritten(normalizer, sample) for old, sample in _samples(corpus, shard)}
        new = {old: sample for old, sample in new.items() if sample.id != old}
        changed += replace_samples(
            corpus, action, "normalize", new, operator=normalizer.spec_json(), who=who, note=note or normalizer.name
        )
        examples += [s.id for s in list(new.values())[: 10 - len(examples)]]
        done += len(shard)
        progress(done, len(ids), f"{normalizer.name}: {changed:,} of {done:,} samples changed")
    return NormalizeReport(normalizer.name, action if changed else "", len(ids), changed, tuple(examples))


def rewritten(normalizer: Normalizer, sample: Sample) -> Sample:
    """The sample as the normalizer would have it."""
    rejected = None if sample.rejected is None else normalizer.normalize(sample.rejected)
    return dataclasses.replace(sample, messages=normalizer.normalize(sample.messages), rejected=rejected)


def _samples(corpus: Corpus, ids: list[str]) -> Iterator[tuple[str, Sample]]:
    wanted = pl.DataFrame({"id": ids}, schema={"id": pl.String})
    columns = ", ".join(f'everything."{c}"' for c in SAMPLE_COLUMNS)
    frame = corpus.run(
        f"SELECT {columns} FROM everything SEMI JOIN wanted USING (id) ORDER BY position", frames={"wanted": wanted}
    )
    for row in frame.iter_rows(named=True):
        yield row["id"], from_row(row)
