"""What becomes of conversations with thumbs, edits and regenerated answers."""

import json
from pathlib import Path

import pytest

from curation.corpus import Corpus
from curation.errors import IngestError
from curation.files.feedback import FeedbackRules, rules_from
from curation.files.shapes import Unreadable, shape_of, to_samples
from curation.files.verdicts import verdict
from curation.ingestion import ingest
from curation.sample import Sample


def user(text: str) -> dict:
    return {"role": "user", "content": text}


def answer(text: str, **feedback: object) -> dict:
    return {"role": "assistant", "content": text, **feedback}


def made(row: dict, **rules: object) -> list[str]:
    """One line per sample: rule, turn, text, `+` or `-` for a label, and after `>` what was rejected."""
    return [line(sample) for sample in to_samples(row, "s", None, rules_from(rules))]


def line(sample: Sample) -> str:
    text = " ".join(m.content for m in sample.messages)
    label = {True: " +", False: " -", None: ""}[sample.label]
    rejected = "".join(f" > {m.content}" for m in sample.rejected or ())
    return f"{sample.metadata['feedback_rule']} {sample.metadata['feedback_turn']}: {text}{label}{rejected}"


def test_thumbs_become_labels_and_a_thumbs_down_no_sft_sample() -> None:
    row = {"messages": [user("q1"), answer("a1", feedback="up"), user("q2"), answer("a2", feedback="down")]}
    assert made(row) == ["thumbs 2: q1 a1 +", "thumbs 4: q1 a1 q2 a2 -"]
    assert made(row, thumbs=False, beginnings=True) == ["beginnings 2: q1 a1"]


def test_a_conversation_nobody_disliked_becomes_an_sft_sample() -> None:
    row = {"messages": [user("q"), answer("a", feedback=None)]}
    assert made(row) == ["conversations 2: q a"]
    with pytest.raises(Unreadable, match="no feedback rule"):
        made(row, conversations=False)


@pytest.mark.parametrize("name", ["edited", "edited_content", "correction"])
def test_an_edited_answer_is_preferred_and_goes_on_in_the_conversation(name: str) -> None:
    row = {"messages": [user("q1"), answer("bad", thumbs="down", **{name: "good"}), user("q2"), answer("a2")]}
    assert made(row) == ["thumbs 2: q1 bad -", "edits 2: q1 good > bad", "conversations 4: q1 good q2 a2"]


def test_the_original_of_an_answer_that_stands_edited_is_rejected() -> None:
    row = {"messages": [user("q"), answer("good", edited=True, original_content="bad")]}
    assert made(row, conversations=False) == ["edits 2: q good > bad"]


@pytest.mark.parametrize(
    ("kept", "other", "lines"),
    [
        (None, None, ["q new > old"]),
        ("up", None, ["q new > old"]),
        (None, "down", ["q new > old"]),
        (None, "up", ["q old > new"]),
        ("down", "up", ["q old > new"]),
        ("down", None, []),
        ("up", "up", []),
        ("down", "down", []),
    ],
)
def test_the_kept_answer_is_preferred_unless_the_thumbs_say_otherwise(
    kept: str | None, other: str | None, lines: list[str]
) -> None:
    row = {"messages": [user("q"), answer("new", thumbs=kept, alternatives=[{"content": "old", "thumbs": other}])]}
    assert [text.partition(": ")[2] for text in made(row) if text.startswith("regenerations")] == lines


@pytest.mark.parametrize("name", ["alternatives", "regenerations", "versions"])
def test_lists_of_other_answers_may_hold_the_kept_one(name: str) -> None:
    row = {"messages": [user("q"), answer("new", **{name: ["old", "new", "older", ""]})]}
    assert made(row, conversations=False) == ["regenerations 2: q new > old", "regenerations 2: q new > older"]


def test_several_answers_in_a_row_are_one_that_was_asked_for_again() -> None:
    row = {"messages": [user("q"), answer("old", feedback="down"), answer("new"), user("q2"), answer("a2")]}
    assert made(row) == ["thumbs 2: q old -", "regenerations 2: q new > old", "conversations 5: q new q2 a2"]


def test_several_answers_in_a_row_without_feedback_are_left_alone() -> None:
    row = {"messages": [user("q"), answer("one"), answer("two")]}
    assert shape_of(row) == "messages"


def test_an_edit_is_preferred_to_the_other_answers_too() -> None:
    row = {"messages": [user("q"), answer("new", edited="best", alternatives=["old"])]}
    assert made(row) == ["edits 2: q best > new", "regenerations 2: q best > old", "conversations 2: q best"]


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "q", "output": "a", "thumbs": "up"},
        {"prompt": "q", "completion": "a", "feedback": {"rating": 5, "scale": 5}},
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "rating": "4/5"},
        {"messages": [user("q"), answer("a")], "rating": 9, "rating_scale": 10},
    ],
)
def test_feedback_on_a_row_is_about_its_last_answer(row: dict) -> None:
    assert made(row) == ["thumbs 2: q a +"]
    assert to_samples(row, "s")[0].shape == "log"


def test_columns_and_marks_of_a_log_stay_in_metadata() -> None:
    row = {"id": 7, "messages": [user("q"), answer("a", feedback="up", time=3)], "thumbs": None}
    sample = to_samples(row, "s")[0]
    assert sample.metadata == {
        "id": 7,
        "thumbs": None,
        "feedback_rule": "thumbs",
        "feedback_turn": 2,
        "turn_details": {"1": {"feedback": "up", "time": 3}},
    }


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "q", "output": "a", "rating": 4},
        {"instruction": "q", "output": "a", "stars": 5},
        {"instruction": "q", "output": "a", "feedback": "The answer is right but long."},
        {"instruction": "q", "feedback": "up"},
    ],
)
def test_scores_and_reviews_of_other_data_are_no_feedback(row: dict) -> None:
    assert shape_of(row) == "alpaca"


@pytest.mark.parametrize(
    ("name", "value", "up"),
    [
        ("feedback", "thumbs-up", True),
        ("feedback", "\N{THUMBS DOWN SIGN}", False),
        ("vote", -1, False),
        ("vote", 0, None),
        ("liked", True, True),
        ("thumbs_down", True, False),
        ("thumbs_down", False, None),
        ("rating", 4, True),
        ("rating", 3, None),
        ("rating", 2, False),
        ("rating", 7, None),
        ("rating", "9/10", True),
        ("feedback", {"type": "thumbs_up", "comment": "nice"}, True),
        ("feedback", {"rating": 3, "scale": 10}, False),
        ("feedback", {"comment": "nice"}, None),
        ("reaction", "hm", None),
        ("feedback", ["up"], True),
        ("feedback", ["up", "down"], False),
        ("feedback", "\N{THUMBS DOWN SIGN}\N{EMOJI MODIFIER FITZPATRICK TYPE-4}", False),
        ("feedback", "not helpful", False),
        ("feedback", '{"thumbs": "down"}', False),
        ("feedback", {"type": "rating", "value": 1}, False),
        ("feedback", {"type": "thumbs_up", "rating": 1}, False),
        ("thumbs_down", "true", False),
        ("thumbs_down", "1", False),
        ("thumbs_down", 1.0, False),
        ("thumbs_down", float("nan"), None),
        ("thumbs_down", "0", None),
        ("thumbs_up", "false", None),
        ("disliked", True, False),
        ("liked", 0, False),
        ("rating", "1 star", False),
        ("rating", "2 out of 10", False),
        ("rating", "0/5", False),
    ],
)
def test_what_counts_as_a_thumb(name: str, value: object, up: bool | None) -> None:
    assert verdict(name, value, 5) is up


def test_the_scale_of_ratings_can_be_given() -> None:
    row = {"messages": [user("q"), answer("a", rating=3)]}
    assert made(row) == ["conversations 2: q a"]
    assert made(row, scale="3") == ["thumbs 2: q a +"]


def node(name: str, parent: str | None, role: str | None, text: str = "", **more: object) -> dict:
    said = None if role is None else {"author": {"role": role}, "content": {"content_type": "text", "parts": [text]}}
    return {name: {"id": name, "parent": parent, "message": said, "children": [], **more}}


def test_a_tree_of_turns_is_read_along_the_branch_that_was_kept() -> None:
    tree = (
        node("r", None, None, children=["s"])
        | node("s", "r", "system", "", children=["q"])
        | node("q", "s", "user", "q1", children=["old", "new"])
        | node("old", "q", "assistant", "a-old")
        | node("new", "q", "assistant", "a-new", children=["q2"])
        | node("q2", "new", "user", "q2", children=["end"])
        | node("end", "q2", "assistant", "a2", feedback="up")
    )
    row = {"title": "T", "mapping": tree, "current_node": "end"}
    assert made(row) == [
        "thumbs 4: q1 a-new q2 a2 +",
        "regenerations 2: q1 a-new > a-old",
    ]
    assert to_samples(row, "s")[0].metadata["title"] == "T"
    assert made({**row, "current_node": None})[0] == "thumbs 4: q1 a-new q2 a2 +"


def test_a_tree_that_goes_in_circles_ends() -> None:
    tree = node("a", "b", "user", "q") | node("b", "a", "assistant", "a")
    assert made({"mapping": tree, "current_node": "b"}) == ["conversations 2: q a"]


@pytest.mark.parametrize(
    "turns",
    [
        ["text"],
        [answer("a", feedback="up"), 5],
        [{"role": "alien", "content": "x", "feedback": "up"}],
        [{"feedback": 1}],
    ],
)
def test_odd_turns_of_a_log_are_a_reason(turns: list) -> None:
    with pytest.raises(Unreadable):
        to_samples({"messages": turns, "feedback": "up"}, "s")


def test_calls_of_tools_are_no_regenerated_answers() -> None:
    call = answer("", tool_calls=[{"name": "f"}])
    row = {"messages": [user("q"), answer("wait"), call, {"role": "tool", "content": "5"}, answer("5", thumbs="up")]}
    assert made(row) == ["thumbs 5: q wait  5 5 +"]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [user("q"), answer("a", feedback=None)], "feedback": "thumbs_down"},
        {"messages": [user("q"), answer("a", feedback="up")], "feedback": "thumbs_down"},
        {"messages": [user("q"), answer("a", feedback="up", rating=1)]},
        {"messages": [user("q"), answer("a", feedback=None)], "label": False},
        {"messages": [user("q"), answer("a", feedback=None)], "kto_tag": False},
        {"messages": [user("q"), answer("a", metadata={"thumbs": "down"})]},
        {"messages": None, "conversations": [user("q"), answer("a", thumbs="down")]},
        {"prompt": "q", "completion": [answer("a", thumbs="down")]},
        {"messages": [user("q"), answer("a", thumbs="down", edited="  ")]},
        {"messages": [user("q"), answer("a", thumbs="down", edited="a\n")]},
        {"messages": [user("q"), answer("a", alternatives=[{"content": "a", "thumbs": "down"}])]},
        {"mapping": node("u", None, "user", "q") | node("a", "u", "assistant", "a"), "thumbs": "down"},
    ],
)
def test_a_disliked_answer_is_undesirable_wherever_the_mark_stands(row: dict) -> None:
    assert made(row, beginnings=True) == ["thumbs 2: q a -"]


def test_of_sibling_answers_in_a_tree_the_liked_one_is_preferred() -> None:
    liked = node("b", "u", "assistant", "b")
    liked["b"]["message"]["metadata"] = {"feedback": "thumbs_up"}
    tree = node("u", None, "user", "q") | liked | node("a", "u", "assistant", "a")
    assert made({"mapping": tree, "current_node": "a"}) == ["thumbs 2: q b +", "regenerations 2: q b > a"]


def test_nulls_of_a_tree_hide_no_mark_and_its_ratings_keep_their_scale() -> None:
    tree = node("u", None, "user", "q") | node("a", "u", "assistant", "a", rating=9, rating_scale=10)
    tree["a"]["message"] |= {"rating": None}
    assert made({"mapping": tree}) == ["thumbs 2: q a +"]
    tree["a"]["message"]["metadata"] = {"feedback": {"rating": 5}, "scale": 20}
    assert made({"mapping": tree}) == ["thumbs 2: q a -"]


@pytest.mark.parametrize(
    ("rating", "line"), [(1, "thumbs 2: q a -"), (5, "conversations 2: q a"), (9, "thumbs 2: q a +")]
)
def test_the_scale_of_a_row_is_that_of_its_turns(rating: int, line: str) -> None:
    assert made({"messages": [user("q"), answer("a", rating=rating)], "rating_scale": 10}) == [line]


def test_a_thumb_of_zero_is_down_only_where_a_scale_says_so() -> None:
    row = {"messages": [user("q"), answer("a", thumb=0)]}
    assert made(row) == ["conversations 2: q a"]
    assert made(row, scale=1) == made({**row, "scale": 1}) == ["thumbs 2: q a -"]
    assert made({"instruction": "q", "output": "a", "thumbs": 0}, scale=1) == ["thumbs 2: q a -"]


def test_a_disliked_answer_in_the_middle_is_in_no_desirable_text() -> None:
    turns = [user("q1"), answer("a1"), user("q2"), answer("a2", thumbs="down"), user("q3"), answer("a3", thumbs="up")]
    turns[5] |= {"alternatives": ["b3"]}
    assert made({"messages": turns}) == ["thumbs 4: q1 a1 q2 a2 -"]
    assert made({"messages": turns}, beginnings=True)[1:] == ["beginnings 2: q1 a1"]
    assert [text[:15] for text in made({"messages": turns}, afterwards=True)] == [
        "thumbs 4: q1 a1",
        "thumbs 6: q1 a1",
        "regenerations 6",
    ]


def test_a_thumbs_down_on_a_question_keeps_the_answers_around_it_out() -> None:
    turns = [user("q1"), answer("a1"), user("q2"), answer("a2"), {**user("q3"), "thumbs": "down"}, answer("a3")]
    assert made({"messages": turns}, beginnings=True) == ["beginnings 2: q1 a1"]


def test_an_answer_that_lost_to_a_liked_one_is_chosen_nowhere() -> None:
    others = [{"content": "liked", "thumbs": "up"}, "other"]
    assert made({"messages": [user("q"), answer("kept", alternatives=others)]}) == [
        "thumbs 2: q liked +",
        "regenerations 2: q liked > kept",
        "regenerations 2: q liked > other",
    ]


def test_a_thumbs_up_does_not_make_the_text_from_before_the_edit_desirable() -> None:
    row = {"messages": [user("q"), answer("a", thumbs="up", edited="b")]}
    assert made(row) == ["edits 2: q b > a", "conversations 2: q b"]


@pytest.mark.parametrize("other", ["a", " a\n"])
def test_a_regenerated_answer_equal_to_the_kept_one_makes_no_pair(other: str) -> None:
    assert made({"messages": [user("q"), answer("a", regenerations=[other])]}) == ["conversations 2: q a"]
    assert made({"messages": [user("q"), answer(other, feedback=None), answer("a")]}) == ["conversations 3: q a"]
    row = {"messages": [user("q"), answer("x", edited="a", regenerations=[other])]}
    assert made(row) == ["edits 2: q a > x", "conversations 2: q a"]


def test_an_edit_to_a_text_that_was_disliked_is_chosen_nowhere() -> None:
    others = [{"content": "b", "thumbs": "down"}]
    assert made({"messages": [user("q"), answer("a", edited="b", alternatives=others)]}) == ["thumbs 2: q b -"]


def test_two_rules_that_make_the_same_text_make_one_sample() -> None:
    row = {"messages": [user("q"), answer("a", thumbs="up")]}
    assert made(row) == ["thumbs 2: q a +"]
    assert made(row, thumbs=False) == ["conversations 2: q a"]
    twice = {"messages": [user("q"), answer("a", regenerations=["b", "b", {"content": "b", "thumbs": "down"}])]}
    assert made(twice) == ["thumbs 2: q b -", "regenerations 2: q a > b", "conversations 2: q a"]


def test_the_report_counts_by_rule_and_a_rerun_adds_nothing(tmp_path: Path) -> None:
    rows = [
        {"messages": [user("q1"), answer("a1", feedback="up")]},
        {"messages": [user("q2"), answer("a2", feedback="down", edited="b2")]},
        {"messages": [user("q3"), answer("a3")]},
    ]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus = Corpus.create(tmp_path / "c")
    report = ingest(corpus, [path]).files[0]
    assert report.rules == {"thumbs": 2, "edits": 1, "conversations": 1}
    assert report.shapes == {"log": 4, "messages": 1}
    assert ingest(corpus, [path]).added == 0
    assert ingest(Corpus.create(tmp_path / "d"), [path], rules=FeedbackRules(thumbs=False)).added == 4


def test_wrong_rules_are_two_lines() -> None:
    assert rules_from({"thumbs": "false", "scale": "10"}) == FeedbackRules(thumbs=False, scale=10)
    for settings in ({"thumb": "false"}, {"thumbs": "perhaps"}, {"scale": 0}):
        with pytest.raises(IngestError):
            rules_from(settings)


def test_every_rule_says_what_it_does() -> None:
    assert all(field.description for field in FeedbackRules.model_fields.values())
