"""A column of tag lists as integers: what selectors and the normalisation of tags count with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from curation.errors import OperatorError

if TYPE_CHECKING:
    import polars as pl
    from scipy.sparse import csr_matrix


@dataclass(frozen=True)
class TagLists:
    """The tags of every sample, each once, as numbers."""

    names: list[str]
    """Every tag, sorted; its place is its code."""
    starts: np.ndarray
    """int64 (samples + 1): sample i has the codes from `starts[i]` to `starts[i + 1]`."""
    codes: np.ndarray
    """int32, ascending within a sample."""

    @property
    def counts(self) -> np.ndarray:
        """int64: how many tags each sample has."""
        found: np.ndarray = np.diff(self.starts)
        return found

    @property
    def rows(self) -> np.ndarray:
        """int64: the sample that each of `codes` belongs to."""
        return np.repeat(np.arange(len(self.starts) - 1), self.counts)

    def matrix(self) -> csr_matrix:
        """float64 (samples, tags): 1 where a sample has a tag."""
        from scipy.sparse import csr_matrix

        shape = (len(self.starts) - 1, len(self.names))
        return csr_matrix((np.ones(len(self.codes)), self.codes, self.starts), shape=shape)


def tag_lists(tags: pl.Series) -> TagLists:
    """Read a column of tags; null, empty and blank tags are no tags.

    Args:
        tags: List(String), one list per sample.

    Raises:
        OperatorError: the column holds something else than lists of texts.
    """
    import polars as pl

    if tags.dtype == pl.Null or tags.dtype == pl.List(pl.Null):
        tags = tags.cast(pl.List(pl.String))
    if tags.dtype != pl.List(pl.String):
        raise OperatorError(
            f"The column {tags.name!r} holds no lists of tags but {tags.dtype}.",
            fix="choose a column of tags, such as --set tags=tags or --set tags=instag_normalized",
        )
    long = pl.DataFrame({"row": np.arange(len(tags)), "tag": tags}).explode("tag")
    long = long.filter(pl.col("tag").str.strip_chars() != "")
    names = long["tag"].unique().sort()
    codes = long["tag"].cast(pl.Enum(names)).to_physical().cast(pl.Int64).to_numpy()
    # Sorted and compared: np.unique of integers goes by a hash, ten times as long for millions.
    pairs = np.sort(long["row"].to_numpy() * max(1, len(names)) + codes)
    pairs = pairs[np.diff(pairs, prepend=-1) > 0]
    rows, codes = np.divmod(pairs, max(1, len(names)))
    starts = np.zeros(len(tags) + 1, np.int64)
    np.cumsum(np.bincount(rows, minlength=len(tags)), out=starts[1:])
    return TagLists(names.to_list(), starts, codes.astype(np.int32))
