"""Code with tests: really run."""

from __future__ import annotations

import random

import pytest

from synthesis import CodeWithTests
from synthesis.code_with_tests import snippet
from tests.synthesis.samples import asked
from tests.synthesis.scripted import played

ADD = asked("Write a function add(a, b) that returns the sum.")
TESTS = "```python\nassert add(1, 2) == 3\nassert add(-1, 1) == 0\n```"
RIGHT = "It adds.\n```python\ndef add(a, b):\n    return a + b\n```"
WRONG = "```python\ndef add(a, b):\n    return a - b\n```"


def test_the_first_solution_that_passes_is_kept_with_the_share_that_does() -> None:
    [outcome], calls = played(CodeWithTests(solutions=4), ADD, TESTS, WRONG, RIGHT, "I don't know.", RIGHT + "\n")
    assert (outcome.rejected_by, outcome.messages[1].content) == (None, RIGHT)
    assert (outcome.metadata["pass_rate"], outcome.metadata["solution"]) == (0.5, 2)
    assert outcome.metadata["tests"] == ["assert add(1, 2) == 3\nassert add(-1, 1) == 0\n"]
    assert [call.step for call in calls] == ["tests", *(f"solution {n}" for n in range(1, 5))]
    assert [call.request.sample_index for call in calls[1:]] == [0, 1, 2, 3]


def test_none_that_passes_is_rejected_with_what_went_wrong() -> None:
    [outcome], _ = played(CodeWithTests(solutions=2), ADD, TESTS, WRONG, "```python\nadd = 1 +\n```")
    assert (outcome.rejected_by, outcome.metadata["pass_rate"]) == ("no-solution-passes", 0)
    assert outcome.detail == "none of 2 solutions passes the tests: wrong: AssertionError (test.py:1)"


@pytest.mark.parametrize(
    ("tests", "rule"),
    [
        ("```python\nassert True\nassert 1 + 1 == 2\n```", "tests-test-nothing"),
        ("```python\ndef add(a, b):\n    return a + b\nassert add(1, 2) == 3\n```", "tests-test-nothing"),
        ("```python\nx = 1\n```", "no-tests"),
        ("```java\nassertEquals(3, add(1, 2));\n```", "no-tests"),
        ("请先给出函数。", "no-tests"),
        (" ", "empty"),
    ],
)
def test_tests_that_can_not_fail_are_rejected_before_anything_is_solved(tests: str, rule: str) -> None:
    [outcome], calls = played(CodeWithTests(), ADD, tests)
    assert (outcome.rejected_by, len(calls), outcome.metadata["tests_text"]) == (rule, 1, tests)


def test_a_solution_that_does_harm_or_never_ends_does_not_pass() -> None:
    harm = "```python\nimport os\nos.listdir('/')\ndef add(a, b):\n    return a + b\n```"
    endless = "```python\nwhile True: pass\n```"
    [outcome], _ = played(CodeWithTests(solutions=3, seconds=0.5), ADD, TESTS, harm, endless, RIGHT)
    assert (outcome.rejected_by, outcome.metadata["solution"]) == (None, 3)
    assert [error.partition(":")[0] for error in outcome.metadata["errors"]] == ["denied", "timeout"]
    assert outcome.metadata["pass_rate"] == 0.5  # what was denied says nothing about the code


def test_a_problem_can_be_invented_from_lines_of_code() -> None:
    seed = asked("Explain it.", "def area(r):\n    return 3.14 * r * r")
    problem = "题目：写一个函数 add(a, b)，返回两数之和。"
    [outcome], calls = played(CodeWithTests(snippets=True, solutions=1), seed, problem, TESTS, RIGHT)
    assert outcome.messages[0].content == "写一个函数 add(a, b)，返回两数之和。"
    assert outcome.metadata["snippet"] in seed.response
    assert f"#Lines#\n{outcome.metadata['snippet']}" in calls[0].request.messages[0][1]


def test_a_snippet_is_1_to_15_lines_in_a_row() -> None:
    text = "\n".join(f"line {n}" for n in range(100))
    drawn = [snippet(text, random.Random(n)) for n in range(200)]
    assert {len(each.splitlines()) for each in drawn} == set(range(1, 16))
    assert all(each in text for each in drawn)
