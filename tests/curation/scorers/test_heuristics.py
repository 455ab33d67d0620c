"""What the newer heuristics say: formats, boilerplate, encodings, kinds of personal data, truncation, ratios."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from curation.sample import Message, Sample, to_frame
from curation.scorers import Heuristics


def measured(question: str, answer: str) -> dict[str, Any]:
    frame = pl.DataFrame({"id": ["1"], "instruction": [question], "response": [answer]})
    return Heuristics().score(frame).row(0, named=True)


@pytest.mark.parametrize(
    ("question", "answer", "problem"),
    [
        ("Write a loop", "```python\nfor i in x:\n    print(i)", "a code fence is left open"),
        ("Show an example", 'Like this:\n```json\n{"a": 1,}\n```', "a json block is not valid JSON"),
        ("Give me a JSON object with a name", "{name: Ann}", "JSON was asked for and the answer is not valid JSON"),
        ("把下面的内容转换成JSON格式", "姓名：小明", "JSON was asked for and there is none"),
        ("Give me a JSON object with a name", 'Here you are:\n{"name": "Ann"}', None),
        ("Return the result as JSON", '```json\n{"a": [1, 2]}\n```', None),
        ("Return the result as JSON", '{"a": 1}\n{"a": 2}', None),
        ("Write a Python function that returns JSON", "def f(): return json.dumps(x)", None),
        ("Convert the given JSON into YAML", "name: Ann", None),
        ("What is JSON?", "A text format.", None),
    ],
)
def test_a_broken_format_is_named(question: str, answer: str, problem: str | None) -> None:
    row = measured(question, answer)
    assert row["format_problem"] == problem
    assert row["format_error"] == (problem is not None)


@pytest.mark.parametrize(
    "answer",
    [
        "Certainly! Here is a poem about the sea: waves.",
        "Sure, a list: one, two.",
        "Here are five ideas for you: run, swim.",
        "Boil it for ten minutes. I hope this helps!",
        "Boil it. Let me know if you have any other questions.",
        "Boil it for ten minutes. Is there anything else I can help you with?",
        "当然！以下是一首关于大海的诗：海浪。",
        "好的，这里是三个建议：跑步、游泳、睡觉。",
        "煮十分钟即可。希望这对您有所帮助！",
        "煮十分钟即可。如果您还有其他问题，请随时告诉我。",
    ],
)
def test_openings_and_closings_that_carry_nothing_are_boilerplate(answer: str) -> None:
    row = measured("?", answer)
    assert row["boilerplate"]
    assert row["heuristics"] == 0


@pytest.mark.parametrize(
    "answer",
    [
        "Here the river turns north.",
        "Sure-footed goats climb the cliff.",
        "Of course they hope this helps the team win, and it did.",
        "好的老师会听学生说话。",
        "Thank you for your letter of 3 May.",
    ],
)
def test_an_answer_that_begins_alike_is_no_boilerplate(answer: str) -> None:
    assert not measured("?", answer)["boilerplate"]


@pytest.mark.parametrize(
    ("answer", "bad", "fixable"),
    [
        ("It wasnâ€™t me", True, True),
        ("CrÃ¨me brÃ»lÃ©e", True, True),
        ("é•¿åŸŽæ˜¯ä¸\xadå›½", True, True),
        ("a lost \ufffd character", True, False),
        ("Voilà l'été à la plage, où il fait très chaud", False, None),
        ("Ça coûte 12 € – “cher”, non ?", False, None),
        ("长城是中国古代的“军事工程”。", False, None),
        ("Привет, мир", False, None),
        ("plain", False, None),
    ],
)
def test_broken_encodings_are_found_and_told_fixable(answer: str, bad: bool, fixable: bool | None) -> None:
    row = measured("?", answer)
    assert (row["mojibake"], row["mojibake_fixable"]) == (bad, fixable)
    assert (row["mojibake_badness"] > 0) == (bad and "\ufffd" not in answer)


def test_personal_data_is_named_by_kind_once_each() -> None:
    row = measured("Mail ann@example.com or bob@example.com", "She is at (212) 555-0123.")
    assert (row["personal_data"], row["personal_kinds"]) == (True, "email, phone")
    clean = measured("How many?", "Order 4111 1111 1111 1112 has 3,000,000 rows since 2020-01-31.")
    assert (clean["personal_data"], clean["personal_kinds"]) == (False, None)


def test_every_turn_is_searched_for_personal_data() -> None:
    turns = [("user", "Hi"), ("assistant", "Write to ann@example.com"), ("user", "Thanks"), ("assistant", "Bye")]
    frame = to_frame([Sample(tuple(Message(role, text) for role, text in turns))])
    assert Heuristics().score(frame)["personal_kinds"].to_list() == ["email"]


@pytest.mark.parametrize(
    ("answer", "cut"),
    [
        ("Heat the oil in a pan.\n2. Drain the pasta and return it to the pan.\n3. Stir it until the", True),
        (
            "1. Roll a die and decide.\n2. If it shows a one, stop.\n3. If not, their score for the turn is",
            True,
        ),
        ("1. Improved flexibility and posture\n2. Less stress\n3. Increased strength, balance and coordination", False),
        ("The best list. It goes on: 1. Google 2. Microsoft 3. Apple 4. University research labs and others", False),
        ('"It is never too late to be what you might have been." - George Eliot', False),
        ("You can read about all of it in the report. See https://example.org/reports/of/the/agency", False),
        ("Dear team, we are pleased to announce the new policy. It begins in May.\n\nYours sincerely,", False),
        ("他在一九二零年获得了选举的胜利，随后开始了一系列改革。到了第二年春天，他被确认为新一届政府的", True),
    ],
)
def test_prose_that_stops_in_the_middle_is_truncated(answer: str, cut: bool) -> None:
    assert measured("Tell me", answer)["truncated"] == cut


@pytest.mark.parametrize(
    ("answer", "refuses"),
    [
        ("I apologise, but as an AI I can't make recommendations.", True),
        ("I'm sorry, but I can't assist with that request.", True),
        ("Unfortunately, I am unable to provide medical advice.", True),
        ("很抱歉，作为AI助手，我无法提供烹饪方面的指导。", True),
        ("He was used as an aide. 'I'm sorry,' she said.", False),
        ("If you can't help with the dishes, say so.", False),
        ("我无法忘记那个夏天。", False),
    ],
)
def test_refusals_are_told_from_stories(answer: str, refuses: bool) -> None:
    assert measured("?", answer)["refusal"] == refuses


def test_ratios_of_an_answer_by_hand() -> None:
    row = measured("1234567890", "ab 12\nab 12")
    assert row["length_ratio"] == pytest.approx(11 / 10)
    assert row["digit_ratio"] == pytest.approx(4 / 11)
    assert row["repetition"] == row["repeated_lines"] == 0.5
    assert (row["words"], row["max_line_chars"], row["mean_line_chars"]) == (4, 5, 5.5)


def test_an_empty_side_leaves_ratios_null_with_the_reason() -> None:
    row = measured("", "")
    assert row["empty"]
    assert row["length_ratio"] is row["repetition"] is row["special_ratio"] is None
    assert row["reason"] == "the answer is empty: its ratios can't be measured"
