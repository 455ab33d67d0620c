from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from curation.sample import to_frame
from curation.scorers.semantic_duplicate import SemanticDuplicate
from tests.curation.samples import pair


def frame(vectors: np.ndarray | list[Any]) -> pl.DataFrame:
    """Samples of equal length with these vectors."""
    column = pl.Series("vector", vectors, dtype=None if isinstance(vectors, np.ndarray) else pl.List(pl.Float32))
    column = column.cast(pl.Array(pl.Float32, len(vectors[0])))
    return to_frame([pair(f"question {i:06}", "answer") for i in range(len(vectors))]).with_columns(column)


def scored(vectors: np.ndarray | list[Any], **parameters) -> pl.DataFrame:
    """The scores with the number of the sample in place of its id."""
    samples = frame(vectors)
    names = {id_: str(i) for i, id_ in enumerate(samples["id"])}
    table = SemanticDuplicate(**parameters).score(samples)
    return table.with_columns(pl.col(pl.String).exclude("reason").replace_strict(names, default=None))


def planted(count: int, dimensions: int, seed: int) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Random unit vectors, each tenth one at a cosine of about 0.97 to the one before it."""
    generator = np.random.default_rng(seed)
    vectors = generator.normal(size=(count, dimensions))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = [(i - 1, i) for i in range(9, count, 10)]
    for source, copy in pairs:
        step = generator.normal(size=dimensions)
        vectors[copy] = vectors[source] + 0.25 * step / np.linalg.norm(step)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), pairs


def test_similarity_is_the_cosine():
    table = scored([[1, 0, 0], [0.8, 0.6, 0], [0, 0, 1]], threshold=0.8)
    assert table["semantic_duplicate"].to_list() == [False, True, False]
    assert table["semantic_duplicate_of"].to_list() == [None, "0", None]
    assert table["semantic_duplicate_similarity"].to_list() == [pytest.approx(0.8), pytest.approx(0.8), None]
    assert table["semantic_duplicate_partner"].to_list() == ["1", "0", None]
    assert table["semantic_duplicate_cluster"].to_list() == ["0", "0", None]
    assert table["semantic_duplicate_size"].to_list() == [2, 2, 1]


def test_in_a_chain_only_what_is_like_a_kept_sample_is_dropped():
    angles = np.radians([0, 20, 40])
    table = scored(np.column_stack([np.cos(angles), np.sin(angles)]), threshold=0.9)
    assert table["semantic_duplicate"].to_list() == [False, True, False]
    assert table["semantic_duplicate_size"].to_list() == [3, 3, 3]


def test_without_a_vector_or_a_direction_it_is_null_with_its_reason():
    table = scored([[1, 0], None, [0, 0], [0, 1]])
    assert table["semantic_duplicate"].to_list() == [False, None, None, False]
    assert table["reason"].to_list() == [None, *["it has no vector in the embedding"] * 2, None]


@pytest.mark.parametrize("search", ["exact", "faiss"])
def test_every_planted_pair_is_found(search):
    vectors, pairs = planted(3000, 96, seed=0)
    table = scored(vectors, search=search, keep="first")
    assert table.filter("semantic_duplicate")["semantic_duplicate_of"].to_list() == [str(a) for a, _ in pairs]
    truth = [float(vectors[a] @ vectors[b]) for a, b in pairs]
    assert table.filter("semantic_duplicate")["semantic_duplicate_similarity"].to_list() == pytest.approx(truth)


def test_the_exact_search_misses_no_pair_of_vectors_with_a_common_part():
    generator = np.random.default_rng(1)
    vectors = generator.normal(size=(1500, 48)) * (1 / np.arange(1, 49)) + 0.3
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    table = scored(vectors, threshold=0.95, search="exact")
    cosines = vectors @ vectors.T >= 0.95
    kept = np.flatnonzero(~table["semantic_duplicate"].to_numpy())
    assert cosines[np.ix_(kept, kept)].sum() == len(kept)
    dropped = table.filter("semantic_duplicate")
    assert all(cosines[int(a), i] for i, a in enumerate(table["semantic_duplicate_of"]) if a is not None)
    assert set(dropped["semantic_duplicate_of"].cast(int)) <= set(kept.tolist())


@pytest.mark.parametrize("search", ["exact", "faiss"])
def test_a_crowd_of_equal_and_of_nearly_equal_vectors_costs_no_square(search):
    generator = np.random.default_rng(2)
    one = generator.normal(size=32)
    near = one + 0.01 * generator.normal(size=(2000, 32))
    vectors = np.concatenate([np.repeat(one[None], 10_000, axis=0), near])
    table = scored(vectors, search=search, keep="first")
    assert table["semantic_duplicate"].sum() == 11_999
    assert table["semantic_duplicate_size"].unique().to_list() == [12_000]


def test_nothing_and_one_sample_can_be_scored():
    assert scored([[1, 0]])["semantic_duplicate"].to_list() == [False]
    assert SemanticDuplicate().score(frame([[1, 0]]).clear()).height == 0
