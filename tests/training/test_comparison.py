from __future__ import annotations

import numpy as np
import pytest

from curation.intervals import wilson
from training.data.encoding import Encoded
from training.judging.comparison import (
    SourceRow,
    clopper_pearson,
    difference,
    of_outcomes,
    preference,
    rows_by_source,
    source_row,
    verdict,
)


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


def test_clopper_and_pearson_equal_the_textbook() -> None:
    assert clopper_pearson(4, 4) == pytest.approx((0.025**0.25, 1.0), abs=1e-9)
    assert clopper_pearson(0, 10) == pytest.approx((0.0, 0.3085), abs=1e-4)
    assert clopper_pearson(8, 10) == pytest.approx((0.4439, 0.9748), abs=1e-4)


@pytest.mark.parametrize(
    "gained, lost, proven",
    [(4, 0, False), (5, 0, False), (6, 0, True), (9, 2, False), (10, 2, True), (0, 0, False)],
)
def test_a_change_of_right_answers_is_proven_only_where_the_exact_test_says_so(
    gained: int, lost: int, proven: bool
) -> None:
    outcomes = np.array([1.0] * gained + [-1.0] * lost + [0.0] * (30 - gained - lost))
    found = difference(outcomes, np.ones(30))
    assert found == of_outcomes(gained, lost, 30)
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.mean <= found.high
    assert (found.low > 0) == proven


def test_a_loss_that_is_no_number_proves_nothing() -> None:
    random = np.linspace(1, 2, 40)
    told = verdict(judged(np.where(np.arange(40) == 3, np.nan, random), random))
    assert told == "not proven: a held-out loss is no finite number"


def test_a_model_that_is_its_base_has_no_accuracy_of_preferences() -> None:
    base = (np.array([5.0, 5.0]), np.array([6.0, 6.0]))
    found = preference({"base": base, "trained": base})
    assert (found.pairs, found.trained, found.trained_interval) == (2, None, None)
