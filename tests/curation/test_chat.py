from __future__ import annotations

import asyncio
import json
import time
from email.utils import formatdate

import pytest

from curation.errors import ModelError
from curation.language_models.calls import CallStore, call_key
from curation.language_models.chat import open_chat_model
from curation.language_models.completions import completion_of, split_reasoning
from curation.language_models.endpoints import Patience, redacted, retry_after
from curation.language_models.models import ChatRequest, Completion
from tests.synthesis.loopback import Loopback, refusal

QUICK = Patience(first_wait_seconds=0.01, longest_wait_seconds=0.05, stall_seconds=5)


def asking(text: str = "Hello", **parameters) -> ChatRequest:
    return ChatRequest((("user", text),), parameters)


def ask(spec: str, *requests: ChatRequest, calls: CallStore | None = None, patience: Patience = QUICK):
    async def all_of_them() -> list[Completion]:
        chat = open_chat_model(spec, calls=calls, run="r", patience=patience)
        try:
            return await asyncio.gather(*(chat.complete(r) for r in requests))
        finally:
            await chat.close()

    return asyncio.run(all_of_them())


@pytest.fixture(autouse=True)
def no_keys(monkeypatch):
    for name in ("OPENAI_API_KEY", "WINNOW_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def calls(tmp_path):
    with CallStore(tmp_path / "calls.sqlite") as store:
        yield store


# ------------------------------------------------------------------------------------------------------ never twice


def test_a_finished_call_is_not_sent_again_by_another_run_or_from_another_address(calls):
    with Loopback() as first, Loopback() as second:
        [answer] = ask(first.spec, asking(temperature=0.5), calls=calls)
        [again] = ask(second.spec, asking(temperature=0.5), calls=calls)
    assert (answer.cached, again.cached, again.text) == (False, True, answer.text)
    assert (first.requests, second.requests) == (1, 0)


def test_equal_requests_at_the_same_time_are_sent_once(calls):
    with Loopback(latency_seconds=0.05) as server:
        answers = ask(server.spec, *[asking()] * 10, calls=calls)
    assert server.requests == 1
    assert sum(not a.cached for a in answers) == 1


def test_the_body_holds_messages_and_parameters_and_leaves_out_what_is_null():
    with Loopback() as server:
        ask(server.spec, asking("Hi", temperature=0.5, top_p=None, max_tokens=9, top_k=3))
    sent = {"temperature": 0.5, "max_tokens": 9, "top_k": 3}
    assert server.bodies == [{"model": "loopback", "messages": [{"role": "user", "content": "Hi"}], **sent}]


def test_every_attempt_is_a_row_with_tokens_and_the_reason_for_an_unknown_cost(calls):
    with Loopback(lambda body, n: refusal(500, "broken") if n == 1 else "fine") as server:
        ask(server.spec, asking(), calls=calls)
    failed, answered = calls.attempts(call_key("loopback", asking()))
    assert (failed.response, failed.error) == (None, "Error code: 500 - broken")
    assert (answered.output_tokens, answered.cost_usd, answered.endpoint) == (1, None, server.address[7:-3])
    assert "no price is known for loopback" in answered.cost_reason


def test_a_cost_that_the_endpoint_reports_is_kept(calls):
    from curation.language_models.completions import cost_of

    assert cost_of({"usage": {"cost": 0.002}}, "host", "m") == (0.002, None)
    assert cost_of({"usage": {}}, "host", "m")[0] is None


def test_an_attempt_tells_how_long_it_took(calls):
    with Loopback(latency_seconds=0.1) as server:
        ask(server.spec, asking(), calls=calls)
    [answered] = calls.attempts(call_key("loopback", asking()))
    assert 0.1 <= answered.seconds < 5


# ---------------------------------------------------------------------------------------------------------- patience


def test_a_busy_endpoint_uses_up_no_attempt():
    def busy(body, n):
        return refusal(429 if n % 2 else 503, "slow down", **{"Retry-After": "0.01"}) if n <= 8 else "at last"

    with Loopback(busy) as server:
        [answer] = ask(server.spec, asking())
    assert (answer.text, server.requests) == ("at last", 9)


def test_retry_after_is_honoured():
    with Loopback(lambda body, n: refusal(429, "wait", **{"retry-after-ms": "300"}) if n == 1 else "ok") as server:
        begun = time.monotonic()
        ask(server.spec, asking())
    assert time.monotonic() - begun >= 0.3


def test_retry_after_is_read_as_seconds_milliseconds_or_a_date():
    assert retry_after({"retry-after": "2.5"}) == 2.5
    assert retry_after({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert 25 < retry_after({"retry-after": formatdate(time.time() + 30, usegmt=True)}) <= 30
    assert retry_after({}) is None
    assert retry_after({"retry-after": "soon"}) is None


def test_an_endpoint_that_stays_busy_stops_the_run_with_two_lines():
    with (
        Loopback(lambda body, n: refusal(429, "no", **{"Retry-After": "3600"})) as server,
        pytest.raises(ModelError, match="asks to wait 3600 more") as raised,
    ):
        ask(server.spec, asking())
    assert raised.value.fix.startswith("run the same command again later")


def test_a_server_error_is_tried_five_times_and_then_fails_this_call_alone():
    def broken(body, n):
        return refusal(500, "out of order") if "bad" in body["messages"][0]["content"] else "fine"

    with Loopback(broken) as server:
        bad, good = ask(server.spec, asking("bad"), asking("good"))
    assert bad == Completion(None, error="Error code: 500 - out of order (after 5 attempts)")
    assert (good.text, server.requests) == ("fine", 6)


def test_what_is_wrong_with_a_request_is_not_tried_again():
    with Loopback(lambda body, n: refusal(400, "maximum context length is 8", "context_length_exceeded")) as server:
        [answer] = ask(server.spec, asking())
    assert ("maximum context length" in answer.error, answer.refused, server.requests) == (True, True, 1)


def test_a_truncated_answer_is_never_asked_for_again(calls):
    with Loopback(lambda body, n: {"content": "It beg", "finish_reason": "length"}) as server:
        [answer] = ask(server.spec, asking(), calls=calls)
        [again] = ask(server.spec, asking(), calls=calls)
    assert (answer.finish_reason, again.finish_reason, again.cached, server.requests) == ("length", "length", True, 1)


def test_an_answer_that_is_no_completion_is_an_error():
    from aiohttp import web

    with Loopback(lambda body, n: web.Response(text="<html>login</html>", content_type="text/html")) as server:
        [answer] = ask(server.spec, asking())
    assert "no chat completion: <html>login" in answer.error


def test_a_call_that_waits_for_a_busy_endpoint_holds_back_no_other():
    def first_is_busy(body, n):
        return refusal(429, "wait", **{"Retry-After": "0.6"}) if n == 1 else "ok"

    async def run() -> list[str]:
        chat, order = open_chat_model(server.spec, concurrency=1, patience=QUICK), []

        async def one(text: str) -> None:
            await chat.complete(asking(text))
            order.append(text)

        await asyncio.gather(*(one(str(n)) for n in range(5)))
        await chat.close()
        return order

    with Loopback(first_is_busy) as server:
        assert asyncio.run(run()) == ["1", "2", "3", "4", "0"]


def test_few_random_429s_slow_the_rest_hardly(calls):
    def now_and_then(body, n):
        return refusal(429, "busy", **{"retry-after-ms": "100"}) if n % 50 == 10 else "ok"

    with Loopback(now_and_then, latency_seconds=0.01) as server:
        begun = time.monotonic()
        answers = ask(server.spec, *(asking(str(n)) for n in range(200)), calls=calls)
    assert {a.text for a in answers} == {"ok"}
    assert server.requests == 204
    assert time.monotonic() - begun < 10


# -------------------------------------------------------------------------------------------------- what stops a run


def test_a_wrong_key_stops_the_run_and_is_not_shown_or_stored(calls, monkeypatch):
    monkeypatch.setenv("WINNOW_API_KEY", "sk-very-secret-0123456789")
    with Loopback(key="right") as server, pytest.raises(ModelError) as raised:
        ask(server.spec, asking(), calls=calls)
    assert "Incorrect API key provided: [key]" in raised.value.message
    assert raised.value.fix.startswith("set the right key in WINNOW_API_KEY")
    assert "secret" not in str(calls.attempts(call_key("loopback", asking())))
    assert b"very-secret" not in calls.path.read_bytes()


def test_an_unknown_model_names_those_that_are_served():
    with Loopback() as server, pytest.raises(ModelError, match="`gpt-9` does not exist") as raised:
        ask(f"{server.address}#gpt-9", asking())
    assert raised.value.fix == "choose a model that is served there: loopback"


def test_an_empty_account_is_not_a_busy_endpoint():
    with (
        Loopback(lambda body, n: refusal(429, "exceeded your quota", "insufficient_quota")) as server,
        pytest.raises(ModelError, match="exceeded your quota"),
    ):
        ask(server.spec, asking())
    assert server.requests == 1


def test_an_address_where_nobody_listens_stops_the_run():
    with pytest.raises(ModelError, match=r"No server answers at 127\.0\.0\.1:9"):
        ask("http://127.0.0.1:9/v1#m", asking())


def test_a_server_that_is_out_of_memory_stops_the_run_and_says_what_to_do():
    with (
        Loopback(lambda body, n: refusal(500, "CUDA out of memory. Tried to allocate 2 GiB")) as server,
        pytest.raises(ModelError, match="is out of memory: Error code: 500 - CUDA out of memory") as raised,
    ):
        ask(server.spec, asking())
    assert "--max-model-len" in raised.value.fix
    assert "every answer so far is kept" in raised.value.fix


def test_when_more_than_half_of_the_last_attempts_fail_the_run_stops():
    def mostly_broken(body, n):
        return refusal(500, "worker crashed") if n % 3 else "fine"

    hasty = Patience(attempts=50, first_wait_seconds=0.001, longest_wait_seconds=0.002, broken_seconds=0)
    with (
        Loopback(mostly_broken) as server,
        pytest.raises(ModelError, match=r"More than half of the last calls .* the last: Error code: 500 - worker"),
    ):
        ask(server.spec, *(asking(str(n)) for n in range(100)), patience=hasty)
    assert 20 <= server.requests < 100


def test_once_the_run_is_stopped_nothing_more_is_sent():
    with Loopback(key="right", latency_seconds=0.05) as server, pytest.raises(ModelError):
        ask(server.spec, *(asking(str(n)) for n in range(100)))
    assert server.requests <= 16


@pytest.mark.parametrize(
    "spec, message, fix",
    [
        ("openai:gpt-4.1", "OPENAI_API_KEY is not set", "set OPENAI_API_KEY"),
        ("vllm:", "is no chat model", "vllm:MODEL"),
        ("http://localhost:8000/v1", "names no model", "#MODEL"),
        ("http://me:pass@host/v1#m", "holds a user, a password or a query", "WINNOW_API_KEY"),
        ("gpt-4.1", "is no chat model", "openai:MODEL"),
        ("replay:nowhere.jsonl", "No such file", "JSONL"),
    ],
)
def test_a_wrong_spec_gives_two_lines(spec, message, fix):
    with pytest.raises(ModelError, match=message) as raised:
        open_chat_model(spec)
    assert fix in raised.value.fix
    assert "pass@" not in str(raised.value)


def test_openai_models_get_the_new_name_of_max_tokens(monkeypatch):
    with Loopback(key="k1234", model="gpt-x") as server:
        monkeypatch.setenv("OPENAI_API_KEY", "k1234")
        monkeypatch.setenv("OPENAI_BASE_URL", server.address)
        ask("openai:gpt-x", asking(max_tokens=5))
    assert server.bodies[0]["max_completion_tokens"] == 5
    assert "max_tokens" not in server.bodies[0]


def test_the_openai_key_does_not_travel_in_plain_text_over_a_network(monkeypatch):
    from curation.language_models.chat import key_for

    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    keys = [key_for(a) for a in ("http://127.0.0.1:1/v1", "https://host/v1", "http://host:8000/v1")]
    assert keys == ["sk-mine", "sk-mine", "none"]


def test_errors_are_one_line_without_keys():
    assert redacted("bad key\n  sk-abc123DEF456 Bearer xyz", "xyz12") == "bad key [key] Bearer [key]"


# ---------------------------------------------------------------------------------------------------------- reasoning


HARMONY = "<|channel|>analysis<|message|>six<|end|><|start|>assistant<|channel|>final<|message|>42"


@pytest.mark.parametrize(
    "message, text, reasoning",
    [
        ({"content": "42"}, "42", None),
        ({"content": "42", "reasoning": "six times seven"}, "42", "six times seven"),
        ({"content": "42", "reasoning_content": "six times seven"}, "42", "six times seven"),
        ({"content": "<think>six times seven</think>\n\n42"}, "42", "six times seven"),
        ({"content": "\n<thinking>\nsix\n</thinking>42"}, "42", "six"),
        ({"content": "six times seven\n</think>\n42"}, "42", "six times seven"),
        ({"content": "<think>six times se"}, "", "six times se"),
        ({"content": "<think>\n\n</think>\n\n42"}, "42", None),
        ({"content": "<think>six</think>42", "reasoning": "six"}, "42", "six"),
        ({"content": "◁think▷六乘七◁/think▷42"}, "42", "六乘七"),
        ({"content": HARMONY}, "42", "six"),
        ({"content": None, "reasoning": "ate the budget"}, "", "ate the budget"),
        ({"content": "Close it with `</think>`."}, "Close it with `</think>`.", None),
        ({"content": "A tag such as <think> in the middle"}, "A tag such as <think> in the middle", None),
    ],
)
def test_reasoning_is_kept_apart_from_the_answer(message, text, reasoning):
    completion = completion_of({"choices": [{"message": message, "finish_reason": "stop"}]})
    assert (completion.text, completion.reasoning) == (text, reasoning)


def test_half_a_surrogate_pair_is_stored_and_replaced_in_the_text(calls):
    with Loopback(lambda body, n: "cut \ud83d") as server:
        answers = ask(server.spec, asking(), calls=calls) + ask(server.spec, asking(), calls=calls)
    assert [(a.text, a.cached) for a in answers] == [("cut \ufffd", False), ("cut \ufffd", True)]


def test_content_in_parts_is_joined():
    parts = [{"type": "text", "text": "4"}, {"type": "text", "text": "2"}]
    assert completion_of({"choices": [{"message": {"content": parts}, "finish_reason": "stop"}]}).text == "42"


def test_an_answer_without_tags_stays_as_it_is():
    assert split_reasoning("1 < 2 and 3 > 2") == ("1 < 2 and 3 > 2", None)


# ------------------------------------------------------------------------------------------------------------- replay


def test_the_first_line_all_of_whose_texts_occur_gives_the_reply(tmp_path, calls):
    path = tmp_path / "replies.jsonl"
    lines = [(["sky", "why"], "Rayleigh"), (["sky"], "Blue"), (["天空"], "蓝色")]
    path.write_text("\n".join(json.dumps({"contains": c, "reply": r}) for c, r in lines))
    questions = [asking(q) for q in ("why is the sky so", "the sky", "天空呢？", "the sea")]
    answers = ask(f"replay:{path}", *questions, calls=calls)
    assert [a.text for a in answers] == ["Rayleigh", "Blue", "蓝色", None]
    assert answers[3].error == "replies.jsonl holds no reply to: …the sea"
    assert calls.totals("r").cost_usd == 0


def test_a_replayed_file_that_changed_is_another_model(tmp_path, calls):
    path = tmp_path / "replies.jsonl"
    answers = []
    for reply in ("old", "new"):
        path.write_text(json.dumps({"contains": [], "reply": reply}))
        answers += ask(f"replay:{path}", asking(), calls=calls)
    assert [a.text for a in answers] == ["old", "new"]


def test_a_broken_line_of_replies_is_named(tmp_path):
    path = tmp_path / "replies.jsonl"
    path.write_text('{"contains": ["a"], "reply": "b"}\n{"contains": "a"}\n')
    with pytest.raises(ModelError, match=r"replies\.jsonl:2 is no reply"):
        open_chat_model(f"replay:{path}")
