from __future__ import annotations

import pytest

from curation.language_models.models import Completion
from curation.sample import Message, Sample
from synthesis.evol_answer import OPERATIONS, EvolAnswer
from synthesis.prompting import BUILT_IN
from tests.synthesis.samples import asked
from tests.synthesis.scripted import played

SEED = asked("How do tides come about?", "The moon pulls at the sea.")
BETTER = "The moon pulls at the sea, more strongly at the near side than at the far one."


def test_the_answer_is_rewritten_and_the_instruction_stays():
    [outcome], [call] = played(EvolAnswer(operations=("depth",)), SEED, BETTER)
    assert [m.content for m in outcome.messages] == [SEED.instruction, BETTER]
    assert outcome.metadata == {"operation": "depth", "round": 1, "added_words": 11}
    assert BUILT_IN.text("answer_depth") in call.request.messages[0][1]


@pytest.mark.parametrize(
    "reply, rule",
    [
        ("the moon pulls at the sea", "no-information-gain"),
        ("The rewritten answer is: the moon.", "prompt-leak"),
        ("I'm sorry, I can't rewrite this.", "refusal"),
        ("Sure, which answer do you mean?", "insufficient-qualification"),
        ("", "empty"),
        (Completion("The moon pu", finish_reason="length"), "truncated"),
        ("#Rewritten Answer#\n月亮吸引海水，近的一侧比远的一侧更强。", None),
    ],
)
def test_each_way_to_fail_has_its_rule(reply, rule):
    [outcome], _ = played(EvolAnswer(), SEED, reply)
    assert outcome.rejected_by == rule
    assert "Rewritten" not in outcome.messages[-1].content


def test_a_failed_round_leaves_the_answer_and_the_next_goes_on_from_the_last_good_one():
    (first, second, third), calls = played(EvolAnswer(rounds=3), SEED, "", BETTER, BETTER + " So there are two a day.")
    assert [o.rejected_by for o in (first, second, third)] == ["empty", None, None]
    assert SEED.response in calls[1].request.messages[0][1]
    assert third.metadata["given"] == BETTER


def test_of_a_conversation_the_last_answer_is_rewritten():
    turns = [("user", "Hi"), ("assistant", "Hello"), ("user", "Why tides?"), ("assistant", "The moon.")]
    [outcome], [call] = played(EvolAnswer(), Sample(tuple(Message(*t) for t in turns)), BETTER)
    assert [m.content for m in outcome.messages] == ["Hi", "Hello", "Why tides?", BETTER]
    assert "assistant: Hello" in call.request.messages[0][1]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_has_its_wording(operation):
    _, [call] = played(EvolAnswer(operations=(operation,)), SEED, BETTER)
    assert "{{" not in call.request.messages[0][1]
