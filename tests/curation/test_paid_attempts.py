"""What an answer is kept under, and what its attempts cost."""

from __future__ import annotations

import asyncio
import re

import pytest

from curation.errors import BudgetError
from curation.language_models.calls import CallStore, call_key
from curation.language_models.chat import open_chat_model
from curation.language_models.endpoints import Patience
from curation.language_models.models import ChatRequest, Completion
from tests.synthesis.loopback import Loopback, refusal

QUICK = Patience(first_wait_seconds=0.01, longest_wait_seconds=0.05, stall_seconds=5)
HELLO = ChatRequest((("user", "Hello"),))


@pytest.fixture
def calls(tmp_path):
    with CallStore(tmp_path / "calls.sqlite") as store:
        yield store


def ask(spec: str, calls: CallStore | None = None, budget: Purse | None = None) -> Completion:
    async def run() -> Completion:
        chat = open_chat_model(spec, calls=calls, run="r", patience=QUICK, budget=budget)
        try:
            return await chat.complete(HELLO)
        finally:
            await chat.close()

    return asyncio.run(run())


class ServesAdapter(Loopback):
    """Says where the weights of its one model lie, as vLLM does."""

    root = ""

    async def _models(self, request):
        from aiohttp import web

        return web.json_response({"data": [{"id": self.model, "root": self.root, "parent": "base"}]})


def test_another_adapter_under_the_same_name_is_another_model(calls, tmp_path):
    weights = tmp_path / "adapter_model.safetensors"
    answers = []
    with ServesAdapter() as server:
        server.root = str(tmp_path)
        for content in (b"first", b"second", b"first"):
            weights.write_bytes(content)
            answers.append(ask(server.spec, calls))
        assert re.fullmatch(r"loopback@[0-9a-f]{12}", open_chat_model(server.spec).model)
        name = open_chat_model(server.spec, calls=calls).model
    assert [a.cached for a in answers] == [False, False, True]
    assert {body["model"] for body in server.bodies} == {"loopback"}
    assert open_chat_model(server.spec, calls=calls).model == name, "remembered while the server is away"


class Purse:
    """A budget in calls."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.reserved = 0
        self.told: list[tuple[str, object]] = []

    async def reserve(self, request: ChatRequest) -> int:
        if self.reserved >= self.most:
            raise BudgetError("spent", fix="raise it")
        self.reserved += 1
        return self.reserved

    def settle(self, reservation: int, response_cost_usd: float | None, reported: dict):
        self.told.append(("settle", reported.get("completion_tokens")))
        return (0.5, None) if reported else (None, "no answer")

    def release(self, reservation: int) -> None:
        self.told.append(("release", reservation))


def test_every_attempt_is_reserved_and_settled_or_released(calls):
    from aiohttp import web

    busy = refusal(429, "busy", **{"retry-after-ms": "1"})
    replies = [busy, refusal(500, "broken"), web.Response(text="<html>"), "ok"]
    purse = Purse(9)
    with Loopback(lambda body, n: replies[n - 1]) as server:
        ask(server.spec, calls, purse)
    assert purse.told == [("release", 1), ("release", 2), ("settle", None), ("settle", 0)]
    rows = calls.attempts(call_key("loopback", HELLO))
    assert [(row.cost_usd, row.cost_reason) for row in rows] == [(None, None)] * 2 + [(None, "no answer"), (0.5, None)]
    assert calls.totals("r").cost_usd is None, "what may be paid without an answer makes the total unknown"


def test_retries_are_paid_for_too_and_a_known_answer_costs_nothing(calls):
    with Loopback(lambda body, n: refusal(500, "broken") if n < 3 else "ok") as server:
        with pytest.raises(BudgetError):
            ask(server.spec, None, Purse(2))
        assert server.requests == 2
        assert ask(server.spec, calls, Purse(1)).text == "ok"
        assert ask(server.spec, calls, Purse(0)).cached
