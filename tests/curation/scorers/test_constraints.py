"""Constraints on form: which an instruction sets, and whether an answer keeps them."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from curation.engines import checked
from curation.sample import Message, Sample, to_frame
from curation.scorers import Constraints
from curation.texts.instruction_constraints import constraints_in
from tests.data import shared


@pytest.mark.parametrize(
    ("instruction", "name", "kept", "broken"),
    [
        (
            "Describe the sea in at most 5 words.",
            "at most 5 words",
            "It is deep and blue.",
            "It is very deep and blue.",
        ),
        ("Explain it in 3 words or less.", "at most 3 words", "Blue and deep", "It is blue and deep"),
        ("Write a story of at least 4 words.", "at least 4 words", "Once there was a dog.", "Once upon."),
        ("Describe a dog using exactly 2 words.", "exactly 2 words", "Loyal friend", "A loyal friend"),
        ("Summarize the text in one sentence.", "in 1 sentence", "Dr. Li paid 3.50 in all.", "He paid. He left."),
        ("Explain the tides in two sentences.", "in 2 sentences", "The moon pulls. Water rises.", "The moon pulls."),
        ("Describe the sun in 2-3 sentences.", "2 to 3 sentences", "It is hot. It is far.", "It is hot."),
        ("Explain trees in two paragraphs.", "in 2 paragraphs", "One.\n\nTwo.", "One."),
        ("List the reasons in 3 bullet points.", "in 3 bullets", "- a\n- b\n- c", "- a\n- b"),
        ("Summarise it as bullet points.", "bullet points", "* a\n* b", "a and b"),
        ("Give the steps as a numbered list.", "numbered list", "1. a\n2. b", "a, then b"),
        ("Return the result as JSON.", "JSON", '```json\n{"a": 1}\n```', "a is 1"),
        ("Write a poem in all lowercase letters.", "lower case", "the sea", "The sea"),
        ("Write your answer in capital letters.", "upper case", "THE SEA", "The SEA"),
        ("Describe Rome without using commas.", "no commas", "Rome is old", "Rome is old, and large"),
        ('Write a poem that uses the word "moon".', "holds “moon”", "Moonlight over", "the sun"),
        ('Rewrite it without using the word "very".', "avoids “very”", "Every day", "very good"),
        ('Begin your answer with "Dear Sir".', "starts with “Dear Sir”", "Dear Sir, I", "Hello, dear Sir"),
        ('End your response with the phrase "That is all."', "ends with “That is all”", "So. That is all.", "Bye."),
        ("What is rain? Answer in Chinese.", "in chinese", "雨是水。", "Rain is water."),
        ("Translate the sentence into Japanese.", "in japanese", "これは猫です", "This is a cat"),
        ("用不超过5个字描述大海。", "at most 5 characters", "又大又蓝。", "大海又大又蓝又深。"),
        ("写一篇文章，至少10字。", "at least 10 characters", "春天来了，树叶绿了，花开了。", "春天来了。"),
        ("请用一句话总结这篇文章。", "in 1 sentence", "春天来了。", "春天来了。花开了。"),
        ("请以JSON格式返回结果。", "JSON", '{"名": 1}', "名是一"),
        ("使用单词“鲸鱼”写一个句子。", "holds “鲸鱼”", "鲸鱼很大。", "鱼很大。"),
        ("请用英文回答。", "in 英文", "It rains.", "下雨。"),
        ("描述春天，不要使用逗号。", "no commas", "春天来了。", "春天来了，花开了。"),
    ],
)
def test_each_constraint_is_found_and_checked(instruction: str, name: str, kept: str, broken: str):
    constraints = {constraint.name: constraint for constraint in constraints_in(instruction)}
    assert list(constraints) == [name]
    assert constraints[name].kept(kept)
    assert not constraints[name].kept(broken)


@pytest.mark.parametrize(
    "instruction",
    [
        "List at least 5 words that rhyme with love.",
        "Find five words that rhyme with the word 'moon'.",
        'What verb do you use with the word "inevitable"?',
        "How are adjectives used in a sentence?",
        "Identify three obscure words and use them in a sentence.",
        "Write a function that counts the words in a sentence and returns them in lowercase.",
        "Write three paragraphs with at least 3 sentences each.",
        "Convert this JSON to XML.",
        "Is the title written in capital letters?",
        "Summarize this:\n\nThe rule says: answer in at most 5 words.",
        "a) Explain it in five sentences and b) give an example in two sentences.",
        "Suggest a title of at most 5 words for the article.",
        "Which of these are in bold?",
        "生成以“geo”开头的五个科学术语的列表",
        "找出至少5个字的成语。",
        "给我讲一个故事。",
        "",
    ],
)
def test_what_is_about_the_material_or_a_part_of_the_answer_is_no_constraint(instruction: str):
    assert [constraint.name for constraint in constraints_in(instruction)] == []


def test_several_constraints_are_found_together():
    asked = 'In 50 words or less, write a story using the words "train", "forest" and "rain".'
    assert [c.name for c in constraints_in(asked)] == [
        "at most 50 words",
        "holds “train”",
        "holds “forest”",
        "holds “rain”",
    ]


def test_counts_nobody_counts_while_writing_have_some_slack():
    about, within = constraints_in("Write a 100-word essay.")[0], constraints_in("Explain it in 100 words.")[0]
    assert (about.name, within.name) == ("about 100 words", "in 100 words")
    assert [about.kept("word " * n) for n in (69, 70, 130, 131)] == [False, True, True, False]
    assert [within.kept("word " * n) for n in (30, 110, 111)] == [True, True, False]


def frame_of(*conversations: list[str]) -> pl.DataFrame:
    roles = ("user", "assistant")
    samples = [Sample(tuple(Message(roles[i % 2], text) for i, text in enumerate(turns))) for turns in conversations]
    return to_frame(samples)


def rows_of(*conversations: list[str]) -> list[dict[str, Any]]:
    return checked(Constraints(), frame_of(*conversations)).drop("id").to_dicts()


def test_the_share_that_is_kept_is_the_score_and_the_failed_ones_are_named():
    rows = rows_of(['Use the word "sea" in at most 3 words.', "The deep sea waits"], ["Hello", "Hi"])
    assert rows == [
        {
            "constraints": 0.5,
            "constraints_found": ["at most 3 words", "holds “sea”"],
            "constraints_failed": ["at most 3 words"],
            "reason": None,
        },
        {
            "constraints": None,
            "constraints_found": [],
            "constraints_failed": [],
            "reason": "the instruction sets no constraint that can be checked",
        },
    ]


def test_only_the_last_turn_of_the_user_counts():
    rows = rows_of(
        ["Describe Rome in one word.", "Old", "And why, in two sentences?", "It was built early. It lasted."]
    )
    assert rows[0]["constraints_found"] == ["in 2 sentences"]
    assert rows[0]["constraints"] == 1


def test_alpaca_has_a_few_in_a_hundred_and_most_are_kept():
    rows = json.loads(shared("data/alpaca_en_demo.json").read_text())
    measured = rows_of(*([f"{row['instruction']}\n\n{row['input']}".strip(), row["output"]] for row in rows))
    known = [row["constraints"] for row in measured if row["constraints"] is not None]
    assert 10 <= len(known) <= 60
    assert sum(known) / len(known) > 0.6
