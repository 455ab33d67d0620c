from __future__ import annotations

import asyncio
import random

import pytest

from curation.errors import BudgetError, OperatorError
from curation.language_models.budget import Spending, most, most_input_tokens
from curation.language_models.calls import CallStore
from curation.language_models.chat import open_chat_model
from curation.language_models.endpoints import Patience
from curation.language_models.models import ChatRequest
from curation.language_models.prices import Price, Prices
from tests.synthesis.loopback import Loopback, refusal

PRICES = Prices([Price("loopback", 10.0, 100.0), Price("mini", 1.0, 2.0)])
HERE = "http://127.0.0.1:9/v1#loopback"


def asked(text: str, max_tokens: int | None = 50, **parameters) -> ChatRequest:
    return ChatRequest((("user", text),), {"max_tokens": max_tokens, **parameters})


def test_a_call_costs_at_most_its_bytes_and_the_longest_answer():
    request = asked("说出三条河流。", 100)
    assert most_input_tokens(request) == 21 + 16 + 128
    assert most(request, Price("m", 10, 100)) == pytest.approx((165 * 10 + 100 * 100) / 1e6)
    assert most(asked("x", 100, n=3), Price("m", 0, 100)) == pytest.approx(300 * 100 / 1e6)
    assert most(ChatRequest((), {"max_tokens": 5}, prompt="<s>ab"), Price("m", 1, 0)) == pytest.approx(149 / 1e6)


def test_an_answer_of_any_length_can_not_be_paid_from_a_budget():
    with pytest.raises(OperatorError, match="without max_tokens"):
        most(asked("x", None), Price("m", 1, 2))


def test_an_unknown_price_with_a_budget_is_two_lines_before_anything_is_sent():
    with pytest.raises(OperatorError) as raised:
        Spending(Prices(), limit_usd=1.0, table="corpus").on("openai:gpt-9")
    assert "No price is known for gpt-9 at api.openai.com" in raised.value.message
    assert "winnow price corpus gpt-9 --input" in raised.value.fix
    assert "--free" not in raised.value.fix
    with pytest.raises(OperatorError) as raised:
        Spending(Prices(), limit_usd=1.0).on(HERE)
    assert "--free" in raised.value.fix


def test_only_what_is_on_this_machine_can_be_called_free():
    spending = Spending(Prices(), free=True)
    assert spending.price_of(HERE).output_usd == 0
    assert spending.price_of("openai:gpt-9") is None


@pytest.mark.parametrize("limit", [0, -1, float("nan"), float("inf")])
def test_a_budget_is_above_nothing(limit):
    with pytest.raises(OperatorError, match="The budget is"):
        Spending(PRICES, limit_usd=limit)


def test_what_the_endpoint_says_goes_before_the_table_and_an_unknown_cost_is_null():
    account = Spending(PRICES).on(HERE)
    usage = {"prompt_tokens": 1000, "completion_tokens": 100}
    assert account.settle(0.0, 0.5, usage) == (0.5, None)
    assert account.settle(0.0, None, usage) == (pytest.approx(0.02), None)
    assert account.spending.spent_usd == pytest.approx(0.52)
    cost, reason = account.settle(0.0, None, {})
    assert (cost, account.spending.spent_usd) == (None, None)
    assert "no answer came" in reason


def test_an_attempt_that_may_have_been_paid_keeps_what_was_set_aside():
    async def lost() -> Spending:
        spending = Spending(PRICES, limit_usd=1.0)
        account = spending.on(HERE)
        account.settle(await account.reserve(asked("x", 5000)), None, {})
        return spending

    assert asyncio.run(lost()).spent_usd == pytest.approx(0.50145)


def test_a_call_waits_for_what_others_give_back_and_the_budget_ends_when_nobody_can():
    async def work() -> list[str]:
        spending, told = Spending(PRICES, limit_usd=0.6), []
        account = spending.on(HERE)
        first = await account.reserve(asked("x", 5000))
        second = asyncio.create_task(account.reserve(asked("y", 5000)))
        await asyncio.sleep(0)
        told.append("waits" if not second.done() else "went")
        account.settle(first, None, {"prompt_tokens": 1, "completion_tokens": 900})
        account.settle(await second, None, {"prompt_tokens": 1, "completion_tokens": 4000})
        with pytest.raises(BudgetError, match=r"0.4900 of 0.6000 US dollars are spent, .* may cost 0.50"):
            await account.reserve(asked("z", 5000))
        await account.reserve(asked("short", 50))
        return told

    assert asyncio.run(work()) == ["waits"]


def test_model_and_judge_share_one_budget():
    spending = Spending(PRICES, limit_usd=1.0)
    for spec in (HERE, "openai:mini"):
        spending.on(spec).settle(0.0, None, {"prompt_tokens": 10_000, "completion_tokens": 1_000})
    assert spending.booked_usd == pytest.approx((0.1 + 0.1) + (0.01 + 0.002))


def test_half_four_fifths_and_nearly_all_of_a_budget_are_told():
    spending, told = Spending(PRICES, limit_usd=1.0), []
    progress = spending.telling(lambda done, total, message: told.append(message))
    for spent in (0.2, 0.5, 0.85, 0.96):
        spending.booked_usd = spent
        progress(1, 2, "1 accepted")
    assert told[0] == "1 accepted, 0.2000 of 1.0000 US dollars spent"
    assert [message.rpartition(": ")[2] for message in told[1:]] == [f"over {n} % of the budget" for n in (50, 80, 95)]


def test_what_was_spent_before_a_price_was_known_counts_at_the_price_of_now(tmp_path):
    async def answered(chat) -> None:
        for number in range(3):
            await chat.complete(asked(f"Question {number}"))
        await chat.close()

    with Loopback(lambda body, n: "word") as server, CallStore(tmp_path / "calls.sqlite") as calls:
        before = Spending(Prices())
        asyncio.run(answered(open_chat_model(server.spec, calls=calls, run="r", budget=before.on(server.spec))))
        assert before.spent_usd is None
        after = Spending(Prices([Price("loopback", 0.0, 1e6)]), limit_usd=100)
        after.begin(calls.path, "r")
        with pytest.raises(OperatorError, match="was answered there before"):
            Spending(Prices(), limit_usd=100).begin(calls.path, "r")
    assert after.spent_usd == 3 * 1.0


PATIENCE = Patience(first_wait_seconds=0.001, longest_wait_seconds=0.002, attempts=3)


def spend(spending: Spending, calls: CallStore, spec: str, requests: int) -> int:
    """Send as much as the budget pays for, 256 at a time; how many were answered."""

    async def work() -> int:
        chat = open_chat_model(spec, calls=calls, run="r", concurrency=256, patience=PATIENCE, budget=spending.on(spec))
        queue, answered = iter(range(requests)), 0

        async def worker() -> None:
            nonlocal answered
            for number in queue:
                completion = await chat.complete(asked(f"Question {number}", 400))
                answered += completion.error is None

        found = await asyncio.gather(*(worker() for _ in range(256)), return_exceptions=True)
        await chat.close()
        assert {type(e) for e in found} <= {BudgetError, type(None)}, found
        return answered

    return asyncio.run(work())


def test_a_budget_is_never_exceeded_at_256_way_with_retries_and_failures(tmp_path):
    rng, billed = random.Random(1), 0.0

    def reply(body, n):
        nonlocal billed
        trouble = rng.random()
        if trouble < 0.05:
            return refusal(429, "slow down", **{"retry-after-ms": "1"})
        if trouble < 0.15:
            return refusal(500, "broken")
        if trouble < 0.17:  # an answer that can't be read is charged all the same
            billed += 400 * 100 / 1e6
            return refusal(200, "not a completion")
        text = "word " * rng.randrange(300)
        sent = len(body["messages"][0]["content"]) // 4
        billed += (sent * 10 + len(text) // 4 * 100) / 1e6
        return text

    with Loopback(reply, latency_seconds=0.01) as server, CallStore(tmp_path / "calls.sqlite") as calls:
        spending = Spending(PRICES, limit_usd=2.5)
        answered = spend(spending, calls, server.spec, 10_000)
        resumed = Spending(PRICES, limit_usd=2.5)
        resumed.begin(calls.path, "r")
        again = spend(resumed, calls, server.spec, answered)
        kept = calls.totals("r")
    assert 2.4 < spending.spent_usd <= 2.5
    assert billed <= spending.spent_usd
    assert spending.reserved_usd == 0
    assert resumed.spent_usd == pytest.approx(spending.spent_usd, abs=0.1)
    assert resumed.spent_usd <= 2.5
    assert again <= answered
    assert kept.calls >= answered
