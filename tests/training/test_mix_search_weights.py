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
    assert searched(0.0, runs=5).reason == "3 sources need runs of 6 mixes, and there are 5"


def trained(seed: int, mixes: int, repeats: int, *, planted: bool):
    """Runs whose losses differ by 0.02 between mixes and by 0.004 between runs of one mix, for no reason."""
    generator = np.random.default_rng(seed)
    points = [p for p in source_weights(NATURAL, mixes, most=ALL, seed=seed) for _ in range(repeats)]
    between = np.repeat(generator.normal(0, 0.02, (mixes, 3)), repeats, axis=0)
    noise = between + generator.normal(0, 0.004, between.shape)
    true = [losses(point) if planted else dict.fromkeys(NAMES, 2.0) for point in points]
    told = [{n: loss[n] + e for n, e in zip(NAMES, row, strict=True)} for loss, row in zip(true, noise, strict=True)]
    rows = [tuple(point[name] for name in NAMES) for point in points]
    return fit_weights(NAMES, rows, told, HELD_OUT, tuple(NATURAL[n] for n in NAMES))


@pytest.mark.parametrize(("mixes", "repeats"), [(8, 2), (3, 2), (5, 1), (10, 1)])
def test_losses_that_the_weights_do_not_move_have_no_best_mix_however_often_a_mix_is_run(mixes, repeats) -> None:
    refused = [trained(seed, mixes, repeats, planted=False).best is None for seed in range(25)]
    assert sum(refused) >= 23


def test_a_planted_effect_is_found_through_the_same_noise() -> None:
    found = [trained(seed, 8, 2, planted=True).best for seed in range(3)]
    assert all(best is not None and best.gain_interval[0] > 0 for best in found)
    becomes = [sum(HELD_OUT[n] * losses(best.weights)[n] for n in NAMES) for best in found if best]
    assert max(becomes) < planted_optimum()[1] + 0.05


def test_a_repeat_is_no_further_mix() -> None:
    points = source_weights(NATURAL, 5, most=ALL, seed=3) * 4
    rows = [tuple(point[name] for name in NAMES) for point in points]
    found = fit_weights(NAMES, rows, [losses(p) for p in points], HELD_OUT, tuple(NATURAL[n] for n in NAMES))
    assert found.reason == "3 sources need runs of 6 mixes, and there are 5"


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
