"""How a row of each shape becomes samples, and comes out of the formats again."""

import json
from pathlib import Path
from typing import Any

import pytest

from curation.corpus import Corpus
from curation.errors import IngestError
from curation.files.formats import (
    FORMATS,
    as_alpaca,
    as_messages,
    as_preference,
    as_prompt_completion,
    as_sharegpt,
    as_text,
    as_unpaired_preference,
)
from curation.files.reading import read_chunks
from curation.files.shapes import Unreadable, columns_of, renamed, shape_of, to_sample, to_samples
from curation.ingestion import ingest
from curation.sample import Message, Sample
from tests.curation.samples import pair
from tests.data import shared


def said(sample: Sample) -> str:
    """`user Q | assistant A`."""
    return " | ".join(f"{m.role} {m.content}" for m in sample.messages)


def again(row: Any) -> Sample:
    """The sample that an exported row is read as."""
    assert isinstance(row, dict)
    return to_sample(json.loads(json.dumps(row)), "again")


ASKED, YES, NO = ({"role": r, "content": c} for r, c in (("user", "Q?"), ("assistant", "A"), ("assistant", "B")))


# -------------------------------------------------------------------- several samples per row


def test_each_instance_of_an_instruction_is_a_sample() -> None:
    row = {
        "id": "seed_1",
        "instruction": "Add.",
        "instances": [{"input": "2 and 3", "output": "5"}, {"input": "", "output": "?"}],
    }
    first, second = to_samples(row, "s")
    assert (said(first), said(second)) == ("user Add.\n\n2 and 3 | assistant 5", "user Add. | assistant ?")
    assert first.metadata == {"id": "seed_1", "instance": 1, "input": "2 and 3"}
    assert first.shape == "instances"


def test_instances_of_one_text_are_one_sample() -> None:
    same = {"input": "", "output": "5"}
    assert len(to_samples({"instruction": "Add.", "instances": [same, same]}, "s")) == 1


def test_real_instances_come_in_whole(tmp_path: Path) -> None:
    file = shared("data/selfinstruct_seed.jsonl")
    instances = sum(len(json.loads(line)["instances"]) for line in file.read_text().splitlines())
    report = ingest(Corpus.create(tmp_path / "c"), [file])
    assert (report.files[0].shapes, report.rejected) == ({"instances": instances}, 0)


@pytest.mark.parametrize("instances", [["text"], [{"input": "x"}], [{"output": {"a": 1}}], []])
def test_an_instance_without_an_output_is_a_reason(instances: list) -> None:
    with pytest.raises(Unreadable):
        to_samples({"instruction": "Add.", "instances": instances}, "s")


# -------------------------------------------------------------------- preferences


@pytest.mark.parametrize(
    ("verdict", "chosen"),
    [(1, "one"), (2.0, "two"), (1.4586, "one"), ("1.9", "two"), ("model_a", "one"), ("B", "two")],
)
def test_of_two_answers_the_preferred_one_is_chosen(verdict: object, chosen: str) -> None:
    row = {"instruction": "Q?", "output_1": "one", "output_2": "two", "generator_1": "x", "preference": verdict}
    sample = to_sample(row, "s")
    assert (sample.response, sample.rejected) == (
        chosen,
        (Message("assistant", "two" if chosen == "one" else "one"),),
    )
    assert sample.metadata == {"generator_1": "x", "preference": verdict}
    assert sample.shape == "compared"


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [(1.5, "a tie"), ("tie (bothbad)", "a tie"), (0, "not between 1"), ("neither", "names neither"), (True, "neither")],
)
def test_a_verdict_for_neither_answer_is_a_reason(verdict: object, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        to_sample({"instruction": "Q?", "output_1": "one", "output_2": "two", "preference": verdict}, "s")


@pytest.mark.parametrize(("verdict", "chosen"), [(-3, "one"), (1, "two")])
def test_an_overall_preference_is_negative_for_the_first_answer(verdict: int, chosen: str) -> None:
    row = {"prompt": "Q?", "response1": "one", "response2": "two", "overall_preference": verdict}
    assert to_sample(row, "s").response == chosen


def test_the_best_answer_is_preferred_to_each_worse_one() -> None:
    row = {"prompt": "Q?", "responses": ["bad", "best", "fair", "best too"], "scores": [1, 5, 3, 5]}
    made = to_samples(row, "s")
    assert [(s.response, s.rejected[0].content) for s in made if s.rejected] == [("best", "bad"), ("best", "fair")]
    assert made[0].metadata == {"chosen_score": 5, "rejected_score": 1}


@pytest.mark.parametrize(
    "row",
    [
        {"responses": ["worse", "better"], "ranks": [2, 1]},
        {"responses": [{"text": "worse", "score": 0.1}, {"text": "better", "score": 0.9}]},
        {"completions": [{"response": "worse", "overall_score": "3"}, {"response": "better", "overall_score": "8.5"}]},
        {"answers": [[NO | {"content": "worse"}], [YES | {"content": "better"}]], "scores": [0, 1]},
    ],
)
def test_ranks_and_scores_are_found_where_they_stand(row: dict) -> None:
    assert to_sample({"instruction": "Q?"} | row, "s").response == "better"


@pytest.mark.parametrize(
    ("scores", "reason"), [([1, 1], "same score"), ([1], "2 answers and 1 scores"), ([1, "x"], "not a number")]
)
def test_answers_without_an_order_are_a_reason(scores: list, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason):
        to_samples({"prompt": "Q?", "responses": ["a", "b"], "scores": scores}, "s")


def test_transcripts_of_human_and_assistant_are_conversations() -> None:
    begun = "\n\nHuman: Hi\n\nAssistant: Yes?\n\nHuman: Why? \n\nAssistant:"
    sample = to_sample({"chosen": f"{begun} Because.\n\nOf it.", "rejected": f"{begun} No."}, "s")
    assert said(sample) == "user Hi | assistant Yes? | user Why? | assistant Because.\n\nOf it."
    assert sample.rejected == (Message("assistant", "No."),)


def test_sharegpt_turns_as_chosen_and_rejected_objects() -> None:
    row = {
        "conversations": [{"from": "human", "value": "Q?"}],
        "chosen": {"from": "gpt", "value": "A"},
        "rejected": {"from": "gpt", "value": "B"},
    }
    sample = to_sample(row, "s")
    assert (said(sample), sample.rejected) == ("user Q? | assistant A", (Message("assistant", "B"),))
    assert again(as_preference(sample)).id == sample.id


def test_real_preferences_agree_with_their_numbers() -> None:
    rows = [row for _, row in next(read_chunks(shared("data/alpaca_eval/preferences.parquet")))[:200]]
    for row in rows:
        sample = to_sample(row, "s")
        assert sample.response == (row["output_1"] if row["preference"] < 1.5 else row["output_2"])


# -------------------------------------------------------------------- labels


@pytest.mark.parametrize(
    ("label", "desirable"),
    [(True, True), (0, False), (1.0, True), ("desirable", True), ("Undesirable", False), ("False", False)],
)
@pytest.mark.parametrize("column", ["label", "kto_tag"])
def test_a_judged_answer_keeps_its_label_through_an_export(label: object, desirable: bool, column: str) -> None:
    sample = to_sample({"messages": [ASKED, YES], column: label}, "s")
    assert (sample.label, sample.metadata) == (desirable, {})
    row = as_unpaired_preference(sample)
    assert row == {"prompt": [ASKED], "completion": [YES], "label": desirable}
    assert again(row).id == sample.id


def test_a_label_that_is_no_judgement_stays_in_metadata() -> None:
    assert to_sample({"messages": [ASKED, YES], "label": 7}, "s").metadata == {"label": 7}
    assert to_sample({"text": "A review.", "label": 1}, "s").metadata == {"label": 1}


def test_messages_of_a_desirable_sample_keep_its_label() -> None:
    sample = pair("q", "a", label=True)
    assert again(as_messages(sample)).id == sample.id
    assert as_unpaired_preference(pair("q", "a")) == "it has no label"


def test_real_judged_conversations_come_back_with_the_same_ids() -> None:
    rows = [row for _, row in next(read_chunks(shared("data/kto_en_demo.json")))]
    samples = [to_sample(row, "s") for row in rows]
    assert {s.label for s in samples} == {True, False}
    assert [again(as_unpaired_preference(s)).id for s in samples] == [s.id for s in samples]


# -------------------------------------------------------------------- turns

CALL = [{"id": "call_1", "type": "function", "function": {"name": "sum", "arguments": "{}"}}]


def test_names_and_ids_of_tool_calls_come_back_and_are_no_part_of_the_id() -> None:
    turns = [
        {"role": "user", "content": "2+3?", "name": "Ann"},
        {"role": "assistant", "content": None, "tool_calls": CALL},
        {"role": "tool", "content": "5", "tool_call_id": "call_1", "name": "sum"},
        {"role": "assistant", "content": "5", "time": 12},
    ]
    sample = to_sample({"messages": turns, "tools": [{"name": "sum"}]}, "s")
    assert sample.metadata["turn_details"]["2"] == {"tool_call_id": "call_1", "name": "sum"}
    assert sample.metadata["turn_details"]["3"] == {"time": 12}
    row = as_messages(sample)
    assert isinstance(row, dict)
    assert row["messages"][2] == turns[2]
    assert row["messages"][0] == turns[0]
    assert again(row).id == sample.id
    plain = [{k: v for k, v in t.items() if k in ("role", "content", "tool_calls")} for t in turns]
    assert to_sample({"messages": plain, "tools": [{"name": "sum"}]}, "s").id == sample.id


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content", "thinking"])
def test_reasoning_is_read_under_each_of_its_names(name: str) -> None:
    sample = to_sample({"messages": [ASKED, YES | {name: "hm"}]}, "s")
    assert sample.messages[1] == Message("assistant", "A", "hm")
    assert sample.metadata == {}


def test_reasoning_among_the_parts_of_a_content_is_reasoning() -> None:
    parts = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "A"}]
    assert to_sample({"messages": [ASKED, YES | {"content": parts}]}, "s").messages[1] == Message(
        "assistant", "A", "hm"
    )


def test_thoughts_inside_a_content_stay_there() -> None:
    text = "<think>hm</think>A"
    assert to_sample({"messages": [ASKED, YES | {"content": text}]}, "s").response == text


def test_a_function_call_in_the_old_way_is_a_tool_call() -> None:
    turn = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    message = to_sample({"messages": [ASKED, turn]}, "s").messages[1]
    assert (message.content, message.tool_calls) == ("", '{"arguments": "{}", "name": "f"}')


def test_sharegpt_with_system_tools_calls_and_observations_comes_back() -> None:
    row = {
        "system": "Be kind.",
        "tools": '[{"name": "f"}]',
        "conversations": [
            {"from": "human", "value": "Q?"},
            {"from": "function_call", "value": '{"name": "f", "arguments": {}}'},
            {"from": "observation", "value": "5"},
            {"from": "gpt", "value": "A"},
        ],
    }
    sample = to_sample(row, "s")
    assert [m.role for m in sample.messages] == ["system", "user", "assistant", "tool", "assistant"]
    assert again(as_sharegpt(sample)).id == again(as_messages(sample)).id == sample.id


def test_a_list_of_turns_in_a_text_is_read() -> None:
    assert said(to_sample({"messages": json.dumps([ASKED, YES])}, "s")) == "user Q? | assistant A"
    with pytest.raises(Unreadable, match="no JSON list"):
        to_sample({"messages": "[{nope"}, "s")


# -------------------------------------------------------------------- documents


def test_a_text_alone_is_a_document_that_only_the_text_format_holds() -> None:
    sample = to_sample({"text": "### Human: Hi", "title": "A day at sea", "url": "x"}, "s")
    assert (sample.instruction, sample.response, sample.shape) == ("", "### Human: Hi", "document")
    assert sample.metadata == {"title": "A day at sea", "url": "x"}
    assert as_text(sample) == {"text": "### Human: Hi"}
    assert again(as_text(sample)).id == sample.id
    for chat in (as_messages, as_prompt_completion, as_alpaca, as_sharegpt):
        assert chat(sample) == "it is a document, which only the format text can hold"
    assert as_text(pair("q", "a")) == "it is a conversation, not a document"


@pytest.mark.parametrize("row", [{"text": "A story.", "summary": "It ends."}, {"role": "user", "content": "Hi you"}])
def test_a_text_beside_what_may_answer_it_is_no_document(row: dict) -> None:
    assert shape_of(row) is None
    assert shape_of(renamed(row, {"text": next(iter(row))}), {"text": next(iter(row))}) == "document"


# -------------------------------------------------------------------- the field map


def test_a_map_reaches_into_columns() -> None:
    row = {"data": {"question": "Q?", "best": ["A a", "B b"]}, "n": 1}
    sample = to_sample(row, "s", {"instruction": "data.question", "response": "data.best.1"})
    assert (said(sample), sample.metadata) == ("user Q? | assistant B b", row)
    assert columns_of(row) == ["data", "data.question", "data.best", "data.best.0", "data.best.1", "n"]


def test_a_column_with_a_dot_in_its_name_comes_first() -> None:
    row = {"a.b": "flat", "a": {"b": "nested"}}
    assert renamed(row, {"prompt": "a.b"})["prompt"] == "flat"


def test_a_question_that_the_user_names_may_stand_beside_anything() -> None:
    row = {"turns": ["Write a poem.", "Now a prose."], "reference": []}
    assert said(to_sample(row, "s", {"prompt": "turns.0"})) == "user Write a poem."
    with pytest.raises(Unreadable):
        to_sample(row, "s")


def test_a_file_of_nested_columns_is_refused_with_their_paths(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"data": {"ask": "how are you", "reply": "I am fine"}}\n')
    corpus = Corpus.create(tmp_path / "c")
    with pytest.raises(IngestError, match=r"data, data\.ask, data\.reply"):
        ingest(corpus, [tmp_path / "a.jsonl"])
    fields = {"instruction": "data.ask", "response": "data.reply"}
    assert ingest(corpus, [tmp_path / "a.jsonl"], fields=fields).added == 1


@pytest.mark.parametrize("name", FORMATS)
def test_no_format_takes_a_sample_without_any_text(name: str) -> None:
    assert isinstance(FORMATS[name](Sample((Message("user", ""),))), str)
