from __future__ import annotations

import pytest
from pydantic import ValidationError

from curation.language_models.models import Completion
from curation.sample import Message, Sample
from curation.scorers.file import File
from curation.scoring import score
from synthesis.distill import Distill
from synthesis.drawing import draw
from tests.synthesis.samples import SeededCorpus, asked
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


@pytest.mark.parametrize(
    "keep, rules",
    [
        ("all", [None, None, None]),
        ("majority", [None, "minority-answer", None]),
        ("one", [None, "minority-answer", "agrees-with-kept"]),
    ],
)
def test_answers_are_kept_by_vote_over_their_final_answers(keep, rules):
    question = asked("What is 6 x 7?", "I don't know.")
    answers = "6 x 7 = 42. #### 42", "#### 41", "七个六是四十二。答案是42。"
    outcomes, _ = played(Distill(answers=3, keep=keep), question, *answers)
    assert [o.rejected_by for o in outcomes] == rules
    if keep != "all":
        assert (outcomes[0].metadata["final_answer"], outcomes[0].metadata["agreement"]) == ("42", 2 / 3)
        assert outcomes[1].detail == "'41', and 2 of 3 say '42'"


def test_an_answer_that_the_sample_has_already_has_a_vote_and_is_not_kept():
    question = asked("What is 6 x 7?", "#### 42")
    outcomes, _ = played(Distill(answers=3, keep="one"), question, "#### 42", "#### 41", "It is 42.")
    assert [o.rejected_by for o in outcomes] == ["same-as-seed", "minority-answer", None]
    assert outcomes[2].metadata["agreement"] == 2 / 3


def test_a_tie_keeps_none_and_a_vote_of_one_is_refused():
    outcomes, _ = played(Distill(answers=2, keep="majority"), RIVERS, "#### 1", "#### 2")
    assert [o.rejected_by for o in outcomes] == ["no-majority", "no-majority"]
    with pytest.raises(ValidationError, match="needs 2 answers or more"):
        Distill(keep="majority")


def test_only_where_the_student_is_weak(tmp_path):
    corpus = SeededCorpus(tmp_path, [RIVERS, asked("Name a sea.", "North Sea."), asked("Name a lake.", "Lake Como.")])
    easy, hard, _ = corpus.frame(["id"])["id"].to_list()
    run = corpus.path / "rates.jsonl"
    run.write_text(f'{{"id": "{easy}", "pass_rate": 1.0}}\n{{"id": "{hard}", "pass_rate": 0.25}}\n')
    score(corpus, File(path=str(run)))
    drawn = draw(corpus, Distill(reach="pass_rate", reach_max=0.5), None, None, 0)
    assert [s.id for s in drawn] == [hard]
    assert len(draw(corpus, Distill(), None, None, 0)) == 3
    with pytest.raises(ValidationError, match="name it as reach"):
        Distill(reach_max=0.5)
