"""Where a subset crowds the map and where it leaves holes, compared with all samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CELLS = 40
"""Of the grid, each way."""
FEWEST = 5
"""Samples that a draw in proportion would give a cell, or takes from it, before it counts as a hole or a crowd."""
DOUBTFUL = 2.0
"""Standard deviations from that draw below which a difference may be chance."""
STEPS = 3


@dataclass(frozen=True)
class Cell:
    """A square of the map where a subset is over- or underrepresented."""

    column: int
    row: int
    """From below."""
    level: int
    """-3 (an eighth of its share, or none) to 3 (eight times its share), never 0."""


def crowds(places: np.ndarray, chosen: np.ndarray, cells: int = CELLS) -> list[Cell]:
    """Cells in which the subset's share is far from its share of all samples.

    Args:
        places: (samples, 2), 0 to 1.
        chosen: bool per sample.
        cells: of the grid, each way.
    """
    if not chosen.any() or chosen.all():
        return []
    at = np.minimum((places * cells).astype(np.int64), cells - 1)
    flat = at[:, 1] * cells + at[:, 0]
    pool = np.bincount(flat, minlength=cells * cells)
    got = np.bincount(flat[chosen], minlength=cells * cells)
    levels = levels_of(pool, got, float(chosen.mean()))
    return [Cell(int(n % cells), int(n // cells), int(levels[n])) for n in np.flatnonzero(levels)]


def levels_of(pool: np.ndarray, got: np.ndarray, share: float) -> np.ndarray:
    """Per group the doublings of what a draw in proportion would give, -3 to 3; 0 where it may be chance.

    Args:
        pool: samples of each group.
        got: of these the chosen ones.
        share: of all samples that is chosen, above 0 and below 1.
    """
    expected = pool * share
    apart = np.abs(got - expected) / np.sqrt(np.maximum(expected * (1 - share), 1e-9))
    doublings = np.log2((got + 0.5) / (expected + 0.5))
    told = (np.maximum(expected, got) >= FEWEST) & (apart >= DOUBTFUL) & (np.abs(doublings) >= 0.5)
    levels: np.ndarray = np.where(told, np.clip(np.sign(doublings) * np.ceil(np.abs(doublings)), -STEPS, STEPS), 0)
    return levels.astype(np.int64)
