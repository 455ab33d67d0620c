import json
from pathlib import Path
from typing import Any

import pytest

from curation.corpus import Corpus
from curation.errors import WinnowError
from curation.formats import as_alpaca, as_messages, as_preference, as_prompt_completion, as_sharegpt
from curation.ingestion import ingest
from curation.mixing import build_mix, export
from curation.sample import Message, Sample
from curation.selection import hold_out, select
from curation.selectors import Longest, Random
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


def test_rows_of_a_selection_are_its_best(corpus: Corpus, tmp_path: Path) -> None:
    export(corpus, build_mix({"name": "m", "parts": [{"selection": "long", "rows": 3}]}), tmp_path)
    assert {r["id"] for r in lines(tmp_path / "train.jsonl")} == set(corpus.selection("long").ids[:3])


def test_without_held_out_samples_the_evaluation_takes_what_the_mix_left_and_says_so(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", [pair(f"q{i}", "a") for i in range(10)])
    select(corpus, Random(), 6, name="six")
    report = export(corpus, build_mix({"name": "m", "parts": [{"selection": "six"}]}), tmp_path / "out")
    assert report.eval_rows == 4
    assert "winnow hold-out" in report.notes[0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": "m", "parts": [{"selection": "nope"}]}, "Unknown selection"),
        ({"name": "m", "parts": [{"selection": "long", "rows": 11}]}, "11 are asked for"),
        ({"name": "m", "parts": [{"selection": "long"}], "format": "parquet"}, "Unknown format"),
        ({"name": "m", "parts": [{"selection": "long"}], "format": "preference"}, "not a preference pair: 10"),
        ({"name": "m", "parts": [{}]}, "either a selection or a condition"),
        ({"name": "m", "parts": []}, "at least 1"),
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
