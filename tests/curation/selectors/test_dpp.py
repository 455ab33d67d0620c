import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from curation.errors import OperatorError
from curation.operators import Pool
from curation.selectors import DPP, KCenter
from curation.selectors.dpp import cholesky_greedy, half_the_median, linear_greedy


def pool(vectors: np.ndarray, quality: list[float | None] | None = None) -> Pool:
    ids = [f"{i:03d}" for i in range(len(vectors))]
    table = pl.DataFrame({"id": ids, "source": ["s"] * len(ids), "q": quality or [1.0] * len(ids)})
    return Pool(table, np.asarray(vectors, np.float32))


def unit(n: int, dimensions: int) -> np.ndarray:
    vectors = np.random.default_rng(0).normal(size=(n, dimensions))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def by_determinants(kernel: np.ndarray, budget: int) -> list[int]:
    order: list[int] = []
    for _ in range(budget):
        rest = [i for i in range(len(kernel)) if i not in order]
        volume = [np.linalg.slogdet(kernel[np.ix_([*order, i], [*order, i])])[1] for i in rest]
        order.append(rest[int(np.argmax(volume))])
    return order


def test_the_longest_then_the_most_upright_to_it() -> None:
    # Products with [2, 0] leave nothing of [1, 0] but the ridge, 0.5 of [1, 0.5]'s length and all of [0, 1].
    vectors = np.array([[1, 0], [2, 0], [1, 0.5], [0, 1]])
    assert DPP(kernel="linear").select(pool(vectors), 3).ids[:2] == ["001", "003"]


def test_the_factor_gives_what_determinants_give() -> None:
    rng = np.random.default_rng(3)
    vectors, q = unit(40, 5).astype(float), np.exp(rng.random(40))
    kernel = q[:, None] * np.exp(-((vectors[:, None] - vectors) ** 2).sum(-1)) * q
    order, gains = cholesky_greedy(lambda j: kernel[:, j], np.diag(kernel), 0.01, 15)
    assert order == by_determinants(kernel + 0.01 * np.eye(40), 15)
    whole = np.linalg.det((kernel + 0.01 * np.eye(40))[np.ix_(order, order)])
    assert np.prod(gains[order]) == pytest.approx(whole)


def test_beyond_the_dimensions_the_linear_kernel_stays_defined_and_equal_to_determinants() -> None:
    vectors, q = unit(60, 4), np.exp(np.linspace(0, 1, 60))
    kernel = q[:, None] * (vectors.astype(float) @ vectors.T.astype(float)) * q + 0.01 * np.eye(60)
    order, gains = linear_greedy(vectors, q, 0.01, 20)
    assert order == by_determinants(kernel, 20)
    assert np.isfinite(gains).all()
    assert (gains[order] > 0.01).all()
    assert order == cholesky_greedy(lambda j: (kernel - 0.01 * np.eye(60))[:, j], np.diag(kernel) - 0.01, 0.01, 20)[0]


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_copies_come_after_distinct_samples(kernel: str) -> None:
    vectors = np.vstack([np.eye(4), np.eye(4)])
    chosen = DPP(kernel=kernel).select(pool(vectors), 8).ids
    assert {int(i) % 4 for i in chosen[:4]} == {0, 1, 2, 3}


def test_quality_weighs_and_more_of_it_outweighs_volume() -> None:
    vectors = np.array([[1, 0], [0.9, 0.436], [0, 1]])
    candidates = pool(vectors, [5.0, 4.0, 1.0])
    # What is left of the second beside the first is 0.19, times exp(2 x 0.75 weight); of the third it is 1, times 1.
    assert DPP(quality="q", weight=1, kernel="linear").select(candidates, 2).ids == ["000", "002"]
    assert DPP(quality="q", weight=1.2, kernel="linear").select(candidates, 2).ids == ["000", "001"]


def test_without_quality_a_sample_is_left_and_others_say_what_they_would_add() -> None:
    chosen = DPP(quality="q").select(pool(unit(5, 3), [1.0, None, 2.0, 3.0, 4.0]), 2)
    assert chosen.rejected["001"] == "no q"
    assert sum("would multiply the determinant by" in reason for reason in chosen.rejected.values()) == 2


def test_a_factor_that_does_not_fit_into_memory_is_refused_in_two_lines() -> None:
    wide = pool(np.ones((40_000, 1)))
    with pytest.raises(OperatorError, match=r"20,000 of 40,000 samples take 6\.0 GiB") as error:
        DPP().select(wide, 20_000)
    assert "kernel=linear, ask for at most 13421" in error.value.fix


@pytest.mark.parametrize("offset", [0, 10_000])
def test_no_sample_is_taken_twice_where_all_are_nearly_equal_or_far_from_the_origin(offset: float) -> None:
    rng = np.random.default_rng(0)
    noise = 3e-4 if not offset else 1.0
    vectors = offset + np.ones(32) / np.sqrt(32) + noise * rng.normal(size=(200, 32))
    chosen = DPP().select(pool(vectors), 60)
    assert len(set(chosen.ids)) == 60
    assert not any("by nan" in reason for reason in chosen.rejected.values())


@pytest.mark.parametrize("bandwidth", [None, 1e-3])
def test_the_choice_is_that_of_double_precision_however_near_the_samples_are(bandwidth: float | None) -> None:
    rng = np.random.default_rng(1)
    vectors = (np.repeat(np.eye(4, 16), 20, axis=0) + 3e-4 * rng.normal(size=(80, 16))).astype(np.float32)
    chosen = [int(i) for i in DPP(bandwidth=bandwidth).select(pool(vectors), 20).ids]
    width = bandwidth or half_the_median(vectors)
    distances = np.square(vectors[:, None].astype(float) - vectors).sum(axis=2)
    kernel = np.exp(-distances / (2 * width**2)) + 0.01 * np.eye(80)
    wanted = by_determinants(kernel, 20)
    reached, best = (np.linalg.slogdet(kernel[np.ix_(rows, rows)])[1] for rows in (chosen, wanted))
    assert reached == pytest.approx(best, rel=1e-3)


def test_copies_of_a_heavy_sample_keep_their_pivot_at_the_ridge() -> None:
    # exp(2 x 20) is so large that the ridge is lost in its rounding.
    vectors = np.repeat(np.eye(3), 3, axis=0)
    chosen = DPP(quality="q", weight=20).select(pool(vectors, [float(i) for i in range(9)]), 9)
    assert len(set(chosen.ids)) == 9


def test_a_weight_whose_power_would_overflow_is_refused() -> None:
    for selector in (DPP, KCenter):
        with pytest.raises(ValidationError, match="less than or equal to 20"):
            selector(quality="q", weight=1000)
