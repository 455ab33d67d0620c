import numpy as np
import polars as pl
import pytest

from curation.errors import OperatorError
from curation.operators import Pool, build
from curation.scorers import SCORERS
from curation.selectors import SELECTORS, Hybrid, QuantileBand, Threshold
from curation.selectors.hybrid import weighted_rank
from tests.curation.selectors.pools import pool


def scored(values: list[float | None]) -> Pool:
    return Pool(pl.DataFrame({"id": [f"{i}" for i in range(len(values))], "source": "s", "pass_rate": values}))


def test_threshold_keeps_only_what_is_in_bounds_and_says_by_how_much_the_others_miss() -> None:
    chosen = Threshold(score="pass_rate", min=0.1, max=0.9).select(scored([0.0, 0.5, 1.0, None, 0.1, 0.9]), 3)
    assert sorted(chosen.ids) == ["1", "4", "5"]
    assert chosen.rejected == {
        "0": "pass_rate 0 is below 0.1",
        "2": "pass_rate 1 is above 0.9",
        "3": "no pass_rate",
    }


def test_threshold_draws_at_random_not_the_highest() -> None:
    values = [float(i) for i in range(1000)]
    ids = Threshold(score="pass_rate", min=500).select(scored(values), 100).ids
    assert 700 < np.mean([values[int(i)] for i in ids]) < 800


def test_a_band_of_quantiles_leaves_both_ends() -> None:
    values = [float(i) for i in range(101)]
    chosen = QuantileBand(score="pass_rate", low=0.4, high=0.6).select(scored(values), 21)
    assert sorted(int(i) for i in chosen.ids) == list(range(40, 61))
    assert chosen.rejected["39"] == "pass_rate 39 is below 40"


def test_asking_for_more_than_the_band_has_says_how_many_there_are() -> None:
    with pytest.raises(OperatorError, match="21 of 101 are in the band"):
        QuantileBand(score="pass_rate", low=0.4, high=0.6).select(scored([float(i) for i in range(101)]), 22)


def test_the_weighted_rank_by_hand() -> None:
    a = np.array([10.0, 30.0, 20.0, np.nan])
    b = np.array([5.0, 5.0, 1.0, 9.0])
    # ranks of a: 0, 1, 1/2; of b, where two share places 2 and 3 of four: 1/2, 1/2, 0, 1, and turned round 1 - that
    found = weighted_rank({"a": a, "b": b}, {"a": 3, "b": -1})
    assert found[:3] == pytest.approx([(0 + 0.5) / 4, (3 + 0.5) / 4, (1.5 + 1) / 4])
    assert np.isnan(found[3])


def test_hybrid_chooses_only_within_its_band_by_the_second_selector() -> None:
    candidates = pool()
    chosen = Hybrid(scores=("difficulty",), low=0.5, then="k-center").select(candidates, 30)
    difficulty = dict(candidates.frame.select("id", "difficulty").iter_rows())
    median = candidates.frame["difficulty"].median()
    assert isinstance(median, float)
    assert all(difficulty[i] >= median for i in chosen.ids)
    outside = [reason for i, reason in chosen.rejected.items() if difficulty[i] < median]
    assert len(outside) == 100
    assert all("below the band's end" in reason for reason in outside)
    assert any("at distance" in reason for reason in chosen.rejected.values())


def test_hybrid_lets_the_second_selector_read_the_rank() -> None:
    selector = Hybrid(scores=("difficulty", "quality"), low=0.2, then="top-k", settings=("score=hybrid_rank",))
    assert selector.needs == ("difficulty", "quality")
    frame = pool().frame
    rank = weighted_rank(
        {c: frame[c].cast(float).fill_null(float("nan")).to_numpy() for c in ("difficulty", "quality")},
        {"difficulty": 1, "quality": 1},
    )
    best = frame["id"].gather(np.argsort(-np.nan_to_num(rank, nan=-1), kind="stable")[:10]).to_list()
    assert selector.select(pool(), 10).ids == best


def test_trap_19_the_stratified_variant_keeps_the_shares_of_the_sources_in_every_prefix() -> None:
    candidates = pool()
    sources = dict(candidates.frame.select("id", "source").iter_rows())
    ids = Hybrid(scores=("difficulty",), low=0.0, by="source").select(candidates, 120).ids
    for size in (8, 40, 120):
        assert abs(sum(sources[i] == "small" for i in ids[:size]) - size / 4) <= 1


@pytest.mark.parametrize(
    "settings, told",
    [
        ({"scores": "quality=much"}, "a weight must be a number"),
        ({"scores": "quality", "then": "k-centre"}, "k-center"),
        ({"scores": "quality", "then": "top-k"}, "score"),
        ({"scores": "quality", "then": "hybrid"}, "hybrid"),
        ({"scores": "quality", "settings": "after=first", "by": "source"}, "by can't be given together"),
        ({"scores": "quality", "low": 0.9, "high": 0.9}, "lower end"),
    ],
)
def test_wrong_settings_of_a_hybrid_are_told_before_anything_is_read(settings: dict[str, object], told: str) -> None:
    from curation.operators import build
    from curation.selectors import SELECTORS

    with pytest.raises(OperatorError, match=told):
        build("selector", SELECTORS, "hybrid", settings)


def test_a_hybrid_that_goes_on_from_a_selection_keeps_it_in_front_whatever_it_ranks() -> None:
    candidates = pool()  # rows 2, 1 and 0 are given
    low = candidates.frame["difficulty"].to_numpy().copy()
    low[:3] = -1.0
    frame = candidates.frame.with_columns(pl.Series("difficulty", low))
    selector = Hybrid(scores=("difficulty",), low=0.5, settings=("after=first",))
    chosen = selector.select(Pool(frame, candidates.vectors, given=candidates.given), 20)
    assert chosen.ids[:3] == ["0002", "0001", "0000"]
    assert all(low[int(i)] >= np.median(low) for i in chosen.ids[3:])


def test_a_hybrid_names_the_score_that_is_endless() -> None:
    frame = pl.DataFrame({"id": ["a", "b"], "source": ["s"] * 2, "x": [1.0, 2.0], "y": [float("inf"), 1.0]})
    selector = Hybrid(scores=("x", "y"), low=0, then="random")
    assert selector.select(Pool(frame), 1).rejected == {"a": "no y"}


def test_what_the_second_step_lacks_is_told_as_a_setting_of_it() -> None:
    with pytest.raises(OperatorError) as error:
        build("selector", SELECTORS, "hybrid", {"scores": "length", "then": "cluster-quota"})
    assert "the second step: selector 'cluster-quota' needs the parameter 'quality'" in error.value.message
    assert "--set settings=quality=VALUE" in error.value.message


def test_a_comma_inside_brackets_parts_no_settings() -> None:
    target = "source IN ('a', 'b')"
    hybrid = Hybrid(scores="quality", then="rds", settings=f"target={target}, seed=3")
    assert (hybrid.target_where, hybrid.second.seed) == (target, 3)


def test_a_number_that_may_be_off_is_switched_off_by_nothing() -> None:
    assert build("scorer", SCORERS, "instag-normalized", {"min_support": ""}).min_support is None
    with pytest.raises(OperatorError, match="'start'"):
        build("selector", SELECTORS, "k-center", {"start": ""})
