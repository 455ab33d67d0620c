from __future__ import annotations

import pytest
from pydantic import ValidationError

from curation.language_models.models import Completion
from synthesis.decomposition import Decomposition
from tests.synthesis.samples import asked
from tests.synthesis.scripted import played

HARD = asked("A shop sells 3 pens for 2 euros. How much do 12 pens and a bag of 5 euros cost?", "#### 13")
STEPS = "1. How many lots of 3 are 12 pens?\n2. What do these lots cost at 2 euros each?"


def test_steps_are_answered_in_turn_and_combined():
    [outcome], calls = played(Decomposition(), HARD, STEPS, "4 lots.", "8 euros.", "Together it is 13 euros.")
    assert [call.step for call in calls] == ["decompose", "step-1", "step-2", "combine"]
    assert calls[2].request.messages == (
        ("user", "How many lots of 3 are 12 pens?"), ("assistant", "4 lots."),
        ("user", "What do these lots cost at 2 euros each?"),
    )  # fmt: skip
    assert "8 euros." in calls[3].request.messages[0][1]
    assert [m.content for m in outcome.messages] == [HARD.instruction, "Together it is 13 euros."]
    assert outcome.metadata["steps"][0] == {"question": "How many lots of 3 are 12 pens?", "answer": "4 lots."}


def test_the_steps_can_be_the_conversation_that_leads_to_the_request():
    [outcome], _ = played(Decomposition(result="conversation"), HARD, STEPS, "4 lots.", "8 euros.", "13 euros.")
    assert [m.role for m in outcome.messages] == ["user", "assistant"] * 3
    assert [m.content for m in outcome.messages[-2:]] == [HARD.instruction, "13 euros."]


@pytest.mark.parametrize(
    "replies, rule",
    [
        (["None"], "not-decomposed"),
        (["无"], "not-decomposed"),
        (["1. Only one question?"], "not-decomposed"),
        (["\n".join(f"{n}. Question number {n}?" for n in range(1, 9))], "not-decomposed"),
        ([f"1. What is a pen?\n2. {HARD.instruction}"], "not-decomposed"),
        ([""], "empty"),
        ([STEPS, "I'm sorry, but I can't help."], "refusal"),
        ([STEPS, "4 lots.", Completion("8 eu", finish_reason="length")], "truncated"),
        ([STEPS, "4 lots.", "8 euros.", ""], "empty"),
        (["1）12支笔是几组？\n2）这些组要多少钱？", "4组。", "8欧元。", "一共13欧元。"], None),
    ],
)
def test_each_way_to_fail_has_its_rule(replies, rule):
    [outcome], _ = played(Decomposition(), HARD, *replies)
    assert outcome.rejected_by == rule
    assert rule is None or outcome.detail


@pytest.mark.parametrize("answer, rule", [("It costs 13 euros.", None), ("It costs 12 euros.", "wrong-answer")])
def test_the_combined_answer_can_be_checked(answer, rule):
    [outcome], _ = played(Decomposition(check_answer=True), HARD, STEPS, "4 lots.", "8 euros.", answer)
    assert outcome.rejected_by == rule


def test_without_a_reference_nothing_can_be_checked():
    unknown = asked(HARD.instruction, "It depends.")
    [outcome], _ = played(Decomposition(check_answer=True), unknown, STEPS, "4 lots.", "8 euros.", "13 euros.")
    assert outcome.rejected_by == "no-reference"


def test_only_requests_within_reach_are_seed_samples():
    assert (
        Decomposition(reach="pass_rate", reach_max=0.5).seed_condition == "instruction <> '' AND \"pass_rate\" <= 0.5"
    )
    with pytest.raises(ValidationError, match="above most_steps"):
        Decomposition(least_steps=5, most_steps=3)
