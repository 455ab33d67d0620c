"""Difficulty by the rate of right answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curation.engines import checked
from curation.sample import Message, Sample, to_frame
from curation.scorers import PassRate
from curation.scoring import score
from tests.curation.samples import corpus_of, pair
from tests.synthesis.loopback import Loopback


def measured(
    reply: Callable[[Any, int], Any], *samples: Sample, **settings: Any
) -> tuple[list[dict[str, Any]], list[Any]]:
    frame = to_frame(list(samples))
    with Loopback(reply) as server:
        scorer = PassRate(model=server.spec, concurrency=1, **settings)
        return checked(scorer, frame.select("id", *scorer.needs)).to_dicts(), server.bodies


def test_the_rate_is_right_answers_of_all():
    said = {1: "#### 4", 2: "The answer is 5.", 3: "2 + 2 = 4", 4: "Who knows?"}
    rows, bodies = measured(lambda body, n: said[n], pair("2 + 2?", "four", metadata={"answer": "4"}))
    assert (rows[0]["pass_rate"], rows[0]["pass_rate_answers"]) == (0.5, 4)
    assert rows[0]["pass_rate_raw"].split("\n---\n") == list(said.values())
    assert {body["temperature"] for body in bodies} == {1.0}


def test_the_sample_s_own_marked_answer_is_the_reference_where_the_metadata_have_none():
    rows, bodies = measured(lambda body, n: "#### 72", pair("How many?", "48 + 24 = 72\n#### 72"), pair("Why?", "So."))
    assert [row["pass_rate"] for row in rows] == [1, None]
    assert rows[1]["reason"] == "neither the metadata nor the response hold a reference answer"
    assert len(bodies) == 4  # nothing is asked that could not be checked


def test_what_a_model_thinks_is_not_its_answer():
    rows, _ = measured(
        lambda body, n: ["<think>It is 4, I am sure: #### 4</think>It is 5.", "<think>5? No.</think>#### 4"][n - 1],
        pair("2 + 2?", "#### 4"),
        samples=2,
    )
    assert rows[0]["pass_rate"] == 0.5
    assert "think" not in rows[0]["pass_rate_raw"]


def test_thinking_that_never_ends_is_a_wrong_answer():
    reply = {"content": "<think>It is 4, #### 4", "finish_reason": "length"}
    rows, _ = measured(lambda body, n: reply, pair("2 + 2?", "#### 4"), samples=2)
    assert (rows[0]["pass_rate"], rows[0]["pass_rate_answers"]) == (0, 2)


def test_code_is_checked_by_its_tests():
    said = {1: "```python\ndef add(a, b):\n    return a + b\n```", 2: "def add(a, b):\n    return 0", 3: "No idea.",
            4: "import a_module_of_mars"}  # fmt: skip
    sample = pair("Write add.", "", metadata={"tests": "assert add(1, 2) == 3"})
    rows, _ = measured(lambda body, n: said[n], sample, check="code-tests")
    assert rows[0]["pass_rate_answers"] == 3  # what can't be run here says nothing
    assert rows[0]["pass_rate"] == pytest.approx(1 / 3)


def test_constraints_are_checked_all_together():
    rows, _ = measured(
        lambda body, n: ["The sea", "The deep blue sea", "Water"][n - 1],
        pair('Use the word "sea" in at most 3 words.', "x"),
        pair("Hello", "x"),
        check="constraints",
        samples=3,
    )
    assert rows[0]["pass_rate"] == pytest.approx(1 / 3)
    assert rows[1]["reason"] == "the instruction sets no constraint that can be checked"


def test_the_model_sees_the_turns_before_the_last_answer():
    talk = Sample(
        (
            Message("system", "Be brief."),
            Message("user", "Hi"),
            Message("assistant", "Hello"),
            Message("user", "2 + 2?"),
            Message("assistant", "#### 4"),
        )
    )
    _, bodies = measured(lambda body, n: "4", talk, samples=1)
    assert [m["content"] for m in bodies[0]["messages"]] == ["Be brief.", "Hi", "Hello", "2 + 2?"]


def test_a_second_run_asks_nothing(tmp_path: Path):
    corpus = corpus_of(tmp_path / "c", [pair(f"{n} + 1?", f"#### {n + 1}") for n in range(3)])
    with Loopback(lambda body, n: "#### 2") as server:
        scorer = PassRate(model=server.spec, samples=2)
        assert score(corpus, scorer).scored == 3
        assert score(corpus, scorer).already == 3
        assert server.requests == 6
    assert corpus.frame(["pass_rate"])["pass_rate"].to_list() == [0, 1, 0]
    assert corpus.count("pass_rate > 0 AND pass_rate <= 1") == 1


def test_no_question_is_not_asked():
    rows, bodies = measured(lambda body, n: "4", pair("", "#### 4"))
    assert rows[0]["reason"] == "there is no question to ask"
    assert bodies == []
    assert pl.DataFrame(rows)["pass_rate"].null_count() == 1
