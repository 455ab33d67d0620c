"""The shards of a synthesis run: outcomes as Parquet files, written in the order of the seed samples.

Order makes a killed and resumed run equal to an uninterrupted one, down to which of two equal texts came first.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from curation.language_models.calls import call_key
from curation.sample import Sample, to_frame
from synthesis.synthesizer import Outcome

if TYPE_CHECKING:
    import polars as pl


class Taker(Protocol):
    """Who takes the outcomes."""

    def add_outcomes(self, run: str, shard: str, outcomes: pl.DataFrame) -> tuple[int, int]:
        """Take a shard once; how many accepted samples were new and how many were known."""
        ...


@dataclass(frozen=True, slots=True)
class Maker:
    """Who made the samples."""

    name: str
    operator: str
    """JSON of the synthesizer and its model."""
    model: str


class Shards:
    """Collects outcomes and hands them over, a shard at a time."""

    def __init__(self, folder: Path, taker: Taker, run: str, maker: Maker) -> None:
        self.folder = folder
        self.added = 0
        self.duplicates = 0
        self.accepted = 0
        """Outcomes of this command that no rule rejected, handed over or not."""
        self.rejected: Counter[str] = Counter()
        self._taker = taker
        self._run = run
        self._maker = maker
        self._waiting: dict[int, list[tuple[Sample, Outcome]]] = {}
        self._next = 0
        self._total = 0
        self._size = 1
        folder.mkdir(parents=True, exist_ok=True)

    def take_finished(self) -> set[str]:
        """Hand over the shards of earlier commands (once more, if need be); ids of the seed samples they settle."""
        import polars as pl

        done: set[str] = set()
        for path in self._files():
            outcomes = pl.read_parquet(path)
            self._hand_over(path.stem, outcomes)
            done.update(outcomes["parents"].list.first().to_list())
        return done

    def expect(self, seeds: int, per_shard: int) -> None:
        """Say how many seed samples are to come, and how many of them make a shard."""
        self._total, self._size = seeds, per_shard

    def finish(self, position: int, sample: Sample, outcomes: list[Outcome] | None) -> None:
        """Take the outcomes of the seed sample at `position` (null: it failed); write every shard that is complete."""
        self._waiting[position] = [(sample, outcome) for outcome in outcomes or ()]
        for outcome in outcomes or ():
            self.accepted += outcome.rejected_by is None
            self.rejected.update([outcome.rejected_by] if outcome.rejected_by else [])
        while self._next < self._total:
            shard = range(self._next, min(self._next + self._size, self._total))
            if not all(p in self._waiting for p in shard):
                return
            self._write([pair for p in shard for pair in self._waiting.pop(p)])
            self._next = shard.stop

    def _write(self, pairs: list[tuple[Sample, Outcome]]) -> None:
        if not pairs:
            return
        name = f"out-{len(self._files()) + 1:05d}"
        outcomes = self._frame(pairs)
        temporary = self.folder / f".{name}.{os.getpid()}"
        outcomes.write_parquet(temporary)
        temporary.replace(self.folder / f"{name}.parquet")
        self._hand_over(name, outcomes)

    def _hand_over(self, shard: str, outcomes: pl.DataFrame) -> None:
        added, duplicates = self._taker.add_outcomes(self._run, shard, outcomes)
        self.added += added
        self.duplicates += duplicates

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("out-*.parquet"))

    def _frame(self, pairs: list[tuple[Sample, Outcome]]) -> pl.DataFrame:
        """The columns of samples, and `rejected_by` and `detail`."""
        import polars as pl

        return to_frame([self._sample(seed, outcome) for seed, outcome in pairs]).with_columns(
            pl.Series("rejected_by", [o.rejected_by for _, o in pairs], dtype=pl.String),
            pl.Series("detail", [o.detail for _, o in pairs], dtype=pl.String),
        )

    def _sample(self, seed: Sample, outcome: Outcome) -> Sample:
        """The new sample with its provenance, which a synthesizer so can't forget."""
        keys = {call.step: call_key(self._maker.model, call.request) for call in outcome.calls}
        return Sample(
            messages=outcome.messages,
            rejected=outcome.rejected,
            shape="messages" if outcome.rejected is None else "preference",
            source=f"synthesis/{self._maker.name}",
            parents=(seed.id,),
            operator=self._maker.operator,
            metadata={**outcome.metadata, "seed_id": seed.id, "calls": keys},
        )
