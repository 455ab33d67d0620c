import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curation.actions import undo
from curation.corpus import Corpus
from curation.deciding import edit
from curation.errors import WinnowError
from curation.files.formats import as_alpaca, as_messages, as_preference, as_prompt_completion, as_sharegpt
from curation.ingestion import ingest
from curation.mixing import build_mix, export, load_mix
from curation.sample import Message, Sample, to_frame
from curation.selection import hold_out, select
from curation.selectors import Longest, Random
from studio.commands.mixes import part_of
from tests.curation.samples import corpus_of, pair


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    corpus = corpus_of(tmp_path / "c", [pair(f"q{i}", "a" * (i + 1), source="ab"[i % 2]) for i in range(40)])
    hold_out(corpus, 4)
    select(corpus, Longest(), 10, name="long")
    select(corpus, Random(), 10, name="any")
    return corpus


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_selection_becomes_the_files_of_a_mix(corpus: Corpus, tmp_path: Path) -> None:
    report = export(corpus, build_mix({"name": "m", "parts": [{"selection": "long"}]}), tmp_path / "out")
    rows = lines(tmp_path / "out" / "train.jsonl")
    assert {r["id"] for r in rows} == set(corpus.selection("long").ids)
    assert (report.rows, report.eval_rows, sum(report.by_source.values())) == (10, 4, 10)
    held = {r["id"] for r in lines(tmp_path / "out" / "eval.jsonl")}
    assert held == set(corpus.frame(["id"], where="held_out")["id"])
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["parts"][0]["operator"]["name"] == "longest"
    assert manifest["files"]["train"]["sha256"] == report.sha256
    assert manifest["tokens"]["train"] is None
    assert "winnow score" in manifest["tokens"]["reason"]


def test_the_random_rows_are_of_the_same_pool_and_a_little_more_text(corpus: Corpus, tmp_path: Path) -> None:
    export(corpus, build_mix({"name": "m", "parts": [{"selection": "any"}]}), tmp_path)
    held = {r["id"] for r in lines(tmp_path / "eval.jsonl")}
    rows = lines(tmp_path / "random.jsonl")
    assert not held & {r["id"] for r in rows}
    files = json.loads((tmp_path / "manifest.json").read_text())["files"]
    assert files["random"]["characters"] >= 1.3 * files["train"]["characters"]


def test_equal_mix_and_equal_corpus_give_equal_bytes(corpus: Corpus, tmp_path: Path) -> None:
    mix = build_mix({"name": "m", "parts": [{"selection": "long", "rows": 5}, {"where": "source = 'a'", "rows": 7}]})
    for name in ("one", "two"):
        export(corpus, mix, tmp_path / name)
    for file in ("train.jsonl", "eval.jsonl", "random.jsonl", "manifest.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_weights_are_shares_and_nothing_comes_twice(corpus: Corpus, tmp_path: Path) -> None:
    parts = [{"selection": "long", "weight": 2}, {"where": "source = 'a'", "weight": 1}]
    report = export(corpus, build_mix({"name": "m", "parts": parts}), tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert [part["rows"] for part in manifest["parts"]] == [10, 5]
    ids = [row["id"] for row in lines(tmp_path / "train.jsonl")]
    assert len(ids) == len(set(ids)) == report.rows == 15


def test_overlapping_parts_of_equal_weight_get_equal_rows_in_whatever_order_they_are_written(
    corpus: Corpus, tmp_path: Path
) -> None:
    parts = [{"where": "true", "weight": 1}, {"selection": "any", "weight": 1}, {"selection": "long", "weight": 1}]
    hashes, rows = set(), []
    for order in (parts, parts[::-1]):
        hashes.add(export(corpus, build_mix({"name": "m", "parts": order}), tmp_path).sha256)
        rows.append([p["rows"] for p in json.loads((tmp_path / "manifest.json").read_text())["parts"]])
    assert len(hashes) == 1
    assert all(max(r) - min(r) <= 1 and min(r) >= 3 for r in rows)


def test_a_weighted_part_that_others_used_up_is_named(corpus: Corpus, tmp_path: Path) -> None:
    parts = [{"selection": "long"}, {"selection": "long", "weight": 1}, {"selection": "any", "weight": 1}]
    with pytest.raises(WinnowError, match="'long' has no sample left to give: the other parts took them all"):
        export(corpus, build_mix({"name": "m", "parts": parts}), tmp_path)


def test_rows_of_a_selection_are_its_best(corpus: Corpus, tmp_path: Path) -> None:
    export(corpus, build_mix({"name": "m", "parts": [{"selection": "long", "rows": 3}]}), tmp_path)
    assert {r["id"] for r in lines(tmp_path / "train.jsonl")} == set(corpus.selection("long").ids[:3])


def test_without_held_out_samples_the_evaluation_takes_what_the_mix_left_and_says_so(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", [pair(f"q{i}", "a") for i in range(10)])
    select(corpus, Random(), 6, name="six")
    report = export(corpus, build_mix({"name": "m", "parts": [{"selection": "six"}]}), tmp_path / "out")
    assert report.eval_rows == 4
    assert "winnow hold-out" in report.notes[0]


def test_a_mix_that_fits_no_row_leaves_the_earlier_files_as_they_were(corpus: Corpus, tmp_path: Path) -> None:
    fields = {"name": "m", "parts": [{"selection": "long"}]}
    export(corpus, build_mix(fields), tmp_path)
    with pytest.raises(WinnowError, match="fits the format"):
        export(corpus, build_mix({**fields, "format": "preference"}), tmp_path)
    assert len(lines(tmp_path / "train.jsonl")) == 10


def choice(question: str) -> Sample:
    return pair(question, "good", rejected=(Message("assistant", "bad"),))


def test_pairs_are_evaluated_on_pairs_that_the_mix_left_where_none_is_held_out(tmp_path: Path) -> None:
    plain = [pair(f"p{i}", "a", source="plain") for i in range(4)]
    corpus = corpus_of(tmp_path / "c", [*plain, *(choice(f"q{i}") for i in range(30))])
    corpus.hold_out([plain[0].id])
    select(corpus, Random(), 20, name="pairs", where="rejected IS NOT NULL")
    mix = {"name": "m", "parts": [{"selection": "pairs"}], "format": "preference"}
    report = export(corpus, build_mix(mix), tmp_path / "out")
    assert (report.rows, report.eval_rows) == (20, 2)
    assert not {r["id"] for r in lines(tmp_path / "out" / "eval.jsonl")} & set(corpus.selection("pairs").ids)
    assert report.notes[0].startswith("none of the 1 held-out samples fits the format preference: eval.jsonl has 2")


def test_an_evaluation_that_stays_empty_says_why_and_how_to_mend_it(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", [choice(f"q{i}") for i in range(20)])
    mix = build_mix({"name": "m", "parts": [{"where": "true"}], "format": "preference"})
    why = export(corpus, mix, tmp_path / "one").notes[0]
    assert why.startswith("eval.jsonl is empty, as the mix took every sample; ")
    assert why.endswith(f"winnow hold-out {corpus.path} 2")
    plain = pair("p", "a")
    corpus.add(to_frame([plain]))
    corpus.hold_out([plain.id])
    why = export(corpus, mix, tmp_path / "two").notes[0]
    assert "none of the 1 held-out samples fits the format preference" in why
    assert why.endswith(f"winnow hold-out {corpus.path} 3")


def test_what_a_held_out_sample_asks_is_not_trained_on(tmp_path: Path) -> None:
    asked = [pair("Who are you?", "I"), pair("who  are you? ", "me"), choice("Who are you?"), pair("Why?", "so")]
    corpus = corpus_of(tmp_path / "c", asked)
    corpus.hold_out([asked[0].id])
    report = export(corpus, build_mix({"name": "m", "parts": [{"where": "true"}]}), tmp_path / "out")
    assert [r["id"] for r in lines(tmp_path / "out" / "train.jsonl")] == [asked[3].id]
    assert [r["id"] for r in lines(tmp_path / "out" / "random.jsonl")] == [asked[3].id]
    assert "2 samples of the parts are left out: they ask what a held-out sample asks" in report.notes


def test_what_a_held_out_sample_asked_before_it_was_edited_may_be_trained_on(tmp_path: Path) -> None:
    held, twin = pair("Who are you?", "I"), pair("who are you?", "me")
    corpus = corpus_of(tmp_path / "c", [held, twin, pair("Why?", "so")])
    corpus.hold_out([held.id])
    edit(corpus, held.id, instruction="What is this?")
    report = export(corpus, build_mix({"name": "m", "parts": [{"where": "true"}]}), tmp_path / "out")
    assert twin.id in [r["id"] for r in lines(tmp_path / "out" / "train.jsonl")]
    assert not [n for n in report.notes if "held-out" in n]


def test_a_selected_version_that_was_taken_back_counts_as_the_one_before_it(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", [pair("q", "a"), pair("q2", "a2")])
    first = corpus.frame(["id"])["id"][0]
    edit(corpus, first, response="better")
    select(corpus, Random(), 2, name="s")
    undo(corpus)
    mix = build_mix({"name": "m", "parts": [{"selection": "s"}]})
    report = export(corpus, mix, tmp_path / "out")
    assert {r["id"] for r in lines(tmp_path / "out" / "train.jsonl")} == set(corpus.frame(["id"])["id"])
    assert report.notes[0] == (
        "1 samples of the selections had their rewriting undone since: the version before it is taken"
    )
    assert not [n for n in report.notes if "dropped" in n]
    edit(corpus, first, response="best")
    assert export(corpus, mix, tmp_path / "again").rows == 2
    assert "best" in (tmp_path / "again" / "train.jsonl").read_text()


def test_a_folder_that_can_not_be_made_is_two_lines(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(WinnowError, match="can't be written"):
            export(corpus, build_mix({"name": "m", "parts": [{"selection": "long"}]}), folder)


@pytest.mark.parametrize("text", ["[1]", "3", "{", "null"])
def test_a_recipe_that_is_no_object_is_two_lines(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(WinnowError, match=r"m\.json"):
        load_mix(tmp_path / "m.json")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a", {"selection": "a"}),
        ("a=500", {"selection": "a", "rows": 500}),
        ("a=x2.5", {"selection": "a", "weight": 2.5}),
        ("a=5", {"selection": "a=5"}),
        ("a=5=7", {"selection": "a=5", "rows": 7}),
        ("where:turns=2", {"where": "turns=2"}),
        ("where:source = 'x2' AND turns=2", {"where": "source = 'x2' AND turns=2"}),
    ],
)
def test_a_part_is_a_selection_with_an_amount_or_a_whole_condition(text: str, part: dict[str, Any]) -> None:
    assert part_of(text, ["a", "a=5"]) == part


@pytest.mark.parametrize("text", ["a=2.7", "a=0", "a=-1", "a=", "a=many", "a=x0", "a=xinf", "a=x", "where: "])
def test_a_part_with_no_usable_amount_is_two_lines(text: str) -> None:
    with pytest.raises(WinnowError, match="--part"):
        part_of(text, ["a"])


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "m", "parts": [{"selection": "nope"}]}, "Unknown selection"),
        ({"name": "m", "parts": [{"selection": "long", "rows": 11}]}, "11 are asked for"),
        ({"name": "m", "parts": [{"selection": "long"}], "format": "parquet"}, "Unknown format"),
        ({"name": "m", "parts": [{"selection": "long"}], "format": "preference"}, "not a preference pair: 10"),
        ({"name": "m", "parts": [{}]}, "either a selection or a condition"),
        ({"name": "m", "parts": []}, "at least 1"),
        ({"name": "m", "parts": [{"selection": "long"}, {"selection": "long", "rows": 2}]}, "which has 0 left"),
        ({"name": "m", "parts": [{"where": "false"}]}, "have no samples"),
        ({"name": "m", "parts": [{"where": "true", "weight": float("inf")}]}, "finite"),
        ({"name": "../m", "parts": [{"selection": "long"}]}, "path separator"),
        ({"name": "..", "parts": [{"selection": "long"}]}, "begins with a dot"),
    ],
)
def test_a_mix_that_can_not_be_made_is_two_lines(corpus: Corpus, tmp_path: Path, fields: dict, message: str) -> None:
    with pytest.raises(WinnowError, match=message):
        export(corpus, build_mix(fields), tmp_path)


TALK = Sample(
    (
        Message("system", "s"),
        Message("user", "q1"),
        Message("assistant", "a1"),
        Message("user", "q2"),
        Message("assistant", "a2"),
    ),
    rejected=(Message("assistant", "b2"),),
)


def test_each_format_holds_the_whole_conversation() -> None:
    turns = [{"role": m.role, "content": m.content} for m in TALK.messages]
    assert as_messages(TALK) == {"messages": turns}
    assert as_prompt_completion(TALK) == {"prompt": turns[:4], "completion": turns[4:]}
    assert as_preference(TALK) == {
        "prompt": turns[:4],
        "chosen": turns[4:],
        "rejected": [{"role": "assistant", "content": "b2"}],
    }
    assert as_alpaca(TALK) == {
        "instruction": "q2",
        "input": "",
        "output": "a2",
        "system": "s",
        "history": [["q1", "a1"]],
    }
    assert as_sharegpt(TALK) == {
        "conversations": [
            {"from": f, "value": m.content}
            for f, m in zip(("system", "human", "gpt", "human", "gpt"), TALK.messages, strict=True)
        ]
    }


def test_what_a_format_can_not_hold_is_skipped_with_a_reason() -> None:
    asked = Sample((Message("user", "q"),))
    tool = Sample(
        (Message("user", "q"), Message("assistant", "", None, "[]"), Message("tool", "t"), Message("assistant", "a"))
    )
    assert as_prompt_completion(asked) == "it has no answer"
    assert as_preference(pair("q", "a")) == "it is not a preference pair"
    assert as_alpaca(tool) == "it calls tools"


def spoken(words: str) -> tuple[Message, ...]:
    """`u1 a1` as turns: the first letter is the role, the word the content."""
    roles = {"u": "user", "a": "assistant", "b": "assistant", "c": "assistant", "t": "tool"}
    return tuple(Message(roles[w[0]], w, None, "[]" if w[0] == "c" else None) for w in words.split())


@pytest.mark.parametrize(
    ("messages", "rejected", "prompt"),
    [
        ("u1 a1", "b1", 1),
        ("u1 a1 u2 a2", "b1 u2 b2", 1),
        ("u1 a1 u2 a2 u3 a3", "b2 u3 b3", 3),
        ("u1 a1 u2 a2", "b2", 3),
        ("u1 c1 t1 a", "c2 t2 b", 1),
        ("u1 a", "c2 t2 b", 1),
    ],
)
def test_the_chosen_side_begins_where_the_rejected_one_does(messages: str, rejected: str, prompt: int) -> None:
    row = as_preference(Sample(spoken(messages), rejected=spoken(rejected)))
    assert isinstance(row, dict)
    assert [m["content"] for m in row["prompt"]] == messages.split()[:prompt]
    assert [m["content"] for m in row["chosen"]] == messages.split()[prompt:]
    assert [m["content"] for m in row["rejected"]] == rejected.split()


@pytest.mark.parametrize(
    ("messages", "rejected", "reason"),
    [
        ("u1 a1", "a1 u2 a2", "can't be told apart"),
        ("u1 c1 t1 a1", "a2", "can't be told apart"),
        ("u1 a1", "u2 a2", "does not begin with an answer"),
        ("u1 a1 u2", "a2", "no answer"),
    ],
)
def test_a_pair_whose_sides_do_not_begin_at_one_place_is_skipped(messages: str, rejected: str, reason: str) -> None:
    assert reason in str(as_preference(Sample(spoken(messages), rejected=spoken(rejected))))


SFT = (as_messages, as_prompt_completion, as_alpaca, as_sharegpt)


@pytest.mark.parametrize("format_of", SFT)
def test_what_should_not_be_imitated_is_skipped_with_a_reason(format_of: Callable[[Sample], Any]) -> None:
    assert format_of(pair("q", "a", label=False)) == "it is labelled undesirable"
    assert format_of(pair("q", " ")) == "its answer is empty"
    assert format_of(Sample((Message("user", "q"),))) == "it has no answer"
    assert isinstance(format_of(pair("q", "a", label=True)), dict)


def test_what_alpaca_and_sharegpt_can_not_hold_is_skipped_not_cut() -> None:
    thought = Sample((Message("user", "q"), Message("assistant", "a", "hm")))
    spoken_call = Sample((Message("user", "q"), Message("assistant", "wait", None, "[]")))
    late = Sample((Message("user", "q"), Message("system", "s"), Message("assistant", "a")))
    cant = "which the format can't hold"
    assert as_sharegpt(thought) == as_alpaca(thought) == f"it has reasoning, {cant}"
    assert as_sharegpt(spoken_call) == f"it has text beside a tool call, {cant}"
    assert as_alpaca(pair("q", "a", tools="[]")) == f"it has tools, {cant}"
    assert as_alpaca(late) == "its system message does not come first"


@pytest.mark.parametrize("format_name", ["messages", "prompt-completion"])
def test_reasoning_and_tool_calls_come_back_whole(tmp_path: Path, format_name: str) -> None:
    calls = '[{"function": {"arguments": "{}", "name": "f"}}]'
    turns = (*spoken("u1"), Message("assistant", "wait", "hm", calls), *spoken("t1"), Message("assistant", "a", "so"))
    sample = Sample(turns, tools='[{"name": "f"}]')
    corpus = corpus_of(tmp_path / "c", [sample])
    export(corpus, build_mix({"name": "m", "parts": [{"where": "true"}], "format": format_name}), tmp_path / "out")
    again = Corpus.create(tmp_path / "again")
    ingest(again, [tmp_path / "out" / "train.jsonl"])
    assert again.frame(["id"])["id"].to_list() == [sample.id]


@pytest.mark.parametrize("format_name", ["messages", "alpaca", "sharegpt", "prompt-completion"])
def test_an_exported_mix_can_be_ingested_again_as_the_same_samples(
    corpus: Corpus, tmp_path: Path, format_name: str
) -> None:
    mix = build_mix({"name": "m", "parts": [{"selection": "long"}], "format": format_name})
    export(corpus, mix, tmp_path / "out")
    again = Corpus.create(tmp_path / "again")
    ingest(again, [tmp_path / "out" / "train.jsonl"])
    assert set(again.frame(["id"])["id"]) == set(corpus.selection("long").ids)


def test_an_alpaca_input_comes_out_as_it_went_in(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"instruction": "Add.", "input": "2 and 3", "output": "5"}\n')
    corpus = Corpus.create(tmp_path / "c")
    ingest(corpus, [tmp_path / "a.jsonl"])
    export(corpus, build_mix({"name": "m", "parts": [{"where": "true"}], "format": "alpaca"}), tmp_path / "out")
    row = lines(tmp_path / "out" / "train.jsonl")[0]
    assert (row["instruction"], row["input"], row["output"]) == ("Add.", "2 and 3", "5")
