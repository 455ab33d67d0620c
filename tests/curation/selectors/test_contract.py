"""What every selector owes, whatever it looks for."""

import pytest

from curation.operators import Selector
from curation.selectors import (
    DPP,
    MIG,
    QDIT,
    RDS,
    SELECTORS,
    ClusterQuota,
    Deita,
    FacilityLocation,
    Hybrid,
    ImportanceResampling,
    InstagDiverse,
    KCenter,
    Longest,
    QuantileBand,
    Random,
    SemDeDup,
    Stratified,
    Threshold,
    TopK,
)
from tests.curation.selectors.pools import pool

EXAMPLES: list[Selector] = [
    Random(),
    Stratified(),
    Longest(),
    TopK(score="quality"),
    KCenter(),
    ImportanceResampling(score="quality"),
    InstagDiverse(tags="instag"),
    MIG(tags="instag", score="quality"),
    Threshold(score="quality", min=2),
    QuantileBand(score="difficulty", low=0.1, high=0.9),
    Hybrid(scores=("quality=2", "difficulty"), low=0.3),
    RDS(target="source = 'exam'"),
    Deita(score="quality", threshold=0.98),
    SemDeDup(threshold=0.99),
    ClusterQuota(quality="quality"),
    FacilityLocation(),
    QDIT(quality="quality"),
    DPP(quality="quality"),
]


@pytest.mark.parametrize("selector", EXAMPLES, ids=lambda s: s.name)
@pytest.mark.parametrize("budget", [1, 7, 120])
def test_the_budget_is_exact_without_doubles_and_every_other_sample_has_its_reason(
    selector: Selector, budget: int
) -> None:
    chosen = selector.select(pool(), budget)
    assert len(chosen.ids) == len(set(chosen.ids)) == budget
    assert set(chosen.ids).isdisjoint(chosen.rejected)
    assert len(chosen.rejected) == 200 - budget
    assert all(chosen.rejected.values())


@pytest.mark.parametrize("selector", EXAMPLES, ids=lambda s: s.name)
def test_equal_pool_and_parameters_give_equal_ids_in_equal_order(selector: Selector) -> None:
    assert selector.select(pool(), 60).ids == selector.select(pool(), 60).ids


@pytest.mark.parametrize("selector", EXAMPLES, ids=lambda s: s.name)
def test_a_prefix_is_the_selection_for_a_smaller_budget(selector: Selector) -> None:
    large = selector.select(pool(), 120).ids
    assert selector.select(pool(), 30).ids == large[:30]


def test_every_selector_has_an_example_here() -> None:
    assert {s.name for s in EXAMPLES} == {s.name for s in SELECTORS}


@pytest.mark.parametrize("selector", SELECTORS, ids=lambda s: s.name)
def test_every_selector_says_where_it_is_from(selector: type[Selector]) -> None:
    assert selector.__doc__ is not None
    assert "Source:" in selector.__doc__
    assert all(field.description for field in selector.model_fields.values())
