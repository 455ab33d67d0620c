"""Personas that ask."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation.errors import OperatorError
from curation.language_models.models import Completion
from synthesis import PersonaQuestions, synthesize
from tests.synthesis.loopback import Loopback
from tests.synthesis.samples import SeededCorpus, asked
from tests.synthesis.scripted import played

RIVERS = asked("Name three rivers.", "Rhine, Nile, Amazon.")


def test_the_model_says_who_would_need_a_text_and_that_person_asks() -> None:
    [outcome], calls = played(
        PersonaQuestions(),
        RIVERS,
        "A bargee on the Rhine who plans night trips",
        "Which locks between Basel and Cologne close at night?",
        "None of them does.",
    )
    assert [call.step for call in calls] == ["persona", "question", "answer"]
    assert "Rhine, Nile" in calls[0].request.messages[0][1]
    assert "A bargee" in calls[1].request.messages[0][1]
    assert calls[2].request.messages == (("user", "Which locks between Basel and Cologne close at night?"),)
    assert [turn.content for turn in outcome.messages][1:] == ["None of them does."]
    assert outcome.metadata == {"persona": "A bargee on the Rhine who plans night trips", "kind": "instruction"}


def test_each_kind_is_asked_and_a_heading_is_taken_off() -> None:
    outcomes, calls = played(
        PersonaQuestions(kinds="maths, knowledge"),
        RIVERS,
        '{"persona": "一位船长"}',
        "题目：船行12公里用3小时，速度是多少？",
        "4公里每小时。",
        "**Question:** 船闸怎样工作？",
        "先放水。",
    )
    assert [o.messages[0].content for o in outcomes] == ["船行12公里用3小时，速度是多少？", "船闸怎样工作？"]
    assert [o.metadata["kind"] for o in outcomes] == ["maths", "knowledge"]
    assert "一位船长" in calls[1].request.messages[0][1]


@pytest.mark.parametrize(
    ("replies", "rule"),
    [
        (
            [
                "",
            ],
            "empty",
        ),
        (["A pilot", "I'm sorry, but I can't invent requests."], "refusal"),
        (["A pilot", Completion("How do I", finish_reason="length")], "truncated"),
        (["A pilot", "How do I land?", "I cannot help with landing."], "refusal"),
    ],
)
def test_each_way_to_fail_has_its_rule(replies: list[str], rule: str) -> None:
    [outcome], _ = played(PersonaQuestions(), RIVERS, *replies)
    assert outcome.rejected_by == rule


@pytest.mark.parametrize(
    "text",
    ["A pilot\n\n一位厨师\nA pilot\n", '{"persona": "A pilot"}\n{"persona": "一位厨师"}', '["A pilot", "一位厨师"]'],
)
def test_personas_of_a_file_are_seed_samples_of_their_own(tmp_path: Path, text: str) -> None:
    (tmp_path / "personas.txt").write_text(text, encoding="utf-8")
    kind = PersonaQuestions(personas=tmp_path / "personas.txt")
    seeds = kind.own_seeds(None, 0)
    assert seeds is not None
    assert {seed.instruction for seed in seeds} == {"A pilot", "一位厨师"}
    assert kind.own_seeds(1, 0) == seeds[:1]
    corpus = SeededCorpus(tmp_path / "corpus")
    with Loopback() as server:
        report = synthesize(corpus, kind, server.spec)
    assert (report.seeds, report.calls, [list(o["parents"]) for o in corpus.outcomes()]) == (2, 4, [[], []])


@pytest.mark.parametrize("text", [None, "", '[{"name": "A pilot"}]'])
def test_a_file_without_personas_is_told(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "personas.txt").write_text(text)
    with pytest.raises(OperatorError, match=r"personas\.txt (can't be read|holds no text)"):
        PersonaQuestions(personas=tmp_path / "personas.txt").own_seeds(None, 0)
