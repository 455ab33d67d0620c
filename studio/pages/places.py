"""Where samples stand in the corpus: among a million, reading them by position takes a tenth of the time by id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus

JOIN = "{join}"
"""In the SQL of a read: where it is told which samples are meant."""
MOST = 100_000
"""Positions that are remembered in all; past that the memory begins anew."""
_positions: dict[tuple[str, str], int] = {}


def remember(corpus: Corpus, shown: pl.DataFrame) -> list[str]:
    """Keep the positions of samples that are about to be shown, and say their ids in order.

    Args:
        corpus: whose samples.
        shown: the columns `id` and `position`.
    """
    if len(_positions) > MOST:
        _positions.clear()
    folder = str(corpus.path)
    _positions.update(((folder, sample_id), position) for sample_id, position in shown.iter_rows())
    return shown["id"].to_list()


def read(corpus: Corpus, sql: str, ids: Sequence[str]) -> pl.DataFrame:
    """The rows that a SELECT finds for these samples, in any order.

    Args:
        corpus: to ask.
        sql: with `JOIN` behind the table to look in, which has the columns `id` and `position`; it selects `id`. It
            may read `asked_frame`, which has the column `id`.
        ids: of the samples; those that the table has not are left out.
    """
    import polars as pl

    folder, wanted = str(corpus.path), pl.DataFrame({"id": list(ids)}, schema={"id": pl.String})
    positions = [_positions.get((folder, sample_id)) for sample_id in ids]
    if None not in positions:
        placed = wanted.with_columns(position=pl.Series(positions, dtype=pl.Int64))
        by_position = "SEMI JOIN asked_frame USING (position)"
        found = corpus.run(sql.replace(JOIN, by_position), frames={"asked_frame": placed})
        # All versions of a sample have one position, and a corpus that was made anew has others.
        found = found.filter(pl.col("id").is_in(list(ids)))
        if found.height == len(ids):
            return found
    return corpus.run(sql.replace(JOIN, "SEMI JOIN asked_frame USING (id)"), frames={"asked_frame": wanted})
