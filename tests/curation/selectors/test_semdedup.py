import numpy as np
import polars as pl
import pytest

from curation.errors import OperatorError
from curation.operators import Pool
from curation.selectors import SemDeDup

ANGLES = np.radians([0, 20, 40, 60, 80])
CHAIN = np.column_stack([np.cos(ANGLES), np.sin(ANGLES)]).astype(np.float32)
"""a-b-c-d-e: neighbours at a cosine of 0.94, the next but one at 0.77."""


def pool(vectors: np.ndarray, quality: list[float | None]) -> Pool:
    ids = [chr(ord("a") + i) for i in range(len(vectors))]
    return Pool(pl.DataFrame({"id": ids, "source": ["s"] * len(ids), "quality": quality}), vectors)


def test_trap_13_semdedup_non_greedy_removes_four_of_a_chain_of_five_where_greedy_removes_two() -> None:
    chain = pool(CHAIN, [5, 4, 3, 2, 1])
    source = SemDeDup(quality="quality", threshold=0.9, rule="non-greedy", clusters=1)
    assert source.select(chain, 1).ids == ["a"]
    with pytest.raises(OperatorError, match="1 of 5") as error:
        source.select(chain, 2)
    assert "raise the threshold" in error.value.fix
    chosen = SemDeDup(quality="quality", threshold=0.9, clusters=1).select(chain, 3)
    assert chosen.ids == ["a", "c", "e"]
    assert set(chosen.rejected) == {"b", "d"}


def test_trap_13_semdedup_keeps_the_best_by_quality() -> None:
    chosen = SemDeDup(quality="quality", threshold=0.9, clusters=1).select(pool(CHAIN, [1, 5, 1, 9, 2]), 2)
    assert chosen.ids == ["d", "b"]
    assert chosen.rejected["e"] == "alike: its cosine to d is 0.9397, above 0.9"


def test_trap_13_semdedup_keeps_the_farthest_from_its_centroid_as_the_source_does() -> None:
    chosen = SemDeDup(threshold=0.9, clusters=1).select(pool(CHAIN, [None] * 5), 3)
    assert set(chosen.ids[:2]) == {"a", "e"}
    assert chosen.ids[2] == "c"


def test_a_budget_below_what_is_left_takes_the_first_and_names_the_place_of_the_others() -> None:
    chosen = SemDeDup(quality="quality", threshold=0.9, clusters=1).select(pool(CHAIN, [5, 4, 3, 2, 1]), 2)
    assert chosen.ids == ["a", "c"]
    assert chosen.rejected["e"] == "place 3 of the 3 that are left"


def test_alike_samples_are_only_looked_for_within_a_cluster() -> None:
    rng = np.random.default_rng(0)
    centers = np.eye(6, dtype=np.float32)
    vectors = (centers[np.arange(60) % 6] + 0.01 * rng.normal(size=(60, 6))).astype(np.float32)
    table = pl.DataFrame({"id": [f"{i:02d}" for i in range(60)], "source": ["s"] * 60})
    chosen = SemDeDup(clusters=6).select(Pool(table, vectors), 6)
    assert sorted(int(i) % 6 for i in chosen.ids) == [0, 1, 2, 3, 4, 5]


def test_the_source_rule_is_what_a_plain_matrix_gives() -> None:
    rng = np.random.default_rng(2)
    vectors = (rng.normal(size=(20, 8))[rng.integers(0, 20, 700)] + 0.2 * rng.normal(size=(700, 8))).astype(np.float32)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    stays = np.tril(unit @ unit.T, -1).max(axis=1, initial=-1) <= 0.95
    table = pl.DataFrame({"id": [f"{i:03d}" for i in range(700)], "source": ["s"] * 700, "q": -np.arange(700.0)})
    chosen = SemDeDup(quality="q", rule="non-greedy", clusters=1).select(Pool(table, vectors), int(stays.sum()))
    assert [int(i) for i in chosen.ids] == np.flatnonzero(stays).tolist()


def test_without_a_score_or_a_direction_a_sample_is_left_with_its_reason() -> None:
    vectors = np.array([[1, 0], [0, 0], [0, 1], [1, 1]], np.float32)
    chosen = SemDeDup(quality="quality").select(pool(vectors, [1, 2, None, 3]), 2)
    assert chosen.ids == ["d", "a"]
    assert chosen.rejected == {"b": "its vector is zero", "c": "no quality"}
