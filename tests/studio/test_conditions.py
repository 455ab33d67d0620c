"""A filter for people who don't know SQL: what its conditions are as SQL, and what they find."""

from __future__ import annotations

import json
from datetime import date

import duckdb
import pytest

from curation.corpus import Corpus
from curation.ingestion import ingest
from curation.storage.sql import check_sql
from studio.conditions import TESTS, Condition, conditions, joined, kind_of

HOSTILE = [
    "'; DROP TABLE samples; --",
    "' OR 1=1 --",
    "\"; ATTACH '/etc/passwd' AS x; --",
    "<script>alert(1)</script>",
    "![x](http://example.com/x.png)",
    "../../etc/passwd",
    "\u202egnp.exe",
    "%_\\",
    "it's",
    "a -- b /* c",
    "{0} {name}",
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conditions")
    rows = [{"instruction": f"Say {text}", "output": text, "tags": [text]} for text in HOSTILE]
    for n, (row, text) in enumerate(zip(rows, HOSTILE, strict=True)):
        path = folder / f"{n}.jsonl"
        path.write_text(json.dumps(row), encoding="utf-8")
        ingest_as = Corpus.create(folder / "corpus")
        ingest(ingest_as, [path], source=text)
    return Corpus(folder / "corpus")


@pytest.mark.parametrize(
    ("condition", "sql"),
    [
        (Condition("length_tokens", "number", "at least", (50.0,)), "length_tokens >= 50"),
        (Condition("quality", "number", "at most", (0.25,)), "quality <= 0.25"),
        (Condition("quality", "number", "between", (3.0, 1.5)), "quality BETWEEN 1.5 AND 3"),
        (Condition("turns", "number", "equal", (2.0,)), "turns = 2"),
        (Condition("quality", "number", "known"), "quality IS NOT NULL"),
        (Condition("quality", "number", "unknown"), "quality IS NULL"),
        (Condition("source", "text", "one of", ("alpaca",)), "source = 'alpaca'"),
        (Condition("source", "text", "one of", ("a", "b")), "source IN ('a', 'b')"),
        (Condition("source", "text", "none of", ("a",)), "source <> 'a'"),
        (Condition("instruction", "text", "contains", ("50%",)), "contains(instruction, '50%')"),
        (Condition("instruction", "text", "begins", ("Say",)), "starts_with(instruction, 'Say')"),
        (Condition("tags", "list", "has", ("tea", "cup")), "list_has_any(tags, ['tea', 'cup'])"),
        (Condition("tags", "list", "has not", ("tea",)), "NOT list_has_any(tags, ['tea'])"),
        (Condition("held_out", "yes or no", "no"), "NOT held_out"),
        (Condition("added_at", "time", "until", (date(2026, 1, 31),)), "added_at < DATE '2026-02-01'"),
        (Condition("select", "number", "at least", (1.0,)), '"select" >= 1'),
        (Condition('odd "name"', "number", "at least", (1.0,)), '"odd ""name""" >= 1'),
    ],
)
def test_a_condition_is_the_sql_that_one_would_type(condition, sql):
    assert condition.is_whole
    assert condition.sql == sql
    check_sql(sql, "filter")


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_value_is_compared_with_and_never_run(corpus, text):
    for condition in (
        Condition("source", "text", "one of", (text,)),
        Condition("response", "text", "contains", (text,)),
        Condition("response", "text", "begins", (text,)),
    ):
        assert corpus.count(condition.sql) >= 1
    assert corpus.count(Condition("source", "text", "one of", (text, "another")).sql) == 1
    assert corpus.count(Condition("source", "text", "none of", (text,)).sql) == len(HOSTILE) - 1
    assert corpus.count() == len(HOSTILE)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_column_with_a_hostile_name_is_a_name(text):
    name = Condition(text, "number", "known").sql.removesuffix(" IS NOT NULL")
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE t AS SELECT 1 AS {name}")
        assert connection.execute("SELECT column_name FROM (DESCRIBE t)").fetchone() == (text,)


@pytest.mark.parametrize("text", HOSTILE)
def test_a_condition_with_a_hostile_value_is_one_chip_and_can_be_taken_away_again(text):
    one = Condition("source", "text", "one of", (text,)).sql
    both = joined("turns > 1", one)
    check_sql(both, "filter")
    if "--" not in text and "/*" not in text:
        assert conditions(both) == ["turns > 1", one]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "turns > 1"),
        ("source = 'a'", "source = 'a' AND turns > 1"),
        ("turns > 1", "turns > 1"),
        ("a = 1 OR b = 2", "(a = 1 OR b = 2\n) AND turns > 1"),
        ("a = 1 -- why", "(a = 1 -- why\n) AND turns > 1"),
    ],
)
def test_a_condition_joins_what_was_typed_before(before, after):
    assert joined(before, "turns > 1") == after


@pytest.mark.parametrize(
    ("column_type", "kind"),
    [
        ("BIGINT", "number"),
        ("DECIMAL(18,3)", "number"),
        ("VARCHAR", "text"),
        ("VARCHAR[]", "list"),
        ("DOUBLE[]", "other"),
        ("BOOLEAN", "yes or no"),
        ("TIMESTAMP", "time"),
        ('STRUCT("role" VARCHAR)[]', "other"),
    ],
)
def test_the_tests_of_a_column_follow_its_type(column_type, kind):
    assert kind_of(column_type) == kind
    assert TESTS[kind]


def test_an_unfinished_condition_is_not_whole():
    assert not Condition("quality", "number", "between", (1.0,)).is_whole
    assert not Condition("source", "text", "one of").is_whole
    assert not Condition("source", "text", "contains", ("",)).is_whole
