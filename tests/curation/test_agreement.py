import pytest

from curation.agreement import alpha, kappa, share
from curation.intervals import auc_interval


def test_kappa_of_the_textbook_table() -> None:
    # 50 proposals: 20 yes by both, 15 no by both, 5 and 10 apart. Observed 0.7, by chance 0.5: kappa 0.4.
    pairs = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
    found = kappa(pairs)
    assert found.value == pytest.approx(0.4)
    # By hand: (0.04624 + 0.06348 + 0.10188 - 0.01) / (50 * 0.25) = 0.12700 squared.
    assert (found.low, found.high) == pytest.approx((0.4 - 1.959964 * 0.127, 0.4 + 1.959964 * 0.127), abs=1e-4)


def test_kappa_agrees_with_sklearn_on_three_answers() -> None:
    from sklearn.metrics import cohen_kappa_score

    first, second = "aabbccabcabcaab", "abbbccabcaccaab"
    assert kappa(list(zip(first, second, strict=True))).value == pytest.approx(
        cohen_kappa_score(list(first), list(second))
    )


def test_kappa_of_annotators_who_always_say_the_same_is_unknown() -> None:
    found = kappa([("yes", "yes")] * 12)
    assert found.value is None
    assert "chance" in str(found.reason)


def test_full_agreement_has_no_interval_and_few_answers_have_no_number() -> None:
    assert kappa([("yes", "yes"), ("no", "no")] * 6).value == 1
    assert kappa([("yes", "yes"), ("no", "no")] * 6).low is None
    assert kappa([("yes", "no")] * 9).reason == "9 samples have two answers; 10 are needed"


def test_alpha_of_the_example_with_four_observers_and_gaps() -> None:
    # Krippendorff 2011, section C: 12 units, nominal alpha 0.743.
    rows = [
        "1 2 3 3 2 1 4 1 2 . . .", "1 2 3 3 2 2 4 1 2 5 . 3", ". 3 3 3 2 3 4 2 2 5 1 .", "1 2 3 3 2 4 4 1 2 5 1 .",
    ]  # fmt: skip
    units = [[a for a in unit if a != "."] for unit in zip(*(row.split() for row in rows), strict=True)]
    found = alpha(units)
    assert found.value == pytest.approx(0.743, abs=5e-4)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.743 < found.high


def test_alpha_of_the_binary_example_with_two_observers() -> None:
    # Krippendorff 2011, section A: 10 units, alpha 0.095.
    units = [list(pair) for pair in zip("0100000010", "1110010000", strict=True)]
    assert alpha(units).value == pytest.approx(0.095, abs=5e-4)
    assert alpha(units) == alpha(units)


def test_the_share_of_agreement_has_wilsons_interval() -> None:
    found = share(8, 10)
    assert (found.value, found.low, found.high) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)
    assert share(0, 0).value is None


def test_the_interval_of_an_area_holds_at_its_ends() -> None:
    low, high = auc_interval(1.0, 10, 10)
    assert (0.6 < low < 0.95, high) == (True, 1.0)
    low, high = auc_interval(0.8, 20, 30)
    assert 0.6 < low < 0.8 < high < 0.95
    # At the edge, what was found is z standard deviations away.
    assert auc_interval(0.8, 2000, 3000) == pytest.approx((0.787, 0.812), abs=3e-3)
