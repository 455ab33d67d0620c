import numpy as np
import polars as pl
import pytest

from curation.errors import OperatorError
from curation.operators import Pool
from curation.selectors import ClusterQuota
from curation.selectors.cluster_quota import leading


def pool(groups: int, each: int, quality: list[float | None]) -> Pool:
    """Samples of well separated groups; sample i is of group i % groups."""
    n = groups * each
    noise = np.random.default_rng(0).normal(size=(n, groups))
    vectors = (np.eye(groups)[np.arange(n) % groups] + 0.01 * noise).astype(np.float32)
    table = pl.DataFrame({"id": [f"{i:03d}" for i in range(n)], "source": ["s"] * n, "quality": quality})
    return Pool(table, vectors)


def test_the_best_of_every_cluster_come_first_then_the_best_of_all() -> None:
    candidates = pool(3, 4, [9, 2, 5, 8, 1, 4, 7, 0, 3, 6, 2, 1])
    chosen = ClusterQuota(quality="quality", clusters=3).select(candidates, 5)
    assert chosen.ids == ["000", "002", "001", "003", "006"]
    assert chosen.rejected["009"].startswith("quality 6 is place 4 of 4 in cluster")
    assert chosen.rejected["009"].endswith("the last chosen has 7")


def test_from_the_quotas_on_it_is_the_union_of_the_source_at_every_budget() -> None:
    rng = np.random.default_rng(3)
    quality = rng.permutation(60).astype(float)
    candidates = pool(6, 10, quality.tolist())
    selector = ClusterQuota(quality="quality", clusters=6)
    assert candidates.vectors is not None
    labels = selector.cluster(candidates.vectors, np.arange(60))
    quotas = {max(np.flatnonzero(labels == label).tolist(), key=lambda i: quality[i]) for label in range(6)}
    for top in (0, 1, 5, 20, 59):
        union = quotas | set(np.argsort(-quality)[:top].tolist())
        chosen = selector.select(candidates, len(union)).ids
        assert {int(i) for i in chosen} == union


def test_twelve_clusters_are_told_by_number_each_with_its_quota() -> None:
    candidates = pool(12, 10, np.arange(120.0)[::-1].tolist())
    selector = ClusterQuota(quality="quality", clusters=12, quota=2)
    assert candidates.vectors is not None
    labels = selector.cluster(candidates.vectors, np.arange(120)).tolist()
    rows = [int(i) for i in selector.select(candidates, 24).ids]
    assert sorted(labels[i] for i in rows) == sorted([*range(12), *range(12)])
    for label in range(12):
        best_two = [i for i in range(120) if labels[i] == label][:2]
        assert [i for i in rows if labels[i] == label] == best_two


def test_without_a_number_of_clusters_there_are_the_root_of_half_the_samples() -> None:
    candidates = pool(2, 100, np.arange(200.0).tolist())
    assert candidates.vectors is not None
    labels = ClusterQuota(quality="quality").cluster(candidates.vectors, np.arange(200))
    assert len(set(labels.tolist())) == 10


def test_pca_keeps_the_components_that_hold_the_share_and_their_distances() -> None:
    rng = np.random.default_rng(0)
    vectors = (rng.normal(size=(500, 4)) * [10, 5, 0.1, 0.1] + 7).astype(np.float32)
    two = leading(vectors, 0.95)
    assert two.shape == (500, 2)
    assert leading(vectors, 1.0).shape == (500, 4)
    near = np.linalg.norm(two[0] - two[1])
    assert near == pytest.approx(np.linalg.norm((vectors[0] - vectors[1])[:2]), abs=0.1)


def test_samples_without_quality_are_left_with_the_reason_and_count_in_no_cluster() -> None:
    candidates = pool(2, 3, [None, 1, 2, None, 3, 4])
    chosen = ClusterQuota(quality="quality", clusters=2).select(candidates, 2)
    assert chosen.ids == ["005", "004"]
    assert chosen.rejected["000"] == "no quality"
    with pytest.raises(OperatorError, match="4 of 6 have the score"):
        ClusterQuota(quality="quality").select(candidates, 5)
