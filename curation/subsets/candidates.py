"""What the selectors on vectors share: the pool's vectors, their directions, quality on one scale."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from curation.errors import OperatorError
from curation.operators import Pool, Selector
from curation.subsets.ranking import numbers

ROWS = 16_384
"""Rows that are looked at or made unit length at a time."""


def vectors_for(selector: Selector, pool: Pool) -> np.ndarray:
    """The pool's vectors, float32 (samples, dimensions).

    Raises:
        OperatorError: it has none.
    """
    if pool.vectors is None:
        raise OperatorError(f"{selector.name} needs vectors.", fix="winnow embed CORPUS")
    return pool.vectors


def unit(rows: np.ndarray) -> np.ndarray:
    """The rows at unit length, contiguous float32; a row of zeros stays as it is."""
    found = np.array(rows, np.float32, order="C")
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    found /= np.where(lengths > 0, lengths, 1)
    return found


def has_direction(vectors: np.ndarray) -> np.ndarray:
    """Whether each row is more than zeros, so that it has a cosine to others."""
    parts = [vectors[start : start + ROWS].any(axis=1) for start in range(0, len(vectors), ROWS)]
    return np.concatenate(parts) if parts else np.zeros(0, bool)


def all_finite(vectors: np.ndarray) -> np.ndarray:
    """Whether each row holds finite numbers only."""
    parts = [np.isfinite(vectors[start : start + ROWS]).all(axis=1) for start in range(0, len(vectors), ROWS)]
    return np.concatenate(parts) if parts else np.zeros(0, bool)


def others(count: int, left: Mapping[int, str]) -> np.ndarray:
    """Row numbers up to `count` that were not left, ascending."""
    open_rows = np.ones(count, bool)
    open_rows[np.fromiter(left, np.int64, len(left))] = False
    return np.flatnonzero(open_rows)


def scaled(values: np.ndarray) -> np.ndarray:
    """Scores as 0 (the lowest of the pool) to 1 (the highest), NaN as it is; all 0 where they are equal."""
    known = values[np.isfinite(values)]
    if not len(known):
        return values
    low, width = known.min(), np.ptp(known)
    part: np.ndarray = (values - low) / width if width > 0 else values * 0
    return part


def unscored(values: np.ndarray, column: str) -> dict[int, str]:
    """Rows without a finite score, each with that as the reason."""
    return dict.fromkeys(np.flatnonzero(~np.isfinite(values)).tolist(), f"no {column}")


def quality_of(pool: Pool, column: str | None) -> tuple[np.ndarray, dict[int, str]]:
    """A score from 0 to 1, and the rows without one with the reason; 0 for all where no column is named.

    Raises:
        OperatorError: the column holds no numbers.
    """
    if column is None:
        return np.zeros(len(pool)), {}
    values = numbers(pool.frame, column)
    values[~np.isfinite(values)] = np.nan
    return scaled(values), unscored(values, column)
