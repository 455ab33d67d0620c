from __future__ import annotations

import numpy as np
import pytest

from training.data.encoding import Encoded
from training.judging.comparison import SourceRow, difference, preference, rows_by_source, source_row, verdict, wilson


def rows(*sources: str) -> list[Encoded]:
    return [Encoded(str(i), source, [0, 1, 2], [False, True, True]) for i, source in enumerate(sources)]


def test_losses_are_per_answer_token_and_by_source() -> None:
    losses = {"base": np.array([4.0, 8.0]), "trained": np.array([2.0, 6.0])}
    a, b = rows_by_source(rows("b", "a"), losses)
    assert (a.source, a.tokens, a.base, a.trained, a.random) == ("a", 2, 4.0, 3.0, None)
    assert (b.source, b.base, b.trained) == ("b", 2.0, 1.0)
    assert source_row(None, rows("b", "a"), losses).trained == 2.0


def judged(trained: np.ndarray, random: np.ndarray) -> SourceRow:
    losses = {"base": random, "trained": trained, "random": random}
    return source_row(None, rows(*["s"] * len(trained)), losses)


def test_the_verdict_claims_only_what_the_interval_shows() -> None:
    random = np.linspace(1, 2, 40)
    noise = np.tile([0.1, -0.1], 20)
    assert verdict(judged(random - 0.2, random)).startswith("better than random: -0.1000 nats per token")
    assert verdict(judged(random + 0.2, random)).startswith("worse than random")
    assert verdict(judged(random + noise, random)).startswith("not proven: the interval crosses 0")
    assert verdict(judged(random[:5] - 0.2, random[:5])) == (
        "not proven: only 5 held-out examples, an interval needs 10"
    )


def test_the_interval_is_the_same_every_time_and_holds_the_mean() -> None:
    differences, tokens = np.random.default_rng(1).normal(0.1, 1, 200), np.full(200, 2)
    first, second = difference(differences, tokens), difference(differences, tokens)
    assert first == second
    assert first.low is not None
    assert first.high is not None
    assert first.low < first.mean < first.high
    # Two standard errors of a mean of 200 halves of a unit normal.
    assert first.high - first.low == pytest.approx(2 * 1.96 * 0.5 / 200**0.5, rel=0.15)


def test_a_preference_counts_when_it_is_stronger_than_the_base_has_it() -> None:
    base = (np.array([5.0, 5.0]), np.array([6.0, 6.0]))
    trained = (np.array([4.0, 5.5]), np.array([6.0, 6.0]))
    assert preference({"base": base, "trained": trained}).trained == 0.5


def test_wilson_equals_the_textbook() -> None:
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
