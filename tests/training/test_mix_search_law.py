from __future__ import annotations

import numpy as np
import pytest

from training.mix_search.law import fit, worth_running

SIZES = np.repeat([1e4, 2e4, 4e4, 8e4, 16e4], 2)
FLOOR, SCALE, EXPONENT = 2.0, 60.0, 0.35


def measured(noise: float, seed: int, sizes: np.ndarray = SIZES) -> np.ndarray:
    return FLOOR + SCALE * sizes**-EXPONENT + np.random.default_rng(seed).normal(0, noise, len(sizes))


def holds(interval: tuple[float, float], value: float) -> bool:
    return interval[0] <= value <= interval[1]


def test_runs_without_noise_give_the_law_back() -> None:
    law = fit(SIZES, measured(0, 0)).law
    assert law is not None
    assert (law.floor, law.exponent) == pytest.approx((FLOOR, EXPONENT), rel=0.01)
    assert law.scale == pytest.approx(SCALE, rel=0.05)


def test_the_intervals_hold_the_true_law_about_as_often_as_they_say() -> None:
    held = {"floor": 0, "scale": 0, "exponent": 0, "ahead": 0}
    fitted = 0
    for seed in range(80):
        found = fit(SIZES, measured(0.005, seed), ahead=[64e4])
        if found.law is None:
            continue
        fitted += 1
        held["floor"] += holds(found.law.floor_interval, FLOOR)
        held["scale"] += holds(found.law.scale_interval, SCALE)
        held["exponent"] += holds(found.law.exponent_interval, EXPONENT)
        held["ahead"] += holds(found.band[-1].interval, FLOOR + SCALE * 64e4**-EXPONENT)
    assert fitted > 75
    assert all(count >= 0.9 * fitted for count in held.values()), held


def test_a_forecast_of_the_largest_size_gains_nothing_and_more_data_gains_more() -> None:
    found = fit(SIZES, measured(0.002, 1), ahead=[32e4, 64e4])
    at = {forecast.n: forecast for forecast in found.band}
    assert at[16e4].gain == 0
    assert at[16e4].gain_interval == (0, 0)
    assert 0 < at[32e4].gain < at[64e4].gain
    assert at[64e4].gain_interval[0] < at[64e4].gain < at[64e4].gain_interval[1]


def test_three_sizes_are_refused() -> None:
    assert fit([1, 2, 4, 4], [3, 2, 1.5, 1.6]).reason == "a law needs runs of 4 sizes, and there are 3"


def test_runs_whose_loss_is_no_number_are_left_out() -> None:
    broken = fit([*SIZES, 3e4], [*measured(0, 0), float("nan")])
    assert broken == fit(SIZES, measured(0, 0))
    assert fit([1, 2, 4, 8], [3, 2, float("inf"), 1]).reason == "a law needs runs of 4 sizes, and there are 3"


def test_two_sizes_say_nothing_of_what_another_run_is_worth() -> None:
    assert worth_running([1e4, 1e4, 8e4, 8e4], [3.0, 3.01, 2.5, 2.51], [1e4, 16e4], 16e4) == [0.0, 0.0]


def test_the_worth_of_a_run_is_a_mean_over_the_exponents_that_are_left_open() -> None:
    sizes, losses = [1e4, 2e4, 4e4, 8e4], [4.5, 4.1, 3.6, 3.28]
    assert fit(sizes, losses).law is None
    shares = worth_running(sizes, losses, [2e4, 16e4], 16e4)
    assert 0 < shares[0] < shares[1] < 1


def test_losses_that_rise_are_refused() -> None:
    assert fit([1, 2, 4, 8], [2, 2.1, 2.3, 2.6]).reason == "the held-out loss does not fall with more data"


def test_noise_as_large_as_the_fall_is_refused() -> None:
    found = fit([1e4, 2e4, 4e4, 8e4], [3.0, 3.2, 2.9, 3.1])
    assert found.law is None
    assert found.band == []


def test_an_exponent_that_the_runs_do_not_settle_is_refused_with_what_fits() -> None:
    found = fit([1e4, 2e4, 4e4, 8e4], [4.5, 4.1, 3.6, 3.28])
    assert found.law is None
    assert "do not settle the exponent" in (found.reason or "")


def test_the_run_that_tells_most_about_twice_the_data_is_a_large_one() -> None:
    shares = worth_running(SIZES, measured(0.01, 2), [1e4, 4e4, 16e4, 32e4], 32e4)
    assert all(0 <= share < 1 for share in shares)
    assert shares[3] == max(shares)
    assert shares[2] > shares[1]
