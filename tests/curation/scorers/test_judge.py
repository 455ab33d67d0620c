"""The judge that grades one answer at a time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curation.engines import checked
from curation.errors import OperatorError
from curation.operators import build
from curation.scorers import SCORERS, Judge
from curation.scorers.judge import before
from curation.scoring import score
from tests.curation.samples import corpus_of, pair
from tests.synthesis.loopback import Loopback

SKY = {"id": "a", "instruction": "Why is the sky blue?", "response": "Because of Rayleigh scattering."}
GRADES = {"accuracy": 5, "helpfulness": 4, "clarity": 4.5, "completeness": 2.5}


def measured(reply: Any, *rows: dict[str, Any], **settings: Any) -> list[dict[str, Any]]:
    with Loopback(reply if callable(reply) else lambda body, number: reply) as server:
        judge = Judge(model=server.spec, **settings)
        return checked(judge, pl.DataFrame([{"messages": None, **row} for row in rows or [SKY]])).to_dicts()


def test_the_score_is_the_mean_of_the_dimensions():
    reply = json.dumps({"rationale": "Right, but short.", **GRADES})
    row = measured(reply)[0]
    assert row["judge"] == (5 + 4 + 4.5 + 2.5) / 4
    assert {name: row[f"judge_{name}"] for name in GRADES} == GRADES
    assert (row["judge_rationale"], row["judge_raw"], row["reason"]) == ("Right, but short.", reply, None)


def test_the_judge_sees_both_texts_and_every_dimension_with_its_meaning():
    asked: list[str] = []

    def reply(body: Any, number: int) -> str:
        asked.append(body["messages"][0]["content"])
        assert body["temperature"] == 0
        return '{"wit": 3, "depth": 2}'

    row = measured(reply, dimensions="wit: it makes one laugh, or smile; depth: it says why")[0]
    assert row["judge"] == 2.5
    assert list(row) == ["id", "judge", "judge_wit", "judge_depth", "judge_rationale", "judge_raw", "reason"]
    for part in (SKY["instruction"], SKY["response"], "- wit: it makes one laugh, or smile", "- depth: it says why"):
        assert part in asked[0]


def test_of_a_conversation_every_turn_before_the_last_answer_is_shown_with_its_role():
    turns = [("system", "Be brief."), ("user", "Hi."), ("assistant", "Hello!"), ("user", "2 + 2?"), ("assistant", "4")]
    asked: list[str] = []

    def reply(body: Any, number: int) -> str:
        asked.append(body["messages"][0]["content"])
        return '{"accuracy": 4}'

    row = {"id": "a", "instruction": "Hi.\n\n2 + 2?", "response": "4"}
    conversation = {**row, "messages": [{"role": role, "content": text} for role, text in turns]}
    measured(reply, conversation, dimensions="accuracy")
    assert "<request>\nSystem: Be brief.\n\nUser: Hi.\n\nAssistant: Hello!\n\nUser: 2 + 2?\n</request>" in asked[0]
    assert "<answer>\n4\n</answer>" in asked[0]


def test_of_a_conversation_that_is_too_long_the_first_turns_are_left_out_and_calls_are_shown():
    turns = [
        {"role": "user", "content": "a" * 50, "tool_calls": None},
        {"role": "assistant", "content": "", "tool_calls": '[{"name": "add"}]'},
        {"role": "tool", "content": "4", "tool_calls": None},
    ]
    assert before(turns, 1_000) == f"User: {'a' * 50}\n\nAssistant: " + '[{"name": "add"}]\n\nTool: 4'
    assert before(turns, 12) == '[…] "}]\n\nTool: 4'


def test_trap_09_judge_parser_stores_raw_text_where_nothing_can_be_read():
    row = measured("As an AI language model I would rather not.")[0]
    assert row["judge"] is None
    assert row["judge_raw"] == "As an AI language model I would rather not."
    assert row["reason"] == "the judge's reply holds no score for 'accuracy'"


def test_a_reply_that_was_cut_off_and_a_failed_call_say_so():
    cut = measured(lambda body, number: {"content": "Well,", "finish_reason": "length"})[0]
    assert cut["reason"] == "the judge's reply was cut off at max_tokens; it holds no score for 'accuracy'"


def test_one_missing_dimension_leaves_the_others_but_no_mean():
    row = measured('{"accuracy": 4, "clarity": 9}', dimensions="accuracy,clarity")[0]
    assert (row["judge"], row["judge_accuracy"], row["judge_clarity"]) == (None, 4, None)
    assert row["reason"] == "the judge's reply holds no score for 'clarity'"


def test_several_ratings_are_averaged_and_disagreement_costs_selectit_s_penalty():
    rating = lambda body, number: f'{{"accuracy": {2 if number % 2 else 4}}}'  # noqa: E731
    plain, punished = (
        measured(rating, dimensions="accuracy", samples=2, penalty=penalty, concurrency=1)[0] for penalty in (0, 0.2)
    )
    assert plain["judge"] == 3
    assert punished["judge"] == pytest.approx(3 / (1 + 0.2 * 1))  # deviation of 2 and 4 is 1
    assert plain["judge_raw"].count("---") == 1


def test_each_further_rating_lists_the_dimensions_in_another_order():
    orders: set[str] = set()

    def reply(body: Any, number: int) -> str:
        text = body["messages"][0]["content"]
        orders.add("".join(sorted("ac", key=lambda d: text.index({"a": "- accuracy", "c": "- clarity"}[d]))))
        return '{"accuracy": 3, "clarity": 3}'

    measured(reply, dimensions="accuracy,clarity", samples=2)
    assert orders == {"ac", "ca"}


def test_nothing_is_asked_about_an_empty_answer():
    rows = measured('{"accuracy": 3}', {**SKY, "response": " "}, {**SKY, "id": "b"}, dimensions="accuracy")
    assert [(row["judge"], row["reason"]) for row in rows] == [(None, "there is no answer to judge"), (3, None)]


@pytest.mark.parametrize("settings", [{"dimensions": "raw"}, {"dimensions": "a,A"}, {"highest": "1"}])
def test_wrong_rubrics_are_refused(settings: dict[str, str]):
    with pytest.raises(OperatorError):
        build("scorer", SCORERS, "judge", {"model": "http://127.0.0.1:1/v1#m", **settings})


def test_a_second_run_asks_nothing_and_a_new_sample_asks_once(tmp_path: Path):
    corpus = corpus_of(tmp_path / "c", [pair("One?", "1"), pair("Two?", "2")])
    with Loopback(lambda body, number: '{"accuracy": 4}') as server:
        judge = Judge(model=server.spec, dimensions=("accuracy",))
        assert score(corpus, judge).scored == 2
        assert score(corpus, judge).already == 2
        from curation.sample import to_frame

        corpus.add(to_frame([pair("Three?", "3")]))
        assert score(corpus, judge).scored == 1
        assert server.requests == 3
    assert corpus.frame(["judge", "judge_accuracy"])["judge"].to_list() == [4, 4, 4]


def graded(body: dict[str, Any], number: int) -> Any:
    """A server that obeys a schema: the only city there is, or the same grade for everything."""
    if "response_format" not in body:
        return "It is good, I would say."
    properties = body["response_format"]["json_schema"]["schema"]["properties"]
    answers = {"number": 4, "string": "ok"}
    return json.dumps({name: inner.get("enum", [answers[inner["type"]]])[0] for name, inner in properties.items()})


def test_replies_are_held_to_a_structure_where_the_endpoint_obeys():
    row = measured(graded, structured="true")[0]
    assert (row["judge"], row["judge_rationale"], row["judge_response_format"]) == (4, "ok", "json_schema")


def test_an_endpoint_that_ignores_the_structure_is_told_of_and_judges_all_the_same():
    grades = '{"accuracy": 3, "helpfulness": 3, "clarity": 3, "completeness": 3}'
    row = measured(
        lambda body, number: grades if "Grade the answer" in str(body) else "Paris.",
        structured="true",
    )[0]
    assert row["judge"] == 3
    assert row["judge_response_format"].startswith("prompt; ")
    assert "takes response_format json_schema and ignores it: it answered 'Paris.'" in row["judge_response_format"]


def test_without_the_option_a_run_is_the_one_it_was_before_there_was_one():
    plain = Judge(model="replay:x")
    assert "structured" not in plain.spec()["parameters"]
    assert "judge_response_format" not in plain.columns
    assert build("scorer", SCORERS, "judge", {"model": "replay:x", "structured": "true"}).spec()["parameters"][
        "structured"
    ]


def test_a_reply_that_only_thinks_says_so():
    row = measured(lambda body, n: {"content": "<think>Hmm", "finish_reason": "length"})[0]
    assert "thinking took all the tokens" in row["reason"]
