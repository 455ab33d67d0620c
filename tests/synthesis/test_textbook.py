"""Texts from a tree of topics."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation.errors import OperatorError
from synthesis import Textbook
from synthesis.seed_files import paths_in
from tests.synthesis.scripted import played

LONG = "Water runs downhill because gravity pulls it. " * 25


def book(tmp_path: Path, text: str = "Physics\n  Water\n", **fields: object) -> Textbook:
    (tmp_path / "topics.txt").write_text(text, encoding="utf-8")
    return Textbook(topics=tmp_path / "topics.txt", **fields)


@pytest.mark.parametrize(
    "text",
    [
        "Physics\n  Water\n    Waves\n    Ice\n  Light\n数学\n  分数\n",
        "- Physics\n\t- Water\n\t\t- Waves\n\t\t- Ice\n\t- Light\n- 数学\n\t- 分数\n",
        '{"Physics": {"Water": ["Waves", "Ice"], "Light": {}}, "数学": "分数"}',
        '{"Physics": [{"Water": ["Waves", "Ice"]}, "Light"], "数学": ["分数"]}',
    ],
)
def test_a_tree_is_indented_lines_or_nested_json(tmp_path: Path, text: str) -> None:
    (tmp_path / "topics").write_text(text, encoding="utf-8")
    leaves = [("Physics", "Water", "Waves"), ("Physics", "Water", "Ice"), ("Physics", "Light"), ("数学", "分数")]
    assert paths_in(tmp_path / "topics") == leaves


def test_each_topic_meets_each_reader_and_each_form(tmp_path: Path) -> None:
    kind = book(tmp_path, "Water\nFire\n", audiences="children, experts", formats=("a poem", "a chapter", "a letter"))
    seeds = kind.own_seeds(None, 0)
    assert seeds is not None
    assert (len(seeds), kind.own_seeds(5, 0)) == (12, seeds[:5])
    assert "Write a poem about Fire for experts." in [seed.instruction for seed in seeds]
    assert kind.own_seeds(None, 1) != seeds


def test_the_new_sample_asks_plainly_and_the_model_is_told_more(tmp_path: Path) -> None:
    kind = book(tmp_path, audiences="young children", formats="a blog post")
    [seed] = kind.own_seeds(None, 0) or []
    [outcome], [call] = played(kind, seed, LONG)
    assert outcome.messages[0].content == "Write a blog post about Water, Physics for young children."
    assert (outcome.messages[1].content, outcome.rejected_by) == (LONG.strip(), None)
    assert "Physics > Water" in call.request.messages[0][1]
    assert outcome.metadata == {"audience": "young children", "format": "a blog post", "topic": ["Physics", "Water"]}
    assert call.request.parameters == {"temperature": 0.6, "top_p": 0.95, "max_tokens": 2500}


def test_a_chinese_topic_is_asked_for_in_chinese(tmp_path: Path) -> None:
    [seed] = book(tmp_path, "数学\n  分数", audiences="young children", formats="a blog post").own_seeds(None, 0) or []
    assert seed.instruction == "请为小学生写一篇博客文章，主题是：分数，数学。"


def test_a_text_of_fewer_than_150_words_is_rejected(tmp_path: Path) -> None:
    kind = book(tmp_path, audiences="a", formats="b")
    [seed] = kind.own_seeds(None, 0) or []
    [short], _ = played(kind, seed, "word " * 149)
    [enough], _ = played(kind, seed, "字" * 150)
    assert (short.rejected_by, short.detail) == ("too-short", "149 tokens, and 150 are wanted")
    assert enough.rejected_by is None


def test_the_model_may_add_subtopics(tmp_path: Path) -> None:
    kind = book(tmp_path, audiences="a", formats="b", subtopics=2, min_tokens=0)
    [seed] = kind.own_seeds(None, 0) or []
    outcomes, calls = played(kind, seed, '["Waves", "Ice", "Steam"]', "About waves.", "About ice.")
    assert [o.metadata["topic"][-1] for o in outcomes] == ["Waves", "Ice"]
    assert [call.step for call in calls] == ["subtopics", "text", "text"]
    [empty], _ = played(kind, seed, "   ")
    [prose], _ = played(kind, seed, "I would be glad to list subtopics of water for you, " * 2)
    assert [empty.rejected_by, prose.rejected_by] == ["empty", "unreadable"]


def test_a_chinese_topic_with_an_english_subtopic_is_still_asked_for_in_chinese(tmp_path: Path) -> None:
    kind = book(tmp_path, "编程\n", audiences="a", formats="b", subtopics=1, min_tokens=0)
    [seed] = kind.own_seeds(None, 0) or []
    [outcome], _ = played(kind, seed, "1. Python", "一种语言。")
    assert outcome.messages[0].content == "请为a写b，主题是：Python，编程。"


def test_a_file_without_topics_is_told(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="holds no topic"):
        book(tmp_path, "\n  \n").own_seeds(None, 0)
