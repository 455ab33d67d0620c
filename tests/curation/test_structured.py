"""Structured answers: what is asked of an endpoint, and whether it does it."""

from __future__ import annotations

import json

import pytest

from curation.errors import ModelError
from curation.language_models.json_answers import violation
from curation.language_models.structured import Structure, in_words, strict, structure_of, structured
from tests.synthesis.loopback import Loopback, refusal

SCHEMA = {
    "type": "object",
    "properties": {
        "score": {"type": "integer"},
        "why": {"type": "string"},
        "parts": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "number"}}}},
    },
    "required": ["score", "parts"],
}


def asked_for(body: dict) -> str | None:
    return body.get("response_format", {}).get("type")


def obedient(body: dict, n: int) -> str:
    if asked_for(body) == "json_schema":
        [name] = body["response_format"]["json_schema"]["schema"]["properties"]
        return json.dumps({name: body["response_format"]["json_schema"]["schema"]["properties"][name]["enum"][0]})
    return '{"sentence": "It is Paris."}' if asked_for(body) else "It is Paris."


def by_object_only(body: dict, n: int) -> str:
    return '{"city": "Paris"}' if asked_for(body) else "It is Paris."


def deaf(body: dict, n: int) -> str:
    return '{"city": "Paris"}' if "Reply with one JSON" in body["messages"][0]["content"] else "It is Paris."


def refusing(body: dict, n: int):
    return refusal(400, "response_format is not supported") if asked_for(body) else "It is Paris."


@pytest.mark.parametrize(
    "server, step, notes",
    [
        (obedient, "json_schema", []),
        (by_object_only, "json_object", ["takes response_format json_schema and ignores it: it answered"]),
        (deaf, "prompt", ["json_schema and ignores it", "json_object and ignores it: it answered 'It is Paris.'"]),
        (refusing, "prompt", ["refuses response_format json_schema: Error code: 400", "refuses"]),
    ],
)
def test_a_step_counts_only_if_it_forces_an_answer_that_nobody_would_give(server, step, notes):
    with Loopback(server) as loopback:
        found = structure_of(loopback.spec, calls=None, run="r")
    assert found.step == step
    assert [note in told for note, told in zip(notes, found.notes, strict=True)] == [True] * len(notes)


def test_an_endpoint_is_tried_out_once_and_another_one_by_itself(tmp_path):
    calls = tmp_path / "calls.sqlite"
    with Loopback(obedient) as first, Loopback(deaf) as second:
        found = [structure_of(server.spec, calls=calls, run="r").step for server in (first, first, second, second)]
        assert (first.requests, second.requests) == (1, 2)
    assert found == ["json_schema", "json_schema", "prompt", "prompt"]


def test_a_probe_that_fails_for_another_reason_says_nothing_about_the_endpoint():
    with Loopback(lambda body, n: refusal(405, "no")) as server, pytest.raises(ModelError, match="could not be tried"):
        structure_of(server.spec, calls=None, run="r")


def test_the_parameters_of_each_step():
    sent = structured(SCHEMA, name="verdict")["response_format"]
    assert (sent["type"], sent["json_schema"]["name"], sent["json_schema"]["strict"]) == (
        "json_schema",
        "verdict",
        True,
    )
    assert structured(SCHEMA, "json_object") == {"response_format": {"type": "json_object"}}
    assert structured(SCHEMA, "prompt") == {}
    assert "JSON" in in_words(SCHEMA)
    assert Structure("prompt").notes == ()


def test_strict_mode_wants_every_property_and_no_other():
    found = strict(SCHEMA)
    assert (found["required"], found["additionalProperties"]) == (["score", "why", "parts"], False)
    assert found["properties"]["why"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    assert found["properties"]["parts"]["items"]["required"] == ["n"]
    assert violation({"score": 4, "why": None, "parts": [{"n": None}]}, found) is None
    assert violation({"score": 4, "why": "x", "parts": [], "more": 1}, found) is not None
    assert SCHEMA["required"] == ["score", "parts"]


def test_a_property_may_be_called_like_a_keyword():
    found = strict({"type": "object", "properties": {"type": {"type": "string"}}, "required": ["type"]})
    assert found["properties"] == {"type": {"type": "string"}}
