import json

import numpy as np
import polars as pl
import pytest

from curation.errors import OperatorError
from curation.operators import Pool
from curation.selectors import Deita
from curation.subsets.repr_filter import repr_filter
from tests.data import shared


def turned(*degrees: float) -> np.ndarray:
    """Unit vectors in the plane at these angles."""
    angles = np.radians(degrees)
    return np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)


def pool(vectors: np.ndarray, **columns: list) -> Pool:
    ids = [f"{i:04d}" for i in range(len(vectors))]
    return Pool(pl.DataFrame({"id": ids, "source": ["s"] * len(ids), **columns}), np.asarray(vectors, np.float32))


def row_loop(vectors: np.ndarray, order: np.ndarray, threshold: float) -> list[int]:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    kept = [int(order[0])]
    for row in order[1:]:
        if not (unit[kept] @ unit[row] > threshold).any():
            kept.append(int(row))
    return kept


@pytest.mark.parametrize(("key", "budget"), [("sel_threshold0.9_all", 194), ("sel_top100", 100)])
def test_trap_07_deita_golden_ids_and_order_are_those_of_the_reference(key: str, budget: int) -> None:
    golden = json.loads(shared("reference/golden/deita_filter.json").read_text())
    candidates = pool(
        np.array(golden["emb"]), deita_complexity_turns=golden["complexity"], deita_quality_turns=golden["quality"]
    )
    assert [int(i) for i in Deita().select(candidates, budget).ids] == golden[key]
    with pytest.raises(OperatorError, match="195 samples are asked for; 194 of 400") as error:
        Deita().select(candidates, 195)
    assert "raise the threshold" in error.value.fix


def test_trap_07_deita_drops_on_a_similarity_strictly_above_the_threshold_not_on_a_distance() -> None:
    candidates = pool(np.array([[1, 0], [0.8, 0.6], [0.6, 0.8]]), evol=[3.0, 2.0, 1.0])
    assert Deita(score="evol", threshold=0.8).select(candidates, 2).ids == ["0000", "0001"]
    chosen = Deita(score="evol", threshold=0.79).select(candidates, 2)
    assert chosen.ids == ["0000", "0002"]
    assert chosen.rejected == {"0001": "alike: its cosine to 0000, which ranks before it, is 0.8000"}


def test_trap_07_deita_compares_with_kept_samples_only() -> None:
    candidates = pool(turned(0, 20, 40, 60), evol=[4.0, 3.0, 2.0, 1.0])
    chosen = Deita(score="evol").select(candidates, 2)
    assert chosen.ids == ["0000", "0002"]
    assert "cosine to 0000" in chosen.rejected["0001"]
    assert "the last chosen has 2" in chosen.rejected["0003"]


def test_trap_07_deita_ties_go_by_id() -> None:
    candidates = pool(turned(0, 90, 180, 270), evol=[1.0, 2.0, 2.0, 1.0])
    assert Deita(score="evol").select(candidates, 4).ids == ["0001", "0002", "0000", "0003"]


@pytest.mark.parametrize("spread", [0.3, 0.6, 5.0])
def test_trap_07_deita_blocked_version_is_identical_to_the_row_loop(spread: float) -> None:
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(40, 16))[rng.integers(0, 40, 1500)] + spread * rng.normal(size=(1500, 16))
    order = rng.permutation(1500)
    found = repr_filter(vectors.astype(np.float32), order, 0.9)
    assert found.rows == row_loop(vectors, order, 0.9)
    assert sorted([*found.rows, *found.like]) == list(range(1500))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for row, (kept, cosine) in found.like.items():
        assert unit[row] @ unit[kept] == pytest.approx(cosine, abs=1e-5)


def test_trap_07_deita_a_vector_of_zeros_is_left_with_its_reason_not_kept_always() -> None:
    candidates = pool(np.array([[0, 0], [1, 0], [0, 0], [0, 2]]), evol=[9.0, 2.0, 8.0, 1.0])
    chosen = Deita(score="evol").select(candidates, 2)
    assert chosen.ids == ["0001", "0003"]
    assert chosen.rejected["0000"] == "its vector is zero"
    with pytest.raises(OperatorError, match="2 of 4"):
        Deita(score="evol").select(candidates, 3)


def test_trap_06_multi_turn_sum_and_mean_give_different_tops() -> None:
    candidates = pool(turned(0, 90), c=[[2.0, 2.0, 2.0], [3.0]], q=[[2.0, 2.0, 2.0], [3.0]])
    long, best = "0000", "0001"  # 3 x 4 = 12 in all and 4 a turn; 9
    assert Deita(complexity="c", quality="q").select(candidates, 2).ids == [long, best]
    assert Deita(complexity="c", quality="q", aggregate="mean").select(candidates, 2).ids == [best, long]


def test_turns_are_multiplied_one_by_one_and_columns_of_numbers_are_one_turn() -> None:
    candidates = pool(
        turned(0, 120, 240), c=[[1.0, 4.0], [3.0, 2.0], [1.0, 1.0]], q=[[4.0, 1.0], [3.0, 2.0], [1.0, 1.0]]
    )
    assert Deita(complexity="c", quality="q").select(candidates, 3).ids == ["0001", "0000", "0002"]  # 13, 8, 2
    numbers = pool(turned(0, 120, 240), c=[1.0, 2.0, 3.0], q=[5, 4, 1])
    assert Deita(complexity="c", quality="q").select(numbers, 3).ids == ["0001", "0000", "0002"]  # 8, 5, 3


def test_what_has_no_score_for_every_turn_says_which() -> None:
    c = [[1.0], None, [1.0, 2.0], [1.0, None], [], [2.0]]
    candidates = pool(turned(0, 60, 120, 180, 240, 300), c=c, q=[[1.0], [1.0], [1.0], [1.0, 1.0], [], [1.0]])
    chosen = Deita(complexity="c", quality="q").select(candidates, 2)
    assert chosen.ids == ["0005", "0000"]
    assert chosen.rejected["0001"] == "no c"
    assert chosen.rejected["0002"] == "no product for every turn: c is of 2 turns and q is of 1 turns"
    assert set(chosen.rejected) == {"0001", "0002", "0003", "0004"}


def test_columns_of_text_and_a_pool_without_vectors_are_refused() -> None:
    with pytest.raises(OperatorError, match="holds neither numbers"):
        Deita(complexity="c", quality="c").select(pool(turned(0), c=["high"]), 1)
    with pytest.raises(OperatorError, match="needs vectors") as error:
        Deita(score="c").select(Pool(pl.DataFrame({"id": ["a"], "source": ["s"], "c": [1.0]})), 1)
    assert error.value.fix == "winnow embed CORPUS"
