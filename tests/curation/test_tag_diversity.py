from math import log

import polars as pl
import pytest

from curation.subsets.tag_diversity import coverage, entropy


def lists(*tags: list[str] | None) -> pl.Series:
    return pl.Series("tags", list(tags), dtype=pl.List(pl.String))


def test_coverage_is_the_share_of_the_pools_distinct_tags() -> None:
    pool = lists(["a", "b"], ["b", "c"], None, ["d"], [])
    assert coverage(lists(["a", "b"], ["b"]), pool) == 0.5
    assert coverage(pool, pool) == 1
    assert coverage(lists(None, []), pool) == 0
    assert coverage(lists(["elsewhere"]), pool) == 0


def test_entropy_is_in_nats_and_counts_a_tag_once_a_sample() -> None:
    assert entropy(lists(["a"], ["b"])) == pytest.approx(log(2))
    assert entropy(lists(["a", "a"], ["b"])) == pytest.approx(log(2))
    assert entropy(lists(["a"], ["a"], ["a"], ["b"])) == pytest.approx(-0.75 * log(0.75) - 0.25 * log(0.25))
    assert entropy(lists(["a"], ["a"], None)) == 0


def test_without_any_tag_there_is_nothing_to_measure() -> None:
    assert coverage(lists(["a"]), lists(None, [])) is None
    assert coverage(lists(), pl.Series([None])) is None
    assert entropy(lists(None, [])) is None
