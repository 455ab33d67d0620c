import numpy as np
import polars as pl
import pytest

from curation.operators import Pool
from curation.selectors import FacilityLocation
from curation.subsets.facility import Coverage, nearest_rows


def pool(vectors: np.ndarray) -> Pool:
    ids = [f"{i:04d}" for i in range(len(vectors))]
    return Pool(pl.DataFrame({"id": ids, "source": ["s"] * len(ids)}), np.asarray(vectors, np.float32))


def dense(vectors: np.ndarray) -> np.ndarray:
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return np.clip(unit @ unit.T, 0, None)


def dense_greedy(similarity: np.ndarray, budget: int) -> list[int]:
    best, order = np.zeros(len(similarity), np.float32), []
    for _ in range(budget):
        gains = np.maximum(similarity - best[:, None], 0).sum(axis=0)
        gains[order] = -1
        order.append(int(gains.argmax()))
        best = np.maximum(best, similarity[:, order[-1]])
    return order


def clustered(n: int, dimensions: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(20, dimensions))[rng.integers(0, 20, n)] + 0.7 * rng.normal(size=(n, dimensions))


def test_each_next_sample_adds_most_to_the_coverage() -> None:
    # Two near 0 degrees and three near 90. That at 80 covers its group and most of the other one, then that at 10.
    angles = np.radians([0, 10, 80, 90, 100])
    vectors = np.column_stack([np.cos(angles), np.sin(angles)])
    chosen = FacilityLocation().select(pool(vectors), 2)
    assert chosen.ids == ["0002", "0001"]
    assert "represented: a chosen sample is at a cosine of 0.985; it would add" in chosen.rejected["0000"]


def test_with_all_samples_as_neighbours_it_is_the_dense_greedy() -> None:
    vectors = clustered(150, 8)
    chosen = [int(i) for i in FacilityLocation(neighbours=150).select(pool(vectors), 40).ids]
    similarity = dense(vectors)
    optimum = dense_greedy(similarity, 40)
    for budget in range(1, 41):  # two that cover each other add the same: either may come first
        reached = similarity[:, chosen[:budget]].max(axis=1).sum()
        assert reached == pytest.approx(similarity[:, optimum[:budget]].max(axis=1).sum(), rel=1e-6)


@pytest.mark.parametrize("kind", ["clusters", "no structure"])
def test_trap_18_facility_location_sparse_reaches_95_percent_of_the_dense_objective_on_2000_rows(kind: str) -> None:
    vectors = clustered(2000, 64) if kind == "clusters" else np.random.default_rng(1).normal(size=(2000, 64))
    similarity = dense(vectors)
    optimum = dense_greedy(similarity, 50)
    chosen = [int(i) for i in FacilityLocation().select(pool(vectors), 50).ids]
    for budget in (10, 20, 50):
        reached = similarity[:, chosen[:budget]].max(axis=1).sum()
        assert reached >= 0.95 * similarity[:, optimum[:budget]].max(axis=1).sum()


def test_a_negative_cosine_counts_as_none() -> None:
    similarity, _ = nearest_rows(np.array([[1, 0], [-1, 0]], np.float32), 2)
    assert similarity.tolist() == [[1, 0], [1, 0]]


def test_copies_and_vectors_of_zeros_add_nothing_and_come_last() -> None:
    vectors = np.array([[1, 0], [0, 0], [1, 0], [0, 1], [1, 1]])
    assert FacilityLocation().select(pool(vectors), 5).ids[-2:] == ["0001", "0002"]


def test_gains_are_what_the_coverage_grows_by() -> None:
    coverage = Coverage(clustered(300, 16).astype(np.float32), 20)
    for row in (5, 80, 7):
        before, gain = coverage.best.sum(dtype=float), coverage.gain(row)
        assert coverage.gains()[row] == pytest.approx(gain)
        coverage.add(row)
        assert coverage.best.sum(dtype=float) - before == pytest.approx(gain, rel=1e-5)
        assert coverage.gain(row) == 0


def test_what_an_index_did_not_find_does_not_stand_for_the_first_row(monkeypatch: pytest.MonkeyPatch) -> None:
    found = np.array([[1, 0.9], [1, 0.9], [1, 0]], np.float32), np.array([[0, 1], [1, 0], [0, -1]], np.int32)
    monkeypatch.setattr("curation.subsets.facility.nearest_rows", lambda vectors, count: found)
    coverage = Coverage(np.eye(3, dtype=np.float32), 2)
    assert coverage.gains().tolist() == pytest.approx([2.9, 1.9, 0])
    coverage.add(0)
    assert coverage.best.tolist() == pytest.approx([1, 0.9, 1])


def test_rows_that_an_inverted_file_does_not_find_have_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, number in (("EXACT_UP_TO", 10), ("TRAINED_ON", 20), ("CELLS_LOOKED_AT", 1)):
        monkeypatch.setattr(f"curation.subsets.facility.{name}", number)
    vectors = np.repeat(np.eye(4), 50, axis=0) + 0.01 * np.random.default_rng(0).normal(size=(200, 4))
    similarity, places = nearest_rows(vectors.astype(np.float32), 190)
    assert (places == -1).any()
    assert (similarity[places == -1] == 0).all()
