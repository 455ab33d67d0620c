import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import zstandard

from curation.corpus import Corpus
from curation.errors import IngestError
from curation.files.reading import read_chunks
from curation.files.shapes import to_sample
from curation.ingestion import ingest, one_ahead, plain_pairs
from curation.sample import Message, to_frame
from tests.data import shared

ALPACA = {"instruction": "Add.", "input": "2 and 3", "output": "5"}


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus.create(tmp_path / "corpus")


def write(path: Path, *rows: object) -> Path:
    path.write_text(
        "".join((row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)) + "\n" for row in rows)
    )
    return path


def turns(corpus: Corpus) -> list[list[tuple[str, str]]]:
    return [[(m["role"], m["content"]) for m in messages] for messages in corpus.frame(["messages"])["messages"]]


@pytest.mark.parametrize(
    ("row", "shape", "said"),
    [
        (ALPACA, "alpaca", [("user", "Add.\n\n2 and 3"), ("assistant", "5")]),
        ({"instruction": "Hi", "response": "Yo"}, "alpaca", [("user", "Hi"), ("assistant", "Yo")]),
        ({"prompt": "Hi", "completion": "Yo"}, "prompt-completion", [("user", "Hi"), ("assistant", "Yo")]),
        ({"question": "1+1?", "answer": 2}, "question-answer", [("user", "1+1?"), ("assistant", "2")]),
        (
            {
                "conversations": [
                    {"from": "system", "value": "Be kind."},
                    {"from": "human", "value": "你好"},
                    {"from": "gpt", "value": "好"},
                ]
            },
            "sharegpt",
            [("system", "Be kind."), ("user", "你好"), ("assistant", "好")],
        ),
        (
            {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]},
            "messages",
            [("user", "Hi"), ("assistant", "Yo")],
        ),
        ({"prompt": "Hi", "chosen": "Yo", "rejected": "No"}, "preference", [("user", "Hi"), ("assistant", "Yo")]),
        ({"instruction": "Only asked"}, "alpaca", [("user", "Only asked")]),
    ],
)
def test_every_shape_becomes_turns(corpus: Corpus, tmp_path: Path, row: dict, shape: str, said: list) -> None:
    report = ingest(corpus, [write(tmp_path / "a.jsonl", row)])
    assert report.files[0].shapes == {shape: 1}
    assert turns(corpus) == [said]


def test_preference_pairs_keep_the_rejected_turns_and_find_the_prompt_they_share(
    corpus: Corpus, tmp_path: Path
) -> None:
    asked, yes, no = (
        {"role": "user", "content": "Q"},
        {"role": "assistant", "content": "A"},
        {"role": "assistant", "content": "B"},
    )
    ingest(corpus, [write(tmp_path / "p.jsonl", {"chosen": [asked, yes], "rejected": [asked, no]})])
    sample = corpus.sample(corpus.frame()["id"][0])
    assert sample.messages == (Message("user", "Q"), Message("assistant", "A"))
    assert sample.rejected == (Message("assistant", "B"),)


@pytest.mark.parametrize("suffix", ["json", "jsonl", "jsonl.gz", "jsonl.zst", "parquet", "csv"])
def test_the_same_rows_in_every_format_are_the_same_samples(corpus: Corpus, tmp_path: Path, suffix: str) -> None:
    rows = [{"instruction": f"Say {i}, 请", "input": "", "output": f"line\n{i}"} for i in range(3)]
    path = tmp_path / f"a.{suffix}"
    lines = "".join(json.dumps(r) + "\n" for r in rows).encode()
    match suffix:
        case "json":
            path.write_text(json.dumps(rows, indent=1))
        case "jsonl":
            path.write_bytes(lines)
        case "jsonl.gz":
            path.write_bytes(gzip.compress(lines))
        case "jsonl.zst":
            path.write_bytes(zstandard.compress(lines))
        case "parquet":
            pl.DataFrame(rows).write_parquet(path)
        case "csv":
            pl.DataFrame(rows).write_csv(path)
    report = ingest(corpus, [path])
    assert (report.added, report.rejected) == (3, 0)
    assert corpus.frame(["response"])["response"].to_list() == ["line\n0", "line\n1", "line\n2"]
    assert corpus.frame(["id"])["id"][0] == to_sample(rows[0], "x").id


def test_ingesting_twice_adds_nothing(corpus: Corpus, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", ALPACA, ALPACA | {"output": "6"}, ALPACA)
    assert ingest(corpus, [path]).duplicates == 1
    again = ingest(corpus, [path])
    assert (again.added, again.duplicates, corpus.count()) == (0, 3, 2)


def test_equal_text_has_equal_id_whatever_its_shape(corpus: Corpus, tmp_path: Path) -> None:
    one = write(tmp_path / "a.jsonl", {"instruction": "Hi", "output": "Yo"})
    two = write(
        tmp_path / "b.jsonl",
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yo"}], "n": 1},
    )
    assert ingest(corpus, [one, two]).added == 1
    assert corpus.query("SELECT source, metadata FROM duplicates").rows() == [("b", '{"n":1}')]


def test_unknown_fields_are_kept_as_metadata_and_tags_as_tags(corpus: Corpus, tmp_path: Path) -> None:
    ingest(corpus, [write(tmp_path / "a.jsonl", ALPACA | {"tags": ["sum"], "stars": 4, "nested": {"a": [1]}})])
    sample = corpus.sample(corpus.frame()["id"][0])
    assert sample.metadata == {"stars": 4, "nested": {"a": [1]}, "input": "2 and 3"}
    assert sample.tags == ("sum",)


def test_a_broken_line_is_rejected_with_its_number_and_the_others_stay(corpus: Corpus, tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl", ALPACA, '{"instruction": "a \\d b"}', "", "[1]", ALPACA | {"output": None, "input": 3}
    )
    report = ingest(corpus, [path])
    assert (report.added, report.rejected) == (2, 2)
    assert corpus.rejected()["line"].to_list() == [2, 4]
    ingest(corpus, [path])
    assert corpus.rejected().height == 2


def test_a_broken_element_of_an_array_does_not_cost_the_others(corpus: Corpus, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(
        '[{"instruction": "a", "output": "b"},\n {"instruction": "c", "output": nope},\n'
        '{"instruction": "d", "output": "e"}]'
    )
    report = ingest(corpus, [path])
    assert (report.added, report.rejected) == (2, 1)
    assert corpus.rejected()["line"].to_list() == [2]


@pytest.mark.parametrize(
    ("turn", "reason"),
    [
        ({"role": "alien", "content": "x"}, "unknown role 'alien'"),
        ({"role": "user", "content": {"a": 1}}, "content is an object, not text"),
        ("text", "a turn is str"),
        ({"role": "user", "content": [{"type": "image"}]}, "not text"),
    ],
)
def test_a_row_with_a_wrong_value_is_rejected_with_the_reason(
    corpus: Corpus, tmp_path: Path, turn: object, reason: str
) -> None:
    ingest(corpus, [write(tmp_path / "a.jsonl", {"messages": [turn]}, ALPACA)])
    assert reason in corpus.rejected()["reason"][0]


def test_a_file_of_no_known_shape_names_its_columns_and_the_option(corpus: Corpus, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"ask": "how are you", "reply": "I am fine"})
    with pytest.raises(IngestError, match="its columns are: ask, reply") as error:
        ingest(corpus, [path])
    assert "--map instruction=COLUMN" in error.value.fix
    assert ingest(corpus, [path], fields={"instruction": "ask", "response": "reply"}).added == 1
    assert turns(corpus) == [[("user", "how are you"), ("assistant", "I am fine")]]


def test_a_prompt_beside_unknown_text_is_not_taken_for_a_prompt_alone(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(IngestError, match="canonical_solution"):
        ingest(corpus, [write(tmp_path / "a.jsonl", {"prompt": "def f():", "canonical_solution": "return 1 + 1"})])


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02\x03garbage", b"PAR1broken", b"\x1f\x8bbroken"])
def test_a_file_that_can_not_be_read_is_refused_in_two_lines(corpus: Corpus, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(IngestError):
        ingest(corpus, [tmp_path / "x"])


def test_a_missing_file_and_a_folder_are_refused(corpus: Corpus, tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.json", tmp_path):
        with pytest.raises(IngestError):
            ingest(corpus, [path])


@pytest.mark.parametrize(
    "name", ["alpaca_zh_demo.json", "gsm8k_test.jsonl", "gpteacher_roleplay.json", "code_alpaca_2k.json"]
)
def test_the_fast_way_in_makes_the_same_samples_as_the_careful_one(name: str) -> None:
    chunk = next(read_chunks(shared(f"data/{name}")))
    fast = plain_pairs(chunk, "s")
    careful = to_frame([to_sample(row, "s") for _, row in chunk], [number for number, _ in chunk])
    assert fast is not None
    assert fast.equals(careful)


def test_real_broken_escapes_are_rejected_line_by_line(corpus: Corpus) -> None:
    path = shared("data/instructionwild_broken_escapes.jsonl")
    broken = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            json.loads(line)
        except ValueError:
            broken.append(number)
    report = ingest(corpus, [path])
    assert broken
    assert corpus.rejected()["line"].to_list() == broken
    assert report.added + report.duplicates + len(broken) == len(path.read_text().splitlines())


@pytest.mark.parametrize(
    ("name", "rows"),
    [
        ("dpo_en_demo.json", 300),
        ("kto_en_demo.json", 300),
        ("glaive_toolcall_en_demo.json", 300),
        ("fastchat_dummy.json", 500),
    ],
)
def test_real_files_of_every_shape_come_in_whole(corpus: Corpus, name: str, rows: int) -> None:
    report = ingest(corpus, [shared(f"data/{name}")])
    assert report.added + report.duplicates == rows
    assert report.rejected == 0


def test_reading_ahead_keeps_the_order_and_fails_after_what_came_before() -> None:
    def values() -> Iterator[int]:
        yield from range(3)
        raise ValueError("the file ends in the middle")

    ahead = one_ahead(values())
    assert [next(ahead), next(ahead), next(ahead)] == [0, 1, 2]
    with pytest.raises(ValueError, match="in the middle"):
        next(ahead)
