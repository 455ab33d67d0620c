"""Statistics of texts: each by hand, and all against counting in plain Python."""

from __future__ import annotations

import json
import re
from collections import Counter
from math import isqrt

import polars as pl
import pytest

from curation.texts import text_statistics
from curation.texts.text_statistics import statistics_of
from tests.data import shared


def row(text: str) -> dict[str, float]:
    return statistics_of(pl.Series([text])).row(0, named=True)


def plainly(text: str) -> dict[str, float]:
    """The same, with dictionaries."""
    lines = text.split("\n")[: -1 if text.endswith("\n") else None]
    filled = [line for line in lines if line.strip()]
    words = re.findall(r"[㐀-鿿]|[^\W_㐀-鿿]+", text)
    words = [re.sub("[A-Z]", lambda m: m.group().lower(), word) for word in words]
    fours, tens, characters = (
        Counter(tuple(of[i : i + n]) for i in range(len(of) - n + 1)) for of, n in ((words, 4), (words, 10), (text, 10))
    )
    most = [size for _, size in characters.most_common() if size > 1][: isqrt(len(characters))]
    return {
        "chars": len(text),
        "lines": len(lines),
        "max_line_chars": max(map(len, lines)),
        "alphanumeric_ratio": sum(c.isalnum() for c in text) / len(text),
        "repeated_lines": 1 - len(set(filled)) / max(1, len(filled)) if filled else 0,
        "came_before": 1 - len(fours) / fours.total() if fours else 0,
        "repeated_words": sum(c for c in tens.values() if c > 1) / max(1, tens.total()),
        "repeated_characters": sum(most) / max(1, characters.total()),
    }


def test_a_text_is_counted_by_hand() -> None:
    found = row("Ab 12!\nAb 12!\n你好")
    assert (found["chars"], found["words"], found["lines"], found["max_line_chars"]) == (16, 6, 3, 6)
    assert found["mean_line_chars"] == pytest.approx(16 / 3)
    assert found["alphanumeric_ratio"] == 10 / 16
    assert found["digit_ratio"] == 4 / 16
    assert found["symbol_ratio"] == 2 / 16
    assert found["special_ratio"] == 10 / 16
    assert found["han_ratio"] == 2 / 12
    assert found["repeated_lines"] == pytest.approx(1 / 3)


def test_repeated_words_are_ten_in_a_row_that_come_twice() -> None:
    ten = "one two three four five six seven eight nine ten"
    assert row(ten)["repeated_words"] == 0
    assert row(f"{ten} {ten}")["repeated_words"] == pytest.approx(2 / 11)
    assert row(f"{ten}, {ten.upper()}!")["repeated_words"] == pytest.approx(2 / 11)


def test_words_do_not_run_over_into_the_next_text() -> None:
    together = statistics_of(pl.Series(["a b c d e", "a b c d e"]))
    assert together["came_before"].to_list() == [0, 0]


def test_an_empty_text_has_counts_and_no_ratios() -> None:
    found = statistics_of(pl.Series(["", None, "x"], dtype=pl.String))
    assert found["chars"].to_list() == [0, 0, 1]
    assert found["symbol_ratio"].to_list() == [None, None, 0]
    assert statistics_of(pl.Series([], dtype=pl.String)).height == 0


def test_blocks_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = pl.Series([f"line {i % 7}\n" * (i % 11) + "好" * (i % 5) for i in range(200)])
    whole = statistics_of(texts)
    monkeypatch.setattr(text_statistics, "BLOCK_CHARS", 300)
    assert statistics_of(texts).equals(whole)


def test_a_book_is_measured_on_its_beginning() -> None:
    found = row("word " * 100_000)
    assert found["chars"] == 500_000
    assert found["words"] == text_statistics.MOST_CHARS // 5


@pytest.mark.parametrize("name", ["alpaca_en_demo.json", "alpaca_zh_demo.json"])
def test_real_answers_measure_as_with_dictionaries(name: str) -> None:
    texts = [r["output"] for r in json.loads(shared(f"data/{name}").read_text("utf-8"))][::5]
    texts = [text for text in texts if text and text.isprintable()]
    found = statistics_of(pl.Series(texts))
    for text, measured in zip(texts, found.iter_rows(named=True), strict=True):
        assert {k: measured[k] for k in plainly(text)} == pytest.approx(plainly(text)), text
