"""What models write when they are asked for several things, and what of it is read."""

from __future__ import annotations

import pytest

from synthesis.reply_parts import (
    QUESTION_AND_ANSWER,
    better_of_two,
    listed,
    parts,
    said_yes,
    scores_of,
    several,
    whole_text,
)

TWO = [{"question": "Who?", "answer": "Me."}, {"question": "谁？", "answer": "我。"}]


@pytest.mark.parametrize(
    "reply",
    [
        '[{"question": "Who?", "answer": "Me."}, {"question": "谁？", "answer": "我。"}]',
        '{"pairs": [{"question": "Who?", "answer": "Me."}, {"question": "谁？", "answer": "我。"}]}',
        'Here:\n```json\n[{"Question": "Who?", "Answer": "Me."}, {"问题": "谁？", "答案": "我。"},]\n```\nDone.',
        "Question 1: Who?\nAnswer 1: Me.\n\nQuestion 2: 谁？\nAnswer 2: 我。",
        "**Q1**: Who?\n**A1**: Me.\n---\n**Q2**: 谁？\n**A2**: 我。",
        "### 问题 1\nWho?\n### 答案\nMe.\n\n### 问题 2\n谁？\n### 答案\n我。",
        "问：Who?\n答：Me.\n问：谁？\n答：我。",
        "[{'question': 'Who?', 'answer': 'Me.'}, {'question': '谁？', 'answer': '我。'}]",
        '[{"question": "Who?", "answer": "Me."}, {"question": "谁？", "answer": "我。"}, {"question": "And th',
    ],
)
def test_questions_with_answers_are_read_in_every_dress(reply: str) -> None:
    assert [pair for pair in several(reply, QUESTION_AND_ANSWER) if len(pair) == 2] == TWO


def test_an_answer_may_hold_what_looks_like_a_heading_and_a_lone_letter_is_none() -> None:
    reply = "Question: Choose.\nAnswer: Of these\nA\nB\nthe first.\nAnswer: A"
    assert parts(reply, QUESTION_AND_ANSWER) == {
        "question": "Choose.",
        "answer": "Of these\nA\nB\nthe first.\nAnswer: A",
    }


@pytest.mark.parametrize("reply", ["", "I can't do that.", "{}", "[1, 2]", "```\n```"])
def test_what_holds_no_part_gives_none(reply: str) -> None:
    assert several(reply, QUESTION_AND_ANSWER) == []


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ('["one", "two"]', ["one", "two"]),
        ('```json\n["一", "二",]\n```', ["一", "二"]),
        ("Sure, here:\n1. one\n2) two\n3、三", ["one", "two", "三"]),
        ("- **one**\n* two\n• two", ["one", "two"]),
        ("one\n\ntwo", ["one", "two"]),
        ("", []),
    ],
)
def test_lists_are_read(reply: str, found: list[str]) -> None:
    assert listed(reply) == found


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        *((text, True) for text in ("yes", "YES, it is.", "true", "是", "是的。", "正确")),
        *((text, False) for text in ("no", "No.", "false", "否", "不是，因为…", "不支持")),
        *((text, None) for text in ("", "maybe", "partly", "noted", "部分是")),
    ],
)
def test_yes_and_no_are_read_and_anything_else_is_neither(said: str, verdict: bool | None) -> None:
    assert said_yes(said) is verdict


@pytest.mark.parametrize(
    ("reply", "better"),
    [
        ('{"reason": "B is longer, yet", "better": "A"}', "first"),
        ("Better: **B**", "second"),
        ("A covers more.\n[[B]]", "second"),
        ("更好的是：第一个", "first"),
        ('{"理由": "…", "更好": "回答 B"}', "second"),
        ("Answer A is better.", "first"),
        ('{"better": "tie"}', "tie"),
        ("Both are equally good.", "tie"),
        ("平局", "tie"),
        ("A good question!", None),
        ("", None),
    ],
)
def test_which_of_two_is_better(reply: str, better: str | None) -> None:
    assert better_of_two(reply) == better


@pytest.mark.parametrize(
    "reply",
    [
        '{"reason": "…", "scores": [7, 4, 9.5]}',
        '```json\n{"scores": {"1": 7, "2": 4, "3": 9.5}}\n```',
        '{"answer 1": {"reason": "x", "score": 7}, "answer 2": {"score": 4}, "answer 3": {"score": 9.5}}',
        "Answer 1: 7\nAnswer 2: 4/10\nAnswer 3: **9.5**",
        "答案1：7分\n答案2：4分\n答案3：9.5分",
        "评分：[7, 4, 9.5]",
        "1: 7\n2: 4\n3: 9.5",
    ],
)
def test_a_score_for_each_answer_is_read(reply: str) -> None:
    assert scores_of(reply, 3, 1, 10) == [7, 4, 9.5]


@pytest.mark.parametrize(
    "reply",
    ['{"scores": [7, 4]}', '{"scores": [7, 4, 11]}', "7, 4 and 9 points", "", '{"scores": [7, 4, "high"]}', "[7, 4]"],
)
def test_scores_that_are_not_one_for_each_are_none(reply: str) -> None:
    assert scores_of(reply, 3, 1, 10) is None


REQUEST = {"request": ("request", "question", "问题")}


@pytest.mark.parametrize(
    "reply",
    [
        "Plan my week.\nQuestion: which day first?",
        "**Request:** Plan my week.\nQuestion: which day first?",
        "Sure! Here is a request this person might make:\n\nPlan my week.\nQuestion: which day first?",
        '{"request": "Plan my week.\\nQuestion: which day first?"}',
        '```json\n{"request": "Plan my week.\\nQuestion: which day first?"}\n```',
        "以下是一个问题：\nPlan my week.\nQuestion: which day first?",
        "### Request\nPlan my week.\nQuestion: which day first?\n",
    ],
)
def test_one_text_is_taken_whole_without_what_stands_before_it(reply: str) -> None:
    assert whole_text(reply, REQUEST) == "Plan my week.\nQuestion: which day first?"


@pytest.mark.parametrize("reply", ["Here is my code:\nx = 1\nWhy?", 'Read {"request": 1}.', "Question", "", "问题"])
def test_what_only_looks_like_a_heading_is_left(reply: str) -> None:
    assert whole_text(reply, REQUEST) == reply
