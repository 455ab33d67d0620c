"""Which of several alike samples is kept, and which of the others repeats which.

Samples are numbered here in the order in which they are preferred, 0 first. Alike samples are joined into clusters, but
alikeness is not passed on: where B is like A and like C, and A is not like C, all three are one cluster, and if A is
preferred, only B repeats a kept sample. So the best of a cluster is kept, then the next best that is not like a kept
one, and so on: whatever is dropped was compared with a kept sample and is like it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.errors import OperatorError

if TYPE_CHECKING:
    import polars as pl

Array = np.ndarray[Any, np.dtype[Any]]

KEEP = "which of a cluster is kept: 'longest', 'first' (the oldest), or a score, whose highest is kept"


@dataclass(frozen=True)
class Pairs:
    """Pairs of samples that were compared and are alike enough."""

    left: Array
    """int64, the preferred sample of each pair."""
    right: Array
    """int64, above `left`."""
    similarity: Array
    """float64, 0 to 1."""

    def __len__(self) -> int:
        return len(self.left)

    @classmethod
    def joined(cls, parts: Sequence[Pairs]) -> Pairs:
        """All of them, one after the other."""
        return cls(
            np.concatenate([np.zeros(0, np.int64), *(part.left for part in parts)]),
            np.concatenate([np.zeros(0, np.int64), *(part.right for part in parts)]),
            np.concatenate([np.zeros(0), *(part.similarity for part in parts)]),
        )


@dataclass(frozen=True)
class Clusters:
    """For each sample, by its number in the order of preference."""

    of: Array
    """int64: the kept sample that it repeats, of several the most similar; -1 where it is kept."""
    partner: Array
    """int64: the most similar sample that it was compared with; -1 where it is alone."""
    similarity: Array
    """float64: to its partner; NaN where it is alone."""
    cluster: Array
    """int64: equal for the samples of one cluster."""


def clustered(equal: Array, pairs: Pairs, again: Callable[[Array], Pairs]) -> Clusters:
    """Clusters of samples from the pairs that are alike.

    Args:
        equal: int64, for each sample the first one that is exactly equal to it: itself, where none is before it.
        pairs: alike pairs of samples that are the first of their equals; each once.
        again: finds alike pairs among samples that `pairs` may lack. Asked with the kept ones until there is none.
    """
    kept = keepers(len(equal), pairs) & (equal == np.arange(len(equal)))
    while len(more := again(np.flatnonzero(kept))):
        pairs = Pairs.joined([pairs, more])
        kept = keepers(len(equal), pairs) & (equal == np.arange(len(equal)))
    copies = np.flatnonzero(equal != np.arange(len(equal)))
    of = _repeated(kept, pairs)
    of[copies] = np.where(kept[equal[copies]], equal[copies], of[equal[copies]])
    pairs = Pairs.joined([pairs, Pairs(equal[copies], copies, np.ones(len(copies)))])
    partner, similarity = _partners(len(equal), pairs)
    return Clusters(of, partner, similarity, _components(len(equal), pairs))


def keepers(count: int, pairs: Pairs) -> Array:
    """Whether each sample is kept: it is like no kept sample that is preferred to it."""
    kept, undecided = np.zeros(count, bool), np.ones(count, bool)
    left, right = pairs.left, pairs.right
    while True:
        waits = np.zeros(count, bool)
        waits[right] = True
        found = undecided & ~waits
        kept |= found
        undecided &= ~found
        undecided[right[kept[left]]] = False
        if not undecided.any():
            return kept
        open_pairs = undecided[left] & undecided[right]
        left, right = left[open_pairs], right[open_pairs]


def _repeated(kept: Array, pairs: Pairs) -> Array:
    # Of the kept samples that a dropped one is like, the most similar, and of those the preferred. A kept sample may be
    # the less preferred of a pair only if the other one is dropped.
    a, b = pairs.left, pairs.right
    forth, back = kept[a] & ~kept[b], kept[b] & ~kept[a]
    dropped, keeper = np.append(b[forth], a[back]), np.append(a[forth], b[back])
    return _best(len(kept), dropped, keeper, np.append(pairs.similarity[forth], pairs.similarity[back]))[0]


def _partners(count: int, pairs: Pairs) -> tuple[Array, Array]:
    mine, others = np.append(pairs.left, pairs.right), np.append(pairs.right, pairs.left)
    return _best(count, mine, others, np.append(pairs.similarity, pairs.similarity))


def _best(count: int, mine: Array, others: Array, similarity: Array) -> tuple[Array, Array]:
    # For each sample the most similar of `others`, of equals the preferred one; -1 and NaN where there is none.
    order = np.lexsort((-others, similarity))  # what is written last stays
    best, highest = np.full(count, -1), np.full(count, np.nan)
    best[mine[order]] = others[order]
    highest[mine[order]] = similarity[order]
    return best, highest


def _components(count: int, pairs: Pairs) -> Array:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    joined = coo_array((np.ones(len(pairs), np.int8), (pairs.left, pairs.right)), shape=(count, count))
    labels: Array = connected_components(joined, directed=False)[1]
    return labels


def preferred(batch: pl.DataFrame, keep: str, lengths: Array) -> Array:
    """Row numbers of a batch in order of ingestion, the preferred ones first; of equals the oldest.

    Args:
        batch: with the column `keep`, unless it is 'longest' or 'first'.
        keep: as `KEEP` says; samples without that score come last.
        lengths: of the texts, in characters.

    Raises:
        OperatorError: the score is not a number.
    """
    if keep == "first":
        return np.arange(batch.height)
    if keep == "longest":
        return np.argsort(-lengths.astype(np.int64), kind="stable")
    if not batch[keep].dtype.is_numeric():
        raise OperatorError(f"{keep!r} is not a number, so that no sample is the highest.", fix="give a score as keep")
    scores = batch[keep].cast(float).fill_null(float("-inf")).fill_nan(float("-inf")).to_numpy()
    return np.argsort(-scores, kind="stable")


def reads(keep: str) -> tuple[str, ...]:
    """The columns that a rule reads besides the texts."""
    return () if keep in ("first", "longest") else (keep,)


def columns(prefix: str) -> dict[str, str]:
    """The columns of `table`, and their DuckDB types."""
    return {
        prefix: "BOOLEAN",
        f"{prefix}_of": "VARCHAR",
        f"{prefix}_similarity": "DOUBLE",
        f"{prefix}_partner": "VARCHAR",
        f"{prefix}_cluster": "VARCHAR",
        f"{prefix}_size": "BIGINT",
    }


def table(prefix: str, ids: pl.Series, rows: Array, clusters: Clusters, reason: str) -> pl.DataFrame:
    """One row per sample of a batch.

    Args:
        prefix: of the columns.
        ids: of the samples of the batch.
        rows: int64, the row of each sample that was compared, the preferred ones first.
        clusters: of those.
        reason: why the samples of the other rows could not be compared.
    """
    import polars as pl

    first = np.full(len(rows), len(ids))
    np.minimum.at(first, clusters.cluster, rows)
    size = np.bincount(clusters.cluster, minlength=len(rows))[clusters.cluster]
    named = np.append(rows, -1)  # what is -1 among the samples is -1 among the rows
    placed = pl.DataFrame(
        {
            "row": rows,
            prefix: clusters.of >= 0,
            f"{prefix}_of": named[clusters.of],
            f"{prefix}_similarity": pl.Series(clusters.similarity, nan_to_null=True),
            f"{prefix}_partner": named[clusters.partner],
            f"{prefix}_cluster": np.where(size > 1, first[clusters.cluster], -1),
            f"{prefix}_size": size,
        }
    )
    everything = pl.DataFrame({"row": np.arange(len(ids))}).join(placed, on="row", how="left", maintain_order="left")
    numbered = [pl.col(f"{prefix}_{name}") for name in ("of", "partner", "cluster")]
    missing = pl.when(pl.col(prefix).is_null()).then(pl.lit(reason)).alias("reason")
    return everything.select(*columns(prefix), missing).with_columns(
        column.replace(-1, None).map_batches(lambda rows: ids.gather(rows), return_dtype=pl.String)
        for column in numbered
    )
