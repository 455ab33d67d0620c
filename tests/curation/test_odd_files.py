"""Files as users have them: cut, damaged, of two minds. Nothing is lost in silence, nothing is a traceback."""

import json
import time
from pathlib import Path

import pytest
import zstandard

from curation.corpus import Corpus
from curation.errors import IngestError
from curation.ingestion import ingest
from curation.sample import Message, Sample, canonical_text


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return Corpus.create(tmp_path / "corpus")


def write(path: Path, *rows: object) -> Path:
    lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
    path.write_text("".join(line + "\n" for line in lines))
    return path


def turns(sample: Sample) -> list[str]:
    return [m.role for m in sample.messages]


def only(corpus: Corpus) -> Sample:
    return corpus.sample(corpus.frame(["id"])["id"].item())


ASKED, YES, NO = ({"role": r, "content": c} for r, c in (("user", "Q?"), ("assistant", "A"), ("assistant", "B")))


@pytest.mark.parametrize("prompt", ["Q?", [ASKED], "Something else"])
def test_a_prompt_that_chosen_and_rejected_repeat_comes_once(corpus: Corpus, tmp_path: Path, prompt: object) -> None:
    ingest(corpus, [write(tmp_path / "a.jsonl", {"prompt": prompt, "chosen": [ASKED, YES], "rejected": [ASKED, NO]})])
    sample = only(corpus)
    assert turns(sample) == ["user", "assistant"]
    assert sample.rejected == (Message("assistant", "B"),)


def test_a_preference_pair_after_plain_pairs_is_a_preference_pair(corpus: Corpus, tmp_path: Path) -> None:
    plain = {"instruction": "a", "output": "b", "chosen": None, "rejected": None}
    pair = {"instruction": "c", "output": "", "chosen": "d", "rejected": "e"}
    assert ingest(corpus, [write(tmp_path / "a.jsonl", plain, pair)]).files[0].shapes == {"alpaca": 1, "preference": 1}


def test_which_answer_counts_does_not_depend_on_the_first_row(corpus: Corpus, tmp_path: Path) -> None:
    rows = [{"instruction": "a", "output": None, "response": "x"}, {"instruction": "b", "output": "y", "response": "z"}]
    ingest(corpus, [write(tmp_path / "a.jsonl", *rows)])
    assert corpus.frame(["response"])["response"].to_list() == ["x", "y"]


def test_an_input_that_a_shape_does_not_know_is_kept(corpus: Corpus, tmp_path: Path) -> None:
    ingest(corpus, [write(tmp_path / "a.jsonl", {"prompt": "p", "completion": "c", "input": "keep me"})])
    assert only(corpus).metadata == {"input": "keep me"}


def test_a_column_whose_name_is_mapped_to_another_is_kept(corpus: Corpus, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"instruction": "mine", "question": "q", "answer": "a"})
    ingest(corpus, [path], fields={"instruction": "question", "response": "answer"})
    assert only(corpus).metadata == {"original_instruction": "mine"}


def test_a_first_line_longer_than_any_buffer_is_a_line(corpus: Corpus, tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.jsonl",
        {"instruction": "a" * 3_000_000, "output": "b"},
        "{broken",
        {"instruction": "c", "output": "d"},
    )
    report = ingest(corpus, [path])
    assert (report.added, report.rejected) == (2, 1)
    assert corpus.rejected()["line"].to_list() == [2]


def test_a_zst_file_that_was_cut_is_refused_and_what_came_before_stays(corpus: Corpus, tmp_path: Path) -> None:
    rows = b"".join(json.dumps({"instruction": f"q{i}", "output": "a"}).encode() + b"\n" for i in range(200_000))
    packed = zstandard.compress(rows)
    (tmp_path / "a.zst").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(IngestError, match="ends in the middle"):
        ingest(corpus, [tmp_path / "a.zst"])
    (tmp_path / "a.zst").write_bytes(packed + zstandard.compress(b'{"instruction": "last", "output": "one"}\n'))
    ingest(corpus, [tmp_path / "a.zst"])
    assert corpus.count() == 200_001


def test_what_is_no_object_in_an_array_is_rejected_also_beside_nan(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(
        '[{"instruction": "a", "output": "b", "n": NaN}, "str", 5, [1], null, {"instruction": "c", "output": "d"}]'
    )
    report = ingest(corpus, [tmp_path / "a.json"])
    assert (report.added, report.rejected) == (2, 4)
    assert corpus.query("SELECT metadata FROM samples ORDER BY position").rows()[0] == ('{"n":null}',)


def test_a_wrapped_array_with_nan_is_unwrapped(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(
        '{"data": [{"instruction": "a", "output": "b", "n": NaN}, {"instruction": "c", "output": "d"}]}'
    )
    assert ingest(corpus, [tmp_path / "a.json"]).added == 2


def test_bytes_of_another_encoding_are_rejected_in_an_array_as_in_lines(corpus: Corpus, tmp_path: Path) -> None:
    row = '{"instruction": "caf\xe9", "output": "b"}'.encode("latin-1")
    (tmp_path / "a.json").write_bytes(b"[" + row + b', {"instruction": "c", "output": "d"}]')
    (tmp_path / "b.jsonl").write_bytes(row + b'\n{"instruction": "e", "output": "f"}\n')
    report = ingest(corpus, [tmp_path / "a.json", tmp_path / "b.jsonl"])
    assert (report.added, report.rejected) == (2, 2)
    assert set(corpus.rejected()["reason"]) == {"not valid UTF-8"}


def test_a_broken_conversation_in_an_array_is_one_rejected_row(corpus: Corpus, tmp_path: Path) -> None:
    broken = '{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": nope}]}'
    (tmp_path / "a.json").write_text(f'[{broken}, {{"instruction": "c", "output": "d"}}]')
    report = ingest(corpus, [tmp_path / "a.json"])
    assert (report.added, report.rejected) == (1, 1)


def test_many_broken_elements_take_time_in_proportion(corpus: Corpus, tmp_path: Path) -> None:
    def seconds(n: int) -> float:
        rows = ",\n".join(
            '{"instruction": "a' + str(i) + '", "output": ' + ("nope}" if i % 2 else '"b"}') for i in range(n)
        )
        (tmp_path / f"{n}.json").write_text(f"[{rows}]")
        begun = time.perf_counter()
        assert ingest(corpus, [tmp_path / f"{n}.json"]).rejected == n // 2
        return time.perf_counter() - begun

    seconds(100)
    assert seconds(16_000) < 16 * seconds(2_000)


def test_numbers_over_64_bits_stay_as_they_are(corpus: Corpus, tmp_path: Path) -> None:
    ingest(
        corpus, [write(tmp_path / "a.jsonl", {"question": "q", "answer": 123456789012345678901234567890, "key": 2**70})]
    )
    sample = only(corpus)
    assert (sample.response, sample.metadata) == ("123456789012345678901234567890", {"key": 2**70})


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('{"instruction": "x \\ud800 y", "output": "a"}', "surrogate"),
        ('{"instruction": "x", "output": "a", "note": "\\udfff"}', "surrogate"),
        ('{"messages": [{"role": "user", "content": "a", "reasoning": {"b": 1}}]}', "reasoning is an object"),
        ('{"instruction": "a", "output": "b", "history": 5}', "history is not a list"),
        ('{"instruction": "a", "output": "b", "deep": ' + "[" * 1000 + "]" * 1000 + "}", "nested too deeply"),
        ('{"instruction": "a", "output": "b", "deep": ' + "[" * 99_999 + "]" * 99_999 + "}", "not valid JSON|nested"),
    ],
)
def test_a_value_that_no_sample_can_hold_costs_its_row_and_no_other(
    corpus: Corpus, tmp_path: Path, row: str, reason: str
) -> None:
    import re

    report = ingest(corpus, [write(tmp_path / "a.jsonl", row, {"instruction": "c", "output": "d"})])
    assert (report.added, report.rejected) in {(1, 1), (2, 0)}
    assert report.added == 2 or re.search(reason, corpus.rejected()["reason"][0])
    assert corpus.count("metadata->>'$.x' IS NULL") == report.added


def test_separators_in_a_text_do_not_make_two_samples_one() -> None:
    plain = canonical_text([Message("user", "a"), Message("assistant", "b")])
    sly = canonical_text([Message("user", "a\x1eassistant\x1fb")])
    escaped = canonical_text([Message("user", "a\x1b1eassistant\x1b1fb")])
    assert len({plain, sly, escaped}) == 3


def test_the_same_file_under_two_paths_is_rejected_once(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.jsonl", {"instruction": "a", "output": "b"}, "{broken")
    monkeypatch.chdir(tmp_path)
    ingest(corpus, [path])
    ingest(corpus, ["a.jsonl"])
    assert corpus.rejected().height == 1


def test_a_row_with_two_questions_goes_by_the_one_that_is_answered(corpus: Corpus, tmp_path: Path) -> None:
    ingest(
        corpus, [write(tmp_path / "a.jsonl", {"instruction": "be kind to people", "prompt": "p", "completion": "c"})]
    )
    assert only(corpus).shape == "prompt-completion"


def test_csv_with_semicolons_and_spaces_in_its_header_is_read(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('instruction; output\n"a; b";c\nonly one field\n')
    report = ingest(corpus, [tmp_path / "a.csv"])
    assert (report.added, report.rejected) == (1, 1)
    assert only(corpus).instruction == "a; b"


def test_csv_with_two_columns_of_one_name_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("instruction,output,output\na,b,c\n")
    with pytest.raises(IngestError, match="two columns 'output'"):
        ingest(corpus, [tmp_path / "a.csv"])


def test_tools_written_in_two_ways_are_the_same_sample(corpus: Corpus, tmp_path: Path) -> None:
    talk = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}
    ingest(
        corpus,
        [write(tmp_path / "a.jsonl", talk | {"tools": '[{"b": 1, "a": 2}]'}, talk | {"tools": [{"a": 2, "b": 1}]})],
    )
    assert corpus.count() == 1


GOOD = [{"instruction": f"q{i}", "output": f"a{i}"} for i in range(30)]


@pytest.mark.parametrize(
    "broken",
    [
        '{"instruction": "no end, "output": "a"}',
        '{"instruction": "q", "output": "a"',
        '{"instruction": "q", "output": ["a"]]}',
        '{"instruction": "q", "turns": [{"a": 1}, {"a": 2}, "output": nope}',
        '{"instruction": "q", "output": "a"}}, nope',
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
def test_a_quote_or_bracket_that_is_missing_costs_one_element(
    corpus: Corpus, tmp_path: Path, broken: str, indent: int | None
) -> None:
    some = json.dumps(GOOD, indent=indent)
    (tmp_path / "a.json").write_text(f"{some[:-1].rstrip()}, {broken}, {some[1:].replace('q', 'r')}")
    report = ingest(corpus, [tmp_path / "a.json"])
    assert corpus.count("instruction LIKE 'q_%' OR instruction LIKE 'r_%'") == 60
    assert report.rejected == 1


@pytest.mark.parametrize(
    "text",
    [
        '{"data": [\n' + ",\n".join(map(json.dumps, GOOD)) + "\n]}",
        '{"version": 1, "data": ' + json.dumps(GOOD) + "}",
        "\n".join(json.dumps(row, indent=1) for row in GOOD),
        "".join(json.dumps(row) + ",\n" for row in GOOD),
        json.dumps(GOOD, indent=4),
        "\n\n" + "\n\n".join(map(json.dumps, GOOD)),
    ],
)
def test_rows_are_found_however_they_are_laid_out(corpus: Corpus, tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    report = ingest(corpus, [tmp_path / "a.json"])
    assert (report.added, report.rejected) == (30, 0)


def test_a_broken_element_of_a_wrapped_array_costs_no_other(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"version": 1, "data": [{"instruction": nope}, ' + json.dumps(GOOD)[1:] + "}")
    report = ingest(corpus, [tmp_path / "a.json"])
    assert (report.added, report.rejected) == (30, 1)


def test_one_row_whose_chosen_turns_are_a_list_is_no_wrapper(corpus: Corpus, tmp_path: Path) -> None:
    ingest(corpus, [write(tmp_path / "a.jsonl", {"prompt": "Q?", "chosen": [ASKED, YES], "rejected": "B"})])
    assert turns(only(corpus)) == ["user", "assistant"]


def test_a_prompt_that_conversations_say_otherwise_is_kept(corpus: Corpus, tmp_path: Path) -> None:
    ingest(corpus, [write(tmp_path / "a.jsonl", {"prompt": "Else", "chosen": [ASKED, YES], "rejected": [ASKED, NO]})])
    assert only(corpus).metadata == {"prompt": "Else"}


def test_what_chosen_and_rejected_share_after_the_prompt_belongs_to_it(corpus: Corpus, tmp_path: Path) -> None:
    row = {"prompt": [ASKED], "chosen": [ASKED, YES, ASKED, YES], "rejected": [ASKED, YES, ASKED, NO]}
    ingest(corpus, [write(tmp_path / "a.jsonl", row)])
    assert only(corpus).rejected == (Message("assistant", "B"),)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"messages": [ASKED, YES | {"reasoning": 5}]}, "reasoning is int, not text"),
        ({"messages": [ASKED, YES | {"tool_calls": 5}]}, "tool_calls is int, not a list"),
        ({"messages": [ASKED, YES | {"tool_calls": True}]}, "tool_calls is a boolean, not a list"),
        ({"messages": [ASKED, YES], "tools": "5"}, "tools is int, not a list"),
        ({"messages": [ASKED, YES], "tools": "[" * 100_000}, "tools is nested too deeply"),
        ({"conversations": [{"from": "function_call", "value": None}]}, "has no content"),
        ({"instruction": "q", "output": "a", "n": 10**4299}, "4,300 digits"),
    ],
)
def test_values_of_odd_types_are_rejected_with_their_reason(
    corpus: Corpus, tmp_path: Path, row: dict, reason: str
) -> None:
    text = json.dumps(row).replace("0" * 4299, "0" * 4300)
    ingest(corpus, [write(tmp_path / "a.jsonl", text, GOOD[0])])
    assert reason in corpus.rejected()["reason"].item()


def test_no_tools_is_the_same_however_it_is_written(corpus: Corpus, tmp_path: Path) -> None:
    rows = [{"messages": [ASKED, YES]} | tools for tools in ({}, {"tools": []}, {"tools": "[]"}, {"tools": None})]
    assert ingest(corpus, [write(tmp_path / "a.jsonl", *rows)]).added == 1


def test_half_a_surrogate_pair_in_an_array_costs_its_element(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"instruction": "\ud800", "output": "a"}, 5, GOOD[0]]))
    assert ingest(corpus, [tmp_path / "a.json"]).added == 1
    assert ["surrogate" in reason for reason in corpus.rejected()["reason"]] == [True, False]


def test_nan_is_not_an_answer(corpus: Corpus, tmp_path: Path) -> None:
    ingest(corpus, [write(tmp_path / "a.jsonl", '{"instruction": "q", "output": NaN}')])
    assert only(corpus).response == ""


def test_a_map_to_a_column_that_a_row_lacks_leaves_the_row_as_it_is(corpus: Corpus, tmp_path: Path) -> None:
    ingest(corpus, [write(tmp_path / "a.jsonl", GOOD[0])], fields={"output": "answer"})
    assert only(corpus).response == "a0"


def test_nothing_is_committed_when_one_of_the_files_is_missing(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(IngestError, match="no file"):
        ingest(corpus, [write(tmp_path / "a.jsonl", GOOD[0]), tmp_path / "nowhere.jsonl"])
    assert corpus.count() == 0


def test_csv_is_read_below_blank_lines_and_with_separators_in_quoted_names(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('\n"some, more, notes";instruction;output\nx;a;b\ny;a\n')
    ingest(corpus, [tmp_path / "a.csv"])
    assert only(corpus).metadata == {"some, more, notes": "x"}
    assert corpus.rejected()["line"].to_list() == [4]


def test_a_parquet_text_that_is_not_utf_8_costs_its_row(corpus: Corpus, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    ends = pa.array([0, 1, 3], pa.int32()).buffers()[1]
    asked = pa.StringArray.from_buffers(2, ends, pa.py_buffer(b"a\xff\xfe"))
    pq.write_table(pa.table({"instruction": asked, "output": ["x", "y"]}), tmp_path / "a.parquet")
    report = ingest(corpus, [tmp_path / "a.parquet"])
    assert (report.added, report.rejected) == (1, 1)
