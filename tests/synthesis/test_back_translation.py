from __future__ import annotations

import pytest

from curation.language_models.models import Completion
from curation.sample import Message, Sample
from synthesis.back_translation import BackTranslation, instruction_in
from tests.synthesis.samples import asked
from tests.synthesis.scripted import played

TEXT = "Tides come about because the moon pulls at the side of the sea that is nearer to it more than at the rest."
DOCUMENT = Sample((Message("assistant", TEXT),))
GUESS = "Explain in one sentence how tides come about."


def test_a_document_gets_an_instruction_and_stays_as_it_is():
    [outcome], calls = played(BackTranslation(), DOCUMENT, GUESS, "Complete and clear.\nScore: 5")
    assert outcome.messages == (Message("user", GUESS), Message("assistant", TEXT))
    assert (outcome.rejected_by, outcome.metadata["score"]) == (None, 5)
    assert [(call.step, call.role) for call in calls] == [("instruction", "model"), ("curate", "judge")]
    assert TEXT in calls[0].request.messages[0][1]
    assert GUESS in calls[1].request.messages[0][1]


@pytest.mark.parametrize(
    "replies, rule",
    [
        ([GUESS, "It has parts of a web page in it.\nScore: 3"], "self-curation"),
        ([GUESS, "评分：4"], "self-curation"),
        ([GUESS, "Five stars, I would say"], "curation-unreadable"),
        ([""], "empty"),
        ([Completion("Explain in one", finish_reason="length")], "truncated"),
        ([TEXT], "copies-text"),
        ([f"Repeat this: {TEXT}"], "copies-text"),
        (["解释潮汐的成因。", "评分：5分"], None),
    ],
)
def test_only_what_the_judge_calls_perfect_is_kept(replies, rule):
    [outcome], _ = played(BackTranslation(), DOCUMENT, *replies)
    assert outcome.rejected_by == rule
    assert rule is None or outcome.detail


def test_what_the_judge_said_is_kept_and_the_bar_can_be_lower():
    [outcome], _ = played(BackTranslation(min_score=4), DOCUMENT, GUESS, "Could be shorter.\nScore: 4")
    assert (outcome.rejected_by, outcome.metadata["said"]) == (None, "Could be shorter.\nScore: 4")


def test_an_answer_keeps_its_own_instruction_beside_the_new_one():
    [outcome], _ = played(BackTranslation(), asked("tides??", TEXT), GUESS, "Score: 5")
    assert (outcome.messages[0].content, outcome.metadata["known_instruction"]) == (GUESS, "tides??")


def test_several_instructions_are_guessed_at_once():
    outcomes, calls = played(BackTranslation(instructions=2), DOCUMENT, GUESS, "What pulls?", "Score: 5", "Score: 2")
    assert [o.rejected_by for o in outcomes] == [None, "self-curation"]
    assert [call.request.sample_index for call in calls[:2]] == [0, 1]


def test_seed_samples_hold_one_text_that_is_not_too_long():
    assert BackTranslation().suits(DOCUMENT)
    assert not BackTranslation(max_characters=50).suits(DOCUMENT)
    assert not BackTranslation().suits(asked("Only a question"))
    turns = [Message(role, "x") for role in ("user", "assistant", "user", "assistant")]
    assert not BackTranslation().suits(Sample(tuple(turns)))


@pytest.mark.parametrize(
    "reply, instruction",
    [
        ("Instruction: Name a river.", "Name a river."),
        ("#Instruction#\nName a river.", "Name a river."),
        ("**指令：** 写一首诗。", "写一首诗。"),
        ('"Name a river."', "Name a river."),
        ("问题解决的步骤有哪些？", "问题解决的步骤有哪些？"),
        ("Instruction manuals are dull; why?", "Instruction manuals are dull; why?"),
    ],
)
def test_headings_and_quotation_marks_are_no_part_of_the_instruction(reply, instruction):
    assert instruction_in(reply) == instruction
