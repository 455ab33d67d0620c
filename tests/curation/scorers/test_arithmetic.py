"""Equations in running text: which are read, which hold."""

from __future__ import annotations

import json

import polars as pl
import pytest

from curation.scorers import Arithmetic
from curation.texts.equations import equations_in
from tests.data import shared


@pytest.mark.parametrize(
    "text",
    [
        "12 * 7 = 84",
        "12 x 7 = 84",
        "12 × 7 = 84.",
        "12·7=84",
        "84 ÷ 7 = 12 m.",
        "84/7=12",
        "84 - 7 = 77",
        "84 − 7 = 77",
        "2 × (15 + 9) = 48 metres",
        "(3 + 5)(2) = 16",
        "3^2 + 4² = 25",
        "2 ** 3 = 8",
        "-3 + 5 = 2",
        "- 84 / 7 = 12",
        "$1,250.50 + $9.50 = $1,260",
        "1,00,000 / 4 = 25,000",
        "20% * 50 = 10",
        "5/25 = 20%",
        "(30-20)/20 × 100 = 50%",
        "9.00 - 10% = 8.10",
        "100 + 7% = 107",
        "10 / 3 = 3.33",
        "20 / 3 = 6.66",
        "2/3 = 0.667",
        "7/2 = 4",
        "1/2 + 1/4 = 3/4",
        "1 1/2 + 1/4 = 1 3/4",
        "2 + 3 = 5 = 10 / 2",
        "10/3 × 3 = 3.33 × 3",
        "84 = 12 * 7",
        "苹果树 156 ÷ 2 = 78 棵。",
        "１２×７＝８４",
        "3本书 29 × 3 = 87 元。",
        "一共（35＋14）×2＝98个",
        "\\frac{1}{2} \\times 8 = 4",
        "\\(12 \\times 7 = 84\\)",
        "48/2 = <<48/2=24>>24 clips",
        "1. 5 + 3 = 8",
        "1) 5 + 3 = 8",
        "Sum: 5 + 3 = 8",
        "Monday 5 - 3 + 4 = 7",
    ],
)
def test_right_equations_hold(text: str) -> None:
    equations = equations_in(text)
    assert equations
    assert all(equation.holds for equation in equations), equations


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("6 × 3.50 = 24 dollars", "6 * 3.50 = 24"),
        ("Then 22 + 28 = 40.", "22 + 28 = 40"),
        ("还剩 125 - 87 = 48 元", "125 - 87 = 48"),
        ("面积是 18 × 18 = 314 平方米。", "18 * 18 = 314"),
        ("The perimeter is 2 × (15 + 9) = 46 metres.", "2 * (15 + 9) = 46"),
        ("$1,250 + $9 = $1,269", "1,250 + 9 = 1,269"),
        ("2 + 3 = 5 = 10 / 5", "5 = 10 / 5"),
        ("1/2 + 1/4 = 2/6", "1/2 + 1/4 = 2/6"),
        ("10 / 3 = 3.43", "10 / 3 = 3.43"),
        ("30% of it: 30% × 50 = 16", "30% * 50 = 16"),
        ("48/2 = <<48/2=25>>25 clips", "48/2 = 25"),
        ("8 / 2 = 3", "8 / 2 = 3"),
    ],
)
def test_wrong_equations_do_not(text: str, wrong: str) -> None:
    assert [equation.text for equation in equations_in(text) if not equation.holds] == [wrong]


@pytest.mark.parametrize(
    "text",
    [
        "x = 5",
        "2x + 3 = 7",
        "3x - 8 = 40",
        "y = mx + 3",
        "for i = 1 + n",
        "a == 3 + 4 == 8",
        "x >= 3 + 4",
        "n + 3 = 8",
        "5 apples + 3 = 9",
        "20% of 50 = 10",
        "half of 10 + 2 = 7",
        "3 times 4 + 2 = 14",
        "students x 2/3 = 40",
        "3:4 = 6:8",
        "8:30 + 2:00 = 10:30",
        "0900-0130 = 0730",
        "7 ÷ 2 = 3……1",
        "7 / 2 = 3 R 1",
        "3 + 4 million = 3",
        "5 * 3 = 15 thousand",
        "6 × 6 = 2 × n",
        "17/3 = 5 and 2/3",
        "C4H10 = 58.12",
        "sin(30) + 2 = 2.5",
        "width=100 height=20",
        "650 000/2 = 325 000",
        "1 / 2 = 50 cents",
        "3,5 × 2 = 7",
        "#### 42",
        "",
        "1/0 = 3 + 4",
        "2 ^ 9999 = 3",
        "(" * 99 + "1+1" + ")" * 99 + " = 2",
    ],
)
def test_what_is_no_equation_between_numbers_is_not_judged(text: str) -> None:
    assert [equation for equation in equations_in(text) if not equation.holds] == []


def test_columns_count_wrong_and_checked_equations_and_name_the_first() -> None:
    answers = ["2 + 2 = 4, 3 + 3 = 7, 4 + 4 = 9", "2 + 2 = 4", "No sums here.", None]
    measured = Arithmetic().score(pl.DataFrame({"id": list("abcd"), "response": answers}))
    none = (None, 0, None, "the answer holds no equation between numbers")
    assert measured.rows() == [(2, 3, "3 + 3 = 7", None), (0, 1, None, None), none, none]


def test_few_answers_of_gsm8k_are_called_wrong() -> None:
    rows = [json.loads(line) for line in shared("data/gsm8k_train.jsonl").read_text("utf-8").splitlines()][:2000]
    measured = Arithmetic().score(pl.DataFrame({"response": [row["answer"] for row in rows]}))
    assert (measured["arithmetic_checked"] > 0).mean() > 0.95
    assert (measured["arithmetic"] > 0).mean() < 0.006


def test_wrong_solutions_of_models_are_called_wrong_more_often() -> None:
    rows = [json.loads(line) for line in shared("data/gsm8k_model_solutions.jsonl").read_text("utf-8").splitlines()]
    answers = [row["6b_finetuning"] for row in rows]
    measured = Arithmetic().score(pl.DataFrame({"response": [answer["solution"] for answer in answers]}))
    right = pl.Series([answer["is_correct"] for answer in answers])
    wrong = measured["arithmetic"] > 0
    assert wrong.filter(~right).mean() > 4 * wrong.filter(right).mean()
