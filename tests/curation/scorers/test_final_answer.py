"""Final answers: what a solution ends in, and whether it is what was expected."""

from __future__ import annotations

import json

import polars as pl
import pytest

from curation.engines import checked
from curation.scorers import FinalAnswer
from curation.texts.final_answers import expected_answer, final_answer, same_answer
from tests.data import shared


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("She has 3 left.\n#### 42", "42"),
        ("So $x = 3$ and \\boxed{\\frac{3}{4}}.", "\\frac{3}{4}"),
        ("first \\boxed{1}, then \\boxed{2}", "2"),
        ("A: 18", "18"),
        ("The answer is 42 apples.", "42"),
        ("So the final answer is: **$1,250.50**. I used 2 steps.", "$1,250.50"),
        ("Therefore, the answer is 3 + 4 = 7.", "7"),
        ("The answer is that Tom has 3 more, so 12.", "12"),
        ("The answer is -5.", "-5"),
        ("Answer: 1/2", "1/2"),
        ("The answer is (B).", "(B)"),
        ("Answer: Paris", "Paris"),
        ("The answer is $\\frac{3}{5}$.", "\\frac{3}{5}"),
        ("The answer is x^2+1", "x^2+1"),
        ("答案是 12 个苹果。", "12"),
        ("所以最终答案为：3.5小时", "3.5"),
        ("答：小明有 5 个苹果。", "5"),
        ("It costs 5 dollars, and she pays $18 every day.", "$18"),
        ("half of it, 25% of all", "25%"),
        ("Nobody knows.", None),
        ("", None),
    ],
)
def test_the_final_answer_is_found_where_it_is_marked_or_comes_last(text: str, answer: str | None):
    assert final_answer(text) == answer


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("42", "42.0"),
        ("$1,250.50", "1250.5 dollars"),
        ("3/4", "0.75"),
        ("\\frac{3}{4}", "3/4"),
        ("1 1/2", "1.5"),
        ("50%", "50"),
        ("50%", "0.5"),
        ("12万", "120000"),
        ("1.5 million", "1,500,000"),
        ("２０", "20"),
        ("3.33", "10/3"),
        ("90^\\circ", "90"),
        ("x = 5", "5"),
        ("(B)", "B"),
        ("B", "(B) Paris"),
        ("Paris", "paris."),
        ("x^2 + 1", "$x^2+1$"),
    ],
)
def test_answers_that_are_the_same(one: str, other: str):
    assert same_answer(one, other)
    assert same_answer(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("42", "43"),
        ("-5", "5"),
        ("17.5", "17"),
        ("0.1", "0.14"),
        ("A", "B"),
        ("3\\sqrt{2}", "3"),
        ("12:30", "12"),
        ("", "1"),
    ],
)
def test_answers_that_differ(one: str, other: str):
    assert not same_answer(one, other)
    assert not same_answer(other, one)


def test_the_reference_is_a_value_or_the_end_of_a_solution_in_a_usual_or_a_named_field():
    assert expected_answer({"answer": "16 - 3 = 13\n#### 13"}) == "13"
    assert expected_answer({"ground_truth": 7, "answer": "8"}) == "7"
    assert expected_answer({"reward_model": {"ground_truth": ["7"]}}) == "7"
    assert expected_answer({"mine": {"key": "B"}}, "mine.key") == "B"
    assert expected_answer({"mine": "9"}) is None
    assert expected_answer({"answer": True}) is None


def test_the_columns_say_what_was_found_what_was_expected_and_why_there_is_no_verdict():
    rows = [
        ("#### 42", '{"answer": "so it is\\n#### 42"}'),
        ("The answer is 41.", '{"answer": "42"}'),
        ("Who knows?", '{"answer": "42"}'),
        ("#### 42", "{}"),
        (None, None),
    ]
    batch = pl.DataFrame({"id": list("abcde"), "response": [r for r, _ in rows], "metadata": [m for _, m in rows]})
    assert checked(FinalAnswer(), batch).drop("id").rows() == [
        (True, "42", "42", None),
        (False, "41", "42", None),
        (None, None, "42", "the response names no final answer"),
        (None, None, None, "the metadata hold no reference answer"),
        (None, None, None, "the metadata hold no reference answer"),
    ]
    named = checked(FinalAnswer(reference="gold"), batch)
    assert named["reason"][0] == "no field 'gold' with an answer in the metadata"


def test_verdicts_agree_with_the_labels_of_5276_model_solutions():
    agree = total = 0
    for line in shared("data/gsm8k_model_solutions.jsonl").read_text().splitlines():
        row = json.loads(line)
        expected = expected_answer({"ground_truth": row["ground_truth"]})
        assert expected is not None
        for solution in (value for value in row.values() if isinstance(value, dict)):
            found = final_answer(solution["solution"])
            agree += (found is not None and same_answer(found, expected)) == solution["is_correct"]
            total += 1
    assert total == 5_276
    assert agree == total
