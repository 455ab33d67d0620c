"""Reading scores out of what a judge wrote."""

from __future__ import annotations

import pytest

from curation.language_models.judging import rationale_in, score_in, scores_in


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("Score: 4.5", 4.5),
        ("Score:4", 4),
        ("score 4", 4),
        ("**Score**: 4/5", 4),
        ("Score: **4**/5", 4),
        ("4.5/5", 4.5),
        ("4 out of 5", 4),
        ("I'd give it 4 out of 5 because of 2 errors.", 4),
        ("**4**", 4),
        ("4", 4),
        ("4.5\nIt is right in 3 of its points.", 4.5),
        ("It is right.\n\n4", 4),
        ('{"score": 4}', 4),
        ('```json\n{"score": 4.5,}\n```', 4.5),
        ('{"rating": "4/5", "reason": "{braces} and \\"quotes\\""}', 4),
        ("Score: 2 for style. Final score: 3", 3),
        ("评分：4分", 4),
        ("得分为 4.5 分", 4.5),
        ("总分：5 分（满分5分）", 5),
    ],
)
def test_trap_09_judge_parser_reads_every_dress_of_a_score(text: str, score: float):
    assert score_in(text, 1, 5) == score


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I'm sorry, but as an AI I can't rate these 2 answers.",
        "The answer is 42.",
        "Score: 7",
        "Score: -1",
        "Score: 0",
        "Score: 8/10",
        "Score: 3-4",
        "Score: 2 for style. Score: 4 for content.",
        "Score: 80%",
        '{"score": null}',
        '{"score": true}',
        '{"score": "good"}',
        "评分：9分",
    ],
)
def test_trap_09_judge_parser_gives_null_for_refusals_other_scales_and_numbers_in_passing(text: str):
    assert score_in(text, 1, 5) is None


@pytest.mark.parametrize(
    "text",
    [
        '{"rationale": "fine", "accuracy": 4, "overall clarity": 3.5}',
        'Here it is:\n```json\n{"scores": {"Accuracy": 4, "Overall_Clarity": "3.5/5",}}\n```',
        '{"accuracy": {"score": 4, "reason": "right"}, "overall-clarity": {"score": 3.5, "reason": "long"}}',
        "**Accuracy** (1-5): 4\n**Overall clarity**: 3.5/5",
        "- accuracy：4分\n- overall clarity：3.5分",
        '{"accuracy": 4, "overall clarity": 3.5, "rationale": "and then it was cut o',
        'For example {"accuracy": 1, "overall clarity": 1}. Mine: {"accuracy": 4, "overall clarity": 3.5}',
    ],
)
def test_each_dimension_is_read_from_json_or_from_its_line(text: str):
    assert scores_in(text, ["accuracy", "overall clarity"], 1, 5) == {"accuracy": 4, "overall clarity": 3.5}


def test_a_dimension_that_is_missing_or_out_of_range_is_null_and_one_number_is_not_spread_over_all():
    assert scores_in('{"accuracy": 4}', ["accuracy", "style"], 1, 5) == {"accuracy": 4, "style": None}
    assert scores_in('{"accuracy": 9, "style": 2}', ["accuracy", "style"], 1, 5) == {"accuracy": None, "style": 2}
    assert scores_in("Score: 4", ["accuracy", "style"], 1, 5) == {"accuracy": None, "style": None}
    assert scores_in("Score: 4", ["accuracy"], 1, 5) == {"accuracy": 4}


def test_the_rationale_is_read_too():
    assert rationale_in('{"rationale": "It is right.", "accuracy": 4}') == "It is right."
    assert rationale_in('{"a": {"score": 4, "reason": "one"}, "b": {"score": 3, "reason": "two"}}') == "one\ntwo"
    assert rationale_in("4.5\nIt is right.") == "It is right."
    assert rationale_in("Accuracy: 4\nRationale: It is right.") == "It is right."
    assert rationale_in("评分：4分\n理由：正确。") == "正确。"
    assert rationale_in("4") is None
