import numpy as np
import polars as pl
import pytest

from curation.errors import OperatorError
from curation.operators import Pool
from curation.selection import select
from curation.selectors import rds
from curation.selectors.rds import RDS
from curation.vectors import store
from tests.curation.samples import corpus_of, pair


def pool(vectors: list[list[float]], targets: list[list[float]]) -> Pool:
    frame = pl.DataFrame({"id": [f"s{i}" for i in range(len(vectors))], "source": ["a"] * len(vectors)})
    return Pool(frame, np.array(vectors, np.float32), np.array(targets, np.float32))


EAST, NORTH = [1.0, 0.0], [0.0, 1.0]


def test_targets_take_turns_and_each_takes_the_nearest_that_is_left() -> None:
    # s1 is nearest to both targets' middle: east takes it second, so north has to go on to s3.
    vectors = [[1.0, 0.1], [1.0, 0.9], [1.0, -3.0], [0.1, 1.0], [-1.0, 1.0]]
    chosen = RDS(target="true").select(pool(vectors, [EAST, NORTH]), 4)
    assert chosen.ids == ["s0", "s3", "s1", "s4"]
    assert chosen.rejected == {"s2": "its highest cosine to a target is 0.316; that target took samples down to 0.743"}


def test_equal_samples_go_by_id_and_the_length_of_a_vector_does_not_matter() -> None:
    chosen = RDS(target="true").select(pool([[1, 1], [3, 0], [1, 0], [2, 0]], [EAST]), 3)
    assert chosen.ids == ["s1", "s2", "s3"]


def test_equal_targets_share_one_list() -> None:
    vectors = [[1.0, i / 10] for i in range(6)]
    assert RDS(target="true").select(pool(vectors, [EAST] * 3), 5).ids == ["s0", "s1", "s2", "s3", "s4"]


def test_a_vector_of_zeros_is_like_nothing() -> None:
    chosen = RDS(target="true").select(pool([[0, 0], [1, 1]], [EAST]), 1)
    assert chosen.ids == ["s1"]
    assert "cosine to a target is 0.000" in chosen.rejected["s0"]


def plainly(vectors: np.ndarray, targets: np.ndarray, budget: int) -> list[int]:
    """The whole matrix, every target sorting all samples."""
    lists = [list(np.argsort(-(vectors @ t), kind="stable")) for t in targets]
    order: list[int] = []
    while len(order) < budget:
        candidates = lists[len(order) % len(targets)]
        order.append(int(next(i for i in candidates if i not in order)))
    return order


@pytest.mark.parametrize("listed", [1, 40, 10**6])
def test_lists_that_are_used_up_are_made_again_and_change_nothing(listed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    vectors, targets = rng.normal(size=(300, 8)), rng.normal(size=(7, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    targets[3:] = targets[2] + 0.01 * targets[3:]  # five that want the same
    targets /= np.linalg.norm(targets, axis=1, keepdims=True)
    monkeypatch.setattr(rds, "LISTED", listed)
    monkeypatch.setattr(rds, "AT_ONCE", 900)
    chosen = RDS(target="true").select(pool(vectors.tolist(), targets.tolist()), 120)
    assert chosen.ids == [f"s{i}" for i in plainly(vectors, targets, 120)]


def test_a_target_that_had_no_turn_is_told() -> None:
    chosen = RDS(target="true").select(pool([EAST, NORTH], [EAST, NORTH]), 1)
    assert chosen.rejected["s1"].endswith("that target had no turn, as 1 samples are chosen for 2 targets")


def test_of_many_targets_a_seeded_draw_is_asked() -> None:
    rng = np.random.default_rng(1)
    many = pool(rng.normal(size=(50, 4)).tolist(), rng.normal(size=(30, 4)).tolist())
    few = RDS(target="true", max_targets=2).select(many, 10).ids
    assert few == RDS(target="true", max_targets=2).select(many, 10).ids
    assert few != RDS(target="true", max_targets=2, seed=1).select(many, 10).ids
    assert RDS(target="true", max_targets=30).select(many, 10).ids == RDS(target="true").select(many, 10).ids


def test_trap_19_it_never_takes_a_held_out_sample_nor_a_target_and_the_budget_is_exact(tmp_path) -> None:
    samples = [pair(f"Question {i}?", f"Answer {i}", source="exam" if i < 3 else "pool") for i in range(12)]
    corpus = corpus_of(tmp_path / "c", samples)
    ids = [sample.id for sample in samples]
    corpus.hold_out([ids[0], ids[11]])
    angles = np.linspace(0, 1, 12)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    (corpus.path / "embeddings" / "own").mkdir(parents=True)
    store(corpus.path / "embeddings" / "own", ids, [vectors], {"name": "own", "model": "file", "text": "both"})
    report = select(corpus, RDS(target="source = 'exam'"), 5, name="near")
    assert report.ids == ids[3:8]
    assert report.rejected[ids[1]] == "it is one of the target samples"
    assert report.rejected[ids[11]] == "held out for evaluation"


@pytest.mark.parametrize("place", ["pool", "targets"])
def test_a_vector_that_holds_no_numbers_is_refused_instead_of_waited_for(place: str) -> None:
    vectors, targets = [EAST, NORTH, [0.5, 0.5]], [EAST]
    (vectors if place == "pool" else targets)[0] = [float("nan"), 1.0]
    with pytest.raises(OperatorError, match="rds: 1 vectors hold no finite numbers"):
        RDS(target="true").select(pool(vectors, targets), 2)
