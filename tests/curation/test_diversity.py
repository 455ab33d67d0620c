import json
import math
import tracemalloc
import zlib

import numpy as np
import polars as pl
import pytest

from curation.errors import OperatorError
from curation.subsets.diversity import (
    compression_ratio,
    densities,
    distinct_ngrams,
    near_duplicate_rate,
    nearest_distances,
    ngram_vendi,
    novelsum,
    vendi,
    vendi_of_similarities,
)
from curation.subsets.tag_diversity import coverage, entropy
from tests.data import shared

CORNERS = np.array([[1, 0], [0, 1], [-1, 0]], np.float32)
SENTENCES = ["Look, Jane.", "See Spot.", "See Spot run.", "Run, Spot, run.", "Jane sees Spot run."]


def normal(rows: int, dimensions: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(rows, dimensions)).astype(np.float32)


# -------------------------------------------------------------------- NovelSum


def test_trap_17_novelsum_includes_self_at_rank_1_and_uses_squared_l2_golden() -> None:
    folder = shared("reference/golden")
    full = np.load(folder / "mock_embedding_128x512.npy")
    samples = {"full": full, "subset": np.load(folder / "mock_subset_embedding_64x512.npy")}
    recorded = json.loads((folder / "novelsum_mock.json").read_text())
    checked = 0
    for key, expected in recorded.items():
        if not key.startswith("novelsum"):
            continue
        _, which, neighbours, density, distance = key.split("_")
        found = novelsum(
            samples[which],
            full,
            neighbours=int(neighbours.removeprefix("nb")),
            density_power=float(density.removeprefix("dens")),
            distance_power=float(distance.removeprefix("dist")),
        )
        assert found == pytest.approx(expected, abs=1e-9), key
        checked += 1
    assert checked == 24


def test_novelsum_by_hand_has_the_distance_0_to_itself_at_rank_1() -> None:
    # Squared distances to the nearest other: 2, 2, 2. Cosine distances: (0, 1, 2), (0, 1, 1), (0, 1, 2).
    ranks = 1 + 1 / 2 + 1 / 3
    by_hand = np.mean([1 / 2 + 2 / 3, 1 / 2 + 1 / 3, 1 / 2 + 2 / 3]) / ranks / math.sqrt(2)
    assert novelsum(CORNERS, neighbours=1) == pytest.approx(by_hand, rel=1e-6)


def test_crowding_is_measured_on_vectors_as_long_as_they_are_and_against_the_reference() -> None:
    twice = densities(2 * CORNERS, 2 * CORNERS, 1, 1.0)
    assert twice == pytest.approx(densities(CORNERS, CORNERS, 1, 1.0) / 4)
    closer = np.vstack([CORNERS, CORNERS * 1.1])
    assert (densities(CORNERS, closer, 1, 1.0) > densities(CORNERS, CORNERS, 1, 1.0)).all()


def test_copies_in_the_reference_count_once() -> None:
    copied = np.vstack([CORNERS, CORNERS, CORNERS])
    assert novelsum(CORNERS, copied, neighbours=2) == novelsum(CORNERS, CORNERS, neighbours=2)
    with pytest.raises(OperatorError, match="3 distinct vectors"):
        novelsum(CORNERS, copied, neighbours=3)


def test_novelsum_in_blocks_equals_the_whole_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = normal(700, 200)
    whole = novelsum(vectors)
    monkeypatch.setattr("curation.subsets.diversity.BLOCK_ENTRIES", 700 * 90)
    assert novelsum(vectors) == pytest.approx(whole, rel=1e-7)


# -------------------------------------------------------------------- Vendi


def test_trap_16_vendi_q_respected_unit_norm_enforced_dual_equals_primal() -> None:
    vectors = normal(60, 12).astype(np.float64)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for q in (0.5, 1.0, 2.0, math.inf):
        assert vendi(3 * vectors, q) == pytest.approx(vendi_of_similarities(unit @ unit.T, q), rel=1e-5)
    assert vendi(vectors, 1.0) > vendi(vectors, 2.0) > vendi(vectors, math.inf)


def test_the_vendi_score_is_a_number_of_kinds() -> None:
    assert vendi_of_similarities(np.eye(3)) == pytest.approx(3)
    assert vendi_of_similarities(np.ones((3, 3))) == pytest.approx(1)
    # Two samples that are 0.9 alike: eigenvalues 1.9/3, 1/3, 0.1/3.
    shares = np.array([1.9, 1.0, 0.1]) / 3
    similarities = np.array([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]])
    assert vendi_of_similarities(similarities) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    assert vendi_of_similarities(similarities, 2) == pytest.approx(1 / (shares**2).sum())
    assert vendi_of_similarities(similarities, math.inf) == pytest.approx(3 / 1.9)


def test_similarities_that_are_none_and_vectors_without_length_are_refused() -> None:
    with pytest.raises(OperatorError, match="not wholly similar to itself"):
        vendi_of_similarities(2 * np.eye(3))
    with pytest.raises(OperatorError, match="1 vectors have no length"):
        vendi(np.array([[0, 0], [1, 0]], np.float32))
    with pytest.raises(OperatorError, match="negative"):
        vendi(CORNERS, -1)


def test_the_vendi_score_of_texts_counts_words_and_punctuation() -> None:
    assert ngram_vendi(SENTENCES) == pytest.approx(3.9066, abs=1e-4)
    assert ngram_vendi(["a b", "a b"]) == pytest.approx(1)
    assert ngram_vendi(["", "我喝茶", "一本书"]) == pytest.approx(3)


# -------------------------------------------------------------------- the others


def test_the_nearest_other_sample_is_never_the_sample_itself() -> None:
    vectors = np.array([[1, 0], [2, 0], [0, 1], [-1, 0]], np.float32)
    distances = nearest_distances(vectors)
    assert distances == pytest.approx([0, 0, 1, 1], abs=1e-6)
    assert near_duplicate_rate(distances) == 0.5
    assert np.isnan(nearest_distances(vectors[:1])).all()


def test_a_sample_exactly_at_the_threshold_is_a_near_duplicate() -> None:
    pair = np.array([[1, 0], [0.95, math.sqrt(1 - 0.95**2)]], np.float32)
    assert near_duplicate_rate(nearest_distances(pair), 0.95) == 1
    assert near_duplicate_rate(nearest_distances(pair), 0.96) == 0


def test_a_repetition_a_megabyte_later_is_found_which_zlib_can_not() -> None:
    noise = np.random.default_rng(0).bytes(500_000).hex()
    assert compression_ratio([noise, noise]) > 1.8 * compression_ratio([noise])
    twice = f"{noise}\n{noise}".encode()
    assert len(twice) / len(zlib.compress(twice)) < 2.1 < 3.5 < compression_ratio([noise, noise])


def test_distinct_bigrams_by_hand() -> None:
    assert distinct_ngrams(["a", "b", "a", "b", "c"]) == 3 / 4
    assert distinct_ngrams(["a"]) is None


def test_tags_by_hand() -> None:
    tags = pl.Series([["a", "b"], ["a"], None, ["c", "d"]])
    assert coverage(tags[:3], tags) == 0.5
    assert entropy(tags[:2]) == pytest.approx(-(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3)))


def test_ten_thousand_samples_need_no_matrix_of_all_pairs() -> None:
    vectors = normal(10_000, 4)
    tracemalloc.start()
    nearest_distances(vectors)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 150e6 < 10_000**2 * 4


def test_the_score_of_texts_takes_little_more_memory_than_their_similarities() -> None:
    texts = [
        " ".join(f"w{i}x{j}" for j in range(60)) for i in range(400)
    ]  # 24,000 words, none twice: 77 MB if held whole
    tracemalloc.start()
    assert ngram_vendi(texts, sizes=(1,)) == pytest.approx(400)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6
