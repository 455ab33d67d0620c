from __future__ import annotations

import json

import pytest

from curation.normalizers import LatexDelimiters
from tests.curation.normalizers.texts import answer_of
from tests.data import shared

BRACKETS = LatexDelimiters(to="brackets")


def test_brackets_become_dollars():
    text = "Let \\( x \\) be\n\\[\nx^2 \\\\[2pt] + 1\n\\]\nand \\(y\\)."
    assert answer_of(LatexDelimiters(), text) == "Let $x$ be\n$$\nx^2 \\\\[2pt] + 1\n$$\nand $y$."


def test_dollars_become_brackets():
    text = "For $n = 2$ and $\\text{cost of tea}$: $$\\frac{1}{n}$$ is $0.5$."
    assert (
        answer_of(BRACKETS, text) == "For \\(n = 2\\) and \\(\\text{cost of tea}\\): \\[\\frac{1}{n}\\] is \\(0.5\\)."
    )


@pytest.mark.parametrize(
    "text",
    [
        "It costs $5 and $10, or $5-$10, US$7.", "3*$20=$<<3*20=60>>60", "Set $HOME/bin:$PATH and $1 =~ ^[0-9]+$ ]]",
        '$("p").hide();$("q").show()', "from $5/month to 10$", "价格是$5，原价$10，涨了$5。", "`$x$` and `$$y$$`",
        "```\n$a$\n```", "    \n\n    $a$ in code", "escaped \\$x\\$", "$ x $",
    ],
)  # fmt: skip
def test_money_shells_and_code_are_no_mathematics(text):
    assert answer_of(BRACKETS, text) == text


@pytest.mark.parametrize(
    "text",
    [
        "`\\(x\\)`", "```\n\\[x\\]\n```", "a \\\\(b\\\\)", "the pattern \\(\\d+\\)", "\\(?[0-9]{3}\\)?[\\s-]?",
        "\\(a\n\nb\\)", "\\(\\)", "pay \\(x $5\\)", "grep '\\(#\\|\\$\\)'",
    ],
)  # fmt: skip
def test_code_and_regular_expressions_keep_their_brackets(text):
    assert answer_of(LatexDelimiters(), text) == text


def test_there_and_back_is_the_same():
    text = "So \\(a_1 + b\\) gives \\[\\sum_i a_i\\] for \\(i < n\\)."
    assert answer_of(BRACKETS, answer_of(LatexDelimiters(), text)) == text


def test_no_price_in_gsm8k_is_taken_for_mathematics():
    rows = [json.loads(line) for line in shared("data/gsm8k_test.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sum("$" in row["answer"] for row in rows) > 300
    assert all(answer_of(BRACKETS, row["answer"]) == row["answer"] for row in rows)
