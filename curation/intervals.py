"""Intervals of shares."""

from __future__ import annotations

import math

Z95 = 1.959964
Z90 = 1.6449
"""Half widths of normal intervals, in standard deviations."""


def wilson(hits: float, trials: int, *, z: float = Z95) -> tuple[float, float]:
    """The interval of a share (Wilson 1927): holds also for few trials and shares near 0 or 1; without any, 0 to 1."""
    if not trials:
        return 0.0, 1.0
    share = hits / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / (1 + z * z / trials)
    # Rounding must not leave the share itself outside, as it does with 4 hits of 4.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))
