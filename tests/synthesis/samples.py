"""A real corpus with seed samples, and every outcome of its synthesis runs read back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from curation.corpus import Corpus
from curation.sample import Message, Sample, to_frame


def asked(instruction: str, response: str = "", **fields: Any) -> Sample:
    """A sample of one turn."""
    answer = (Message("assistant", response),) if response else ()
    return Sample((Message("user", instruction), *answer), **fields)


class SeededCorpus(Corpus):
    """A corpus at `path` that holds these seed samples."""

    def __init__(self, path: Path, seeds: Sequence[Sample] = ()) -> None:
        Corpus.create(path)
        super().__init__(path)
        if seeds:
            self.add(to_frame(seeds))

    def outcomes(self) -> list[dict[str, Any]]:
        """Every outcome in the shards that were taken, in the order of shards."""
        taken = self.query("SELECT run, shard FROM shards ORDER BY run, shard").iter_rows()
        shards = [
            pl.read_parquet(self.path / "jobs" / f"synthesize-{run}" / f"{shard}.parquet") for run, shard in taken
        ]
        found = pl.concat(shards).to_dicts() if shards else []
        accepted = {o["id"] for o in found if o["rejected_by"] is None}
        rejected = self.query("SELECT count(*) AS n FROM synthesis_rejected").item()
        assert self.count("operator IS NOT NULL") >= len(accepted)
        assert rejected == sum(o["rejected_by"] is not None for o in found)
        return found
