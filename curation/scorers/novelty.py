"""How far a sample is from everything that was there before its batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from curation.operators import Scorer

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

FIRST = "nothing was there before its batch"
NO_VECTOR = "it has no vector in the embedding"


class Novelty(Scorer):
    """How new a sample was when its batch arrived: its distance to the nearest sample of an earlier batch.

    A batch is one ingested file; samples of its own batch do not count, nor do samples that were dropped.

    Source: none; the distance that near-duplicate removal on embeddings cuts at (SemDeDup, Abbas et al. 2023,
    arXiv:2303.09540), here to earlier batches only.

    Columns:
        novelty (DOUBLE): 1 - cosine; 0 is the same vector, about 1 nothing in common; null for the first batch.
        novelty_of (VARCHAR): the nearest sample of an earlier batch.
    """

    name: ClassVar[str] = "novelty"
    whole: ClassVar[bool] = True
    needs: ClassVar[tuple[str, ...]] = ("batch",)
    needs_vectors: ClassVar[bool] = True

    embedding: str | None = Field(None, description="Which vectors; the latest if null")

    @property
    def columns(self) -> dict[str, str]:
        return {"novelty": "DOUBLE", "novelty_of": "VARCHAR"}

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        import numpy as np
        import polars as pl

        batches = batch["batch"].fill_null("")
        reason = pl.when(pl.col("vector").is_null()).then(pl.lit(NO_VECTOR)).when(batches == batches.first())
        reasons = batch.select(reason.then(pl.lit(FIRST)).alias("reason"))["reason"]
        rows = batch["vector"].is_not_null().arg_true().to_numpy().astype(np.int64)
        cosines, nearest = np.full(batch.height, np.nan), np.full(batch.height, -1)
        if len(rows):
            vectors = np.asarray(batch["vector"].drop_nulls().to_numpy(), np.float32)
            cosines[rows], at = nearest_earlier(vectors, batches.gather(rows))
            nearest[rows] = np.where(at < 0, -1, rows[at])
        ids = batch["id"].to_list()
        nothing_earlier = reasons.is_null() & pl.Series(nearest < 0)  # of the earlier batches, no sample has a vector
        return pl.DataFrame(
            {
                "novelty": pl.Series(1.0 - cosines).fill_nan(None),
                "novelty_of": pl.Series([ids[at] if at >= 0 else None for at in nearest], dtype=pl.String),
                "reason": reasons.set(nothing_earlier, FIRST),
            }
        )


def nearest_earlier(vectors: np.ndarray, batches: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """Of each row, cosine and row of the nearest one in a batch that began before its own; NaN and -1 if there is none.

    Args:
        vectors: float32 (rows, dimensions), in order of ingestion.
        batches: the batch of each row.
    """
    import numpy as np

    from curation.subsets.neighbours import Neighbours

    cosines, nearest = np.full(len(vectors), np.nan), np.full(len(vectors), -1)
    index, numbers = Neighbours(vectors, len(vectors)), np.empty(0, np.int64)
    for _, places in batches.to_frame("batch").with_row_index("at").group_by("batch", maintain_order=True):
        mine = places["at"].to_numpy().astype(np.int64)
        if len(index):
            cosines[mine], at = index.nearest(vectors[mine])
            nearest[mine] = numbers[at]
        index.add(vectors[mine])
        numbers = np.concatenate([numbers, mine])
    return cosines, nearest
