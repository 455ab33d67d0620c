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


def auc_interval(auc: float, positives: int, negatives: int, *, z: float = Z95) -> tuple[float, float]:
    """The interval of an area under the ROC curve; holds at 0 and 1, too.

    Source: Newcombe 2006, Confidence intervals for an effect size measure based on the Mann-Whitney statistic, part 2,
    method 5: the areas from which the one that was found is less than z standard deviations away.
    """
    mean_size = (positives + negatives) / 2

    def deviation(area: float) -> float:
        spread = 1 + (mean_size - 1) * ((1 - area) / (2 - area) + area / (1 + area))
        return math.sqrt(area * (1 - area) * spread / (positives * negatives))

    def edge(outer: float) -> float:
        inner = auc
        for _ in range(60):
            middle = (inner + outer) / 2
            within = abs(auc - middle) <= z * deviation(middle)
            inner, outer = (middle, outer) if within else (inner, middle)
        return inner

    return edge(0.0), edge(1.0)
