"""Formats and encodings: what is read of a file, piece by piece, and what a damaged row costs."""

import gzip
import json
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from curation.corpus import Corpus
from curation.errors import IngestError
from curation.files import json_rows
from curation.files.reading import read_chunks
from curation.files.rows import BrokenRow, Numbered
from curation.ingestion import ingest
from tests.data import shared

ROWS = [{"instruction": f"q{i}", "turns": [{"n": i}], "output": f"a, [{i}] }}, {{"} for i in range(200)]


def rows_of(path: Path, encoding: str | None = None) -> list[Numbered]:
    return [row for chunk in read_chunks(path, encoding) for row in chunk]


def good(rows: list[Numbered]) -> list[Any]:
    return [row for _, row in rows if isinstance(row, dict)]


def broken(rows: list[Numbered]) -> list[tuple[int, str]]:
    return [(number, row.reason) for number, row in rows if isinstance(row, BrokenRow)]


# -------------------------------------------------------------------- long documents


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "WHOLE", 700)


LAYOUTS = [
    json.dumps(ROWS),
    json.dumps(ROWS, indent=4),
    '{"version": 1, "meta": {"of": [1, 2]}, "data": ' + json.dumps(ROWS) + ', "end": 3}',
    "\n".join(json.dumps(row, indent=1) for row in ROWS),
    "\ufeff" + json.dumps(ROWS, indent=1),
]


@pytest.mark.parametrize("text", LAYOUTS)
def test_a_document_is_read_piece_by_piece_whatever_its_layout(small_pieces: None, tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    rows = rows_of(tmp_path / "a.json")
    assert good(rows) == ROWS
    assert [number for number, _ in rows] == list(range(1, 201))


def test_an_element_longer_than_a_piece_is_read(small_pieces: None, tmp_path: Path) -> None:
    rows = [ROWS[0], {"instruction": "long " * 2000, "output": "x"}, ROWS[1]]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    assert good(rows_of(tmp_path / "a.json")) == rows


def test_damage_costs_the_same_elements_in_pieces_as_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng, path = random.Random(5), tmp_path / "a.json"
    for _ in range(40):
        data = bytearray(rng.choice(LAYOUTS[:3]).encode())
        for _ in range(rng.choice([1, 3])):
            place = rng.randrange(200, len(data) - 200)
            data[place : place + rng.choice([0, 1])] = rng.choice([b"", b'"', b"}", b"{", b"]", b"\xff", b"\\"])
        path.write_bytes(data)
        monkeypatch.setattr(json_rows, "WHOLE", 1 << 25)
        whole = rows_of(path)
        monkeypatch.setattr(json_rows, "WHOLE", rng.choice([700, 4000]))
        assert rows_of(path) == whole


def test_numbers_over_64_bits_and_nan_stay_in_pieces(small_pieces: None, tmp_path: Path) -> None:
    rows = json.dumps([*ROWS, {"instruction": 2**70, "n": float("nan")}, *ROWS])
    (tmp_path / "a.json").write_text(rows)
    assert good(rows_of(tmp_path / "a.json"))[200] == {"instruction": 2**70, "n": None}


def test_memory_does_not_grow_with_an_array(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "WHOLE", 1 << 20)
    monkeypatch.setattr("curation.files.reading.CHUNK_ROWS", 1000)

    def peak(rows: int) -> int:
        element = json.dumps({"instruction": "q" * 1000, "output": "a" * 1000})
        (tmp_path / "a.json").write_text("[" + ",\n".join([element] * rows) + "]")
        tracemalloc.start()
        assert sum(len(chunk) for chunk in read_chunks(tmp_path / "a.json")) == rows
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(12_000) < 1.2 * peak(4_000)


# -------------------------------------------------------------------- CSV


def csv_of(path: Path, text: str) -> list[Numbered]:
    path.write_text(text)
    return rows_of(path)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_quote_that_is_not_closed_costs_its_line(tmp_path: Path, delimiter: str) -> None:
    rows = ["instruction,output", "a,b", 'c,"open', "d,e", 'f,"g, ""h"""', 'i,"j\nk"']
    found = csv_of(tmp_path / "a.csv", "\n".join(rows).replace(",", delimiter) + "\n")
    assert [row["instruction"] for row in good(found)] == ["a", "d", "f", "i"]
    assert broken(found) == [(3, "a quote is not closed")]
    assert good(found)[3]["output"] == "j\nk"


def test_two_open_quotes_cost_two_lines(tmp_path: Path) -> None:
    found = csv_of(tmp_path / "a.csv", 'q,a\n1,"x\n2,y\n3,"z\n4,"w"\n5,v\n')
    assert [row["q"] for row in good(found)] == ["2", "4", "5"]
    assert broken(found) == [(2, "a quote is not closed"), (4, "a quote is not closed")]


def test_an_open_quote_at_the_end_of_a_long_file_costs_its_line(tmp_path: Path) -> None:
    found = csv_of(tmp_path / "a.csv", 'q,a\n"open,b\n' + "1,2\n" * 20_000)
    assert (len(good(found)), broken(found)) == (20_000, [(2, "a quote is not closed")])


def test_a_bare_quote_inside_quotes_is_taken_as_it_stands(tmp_path: Path) -> None:
    found = csv_of(tmp_path / "a.csv", 'q,a\n"say "hi" now",b\n1,2\n')
    assert [row["a"] for row in good(found)] == ["b", "2"]


def test_lists_of_turns_in_a_csv_are_conversations(tmp_path: Path) -> None:
    import csv

    turns = [{"role": "user", "content": 'a "quoted" word'}, {"role": "assistant", "content": "b"}]
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["messages", "label"], [json.dumps(turns), "True"]])
    corpus = Corpus.create(tmp_path / "c")
    assert ingest(corpus, [tmp_path / "a.csv"]).files[0].shapes == {"messages": 1}
    assert corpus.frame(["label"])["label"].to_list() == [True]


# -------------------------------------------------------------------- encodings

CHINESE = [{"instruction": "请介绍一下自己", "output": "我是一个语言模型，很高兴认识你。"} for _ in range(3)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("lines", [True, False])
def test_encodings_that_say_what_they_are_are_read(tmp_path: Path, encoding: str, lines: bool) -> None:
    text = "\n".join(json.dumps(r, ensure_ascii=False) for r in CHINESE) if lines else json.dumps(CHINESE)
    if encoding == "utf-32":
        text = text.replace("自己", "自己\U0001f600")
    (tmp_path / "a.json").write_bytes(text.encode(encoding))
    assert [row["output"] for row in good(rows_of(tmp_path / "a.json"))] == [CHINESE[0]["output"]] * 3


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.csv", "a.txt", "a.csv.gz"])
def test_chinese_in_gbk_is_refused_with_the_option_and_read_with_it(tmp_path: Path, name: str) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in CHINESE]
    text = {
        "json": f"[{','.join(lines)}]",
        "jsonl": "\n".join(lines),
        "txt": "床前明月光，疑是地上霜。",
    }.get(name.split(".")[1], "instruction,output\n你好，世界,再见\n")
    data = text.encode("gbk")
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    with pytest.raises(IngestError, match="GB18030") as error:
        rows_of(tmp_path / name)
    assert "--encoding gb18030" in error.value.fix
    rows = rows_of(tmp_path / name, "gb18030")
    assert broken(rows) == []
    assert all(value in text for row in good(rows) for value in row.values())


def test_a_real_chinese_file_is_the_same_in_every_encoding(tmp_path: Path) -> None:
    text = shared("data/alpaca_zh_demo.json").read_text()
    for encoding, named in (("utf-16", None), ("gb18030", "gb18030"), ("utf-8", None)):
        (tmp_path / "a.json").write_bytes(text.encode(encoding))
        assert good(rows_of(tmp_path / "a.json", named)) == json.loads(text)


def test_one_row_in_another_encoding_costs_itself(tmp_path: Path) -> None:
    lines = [json.dumps(row, ensure_ascii=False).encode() for row in CHINESE]
    lines[1] = lines[1].decode().encode("gbk")
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    assert broken(rows_of(tmp_path / "a.jsonl")) == [(2, "not valid UTF-8")]


def test_bytes_that_the_named_encoding_lacks_cost_their_row(tmp_path: Path) -> None:
    lines = [json.dumps(row, ensure_ascii=False).encode("gbk") for row in CHINESE]
    lines[1] = lines[1].replace(b'"output": "', b'"output": "\xff')
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    assert [number for number, _ in broken(rows_of(tmp_path / "a.jsonl", "gbk"))] == [2]


def test_an_encoding_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("{}")
    for name in ("gbk2", "rot13", "base64"):
        with pytest.raises(IngestError, match="no encoding"):
            rows_of(tmp_path / "a.jsonl", name)


# -------------------------------------------------------------------- plain text


def test_a_text_file_is_one_document(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("# Title\n\n[a link](x), words\n\nMore.\n")
    corpus = Corpus.create(tmp_path / "c")
    assert ingest(corpus, [tmp_path / "notes.md"]).files[0].shapes == {"document": 1}
    sample = corpus.sample(corpus.frame(["id"])["id"].item())
    assert (sample.instruction, sample.response) == ("", "# Title\n\n[a link](x), words\n\nMore.")


def test_a_text_file_is_parted_where_it_says_that_a_text_ends(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n<|endoftext|>\ntwo\nmore\n<|endoftext|>\n\n")
    assert rows_of(tmp_path / "a.txt") == [(1, {"text": "one"}), (3, {"text": "two\nmore"})]


def test_json_in_a_text_file_is_json(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(map(json.dumps, ROWS)))
    assert good(rows_of(tmp_path / "a.txt")) == ROWS


def test_a_text_too_long_for_one_document_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation.files.reading.LONGEST_TEXT", 1000)
    (tmp_path / "a.txt").write_text("line\n" * 1000)
    with pytest.raises(IngestError, match="too long for one document"):
        rows_of(tmp_path / "a.txt")
