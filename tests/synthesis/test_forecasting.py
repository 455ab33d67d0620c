from __future__ import annotations

import pytest

from curation.errors import ModelError, OperatorError
from curation.intervals import Z90, wilson
from curation.language_models.prices import Price, Prices
from synthesis import Distill, EvolInstruct, synthesize
from synthesis.acceptance import Acceptance
from synthesis.bounding import upper_bound
from synthesis.forecasting import pilot, pilot_size
from tests.synthesis.loopback import Loopback, plausible
from tests.synthesis.samples import SeededCorpus, asked


def many(count: int) -> list:
    return [asked(f"Explain rule number {n} of chess.", f"Rule {n} says so.") for n in range(count)]


def priced(path, *seeds) -> SeededCorpus:
    corpus = SeededCorpus(path, seeds)
    Prices([Price("loopback", 1.0, 4.0)]).write(path)
    return corpus


def counted(answer: str, sent: int, received: int) -> dict:
    """A response with usage as it is given."""
    from aiohttp import web

    usage = {"prompt_tokens": sent, "completion_tokens": received, "total_tokens": sent + received}
    choice = {"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}
    return web.json_response({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage})


def test_a_pilot_is_two_percent_of_the_run_at_least_five_and_at_most_twenty():
    assert [pilot_size(n, Distill()) for n in (3, 100, 400, 1_000, 50_000)] == [3, 5, 8, 20, 20]


def test_a_pilot_of_a_method_that_works_in_rounds_is_whole_rounds():
    class InRounds(Distill):
        in_rounds = True

    assert [pilot_size(n, InRounds()) for n in (10, 1_000)] == [10, 32]


def test_the_upper_bound_counts_calls_bytes_and_the_longest_answers_and_asks_nobody(tmp_path):
    corpus = priced(tmp_path, asked("Name three rivers."))
    bound = upper_bound(corpus, Distill(answers=3, max_tokens=100), "http://127.0.0.1:9/v1#loopback")
    sent = 3 * (len("Name three rivers.") + 16 + 128)
    assert (bound.seeds, bound.calls, bound.input_tokens, bound.output_tokens) == (1, 3, sent, 300)
    assert bound.cost_usd == pytest.approx((sent + 4 * 300) / 1e6)
    assert upper_bound(corpus, Distill(), "http://127.0.0.1:9/v1#dear").cost_usd is None


def test_later_prompts_may_hold_whole_answers_and_the_judge_is_asked_too(tmp_path):
    corpus = priced(tmp_path, asked("Name three rivers."))
    spec = "http://127.0.0.1:9/v1#loopback"
    bound = upper_bound(corpus, EvolInstruct(max_tokens=1000), spec)
    assert bound.calls_by_step == {"evolve": 1, "judge": 1, "answer": 1}
    assert bound.input_tokens > 2 * 1000, "the evolved instruction stands in two more prompts"
    judged = upper_bound(corpus, EvolInstruct(max_tokens=1000), spec, acceptance=Acceptance(min_score=7.0))
    assert judged.calls_by_step["accept"] == 1
    assert upper_bound(corpus, EvolInstruct(), spec, judge_spec="openai:unpriced").cost_usd is None


def test_a_run_never_takes_more_than_its_upper_bound(tmp_path):
    corpus = priced(tmp_path, *many(30))
    with Loopback() as server:
        bound = upper_bound(corpus, EvolInstruct(rounds=2), server.spec)
        report = synthesize(corpus, EvolInstruct(rounds=2), server.spec)
    assert 0 < report.calls <= bound.calls
    assert 0 < report.cost_usd <= bound.cost_usd


def test_the_pilot_is_the_beginning_of_the_run_so_nothing_of_it_is_wasted(tmp_path):
    corpus = priced(tmp_path, *many(40))
    with Loopback() as server:
        first = pilot(corpus, EvolInstruct(), server.spec, size=8)
        asked_by_pilot = server.requests
        rest = synthesize(corpus, EvolInstruct(), server.spec)
    assert (first.pilot.seeds, asked_by_pilot, first.pilot.accepted) == (40, 24, 8)
    assert (rest.run, rest.resumed, rest.calls, server.requests) == (first.run, 8, 96, 120)


def test_tokens_shares_and_costs_of_the_pilot_become_those_of_the_run(tmp_path):
    corpus = priced(tmp_path, *many(100))

    def reply(body, n):
        return counted("I'm sorry, I can't." if n % 2 else plausible(body), 100, 50 * (1 + n % 2))

    with Loopback(reply) as server:
        report = pilot(corpus, Distill(max_tokens=200), server.spec, size=10, concurrency=1)
    forecast = report.forecast
    assert (forecast.pilot_seeds, forecast.accepted, forecast.accepted_share) == (10, 5, 0.5)
    assert (forecast.input_tokens.mean, forecast.output_tokens.mean, forecast.samples.mean) == (10_000, 7_500, 50)
    assert forecast.cost_usd.mean == pytest.approx((10_000 + 4 * 7_500) / 1e6)
    assert forecast.usd_per_accepted.mean == pytest.approx(0.04 / 50)
    assert forecast.usd_per_accepted.low < 0.04 / 50 < forecast.usd_per_accepted.high
    assert forecast.samples.low < 50 < forecast.samples.high
    [step] = forecast.steps
    assert (step.step, step.calls, step.mean_output_tokens, step.p90_output_tokens) == ("answer", 10, 75, 100)
    assert forecast.seconds > 0
    assert report.most.cost_usd > forecast.cost_usd.high


def test_the_forecast_holds_what_the_whole_run_then_takes(tmp_path):
    corpus = priced(tmp_path, *many(150))

    def reply(body, n):
        text = body["messages"][-1]["content"]
        return "I'm sorry." if sum(map(ord, text)) % 4 == 0 else plausible(body)

    with Loopback(reply) as server:
        foretold = pilot(corpus, Distill(), server.spec, size=20).forecast
        before = synthesize(corpus, Distill(), server.spec)
    accepted = corpus.count("operator IS NOT NULL")
    assert foretold.samples.low <= accepted <= foretold.samples.high
    assert foretold.cost_usd.low * 0.9 <= before.spent_usd <= foretold.cost_usd.high * 1.1


def test_where_the_price_is_unknown_the_forecast_is_in_tokens(tmp_path):
    corpus = SeededCorpus(tmp_path, many(10))
    with Loopback() as server:
        forecast = pilot(corpus, Distill(), server.spec, size=5).forecast
    assert (forecast.cost_usd, forecast.usd_per_accepted) == (None, None)
    assert "no price is known for loopback" in forecast.cost_reason
    assert forecast.tokens_per_accepted.mean > 0


def test_five_of_five_does_not_promise_all():
    assert wilson(5, 5, z=Z90) == (pytest.approx(0.649, abs=0.001), 1.0)
    assert wilson(0, 0, z=Z90) == (0.0, 1.0)


def test_a_pilot_of_none_gives_the_upper_bound_alone(tmp_path):
    report = pilot(priced(tmp_path, *many(3)), Distill(), "http://127.0.0.1:9/v1#loopback", size=0)
    assert (report.pilot, report.forecast, report.most.calls) == (None, None, 3)
    with pytest.raises(OperatorError, match="The pilot is -1"):
        pilot(SeededCorpus(tmp_path), Distill(), "http://127.0.0.1:9/v1#loopback", size=-1)


def test_a_pilot_of_which_nothing_is_accepted_has_failed_with_the_first_text(tmp_path):
    with Loopback(lambda body, n: "I'm sorry, no.") as server, pytest.raises(ModelError, match="I'm sorry, no"):
        pilot(SeededCorpus(tmp_path, many(30)), Distill(), server.spec)
    assert server.requests == 5


def test_a_budget_ends_a_run_in_order_and_a_larger_one_goes_on(tmp_path):
    corpus = priced(tmp_path, *many(60))
    with Loopback(lambda body, n: counted(plausible(body), 100, 100)) as server:
        first = synthesize(corpus, Distill(max_tokens=100), server.spec, budget_usd=0.01)
        whole = synthesize(corpus, Distill(max_tokens=100), server.spec, budget_usd=1.0)
    assert first.stopped is not None
    assert first.calls == pytest.approx(0.01 / 0.0005, abs=2)
    assert first.spent_usd <= 0.01
    assert (whole.stopped, server.requests, corpus.count("operator IS NOT NULL")) == (None, 60, 60)
    assert whole.spent_usd == pytest.approx(60 * 0.0005)


def test_a_budget_without_a_price_is_refused_before_the_first_call(tmp_path):
    with Loopback() as server:
        with pytest.raises(OperatorError, match="No price is known for loopback"):
            synthesize(SeededCorpus(tmp_path, many(3)), Distill(), server.spec, budget_usd=1.0)
        assert server.requests == 0
        report = synthesize(SeededCorpus(tmp_path), Distill(), server.spec, budget_usd=1.0, free=True)
    assert (report.cost_usd, report.spent_usd, report.accepted) == (0.0, 0.0, 3)


def test_code_with_tests_is_bounded_by_its_solutions_too(tmp_path):
    from synthesis.code_with_tests import CodeWithTests

    corpus = priced(tmp_path, asked("Write a function solve(x) that counts the letters of x."))
    bound = upper_bound(corpus, CodeWithTests(solutions=3), "http://127.0.0.1:9/v1#loopback")
    assert bound.calls_by_step == {"tests": 1, "solution 1": 1, "solution 2": 1, "solution 3": 1}
