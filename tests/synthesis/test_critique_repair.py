"""Answers criticised, written anew, and kept where they are better."""

from __future__ import annotations

import pytest

from curation.language_models.models import Completion
from curation.sample import Message
from synthesis import CritiqueRepair
from tests.synthesis.samples import asked
from tests.synthesis.scripted import played

RIVERS = asked("Name three rivers.", "Rhine and Nile.")
SUM = asked("What is 2 + 2?", "It is 5.\n#### 5", metadata={"answer": "4"})
NEW = "Rhine, Nile and Amazon."


def test_the_new_answer_is_kept_when_the_judge_prefers_it_in_both_orders() -> None:
    [outcome], calls = played(CritiqueRepair(), RIVERS, "Only two.", NEW, '{"better": "B"}', '{"better": "A"}')
    assert outcome.messages == (Message("user", "Name three rivers."), Message("assistant", NEW))
    assert (outcome.rejected_by, outcome.rejected, outcome.metadata["critique"]) == (None, None, "Only two.")
    assert [(call.step, call.role) for call in calls][2:] == [("compare 1", "judge"), ("compare 2", "judge")]
    first, second = (call.request.messages[0][1] for call in calls[2:])
    assert f"#Answer A#\n{RIVERS.response}\n\n#Answer B#\n{NEW}" in first
    assert f"#Answer A#\n{NEW}\n\n#Answer B#\n{RIVERS.response}" in second


@pytest.mark.parametrize(
    ("verdicts", "rule"),
    [
        (('{"better": "B"}', '{"better": "B"}'), "not-preferred"),  # it favours a place
        (("更好：A", "更好：B"), "not-preferred"),
        (("tie", "A"), "not-preferred"),
        (("Hm.", "A"), "unclear-verdict"),
    ],
)
def test_a_judge_that_contradicts_itself_or_prefers_the_old_one_rejects(verdicts: tuple[str, str], rule: str) -> None:
    [outcome], _ = played(CritiqueRepair(), RIVERS, "只有两条。", NEW, *verdicts)
    assert (outcome.rejected_by, outcome.metadata["judgements"]) == (rule, list(verdicts))


def test_it_can_be_a_preference_pair() -> None:
    [outcome], _ = played(CritiqueRepair(as_pair=True), RIVERS, "Only two.", NEW, "B", "A")
    assert outcome.messages[-1].content == NEW
    assert outcome.rejected == (Message("assistant", "Rhine and Nile."),)


@pytest.mark.parametrize("critique", ["No faults.", "**No faults**", "没有问题。", "There are no problems: none."][:3])
def test_where_there_is_no_fault_nothing_is_written(critique: str) -> None:
    [outcome], calls = played(CritiqueRepair(), RIVERS, critique)
    assert (outcome.rejected_by, len(calls)) == ("nothing-to-repair", 1)


@pytest.mark.parametrize(
    ("reply", "rule"),
    [
        ("rhine and nile", "same-as-seed"),
        ("I'm sorry, but I can't.", "refusal"),
        (Completion("Rhine,", finish_reason="length"), "truncated"),
    ],
)
def test_a_new_answer_that_is_none_is_not_judged(reply: str | Completion, rule: str) -> None:
    [outcome], calls = played(CritiqueRepair(), RIVERS, "Only two.", reply)
    assert (outcome.rejected_by, len(calls)) == (rule, 2)


def test_where_a_program_can_tell_it_decides_and_the_judge_is_not_asked() -> None:
    [kept], calls = played(CritiqueRepair(), SUM, "2 + 2 is 4.", "Improved answer:\nIt is 4.\n#### 4")
    [wrong], _ = played(CritiqueRepair(), SUM, "Check it.", "#### 6")
    [right], none = played(CritiqueRepair(), asked("What is 2 + 2?", "#### 4", metadata={"answer": "4"}))
    assert (kept.rejected_by, kept.messages[-1].content) == (None, "It is 4.\n#### 4")
    assert (wrong.rejected_by, wrong.detail) == ("still-wrong", "6")
    assert (right.rejected_by, none) == ("nothing-to-repair", [])
    assert "A program checked the answer: 5" in calls[0].request.messages[0][1]


def test_code_is_repaired_until_its_tests_pass() -> None:
    seed = asked("Write add(a, b).", "def add(a, b):\n    return a", metadata={"tests": "assert add(1, 2) == 3"})
    [outcome], calls = played(CritiqueRepair(), seed, "b is lost.", "```python\ndef add(a, b):\n    return a + b\n```")
    assert outcome.rejected_by is None
    assert "wrong: AssertionError" in calls[0].request.messages[0][1]


def test_an_answer_is_not_right_because_it_says_so_itself() -> None:
    seed = asked("What is 2 + 2?", "#### 5")
    [outcome], calls = played(CritiqueRepair(), seed, "It is 4.", "#### 4", "B", "A")
    assert (outcome.rejected_by, "was_right" in outcome.metadata, len(calls)) == (None, False, 4)
