"""Some 500 damaged and made-up files: each is ingested, rejected row by row, or refused in two lines."""

import functools
import gzip
import io
import itertools
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.corpus import Corpus
from curation.errors import WinnowError
from curation.ingestion import FileReport, ingest
from tests.data import SHARED

DEMO = Path(__file__).resolve().parents[2] / "studio" / "demo"
ONE_ROW_ONE_SAMPLE = {"alpaca", "prompt-completion", "question-answer", "messages", "sharegpt", "preference"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corpus]:
    corpus = Corpus.create(tmp_path_factory.mktemp("fuzz") / "corpus")
    with corpus.database.held():
        corpus.database.run("SET threads = 1")  # hundreds of tiny files: threads only wait for each other
        yield corpus


def outcome(corpus: Corpus, content: bytes, name: str = "a.json") -> FileReport | WinnowError:
    """What becomes of a file; anything but these two is a bug. The corpus holds what the report says."""
    path = corpus.path.parent / name
    path.write_bytes(content)
    before = stored(corpus)
    try:
        report = ingest(corpus, [path]).files[0]
    except WinnowError as error:
        lines = str(error).split("\n")
        assert len(lines) <= 2, lines
        return error
    samples, rejected = (now - then for now, then in zip(stored(corpus), before, strict=True))
    assert samples == report.added
    assert 0 <= rejected <= report.rejected  # the same row is kept once
    return report


def stored(corpus: Corpus) -> tuple[int, int]:
    """Samples and rejected rows in the corpus."""
    return corpus.query("SELECT (SELECT count(*) FROM samples), (SELECT count(*) FROM rejected)").row(0)


def total(report: FileReport) -> int:
    return report.added + report.duplicates + report.rejected


# ---------------------------------------------------------------- real files, damaged


@functools.cache
def real_rows() -> list[list[dict[str, Any]]]:
    """A few rows of every real file there is: those that lie beside the repository, and the demo's own."""
    found = []
    for path in sorted([*(SHARED / "data").glob("*.json*"), *DEMO.glob("*.jsonl")]):
        with path.open("rb") as file:
            start = file.read(200_000)
        if start[:1] == b"[":
            rows, at = [], 1
            while len(rows) < 8:
                start_of = start.find(b"{", at)
                row, size = json.JSONDecoder().raw_decode(start[start_of:].decode(errors="ignore"))
                rows.append(row)
                at = start_of + len(start[start_of:].decode(errors="ignore")[:size].encode())
        else:
            rows = [row for line in start.splitlines()[:8] if (row := parsed(line))]
        found.append(rows)
    return found


def parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def as_parquet(rows: list[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pl.DataFrame(rows, strict=False, infer_schema_length=None).write_parquet(buffer)
    return buffer.getvalue()


def as_csv(rows: list[dict[str, Any]]) -> bytes:
    flat = [{k: v if isinstance(v, str) else json.dumps(v) for k, v in row.items()} for row in rows]
    return pl.DataFrame(flat, strict=False, infer_schema_length=None).write_csv(quote_style="necessary").encode()


def as_lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


FORMATS: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "lines": as_lines,
    "array": lambda rows: json.dumps(rows, ensure_ascii=False).encode(),
    "indented": lambda rows: json.dumps(rows, indent=2).encode(),
    "wrapped": lambda rows: json.dumps({"version": 1, "data": rows}).encode(),
    "csv": as_csv,
    "parquet": as_parquet,
    "gzip": lambda rows: gzip.compress(as_lines(rows), mtime=0),
    "zstd": lambda rows: zstandard.compress(as_lines(rows)),
}


def cut(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(1, len(data))]


def flipped(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 3, 30))):
        changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def hole(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + data[at + rng.randrange(1, 200) :]


def stutter(data: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + data[max(0, at - 100) :]


INSERTED = (
    b"\x00", b"\x00" * 40, b"\xff\xfe", b"\xef\xbb\xbf", b"\xe9", "é".encode("utf-16"), b"\\ud800", b'"', b'""', b"'",
    b"\\", b"\r", b"\r\n", b"\n", b"\n\n", b"}", b"]", b"{", b"[", b"[" * 2000, b'{"a":' * 2000, b",", b",,", b";",
    b"\t", b":", b"null", b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"\xe2\x80\xa8", b"\x1e\x1f\x1d", b"//", b"#",
)  # fmt: skip


def inserted(data: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.choice((1, 2))):
        at = rng.randrange(len(data) + 1)
        data = data[:at] + rng.choice(INSERTED) + data[at:]
    return data


def revalued(data: bytes, rng: random.Random) -> bytes:
    """Another value in the place of a string."""
    import re

    found = list(re.finditer(rb'"[^"\\]*"', data))
    if not found:
        return inserted(data, rng)
    place = rng.choice(found)
    values = (
        b"null",
        b"[]",
        b"{}",
        b"true",
        b"1.5",
        b"[null]",
        b'{"a":{"b":[]}}',
        b"[[[[]]]]",
        b'""',
        b'" "',
        b'"\\u0000"',
    )
    return data[: place.start()] + rng.choice(values) + data[place.end() :]


DAMAGES = (cut, flipped, hole, stutter, inserted, revalued)
RECODED = ("utf-16", "utf-16-le", "utf-32", "gbk", "latin-1", "cp1252")


@pytest.mark.parametrize("format_name", FORMATS)
def test_damaged_real_files(corpus: Corpus, format_name: str) -> None:
    seen: Counter[str] = Counter()
    for number, rows in enumerate(real_rows()):
        whole = FORMATS[format_name](rows)
        rng = random.Random(f"{format_name} {number}")
        damage = rng.choice(DAMAGES)
        content = damage(whole, rng)
        if format_name in ("gzip", "zstd") and rng.random() < 0.5:  # damaged before it was packed
            damaged = damage(as_lines(rows), rng)
            content = gzip.compress(damaged, mtime=0) if format_name == "gzip" else zstandard.compress(damaged)
        found = outcome(corpus, content)
        seen[type(found).__name__] += 1
        lines = sum(bool(line.strip(b"\xef\xbb\xbf \t\r\n")) for line in content.split(b"\n"))
        if format_name == "lines" and isinstance(found, FileReport) and lines > 2 and is_lines(content, found):
            assert total(found) == lines, content[:2000]
    assert seen["FileReport"] > 0
    assert format_name == "lines" or seen["IngestError"] > 0


def is_lines(content: bytes, report: FileReport) -> bool:
    """Whether damage left a file of lines one, of rows that are one sample each."""
    first, second = [line for line in content.split(b"\n") if line.strip()][:2]
    whole = isinstance(parsed(first), dict) or (first[:1] == b"{" and first[-1:] == b"}" and second[:1] == b"{")
    return whole and set(report.shapes) <= ONE_ROW_ONE_SAMPLE


def test_real_files_in_other_encodings(corpus: Corpus) -> None:
    for rows, encoding in zip(real_rows(), itertools.cycle(RECODED), strict=False):
        outcome(corpus, as_lines(rows).decode().encode(encoding, "replace"))


def test_undamaged_real_files_lose_nothing(corpus: Corpus) -> None:
    plain = [rows for rows in real_rows() if {"instruction", "output"} <= rows[0].keys()]
    for rows, (name, form) in itertools.product(plain[:2], FORMATS.items()):
        found = outcome(corpus, form(rows))
        assert isinstance(found, FileReport), (name, found)
        assert (total(found), found.rejected) == (len(rows), 0), name


# ---------------------------------------------------------------- made-up rows

NAMES = st.sampled_from([
    "instruction", "input", "output", "response", "prompt", "completion", "question", "answer", "messages",
    "conversations", "chosen", "rejected", "system", "tools", "label", "tags", "source", "history", "instances", "text",
    "role", "content", "from", "value", "id", "feedback", "tool_calls", "reasoning", "", "a.b", "语言", "reason",
])  # fmt: skip
TEXTS = st.text(max_size=12) | st.sampled_from(["user", "assistant", "human", "gpt", "\x00", "[", '{"a": 1}', "null"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
ROLES = st.sampled_from(["user", "assistant", "system", "tool", "human", "gpt", "function_call", "observation", "?"])
TURNS = st.lists(
    st.fixed_dictionaries({"role": ROLES | VALUES, "content": TEXTS | VALUES}, optional={"tool_calls": VALUES}),
    max_size=4,
)
ROWS = st.dictionaries(NAMES, VALUES, max_size=5) | st.fixed_dictionaries(
    {}, optional={"messages": TURNS, "instruction": TEXTS, "output": VALUES, "chosen": TURNS, "rejected": TURNS}
)
QUICK = settings(
    max_examples=75, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


@QUICK
@given(rows=st.lists(ROWS | VALUES, min_size=1, max_size=4), lines=st.booleans(), ascii_only=st.booleans())
def test_rows_of_any_values(corpus: Corpus, rows: list[Any], lines: bool, ascii_only: bool) -> None:
    texts = [json.dumps(row, ensure_ascii=ascii_only) for row in rows]
    text = "\n".join(texts) if lines else f"[{', '.join(texts)}]"
    found = outcome(corpus, text.encode("utf-8", "surrogatepass"))
    if isinstance(found, FileReport) and not lines and set(found.shapes) <= ONE_ROW_ONE_SAMPLE:
        assert total(found) == len(rows)


@QUICK
@given(text=st.text(alphabet=st.sampled_from('"",;\t\n\r {}[]:ab中\\\'0'), max_size=60), headed=st.booleans())
def test_text_of_quotes_separators_and_brackets(corpus: Corpus, text: str, headed: bool) -> None:
    outcome(corpus, (f"instruction,output\n{text}" if headed else text).encode(), "a.csv")


@QUICK
@given(
    rows=st.lists(st.dictionaries(NAMES, SCALARS | st.lists(SCALARS, max_size=2), max_size=4), min_size=1, max_size=4)
)
def test_parquet_of_any_columns(corpus: Corpus, rows: list[dict[str, Any]]) -> None:
    try:
        content = as_parquet(rows)
    except (pl.exceptions.PolarsError, TypeError, OverflowError):
        return  # no table can hold these
    found = outcome(corpus, content)
    if isinstance(found, FileReport) and set(found.shapes) <= ONE_ROW_ONE_SAMPLE:
        assert total(found) == len(rows)


@QUICK
@given(
    content=st.binary(max_size=80), magic=st.sampled_from([b"", b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1", b"{", b"["])
)
def test_any_bytes(corpus: Corpus, content: bytes, magic: bytes) -> None:
    outcome(corpus, magic + content)


@pytest.mark.parametrize(
    "row",
    [
        '{"instruction": "a", "instruction": "b", "output": "c"}',
        '{"messages": [{"role": "user", "role": "assistant", "content": "a", "content": "b"}]}',
        '{"instruction": "a", "output": "b", "deep": ' + '{"a":' * 400 + "1" + "}" * 400 + "}",
        '{"instruction": "a", "output": ' + "[" * 900 + "]" * 900 + "}",
        '{"instruction": "\\u0000", "output": "\\u0000"}',
        '{"instruction": null, "output": null, "messages": null}',
        '{"messages": [null, [null], {"role": null}]}',
        '{"chosen": {"role": "user"}, "rejected": [[[]]], "prompt": {}}',
    ],
)
def test_twice_named_deep_and_empty_values(corpus: Corpus, row: str) -> None:
    found = outcome(corpus, f'{row}\n{{"instruction": "fine {hash(row)}", "output": "b"}}\n'.encode())
    assert isinstance(found, FileReport)
    assert total(found) == 2


def test_a_line_of_50_megabytes_is_a_line(corpus: Corpus) -> None:
    long = b'{"instruction": "long", "output": "' + b"word " * 10_000_000 + b'"}\n'
    found = outcome(corpus, b"{broken\n" + long + b'{"instruction": "after", "output": "b"}\n')
    assert isinstance(found, FileReport)
    assert (found.added, found.rejected) == (2, 1)


def test_what_was_ingested_can_be_read_back(corpus: Corpus) -> None:
    from curation.sample import from_row

    frame = corpus.frame(where="response_chars < 1e6")
    for row in frame.iter_rows(named=True):
        assert from_row(row).id == row["id"]
    assert frame.height > 100
