from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from training.mix_search.design import shares_of_size, source_weights
from training.mix_search.regression import fit_weights

NAMES = ("chat", "code", "maths")
NATURAL = {"chat": 0.6, "code": 0.3, "maths": 0.1}
HELD_OUT = {"chat": 0.3, "code": 0.3, "maths": 0.4}
ALL = dict.fromkeys(NAMES, 1.0)


def losses(weights: dict[str, float], noise: float = 0.0, seed: int = 0) -> dict[str, float]:
    """Each source learns from its own weight alone, less and less: the optimum lies inside."""
    drawn = np.random.default_rng(seed).normal(0, noise, 3)
    return {name: 1 + 1.5 * float(np.exp(-5 * weights[name])) + e for name, e in zip(NAMES, drawn, strict=True)}


def planted_optimum() -> tuple[dict[str, float], float]:
    steps = [i / 200 for i in range(201)]
    grid = ((a, b, 1 - a - b) for a in steps for b in steps if a + b <= 1)
    total = {w: sum(HELD_OUT[n] * losses(dict(zip(NAMES, w, strict=True)))[n] for n in NAMES) for w in grid}
    best = min(total, key=total.__getitem__)
    return dict(zip(NAMES, best, strict=True)), total[best]


@cache
def searched(noise: float, runs: int = 14):
    points = source_weights(NATURAL, runs, most=ALL, seed=3)
    rows = [tuple(point[name] for name in NAMES) for point in points]
    told = [losses(point, noise, seed) for seed, point in enumerate(points)]
    return fit_weights(NAMES, rows, told, HELD_OUT, tuple(NATURAL[n] for n in NAMES))


def test_a_planted_optimum_is_found() -> None:
    best, lowest = planted_optimum()
    found = searched(0.003)
    assert found.reason is None
    assert found.best is not None
    assert found.best.weights == pytest.approx(best, abs=0.08)
    reached = losses(found.best.weights)
    assert sum(HELD_OUT[n] * reached[n] for n in NAMES) == pytest.approx(lowest, abs=0.01)


def test_the_gain_over_the_mix_as_it_is_holds_the_true_one() -> None:
    found = searched(0.003)
    assert found.best is not None
    was, becomes = losses(NATURAL), losses(found.best.weights)
    gain = sum(HELD_OUT[n] * (was[n] - becomes[n]) for n in NAMES)
    low, high = found.best.gain_interval
    assert low - 0.01 <= gain <= high + 0.01
    assert low > 0


def test_more_of_a_source_is_seen_to_help_that_source() -> None:
    effects = searched(0.003).effects
    assert effects is not None
    assert all(min(effects[name], key=effects[name].__getitem__) == name for name in NAMES)


def test_noise_alone_is_refused() -> None:
    points = source_weights(NATURAL, 14, most=ALL, seed=3)
    drawn = np.random.default_rng(1).normal(2, 0.05, (14, 3))
    told = [dict(zip(NAMES, map(float, row), strict=True)) for row in drawn]
    rows = [tuple(point[name] for name in NAMES) for point in points]
    found = fit_weights(NAMES, rows, told, HELD_OUT, tuple(NATURAL[n] for n in NAMES))
    assert found.best is None
    assert "explain nothing" in (found.reason or "")


def test_too_few_runs_are_refused() -> None:
    assert searched(0.0, runs=4).reason == "3 sources need at least 5 runs, and there are 4"


def test_the_next_runs_are_mixes_that_were_not_tried() -> None:
    found = searched(0.02)
    tried = source_weights(NATURAL, 14, most=ALL, seed=3)
    assert 1 <= len(found.next) <= 3
    for following in found.next:
        assert all(max(abs(following.weights[n] - t[n]) for n in NAMES) >= 0.019 for t in tried)


def test_sizes_grow_by_the_same_factor() -> None:
    assert shares_of_size(0.125, 4) == [0.125, 0.25, 0.5, 1.0]


def test_the_design_is_the_same_for_a_seed_begins_with_the_mix_and_keeps_to_what_there_is() -> None:
    most = {"chat": 1.0, "code": 0.5, "maths": 0.2}
    first, *others = source_weights(NATURAL, 8, most=most, seed=1)
    assert first == NATURAL
    assert source_weights(NATURAL, 8, most=most, seed=1)[1:] == others
    assert source_weights(NATURAL, 8, most=most, seed=2)[1:] != others
    for point in others:
        assert sum(point.values()) == pytest.approx(1, abs=1e-3)
        assert all(point[name] <= most[name] + 1e-3 for name in NAMES)
