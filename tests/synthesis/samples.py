"""A corpus of Parquet files, for tests: what synthesis asks of a corpus, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb
import polars as pl

from curation.sample import Message, Sample, to_frame


def asked(instruction: str, response: str = "", **fields) -> Sample:
    """A sample of one turn."""
    answer = (Message("assistant", response),) if response else ()
    return Sample((Message("user", instruction), *answer), **fields)


class SamplesInFiles:
    """Seed samples in `seeds.parquet`; a shard is taken when `taken/RUN.SHARD.parquet` is there."""

    def __init__(self, path: Path, seeds: Sequence[Sample] = ()) -> None:
        self.path = path
        self._taken = path / "taken"
        self._taken.mkdir(parents=True, exist_ok=True)
        if seeds:
            to_frame(seeds).write_parquet(path / "seeds.parquet")

    def frame(
        self,
        columns: Sequence[str] | None = None,
        *,
        where: str | None = None,
        order: str | None = None,
        limit: int | None = None,
    ) -> pl.DataFrame:
        sql = f"SELECT {', '.join(columns or ['*'])} FROM '{self.path / 'seeds.parquet'}' WHERE {where or 'true'}"
        return duckdb.sql(sql).pl()

    def synthesis_run(self, run: str, operator: str, model: str) -> None:
        (self._taken / f"{run}.json").write_text(operator)

    def add_outcomes(self, run: str, shard: str, outcomes: pl.DataFrame) -> tuple[int, int]:
        path = self._taken / f"{run}.{shard}.parquet"
        if path.exists():
            return 0, 0
        accepted = outcomes.filter(pl.col("rejected_by").is_null())["id"].to_list()
        known = set(self.frame(["id"])["id"]) | {row["id"] for row in self.outcomes() if row["rejected_by"] is None}
        outcomes.write_parquet(path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)
        added = len(set(accepted) - known)
        return added, len(accepted) - added

    def outcomes(self) -> list[dict]:
        """Every outcome taken, in the order of shards."""
        shards = sorted(self._taken.glob("*.parquet"))
        return pl.concat([pl.read_parquet(p) for p in shards]).to_dicts() if shards else []
