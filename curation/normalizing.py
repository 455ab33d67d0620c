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
from curation.sample import Message, Sample, from_row
from curation.storage.sql import working

SHARD_ROWS = 10_000

Turns = tuple[Message, ...]


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
        new = dict(_rewritten(corpus, normalizer, shard))
        changed += replace_samples(
            corpus, action, "normalize", new, operator=normalizer.spec_json(), who=who, note=note or normalizer.name
        )
        examples += [s.id for s in list(new.values())[: 10 - len(examples)]]
        done += len(shard)
        progress(done, len(ids), f"{normalizer.name}: {changed:,} of {done:,} samples changed")
    return NormalizeReport(normalizer.name, action if changed else "", len(ids), changed, tuple(examples))


def rewritten(normalizer: Normalizer, sample: Sample) -> Sample:
    """The sample as the normalizer would have it; both sides of a preference pair are read after the same question."""
    turns, rejected = _sides(normalizer, sample.messages, sample.rejected)
    return dataclasses.replace(sample, messages=turns, rejected=rejected)


def _sides(normalizer: Normalizer, messages: Turns, rejected: Turns | None) -> tuple[Turns, Turns | None]:
    if rejected is not None:
        asked = max((i for i, m in enumerate(messages) if m.role == "user"), default=-1) + 1
        rejected = normalizer.normalize((*messages[:asked], *rejected))[asked:]
    return normalizer.normalize(messages), rejected


def _rewritten(corpus: Corpus, normalizer: Normalizer, ids: list[str]) -> Iterator[tuple[str, Sample]]:
    """Id -> the new sample, of those that change. Of the others, which are most, nothing but the turns is built."""
    wanted = pl.DataFrame({"id": ids}, schema={"id": pl.String})
    columns = ", ".join(f'versions."{c}"' for c in SAMPLE_COLUMNS)
    frame = corpus.run(
        f"SELECT {columns} FROM versions SEMI JOIN wanted USING (id) ORDER BY position", frames={"wanted": wanted}
    )
    for row in frame.iter_rows(named=True):
        messages = tuple(Message(**m) for m in row["messages"])
        rejected = None if row["rejected"] is None else tuple(Message(**m) for m in row["rejected"])
        turns, others = _sides(normalizer, messages, rejected)
        if turns != messages or others != rejected:
            yield row["id"], dataclasses.replace(from_row(row), messages=turns, rejected=others)
