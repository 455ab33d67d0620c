import numpy as np
import polars as pl
import pytest

from curation.errors import OperatorError
from curation.operators import Pool
from curation.selectors import QDIT, FacilityLocation


def pool(vectors: np.ndarray, quality: list[float | None]) -> Pool:
    ids = [f"{i:03d}" for i in range(len(vectors))]
    return Pool(pl.DataFrame({"id": ids, "source": ["s"] * len(ids), "q": quality}), np.asarray(vectors, np.float32))


def plain_greedy(vectors: np.ndarray, quality: np.ndarray, alpha: float, budget: int) -> list[int]:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    similarity, order = np.clip(unit @ unit.T, 0, None), []
    quality = (quality - quality.min()) / np.ptp(quality)
    for _ in range(budget):
        worth = [
            -1.0
            if i in order
            else (1 - alpha) * similarity[:, [*order, i]].max(axis=1).mean() + alpha * quality[[*order, i]].mean()
            for i in range(len(vectors))
        ]
        order.append(int(np.argmax(worth)))
    return order


def test_two_groups_and_one_weak_sample_by_hand() -> None:
    # Group A: rows 0 and 1, group B: row 2. Qualities 1, 0.9 and 0. First row 0 (covers two, best). Then, at alpha 0.5,
    # row 1 adds 0 coverage and 0.95 mean quality, row 2 adds 1/3 coverage and 0.5: 0.5 x 2/3 + 0.5 x 0.95 = 0.808
    # against 0.5 x 1 + 0.5 x 0.5 = 0.75. At alpha 0.3: 0.752 against 0.85.
    candidates = pool(np.array([[1, 0], [1, 0], [0, 1]]), [1.0, 0.9, 0.0])
    assert QDIT(quality="q", alpha=0.5).select(candidates, 2).ids == ["000", "001"]
    assert QDIT(quality="q", alpha=0.3).select(candidates, 2).ids == ["000", "002"]


@pytest.mark.parametrize("alpha", [0.1, 0.5, 0.9])
def test_lazily_it_is_the_plain_greedy(alpha: float) -> None:
    rng = np.random.default_rng(0)
    vectors, quality = rng.normal(size=(120, 6)), rng.random(120)
    chosen = QDIT(quality="q", alpha=alpha, neighbours=120).select(pool(vectors, quality.tolist()), 30).ids
    assert [int(i) for i in chosen] == plain_greedy(vectors, quality, alpha, 30)


def test_at_its_ends_it_is_facility_location_and_the_best_by_quality() -> None:
    rng = np.random.default_rng(1)
    candidates = pool(rng.normal(size=(80, 6)), rng.permutation(80).astype(float).tolist())
    assert QDIT(quality="q", alpha=0).select(candidates, 20).ids == FacilityLocation().select(candidates, 20).ids
    best = candidates.frame.sort("q", descending=True)["id"].to_list()
    assert QDIT(quality="q", alpha=1).select(candidates, 20).ids == best[:20]


def test_samples_without_quality_are_represented_but_never_chosen() -> None:
    # The three on the left have no quality but one: it stands for them all, and is chosen first.
    candidates = pool(np.array([[1, 0], [1, 0], [1, 0.1], [0, 1], [0, 1]]), [None, None, 1.0, 1.0, 0.5])
    chosen = QDIT(quality="q", alpha=0.5).select(candidates, 2)
    assert chosen.ids == ["002", "003"]
    assert chosen.rejected["000"] == "no q"
    with pytest.raises(OperatorError, match="3 of 5"):
        QDIT(quality="q").select(candidates, 4)
