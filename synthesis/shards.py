"""The shards of a synthesis run: outcomes as Parquet files, written in the order of the seed samples.

Order makes a killed and resumed run equal to an uninterrupted one, down to which of two equal texts came first.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from curation.language_models.calls import call_key
from curation.sample import Sample, from_row, to_frame
from synthesis.acceptance import Gate
from synthesis.synthesizer import Call, Outcome, Synthesizer

if TYPE_CHECKING:
    import polars as pl


APART_SECONDS = 2.0
"""Shards follow each other no faster: a fast run hands over more seed samples at once, and so does a slow corpus, to
which at most a tenth of the time is given. What waits is in `calls.sqlite` meanwhile."""
OWN_SEED = "own_seed"
"""Metadata of a seed sample that a synthesizer made up: it is no parent, as it is in no corpus."""


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
    judge: str
    """The same as the model where no other judges."""

    def key(self, call: Call) -> str:
        """Under which a call stands in `calls.sqlite`."""
        return call_key(self.judge if call.role == "judge" else self.model, call.request)


class Shards:
    """Collects outcomes and hands them over, a shard at a time."""

    def __init__(
        self, folder: Path, taker: Taker, run: str, maker: Maker, gate: Gate, synthesizer: Synthesizer
    ) -> None:
        self.folder = folder
        self.added = 0
        self.duplicates = 0
        self.accepted = 0
        """Outcomes of this command that no rule rejected, handed over or not."""
        self.rejected: Counter[str] = Counter()
        self.made: list[Sample] = []
        """Accepted samples of all commands of the run, in order, if they are to be kept."""
        self.first_rejected: tuple[str, str, str] | None = None
        """Rule, what it saw, and text of the run's first outcome that was rejected."""
        self.any_accepted = False
        """Whether any command of the run accepted an outcome."""
        self.rejected_of_run = 0
        self._gate = gate
        self._synthesizer = synthesizer
        self._keeps_made = synthesizer.in_rounds
        self._taker = taker
        self._run = run
        self._maker = maker
        self._waiting: dict[int, list[tuple[Sample, Outcome]]] = {}
        self._complete: list[tuple[Sample, Outcome]] = []
        self._due = 0.0
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
            self._gate.remember(outcomes.filter(pl.col("rejected_by").is_null()))
            done.update(seed_ids(outcomes))
        return done

    def expect(self, seeds: int, per_shard: int) -> None:
        """Say how many seed samples are to come, and how many of them make a shard at least."""
        self._total, self._size = seeds, per_shard

    def finish(self, position: int, sample: Sample, outcomes: list[Outcome] | None) -> None:
        """Take the outcomes of the seed sample at `position` (null: it failed); now and then write what is complete."""
        self._waiting[position] = [(sample, outcome) for outcome in outcomes or ()]
        self._count(self._waiting[position], 1)
        while self._next < self._total:
            shard = range(self._next, min(self._next + self._size, self._total))
            if not all(p in self._waiting for p in shard):
                break
            found = [pair for p in shard for pair in self._waiting.pop(p)]
            passed = self._gate.passed(self._synthesizer.among_each_other(found))
            self._count(found, -1)
            self._count(passed, 1)
            self._complete += passed
            self._next = shard.stop
        if time.monotonic() >= self._due:
            self.write()

    def write(self) -> None:
        """Write what is complete and hand it over."""
        begun = time.monotonic()
        complete, self._complete = self._complete, []
        if complete:
            self._write(complete)
            now = time.monotonic()
            self._due = now + max(APART_SECONDS, 10 * (now - begun))

    def _count(self, pairs: list[tuple[Sample, Outcome]], sign: int) -> None:
        for _, outcome in pairs:
            if outcome.rejected_by is None:
                self.accepted += sign
            else:
                self.rejected[outcome.rejected_by] += sign

    def _write(self, pairs: list[tuple[Sample, Outcome]]) -> None:
        name = f"out-{len(self._files()) + 1:05d}"
        outcomes = self._frame(pairs)
        temporary = self.folder / f".{name}.{os.getpid()}"
        outcomes.write_parquet(temporary)
        temporary.replace(self.folder / f"{name}.parquet")
        self._hand_over(name, outcomes)

    def _hand_over(self, shard: str, outcomes: pl.DataFrame) -> None:
        import polars as pl

        accepted = outcomes.filter(pl.col("rejected_by").is_null())
        rejected = outcomes.filter(pl.col("rejected_by").is_not_null())
        self.any_accepted = self.any_accepted or not accepted.is_empty()
        self.made += [from_row(row) for row in accepted.iter_rows(named=True)] if self._keeps_made else []
        self.rejected_of_run += rejected.height
        if self.first_rejected is None and not rejected.is_empty():
            row = rejected.row(0, named=True)
            self.first_rejected = row["rejected_by"], row["detail"] or "", row["response"] or row["instruction"]
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
        keys = {call.step: self._maker.key(call) for call in outcome.calls}
        in_corpus = not seed.metadata.get(OWN_SEED)
        return Sample(
            messages=outcome.messages,
            rejected=outcome.rejected,
            shape="messages" if outcome.rejected is None else "preference",
            source=f"synthesis/{self._maker.name}",
            parents=outcome.parents or ((seed.id,) if in_corpus else ()),
            label=outcome.label,
            operator=self._maker.operator,
            metadata={**outcome.metadata, "seed_id": seed.id, "calls": keys},
        )


def seed_ids(outcomes: pl.DataFrame) -> set[str]:
    """Ids of the seed samples that a shard's outcomes came from."""
    return {json.loads(metadata)["seed_id"] for metadata in outcomes["metadata"]}
