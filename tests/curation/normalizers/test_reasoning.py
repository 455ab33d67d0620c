from __future__ import annotations

import pytest

from curation.normalizers import Reasoning
from curation.sample import Message


def parted(content: str, reasoning: str | None = None, **parameters) -> tuple[str, str | None]:
    turn = Reasoning(**parameters).normalize((Message("assistant", content, reasoning),))[0]
    return turn.content, turn.reasoning


@pytest.mark.parametrize(
    ("content", "answer", "reasoning"),
    [
        ("<think>\n2 + 2\n</think>\n\nFour.", "Four.", "2 + 2"),
        ("2 + 2\n</think>\n\nFour.", "Four.", "2 + 2"),
        ("<think>a</think>One.\n\n<think>b</think>\n\nTwo.", "One.\n\nTwo.", "a\n\nb"),
        ("<think>a <think>b</think> c</think>Four.", "Four.", "a b c"),
        ("<think>\n<think>\na</think>\nFour.", "Four.", "a"),
        ("<THINK>a</Think>Four.", "Four.", "a"),
        ("<thinking time='3'>a</ thinking >Four.", "Four.", "a"),
        ("<think>a</thinking>Four.", "Four.", "a"),
        ("<think>\n\n</think>\n\nFour.", "Four.", None),
        (
            "<|begin_of_thought|>a<|end_of_thought|>\n<|begin_of_solution|>\nFour.\n<|end_of_solution|>",
            "Four.",
            "a",
        ),
        ("[THINK]a[/THINK]四。", "四。", "a"),
        ("◁think▷想◁/think▷四。", "四。", "想"),
        ("<think>use\n```\nx</y>\n```\nso</think>\n\n    code", "    code", "use\n```\nx</y>\n```\nso"),
        ("Four.\n<think>Was that right?", "Four.", "Was that right?"),
        ("<think>a\n```py\nx\n</think>\n\n```py\ny\n```", "```py\ny\n```", "a\n```py\nx"),
    ],
)
def test_blocks_move_into_the_reasoning_field(content, answer, reasoning):
    assert parted(content) == (answer, reasoning)


@pytest.mark.parametrize(
    "content",
    [
        "Wrap it in `<think>` and `</think>`.", "```\n<think>\na\n</think>\n```", "Use the <think> tag first.",
        "It ends with </think> tags.", "a < b > c", "<b>think</b>",
    ],
)  # fmt: skip
def test_tags_that_are_only_mentioned_are_text(content):
    assert parted(content) == (content, None)


def test_a_block_without_an_end_leaves_no_answer_unless_told_to_stay():
    assert parted("<think>2 + 2 is") == ("", "2 + 2 is")
    assert parted("<think>2 + 2 is", unclosed="leave") == ("<think>2 + 2 is", None)


def test_reasoning_that_is_there_is_kept_and_joined():
    assert parted("<think>b</think>Four.", "a") == ("Four.", "a\n\nb")
    assert parted("<think>a</think>Four.", "a") == ("Four.", "a")


def test_other_tags_and_other_roles():
    assert parted("<plan>a</plan>Four.", tags="plan,scratchpad") == ("Four.", "a")
    user = (Message("user", "<think>a</think>b"),)
    assert Reasoning().normalize(user) is user
