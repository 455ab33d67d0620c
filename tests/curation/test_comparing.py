from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curation.actions import undo
from curation.comparing import Comparison, compare, place, taken_and_left
from curation.corpus import Corpus
from curation.deciding import drop, edit
from curation.embedding import add_vectors
from curation.errors import CorpusError
from curation.scorers import Metadata
from curation.scoring import score
from curation.selection import hold_out, select
from curation.selectors import KCenter, Longest, Random, TopK
from curation.size_matched import METRICS, band
from tests.curation.samples import corpus_of, pair

WORDS = ["tea", "rain", "stone", "river", "lamp", "bread", "wool", "salt"]


@pytest.fixture
def corpus(tmp_path: Path) -> Iterator[Corpus]:
    samples = [pair(f"q{i}", "a" * (i + 1), source="ab"[i % 2], metadata={"stars": i, "n": i}) for i in range(40)]
    corpus = corpus_of(tmp_path / "c", samples)
    with corpus.database.held():
        yield corpus


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corpus]:
    """120 samples of eight subjects, embedded and tagged; `alike` has one subject only, `spread` is by k-center."""
    rng = np.random.default_rng(0)
    samples = [
        pair(
            f"Tell me about {WORDS[i % 8]}, number {i}.",
            " ".join([WORDS[i % 8]] * 3 + list(rng.choice(WORDS, 4 + i % 30))),
            tags=[WORDS[i % 8], "all"],
            metadata={"subject": i % 8, "n": i},
        )
        for i in range(120)
    ]
    folder = tmp_path_factory.mktemp("varied")
    corpus = corpus_of(folder / "c", samples)
    np.save(folder / "vectors.npy", np.eye(16)[np.arange(120) % 8] + 0.2 * rng.normal(size=(120, 16)))
    with corpus.database.held():
        add_vectors(corpus, folder / "vectors.npy", "n")
        score(corpus, Metadata(field="subject"))
        select(corpus, TopK(score="subject"), 15, name="alike")
        select(corpus, KCenter(), 30, name="spread")
        yield corpus


def value(compared: Comparison, name: str, metric: str) -> float:
    return float(compared.diversity.filter(name=name, metric=metric)["value"].item())


def test_selections_are_compared_by_overlap_scores_and_sources(corpus: Corpus) -> None:
    score(corpus, Metadata(field="stars"))
    select(corpus, TopK(score="stars"), 10, name="top")
    select(corpus, TopK(score="stars"), 20, name="more")
    compared = compare(corpus, ["top", "more"])
    assert compared.overlap.row(1) == ("top", "more", 10, 0.5)
    assert compared.scores.filter(name="top", column="stars").row(0) == ("top", "stars", 34.5, 19.5)
    assert compared.sources.filter(name="top").select("source", "samples", "share").rows() == [
        ("a", 5, 0.5),
        ("b", 5, 0.5),
    ]
    assert compared.sizes["samples"].to_list() == [10, 20]
    with pytest.raises(CorpusError, match="Unknown selection"):
        compare(corpus, ["top", "nope"])


def test_what_was_edited_since_is_compared_as_it_is_now(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", [pair(f"q{i}", f"a{i}", source="s", metadata={"stars": i}) for i in range(4)])
    with corpus.database.held():
        ids = select(corpus, Random(), 4, name="before").ids
        for sample_id in ids:
            edit(corpus, sample_id, response="b" + sample_id)
        select(corpus, Random(), 4, name="after")
        score(corpus, Metadata(field="stars"))
        compared = compare(corpus, ["before", "after"])
        assert compared.sizes["samples"].to_list() == [4, 4]
        assert compared.overlap.row(1) == ("before", "after", 4, 1.0)
        assert compared.sources["samples"].to_list() == [4, 4, 4]
        assert compared.scores["mean"].to_list() == [1.5, 1.5]
        for _ in ids:
            undo(corpus)
        assert compare(corpus, ["before", "after"]).sizes["samples"].to_list() == [4, 4]


def test_what_was_dropped_since_is_left_out_and_counted(corpus: Corpus) -> None:
    select(corpus, Random(), 40, name="all")
    select(corpus, Longest(), 10, name="long")
    drop(corpus, where="source = 'a'", reason="no")
    compared = compare(corpus, ["all", "long"])
    assert compared.sizes.select("samples", "dropped").rows() == [(20, 20), (5, 5)]
    assert set(compared.sources["source"]) == set(taken_and_left(corpus, "all", "long")["source"]) == {"b"}


def test_an_edited_sample_is_no_difference_and_keeps_the_reason_for_which_it_was_left(corpus: Corpus) -> None:
    kept = select(corpus, Longest(), 4, name="long").ids
    select(corpus, Longest(), 2, name="longer")
    for sample_id in kept[:3]:
        edit(corpus, sample_id, response="now another")
    assert taken_and_left(corpus, "longer", "long").is_empty()
    told = taken_and_left(corpus, "long", "longer")
    assert told["rank"].to_list() == [3, 4]
    assert told["response"][0] == "now another"
    assert told["reason"][0] == "answer of 38 characters; the shortest chosen has 39"


def test_the_pool_has_its_sources_too(corpus: Corpus) -> None:
    select(corpus, Longest(), 4, name="pool")
    sources = compare(corpus, ["pool"]).sources
    assert sources.filter(kind="pool").select("source", "samples").rows() == [("a", 20), ("b", 20)]
    assert sources.filter(kind="selection")["samples"].sum() == 4


def test_what_was_dropped_or_held_out_is_not_of_the_pool(corpus: Corpus) -> None:
    score(corpus, Metadata(field="stars"))
    select(corpus, Random(), 3, name="s")
    drop(corpus, where="stars >= 20", reason="no")
    assert compare(corpus, ["s"]).scores.filter(column="stars")["pool_mean"].to_list() == [9.5]
    hold_out(corpus, 10)
    assert compare(corpus, ["s"]).matched.pool == 10


def test_trap_20_reports_show_random_of_at_least_3_seeds_and_longest_next_to_any_method(varied: Corpus) -> None:
    compared = compare(varied, ["alike"], draws=1)
    assert compared.matched.draws == 3
    for metric in METRICS:
        rows = compared.diversity.filter(metric=metric.name)
        assert rows["name"].to_list() == ["alike", "longest", "random"]
        assert rows["kind"].to_list() == ["selection", "baseline", "baseline"]
        assert rows["low"].null_count() == 0
    assert set(compared.spreads["name"]) == {"alike", "longest", "random", "pool"}


def test_equally_many_of_each_are_measured_and_they_are_the_best(varied: Corpus) -> None:
    both = compare(varied, ["alike", "spread"])
    assert both.matched.size == both.matched.measured == both.matched.with_vectors == 15
    best = varied.selection("spread").ids[:15]
    varied.save_selection("best 15", '{"name": "k-center", "parameters": {}}', None, 120, best, {})
    alone = compare(varied, ["best 15"])
    for metric in METRICS:
        assert value(both, "spread", metric.name) == value(alone, "best 15", metric.name), metric.name


def test_one_subject_lies_below_the_band_of_random_draws_and_k_center_above(varied: Corpus) -> None:
    compared = compare(varied, ["alike", "spread"])
    places = {(n, m): p for n, m, p in compared.diversity.select("name", "metric", "place").iter_rows()}
    for metric in ("novelsum", "vendi", "knn_distance_mean", "tag_entropy", "tag_coverage"):
        assert places["alike", metric] == "below", metric
    assert places["spread", "novelsum"] == places["spread", "knn_distance_mean"] == "above"
    assert places["alike", "compression_ratio"] == "above"
    assert value(compared, "alike", "tag_coverage") == 2 / 9


def test_a_value_on_the_edge_is_inside_the_band() -> None:
    assert [place(v, 1.0, 2.0) for v in (0.9, 1.0, 2.0, 2.1, None)] == ["below", "inside", "inside", "above", None]


def test_comparing_twice_gives_the_same_numbers(varied: Corpus) -> None:
    first, again = (compare(varied, ["alike", "spread"]) for _ in range(2))
    assert first.diversity.equals(again.diversity)


def test_without_embedding_or_tags_there_is_no_number_but_a_reason(corpus: Corpus) -> None:
    select(corpus, Longest(), 10, name="long")
    compared = compare(corpus, ["long"])
    missing = compared.diversity.filter(pl.col("value").is_null(), name="long")
    assert set(missing["metric"]) == {m.name for m in METRICS if m.of != "texts"}
    assert f"no embedding is stored: winnow embed {corpus.path}" in set(missing["reason"])
    assert compared.tags.is_empty()


def test_large_selections_are_measured_on_a_part_and_it_is_said(varied: Corpus) -> None:
    compared = compare(varied, ["spread"], at_most=20)
    assert (compared.matched.size, compared.matched.measured) == (30, 20)


def test_a_selection_of_more_than_is_left_of_the_pool_has_no_baselines(corpus: Corpus) -> None:
    select(corpus, Random(), 40, name="all")
    hold_out(corpus, 10)
    compared = compare(corpus, ["all"])
    assert set(compared.diversity["name"]) == {"all"}
    assert compared.diversity["place"].null_count() == compared.diversity.height


def test_the_spread_of_a_score_by_hand(corpus: Corpus) -> None:
    score(corpus, Metadata(field="stars"))
    select(corpus, TopK(score="stars"), 5, name="top")
    compared = compare(corpus, ["top"])
    top = compared.spreads.filter(name="top").row(0, named=True)
    assert [top[c] for c in ("measured", "mean", "q25", "median", "q75")] == [5, 37, 36, 37, 38]
    drawn = compared.spreads.filter(name="random").row(0, named=True)
    assert drawn["mean_low"] <= drawn["mean"] <= drawn["mean_high"] < 37
    counted = compared.histograms.group_by("name").agg(pl.col("samples").sum()).rows()
    assert dict(counted) == {"top": 5, "longest": 5, "random": 25, "pool": 40}


def test_the_frequent_tags_of_the_pool_have_their_shares(varied: Corpus) -> None:
    tags = compare(varied, ["alike"]).tags
    assert tags.filter(name="pool", tag="all")["share"].item() == 1
    assert tags.filter(name="alike", tag="salt")["share"].item() == 1
    assert tags.filter(name="alike", tag="tea")["share"].item() == 0


def test_a_selection_may_be_called_like_a_baseline(varied: Corpus) -> None:
    select(varied, Longest(), 15, name="longest")
    rows = compare(varied, ["longest"]).diversity.filter(name="longest", metric="vendi")
    assert rows["kind"].to_list() == ["selection", "baseline"]
    assert rows["value"].n_unique() == 1


def test_examples_are_the_best_that_one_takes_and_the_other_leaves_with_its_reason(corpus: Corpus) -> None:
    select(corpus, Longest(), 4, name="long")
    select(corpus, Longest(), 2, name="longer")
    examples = compare(corpus, ["long", "longer"]).examples
    assert examples.select("taker", "leaver", "rank").rows() == [("long", "longer", 3), ("long", "longer", 4)]
    assert examples["reason"][0] == "answer of 38 characters; the shortest chosen has 39"
    assert taken_and_left(corpus, "longer", "long").is_empty()


def test_nine_of_ten_random_draws_lie_within_the_band_of_five() -> None:
    rng = np.random.default_rng(0)
    inside = [place(rng.normal(10), *band(rng.normal(10, size=5))) == "inside" for _ in range(2000)]
    assert 0.87 < np.mean(inside) < 0.93
    assert band([0.0, 0.0, 0.1])[0] == 0


def test_fewer_than_three_draws_with_a_number_make_no_band() -> None:
    assert band([0.7]) == band([0.7, 0.8]) == band([]) == (None, None)


def test_where_nearly_no_sample_has_tags_there_is_no_band_but_the_reason(tmp_path: Path) -> None:
    samples = [pair(f"q{i}", f"a{i} b c", tags=["t", "u"] if not i else []) for i in range(60)]
    corpus = corpus_of(tmp_path / "c", samples)
    with corpus.database.held():
        select(corpus, Random(), 6, name="s")
        rows = compare(corpus, ["s"]).diversity.filter(metric="tag_entropy")
    assert rows["low"].null_count() == rows["place"].null_count() == rows.height
    assert all(told.startswith("the samples have no tags") for told in rows["reason"])


def test_no_selection_or_one_of_which_nothing_is_left_is_refused_by_name(corpus: Corpus) -> None:
    with pytest.raises(CorpusError, match="No selection is named"):
        compare(corpus, [])
    corpus.save_selection("empty", '{"name": "random", "parameters": {}}', None, 40, [], {})
    select(corpus, Random(), 3, name="s")
    with pytest.raises(CorpusError, match="Of the selection 'empty' no sample is left"):
        compare(corpus, ["s", "empty"])
