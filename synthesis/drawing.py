"""Which samples a run begins with, and in which order."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from curation.errors import CorpusError, OperatorError
from curation.sample import Sample, from_row
from curation.storage.sql import working
from synthesis.synthesizer import Synthesizer

if TYPE_CHECKING:
    import polars as pl

IDS_PER_QUERY = 500


class Samples(Protocol):
    """What synthesis asks of a corpus."""

    @property
    def path(self) -> Path:
        """The folder."""
        ...

    def frame(
        self,
        columns: Sequence[str] | None = None,
        *,
        where: str | None = None,
        order: str | None = None,
        limit: int | None = None,
    ) -> pl.DataFrame:
        """Samples as rows."""
        ...

    def synthesis_run(self, run: str, operator: str, model: str) -> None:
        """Record a run; doing it twice changes nothing."""
        ...

    def add_outcomes(self, run: str, shard: str, outcomes: pl.DataFrame) -> tuple[int, int]:
        """Take a shard once; how many accepted samples were new and how many were known."""
        ...


def at_least_one(**numbers: float | None) -> None:
    """Refuse a number of something that is below 1; null is no limit.

    Raises:
        OperatorError: one is.
    """
    for name, value in numbers.items():
        if value is not None and value < 1:
            raise OperatorError(f"{name} is {value}.", fix=f"give a {name} of 1 or more")


def seed_condition(synthesizer: Synthesizer, where: str | None) -> str:
    """SQL for what seed samples are drawn from: ingested, in whatever version, and neither dropped nor held out."""
    ingested = "root IN (SELECT id FROM samples WHERE operator IS NULL)"
    return f"{working(where)} AND {ingested} AND NOT held_out AND ({synthesizer.seed_condition})"


def draw(corpus: Samples, synthesizer: Synthesizer, where: str | None, limit: int | None, seed: int) -> list[Sample]:
    """Seed samples in the order of a hash of their id and the random seed: more of them never reorders the first.

    Raises:
        CorpusError: there is none.
    """
    own = synthesizer.own_seeds(limit, seed)
    if own is not None:
        return own[:limit]
    ids = corpus.frame(["id"], where=seed_condition(synthesizer, where))["id"].to_list()
    ids.sort(key=lambda i: hashlib.sha256(f"{seed}/{i}".encode()).digest())
    chosen: list[Sample] = []
    for start in range(0, len(ids), IDS_PER_QUERY):
        chosen += [s for s in _load(corpus, ids[start : start + IDS_PER_QUERY]) if synthesizer.suits(s)]
        if limit is not None and len(chosen) >= limit:
            break
    if not chosen:
        raise _none_found(synthesizer, where, len(ids))
    return chosen[:limit]


def _none_found(synthesizer: Synthesizer, where: str | None, looked_at: int) -> CorpusError:
    wanted = f"it must meet {synthesizer.seed_condition} and not be made by synthesis"
    if looked_at:
        doc = (synthesizer.suits.__doc__ or "").split(".")[0].strip()
        wanted = f"{looked_at:,} were looked at; what is wanted: {doc[:1].lower()}{doc[1:]}"
    return CorpusError(
        f"No sample {'of those where ' + where if where else 'of this corpus'} can be a seed sample of "
        f"{synthesizer.name} ({wanted}).",
        fix="give another --where, or ingest such samples first",
    )


def _load(corpus: Samples, ids: list[str]) -> list[Sample]:
    listed = ", ".join(f"'{i}'" for i in ids)
    rows = {row["id"]: row for row in corpus.frame(where=f"id IN ({listed})").iter_rows(named=True)}
    return [from_row(rows[i]) for i in ids]
