"""Which points lie inside a polygon that somebody drew."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def inside(places: np.ndarray, polygon: Sequence[Sequence[float]]) -> np.ndarray:
    """Row numbers of the points inside, ascending; where the line crosses itself by the even-odd rule.

    Args:
        places: (points, 2).
        polygon: its corners; the last one is joined to the first.
    """
    corners = np.asarray(polygon, np.float64)
    if corners.ndim != 2 or corners.shape[1] != 2 or len(corners) < 3 or not np.isfinite(corners).all():
        return np.zeros(0, np.int64)
    low, high = corners.min(0), corners.max(0)
    x, y = places[:, 0], places[:, 1]
    rows = np.flatnonzero((x >= low[0]) & (x <= high[0]) & (y >= low[1]) & (y <= high[1]))
    x, y = x[rows].astype(np.float64), y[rows].astype(np.float64)
    within = np.zeros(len(rows), bool)
    for (x1, y1), (x2, y2) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y1 != y2:
            crosses = (y1 > y) != (y2 > y)
            within ^= crosses & (x < (x2 - x1) * (y - y1) / (y2 - y1) + x1)
    return rows[within]


def nearest(places: np.ndarray, point: Sequence[float], radius: float) -> int | None:
    """The row of the point that is nearest to a place, no farther than the radius; null where there is none."""
    if not len(places):
        return None
    apart = (places[:, 0] - point[0]) ** 2 + (places[:, 1] - point[1]) ** 2
    row = int(apart.argmin())
    return row if apart[row] <= radius * radius else None
