from __future__ import annotations

import pytest

from curation.language_models.models import Completion
from curation.sample import Message, Sample
from synthesis.distill import Distill
from tests.synthesis.samples import asked
from tests.synthesis.scripted import played

RIVERS = asked("Name three rivers.", "Rhine, Nile, Amazon.")


def test_each_answer_is_a_sample_of_its_own():
    outcomes, calls = played(Distill(answers=2), RIVERS, "Elbe, Oder, Weser.", "长江、黄河、珠江。")
    assert [o.messages[-1].content for o in outcomes] == ["Elbe, Oder, Weser.", "长江、黄河、珠江。"]
    assert [call.request.sample_index for call in calls] == [0, 1]
    assert all(o.messages[0] == Message("user", "Name three rivers.") for o in outcomes)


@pytest.mark.parametrize(
    "answer, rule",
    [
        (Completion("", reasoning="let me think", finish_reason="stop"), "empty"),
        (Completion("Elbe, Od", finish_reason="length"), "truncated"),
        ("I'm sorry, but I can't name rivers.", "refusal"),
        ("rhine, nile, amazon", "same-as-seed"),
    ],
)
def test_each_way_to_fail_has_its_rule(answer, rule):
    [outcome], _ = played(Distill(), RIVERS, answer)
    assert outcome.rejected_by == rule


def test_the_teacher_sees_the_conversation_up_to_its_last_answer():
    turns = [("system", "Be brief."), ("user", "Hi"), ("assistant", "Hello"), ("user", "Go on"), ("assistant", "Rhine")]
    [outcome], calls = played(Distill(), Sample(tuple(Message(r, c) for r, c in turns)), "Elbe")
    assert calls[0].request.messages == tuple(turns[:4])
    assert [(m.role, m.content) for m in outcome.messages] == [*turns[:4], ("assistant", "Elbe")]


def test_reasoning_is_kept_only_when_asked_for():
    thought = Completion("Elbe", reasoning="a German one", finish_reason="stop")
    [plain], _ = played(Distill(), RIVERS, thought)
    [with_reasoning], _ = played(Distill(keep_reasoning=True), RIVERS, thought)
    assert (plain.messages[-1].reasoning, with_reasoning.messages[-1].reasoning) == (None, "a German one")
