"""Which program an answer holds, and what its tests say."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from curation.engines import checked
from curation.scorers import CodeTests
from curation.texts.code_answers import known_tests, program_of
from tests.data import shared

ADD = "def add(a, b):\n    return a + b\n"


def measured(instruction: str, response: str, metadata: dict[str, Any], **settings: Any) -> dict[str, Any]:
    batch = pl.DataFrame(
        {"id": ["a"], "instruction": [instruction], "response": [response], "metadata": [json.dumps(metadata)]}
    )
    return checked(CodeTests(**settings), batch).row(0, named=True)


@pytest.mark.parametrize(
    "response",
    [
        ADD,
        f"Here you are:\n\n```python\n{ADD}```\n\nIt adds.",
        f"```\n{ADD}```",
        f"```py\n{ADD}",  # the fence was never closed
        f"```bash\npip install x\n```\n\n```python\n{ADD}```\n\nUse it so:\n\n```python\n>>> add(1, 2)\n3\n```",
    ],
)
def test_the_program_is_found_in_fences_and_without(response: str):
    assert measured("Write add.", response, {"tests": "assert add(1, 2) == 3"})["code_tests"] == 1


@pytest.mark.parametrize("body", ["    return a + b\n", "return a + b", "total = a + b\nreturn total"])
def test_the_rest_of_a_function_is_joined_to_its_beginning(body: str):
    prompt = 'from typing import List\n\n\ndef add(a, b):\n    """ Add. """\n'
    row = measured(
        prompt, body, {"test": "def check(candidate):\n    assert candidate(1, 2) == 3", "entry_point": "add"}
    )
    assert row["code_tests"] == 1


def test_imports_and_functions_of_the_instruction_come_before_a_whole_function():
    prompt = "from typing import List\n\n\ndef twice(x):\n    return 2 * x\n\n\ndef four(x: List):\n    ...\n"
    whole = "def four(x: List):\n    return twice(twice(x))"
    assert measured(prompt, whole, {"tests": "assert four(1) == 4", "entry_point": "four"})["code_tests"] == 1


def test_a_list_of_tests_gives_the_share_that_went_through():
    row = measured("", ADD, {"test_list": ["assert add(1, 2) == 3", "assert add(1, 1) == 3", "assert add(0, 0) == 0"]})
    assert row["code_tests"] == pytest.approx(2 / 3)
    assert row["code_tests_error"] == "wrong: AssertionError (test.py:1)"


def test_what_can_not_be_run_is_null_with_a_reason():
    tests = {"tests": "assert add(1, 2) == 3"}
    assert measured("", ADD, {})["reason"] == "the metadata hold no tests"
    assert measured("", ADD, tests, tests="mine")["reason"] == "no field 'mine' with Python tests in the metadata"
    assert measured("", "I can't write that.", tests)["reason"] == "the answer holds no Python code"
    assert measured("", "```js\nlet a = 1\n```", tests)["reason"] == "the code is js, and only Python is run"
    missing = measured("", f"import a_module_of_mars\n{ADD}", tests)
    assert missing["code_tests"] is None
    assert (
        missing["reason"] == "the code could not be run here: ModuleNotFoundError: No module named 'a_module_of_mars'"
    )


def test_wrong_code_scores_zero_and_says_what_went_wrong():
    row = measured("", "def add(a, b):\n    while True: pass", {"tests": "add(1, 2)"}, seconds=0.5)
    assert (row["code_tests"], row["code_tests_error"]) == (0, "timeout: stopped after 0.5 seconds")
    row = measured("", "print('all tests passed')\nimport sys\nsys.exit(0)", {"tests": "assert add(1, 2) == 3"})
    assert (row["code_tests"], row["code_tests_error"]) == (0, "exit: SystemExit: 0 (answer.py:3)")


def test_texts_that_are_no_python_are_no_tests():
    assert known_tests({"tests": "add 1 and 2 and see", "test_list": ["assert True"]}) == ["assert True"]
    assert known_tests({"test": "def check(candidate):\n    assert candidate"}) == []  # nobody says what to check


def test_humaneval_s_prompts_and_solutions_become_programs():
    for line in shared("data/humaneval.jsonl").read_text().splitlines():
        row = json.loads(line)
        program = program_of(row["prompt"], row["canonical_solution"].strip("\n"), row["entry_point"])
        assert program.source is not None
        assert row["canonical_solution"].strip() in program.source
        compile(program.source, "x", "exec")
