from __future__ import annotations

import pytest

from curation.normalizers import Boilerplate
from curation.sample import Message
from tests.curation.normalizers.texts import answer_of


@pytest.mark.parametrize(
    ("answer", "left"),
    [
        ("Certainly! Here is a list of fruits:\n\n- Apples\n- Pears", "- Apples\n- Pears"),
        ("Sure, I'd be happy to help! First, wash them.", "First, wash them."),
        ("Of course! Apples keep longest.", "Apples keep longest."),
        ("Apples.\n\nI hope this helps! Let me know if you have any other questions.", "Apples."),
        ("Use apples. Feel free to ask if you need more help.", "Use apples."),
        ("当然可以！以下是一个清单：\n\n1. 苹果", "1. 苹果"),
        ("好的，以下是清单：\n1. 苹果\n\n希望这些建议对您有所帮助。", "1. 苹果"),
        ("吃苹果。如果您还有其他问题，请随时告诉我。", "吃苹果。"),
    ],
)
def test_openings_and_closings_go(answer, left):
    assert answer_of(Boilerplate(), answer, "List fruits.") == left


@pytest.mark.parametrize("answer", ["Certainly!", "Sure! 🙂", "I hope this helps!", "好的。", "希望对你有帮助！"])
def test_an_answer_is_never_emptied(answer):
    assert answer_of(Boilerplate(), answer) == answer


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Is tea good for you?", "Absolutely! It is."),
        ("You agree, right?", "Of course. I do."),
        ("猫会游泳吗？", "当然！它们会。"),
        ("Write an email to a customer.", "Dear Sir,\n\nWe sent it. Let me know if you have any questions."),
        ("Correct: 'i hope this helps.'", "Corrected: it was good.\n\nI hope this helps."),
        ("Fix: If its needed, let me know.", "Fixed below.\nIf you need to change it, please let me know."),
        ("Give reasons.", "Of course, there are exceptions."),
        ("Give reasons.", "Sure-footed animals climb."),
        ("介绍嘉宾。", "我很高兴介绍我们的嘉宾约翰。他是作家。"),
    ],
)
def test_what_belongs_to_the_answer_stays(question, answer):
    assert answer_of(Boilerplate(), answer, question) == answer


def test_a_request_phrased_as_a_question_is_no_question():
    assert answer_of(Boilerplate(), "Sure! Tea is a drink.", "Can you explain tea?") == "Tea is a drink."


def test_a_plain_announcement_goes_only_when_asked():
    answer = "Here are three tips:\n1. Sleep"
    assert answer_of(Boilerplate(), answer) == answer
    assert answer_of(Boilerplate(announcements=True), answer) == "1. Sleep"


def test_only_the_assistant_is_rewritten_and_each_end_can_be_left():
    turns = (
        Message("user", "Certainly! Go on."),
        Message("assistant", "Sure! Yes. I hope that helps!"),
    )
    assert Boilerplate(openings=False).normalize(turns)[1].content == "Sure! Yes."
    assert Boilerplate(closings=False).normalize(turns)[1].content == "Yes. I hope that helps!"
    assert Boilerplate().normalize(turns)[0] == turns[0]
