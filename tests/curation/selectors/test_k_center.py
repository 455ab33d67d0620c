import numpy as np
import polars as pl
import pytest

from curation.operators import Pool
from curation.selectors import KCenter
from curation.selectors.k_center import farthest_first


def pool(vectors: np.ndarray, quality: list[float | None] | None = None, given: list[int] | None = None) -> Pool:
    ids = [f"{i:03d}" for i in range(len(vectors))]
    table = pl.DataFrame({"id": ids, "source": ["s"] * len(ids), "quality": quality or [1.0] * len(ids)})
    return Pool(table, np.asarray(vectors, np.float32), given=None if given is None else np.array(given, np.int64))


def test_trap_12_k_center_gives_no_nan_where_a_difference_of_squares_is_negative() -> None:
    rng = np.random.default_rng(0)
    vectors = np.repeat(rng.normal(size=(50, 64)) + 100, 4, axis=0)
    chosen = KCenter().select(pool(vectors), 100)
    assert not any("nan" in reason for reason in chosen.rejected.values())
    _, nearest = farthest_first(vectors.astype(np.float32), 100, 0)
    assert np.isfinite(nearest).all()
    assert (nearest >= 0).all()


@pytest.mark.parametrize("quality", [None, "quality"])
def test_trap_12_k_center_takes_no_copy_before_all_distinct_points(quality: str | None) -> None:
    rng = np.random.default_rng(1)
    distinct = rng.normal(size=(100, 16)).astype(np.float32)
    distinct[1] = distinct[0] + np.float32(1e-4)  # nearly a copy, but distinct
    vectors = distinct[np.concatenate([np.arange(100), rng.integers(0, 100, 200)])]
    candidates = pool(vectors, rng.random(300).tolist())
    order = [int(i) for i in KCenter(quality=quality).select(candidates, 150).ids]
    assert len({vectors[i].tobytes() for i in order[:100]}) == 100


def test_trap_12_k_center_budget_above_the_distinct_points_is_filled_with_copies_in_order_of_ids() -> None:
    vectors = np.array([[0, 0], [0, 0], [1, 0], [0, 0], [1, 0]])
    chosen = KCenter().select(pool(vectors), 5).ids
    assert {chosen[0], chosen[1]} == {"000", "002"}
    assert chosen[2:] == ["001", "003", "004"]


def test_after_a_selection_its_samples_come_first_and_distances_are_to_them() -> None:
    line = np.array([[0.0], [1], [2], [3], [10]])
    assert KCenter(after="seed").select(pool(line, given=[4, 3]), 4).ids == ["004", "003", "000", "001"]
    assert KCenter(after="seed").select(pool(line, given=[4, 3]), 1).ids == ["004"]
    assert KCenter(after="seed").begins_with == "seed"
    assert KCenter().begins_with is None


def test_rounds_of_a_few_make_what_one_round_makes_while_the_vectors_stay() -> None:
    vectors = np.random.default_rng(2).normal(size=(200, 8))
    whole = KCenter(start=3).select(pool(vectors), 60).ids
    first = [int(i) for i in KCenter(start=3).select(pool(vectors), 20).ids]
    assert KCenter(after="round 1").select(pool(vectors, given=first), 60).ids == whole


def test_quality_multiplies_the_distance() -> None:
    line = np.array([[0.0], [-4], [5]])
    assert KCenter(after="zero").select(pool(line, given=[0]), 2).ids == ["000", "002"]
    weighed = KCenter(after="zero", quality="quality").select(pool(line, [0.0, 9, 1], given=[0]), 2)
    assert weighed.ids == ["000", "001"]
    assert weighed.rejected["002"] == "covered: at distance 5.000 of a chosen sample; none is farther than 5.000"


def test_without_quality_a_sample_is_left_unless_it_is_of_the_selection_before() -> None:
    line = np.array([[0.0], [1], [2], [3]])
    chosen = KCenter(after="s", quality="quality").select(pool(line, [None, None, 1, 2], given=[0]), 3)
    assert chosen.ids == ["000", "003", "002"]
    assert chosen.rejected == {"001": "no quality"}
