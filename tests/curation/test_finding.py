from pathlib import Path

import polars as pl
import pytest

from curation.corpus import Corpus
from curation.deciding import drop, edit, tag
from curation.sample import to_frame
from curation.storage import finding
from curation.storage.finding import _changed
from tests.curation.samples import corpus_of, pair

WATER = "(instruction ILIKE '%water%' OR response ILIKE '%water%')"


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    """An open corpus of three samples that counts as a large one."""
    monkeypatch.setattr(finding, "SMALL", 0)
    texts = [pair("What is water?", "H2O"), pair("Name a colour", "Blue water"), pair("你好", "你好！")]
    corpus = corpus_of(tmp_path / "c", texts)
    corpus.database.hold()
    return corpus


def test_what_is_in_memory_follows_every_change(corpus: Corpus) -> None:
    assert corpus.count("decision IS NULL") == 3
    drop(corpus, where="turns = 2 AND position = 1", reason="dull")
    tag(corpus, "good", where="position = 2")
    assert corpus.count("decision = 'drop'") == 1
    assert corpus.frame(["position"], where="list_contains(tags, 'good')")["position"].to_list() == [2]
    corpus.add(to_frame([pair("A fourth", "one")]))
    assert corpus.count() == 4


def test_what_is_in_memory_is_what_the_view_says(corpus: Corpus) -> None:
    first, second, third = corpus.frame(["id"])["id"]
    corpus.hold_out([first, third])
    tag(corpus, "b", ids=[first, second])
    tag(corpus, "a", ids=[first])
    drop(corpus, ids=[second], reason="dull")
    edit(corpus, first, response="Water is H2O.")
    columns = ", ".join(f'"{c}"' for c in corpus.columns() if c not in finding.TEXTS)
    fast = corpus.query(f"SELECT {columns} FROM everything ORDER BY id")
    view = corpus.query(f"SELECT {columns} FROM (SELECT * FROM everything) ORDER BY id")  # a star means all columns
    assert fast.equals(view)
    assert fast["held_out"].sum() == 2


def test_scores_that_are_being_written_change_nothing_until_they_are_shown(corpus: Corpus) -> None:
    ids = corpus.frame(["id"])["id"]
    corpus.begin_scoring("r", "length", "{}", None, {"length": "BIGINT"})
    corpus.add_scores("r", "one", pl.DataFrame({"id": ids, "length": [1, 2, 3], "reason": [None] * 3}))
    corpus.refresh_scores()
    assert corpus.frame(["length"], order="length DESC", where="length > 1")["length"].to_list() == [3, 2]


def test_texts_and_earlier_versions_come_from_where_they_are(corpus: Corpus) -> None:
    first = corpus.frame(["id"], limit=1)["id"][0]
    assert corpus.count("instruction LIKE '%water%'") == 1
    edit(corpus, first, instruction="What is ice?")
    assert corpus.count("instruction LIKE '%water%'") == 0
    assert corpus.count("instruction LIKE '%ice%' AND turns = 2") == 1
    assert corpus.sample(first).instruction == "What is water?"
    assert corpus.frame(where="position = 1")["messages"][0][0]["content"] == "What is ice?"


def test_a_version_that_came_back_beside_its_replacement_is_found_by_itself(corpus: Corpus) -> None:
    first, second = corpus.frame(["id"], limit=2)["id"]
    edit(corpus, first, instruction="What is ice?", response="Cold")
    edit(corpus, second, instruction="What is water?", response="H2O")
    assert corpus.count(WATER) == 1
    assert corpus.count("instruction ILIKE '%ice%'") == 1


def test_what_a_search_found_is_filtered_and_ordered_without_the_texts(corpus: Corpus) -> None:
    quick = corpus.found(WATER)
    assert quick is not None
    assert "instruction" not in quick
    assert corpus.count(quick) == 2
    found = corpus.frame(["position"], where=f"({quick}) AND turns = 2", order="position DESC")
    assert found["position"].to_list() == [2, 1]
    assert corpus.found("turns = 2") == "turns = 2"


def test_more_searches_than_are_kept_still_find(corpus: Corpus) -> None:
    for number in range(2 * finding.KEPT):
        assert corpus.count(f"instruction <> '{number}'") == 3
    assert corpus.count(WATER) == 2


def test_a_condition_on_other_tables_is_asked_again_when_those_change(corpus: Corpus) -> None:
    where = "instruction <> '' AND id IN (SELECT id FROM selected WHERE name = 's')"
    assert corpus.count(where) == 0
    corpus.save_selection("s", "{}", None, 3, corpus.frame(["id"])["id"].to_list()[:2], {})
    assert corpus.count(where) == 2


def test_every_column_can_still_be_described_and_a_star_means_all_of_them(corpus: Corpus) -> None:
    assert {"messages", "tags", "position"} <= corpus.columns().keys()
    assert "instruction" in corpus.query("SELECT * FROM everything").columns
    with pytest.raises(Exception, match="nothing_like_it"):
        corpus.count("nothing_like_it > 1")


@pytest.mark.parametrize(
    ("sql", "may"),
    [
        ("SELECT 100 * count(*) / sum(count(*)) OVER () FROM everything WHERE turns * 2 > 3", True),
        ("SELECT id FROM everything", True),
        ("SELECT * FROM everything", False),
        ("SELECT id, e.* EXCLUDE (id) FROM everything e", False),
        ("SELECT DISTINCT\n* FROM everything", False),
        ("FROM everything", False),
        ("SELECT count(*) FROM (FROM everything)", False),
        ("SELECT column_name FROM (DESCRIBE everything)", False),
        ("SELECT min(COLUMNS('.*')) FROM everything", False),
        ("SELECT id FROM samples", False),
    ],
)
def test_a_query_for_all_columns_is_left_to_the_view(corpus: Corpus, sql: str, may: bool) -> None:
    assert corpus.database.narrow is not None
    assert corpus.database.narrow.answers(sql) == may


@pytest.mark.parametrize(
    ("statement", "part"),
    [
        ("INSERT INTO samples BY NAME SELECT 1", "samples"),
        ("CREATE OR REPLACE TABLE scores AS SELECT 1", "samples"),
        ("DROP VIEW IF EXISTS everything", "samples"),
        ("WITH a AS (SELECT 1) INSERT INTO tags SELECT * FROM a", "samples"),
        ("\nUPDATE states SET decision = 'drop'", "marks"),
        ("INSERT INTO score_4f SELECT 1", ""),
        ("CREATE OR REPLACE TEMP TABLE samples AS SELECT 1", ""),
    ],
)
def test_a_statement_makes_only_anew_what_it_changes(statement: str, part: str) -> None:
    assert _changed(statement) == part
