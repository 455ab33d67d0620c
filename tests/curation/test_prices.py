from __future__ import annotations

import json
from datetime import date

import pytest

from curation.errors import CorpusError, OperatorError
from curation.language_models.prices import Price, Prices, endpoint_of, on_this_machine

MINI = Price("mini", 0.40, 1.60, cached_input_usd=0.10)


def test_tokens_cost_their_price_for_a_million():
    assert MINI.cost({"prompt_tokens": 1_000_000, "completion_tokens": 500_000}) == pytest.approx(0.40 + 0.80)


def test_cached_input_has_a_price_of_its_own():
    usage = {"prompt_tokens": 1000, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 600}}
    assert MINI.cost(usage) == pytest.approx((400 * 0.40 + 600 * 0.10) / 1e6)
    assert Price("mini", 0.40, 1.60).cost(usage) == pytest.approx(1000 * 0.40 / 1e6)


def test_reasoning_costs_what_output_costs_and_is_counted_once():
    inside = {"prompt_tokens": 10, "completion_tokens": 100, "total_tokens": 110}
    apart = {"prompt_tokens": 10, "completion_tokens": 100, "total_tokens": 180}
    thought = {"completion_tokens_details": {"reasoning_tokens": 70}}
    assert MINI.cost({**inside, **thought}) == pytest.approx((10 * 0.40 + 100 * 1.60) / 1e6)
    assert MINI.cost({**apart, **thought}) == pytest.approx((10 * 0.40 + 170 * 1.60) / 1e6)


@pytest.mark.parametrize("usage", [{}, {"prompt_tokens": 7}, {"prompt_tokens": None, "completion_tokens": None}])
def test_what_is_not_reported_has_no_cost_and_not_a_cost_of_zero(usage):
    assert MINI.cost(usage) is None


def test_an_endpoint_of_its_own_goes_before_the_model_and_a_model_without_a_row_has_no_price():
    prices = Prices([MINI, Price("mini@127.0.0.1:8000", 0, 0)])
    assert prices.of("mini", "127.0.0.1:8000") == Price("mini@127.0.0.1:8000", 0, 0)
    assert prices.of("mini", "api.openai.com") == MINI
    assert prices.of("maxi", "api.openai.com") is None


def test_the_latest_price_that_is_in_force_counts_and_earlier_ones_stay_on_record():
    prices = Prices([Price("mini", 1, 2, since="2026-01-01")]).having(Price("mini", 3, 4, since="2026-06-01"))
    prices = prices.having(Price("mini", 5, 6, since="2026-06-01"))
    assert [prices.of("mini", "", date(2026, month, 1)) for month in (1, 7)] == [*prices.rows]
    assert prices.of("mini", "", date(2025, 12, 31)) is None
    assert [row.input_usd for row in prices.rows] == [1, 5]


def test_the_table_reads_back_as_it_was_written(tmp_path):
    prices = Prices([MINI, Price("ein@haus:1", 0, 0, since="2026-02-03", note="läuft hier")])
    prices.write(tmp_path)
    assert Prices.read(tmp_path).rows == prices.rows
    assert Prices.read(tmp_path / "elsewhere.json").rows == ()


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"model": "m", "input": 1}, "'output'"),
        ({"model": "m", "input": -1, "output": 1}, "is -1"),
        ({"model": "m", "input": "dear", "output": 1}, "dear"),
        ({"model": "m", "input": 1, "output": 1, "since": "June"}, "no date"),
        ({"model": "m", "input": 1, "output": 1, "outptu": 1}, "outptu"),
        ({"model": "", "input": 1, "output": 1}, "needs a model"),
    ],
)
def test_a_row_that_is_no_price_is_named(tmp_path, row, said):
    (tmp_path / "prices.json").write_text(json.dumps({"prices": [{"model": "a", "input": 1, "output": 2}, row]}))
    with pytest.raises(CorpusError, match=f"prices.json, price 2 is no price: .*{said}"):
        Prices.read(tmp_path)


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_a_price_is_a_number_of_dollars(value):
    with pytest.raises(OperatorError, match="price of m"):
        Prices().having(Price("m", value, 1))


def test_specs_name_their_endpoint_and_whether_it_is_on_this_machine():
    specs = ["openai:gpt-4.1", "http://127.0.0.1:8000/v1#m", "https://user@host.example/v1#m", "vllm:m", "replay:f"]
    assert [endpoint_of(s) for s in specs] == ["api.openai.com", "127.0.0.1:8000", "host.example", "vllm", "replay"]
    assert [on_this_machine(s) for s in specs] == [False, True, False, True, True]
