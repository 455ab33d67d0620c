"""How many of the tags a subset has, and how evenly."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


def coverage(chosen: pl.Series, pool: pl.Series) -> float | None:
    """Share of the pool's distinct tags that occur in the subset too, as in InsTag (arXiv:2308.07074); 0..1.

    Args:
        chosen: List(String), the tags of each sample of the subset; null counts as no tags.
        pool: the same, of every sample it was chosen from.

    Returns:
        null where the pool has no tag. Tags that only the subset has are not counted.
    """
    every = _tags(pool).unique()
    if every.is_empty():
        return None
    return int(every.is_in(_tags(chosen).unique().implode()).sum()) / len(every)


def entropy(chosen: pl.Series) -> float | None:
    """Shannon entropy of the subset's tags in nats: 0 where there is one tag, ln(n) where n are equally frequent.

    Args:
        chosen: List(String), the tags of each sample; a tag counts once a sample, null as no tags.

    Returns:
        null where there is no tag.
    """
    counts = _tags(chosen).value_counts()["count"]
    total = counts.sum()
    if not total:
        return None
    shares = (counts / total).to_list()
    return max(0.0, -math.fsum(share * math.log(share) for share in shares))


def _tags(lists: pl.Series) -> pl.Series:
    """Every tag of every sample, once a sample."""
    if lists.dtype.base_type().__name__ != "List":
        return lists.drop_nulls().clear()
    return lists.list.unique().explode().drop_nulls()
