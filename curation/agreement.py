"""How far annotators agree: the share of equal answers, Cohen's kappa, Krippendorff's alpha.

Covers: answers without an order (nominal), two annotators (kappa) or any number with gaps (alpha). Does not cover:
ordered answers, where being one step apart should count for less than two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curation.intervals import Z95, wilson

FEWEST = 10
"""Samples with two answers without which kappa and alpha would say next to nothing."""
RESAMPLES = 1_000
SEED = 0


@dataclass(frozen=True)
class Measure:
    """A number with its interval, or why there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None
    """95 % interval; null where the answers leave nothing to vary."""
    reason: str | None = None


def share(agreed: int, samples: int) -> Measure:
    """The share of samples on which all agree, 0..1, with Wilson's interval."""
    if not samples:
        return Measure(None, reason="no sample was answered by two annotators")
    return Measure(agreed / samples, *wilson(agreed, samples))


def kappa(pairs: Sequence[tuple[str, str]]) -> Measure:
    """Cohen's kappa: agreement beyond what two annotators with these habits reach by chance; up to 1, 0 is chance.

    Source: Cohen 1960, A coefficient of agreement for nominal scales; the interval from the large-sample variance of
    Fleiss, Cohen and Everitt 1969, Large sample standard errors of kappa and weighted kappa, equation 13.

    Args:
        pairs: of each sample both answers, the first annotator's first.
    """
    few = _too_few(len(pairs))
    if few:
        return few
    names = sorted({answer for pair in pairs for answer in pair})
    place = {name: i for i, name in enumerate(names)}
    table = np.zeros((len(names), len(names)))
    np.add.at(table, ([place[a] for a, _ in pairs], [place[b] for _, b in pairs]), 1)
    size = len(pairs)
    by_chance = float(table.sum(axis=1) @ table.sum(axis=0))
    if by_chance == size**2:
        return Measure(None, reason=ONE_ANSWER)
    # Of whole numbers, so that full agreement is exactly 1.
    found = (size * float(np.trace(table)) - by_chance) / (size**2 - by_chance)
    table, chance, rest = table / size, by_chance / size**2, 1 - found
    first, second = table.sum(axis=1), table.sum(axis=0)
    equal = float(np.sum(np.diag(table) * (1 - (first + second) * rest) ** 2))
    squares = table * (second[:, None] + first[None, :]) ** 2
    other = rest**2 * float(squares.sum() - np.trace(squares))
    variance = max(0.0, equal + other - (found - chance * rest) ** 2) / (size * (1 - chance) ** 2)
    half = Z95 * math.sqrt(variance)
    return Measure(found, max(-1.0, found - half), min(1.0, found + half)) if half > 1e-6 else Measure(found)


def alpha(samples: Sequence[Sequence[str]]) -> Measure:
    """Krippendorff's alpha for nominal answers: 1 - observed by expected disagreement; 1 is perfect, 0 is chance.

    Source: Krippendorff 2011, Computing Krippendorff's alpha-reliability, section C; the interval is of 1,000 draws of
    samples with replacement.

    Args:
        samples: the answers that each got, of any number of annotators; those with fewer than two don't count.
    """
    samples = [answers for answers in samples if len(answers) > 1]
    few = _too_few(len(samples))
    if few:
        return few
    names = sorted({answer for answers in samples for answer in answers})
    if len(names) == 1:
        return Measure(None, reason=ONE_ANSWER)
    counts = np.array([[answers.count(name) for name in names] for answers in map(list, samples)], float)
    sizes = counts.sum(axis=1)
    apart = (sizes**2 - (counts**2).sum(axis=1)) / (sizes - 1)
    found = _alpha(counts.sum(axis=0), float(apart.sum()))
    draws = np.random.default_rng(SEED)
    values = []
    for _ in range(RESAMPLES):
        rows = draws.integers(len(counts), size=len(counts))
        value = _alpha(counts[rows].sum(axis=0), float(apart[rows].sum()))
        values += [] if value is None else [value]
    assert found is not None
    low, high = (float(v) for v in np.percentile(values, [2.5, 97.5]))
    return Measure(found, low, high) if high - low > 1e-9 else Measure(found)


ONE_ANSWER = "every answer was the same, so that chance alone would agree"


def _alpha(totals: np.ndarray, apart: float) -> float | None:
    everything = float(totals.sum())
    expected = everything**2 - float((totals**2).sum())
    return 1 - (everything - 1) * apart / expected if expected else None


def _too_few(samples: int) -> Measure | None:
    if samples >= FEWEST:
        return None
    return Measure(None, reason=f"{samples} samples have two answers; {FEWEST} are needed")
