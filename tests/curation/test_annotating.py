from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from curation.annotating import (
    agreement,
    annotate,
    answers_to,
    ask,
    label_condition,
    labels_of,
    questions,
    queue,
)
from curation.corpus import Corpus
from curation.errors import WinnowError
from tests.curation.samples import corpus_of, pair


@pytest.fixture
def corpus(tmp_path: Path) -> Iterator[Corpus]:
    corpus = corpus_of(tmp_path / "c", [pair(f"q{n:02d}", "a") for n in range(12)])
    with corpus.database.held():
        ask(corpus, "quality", ["good", "bad"], text="Is it good?")
        yield corpus


def first(n: int) -> str:
    return f"instruction < 'q{n:02d}'"


def test_the_last_answer_counts_and_none_is_lost(corpus: Corpus) -> None:
    assert annotate(corpus, "quality", "good", where=first(3), who="ann").changed == 3
    again = annotate(corpus, "quality", "good", where=first(4), who="ann")
    assert (again.changed, again.unchanged) == (1, 3)
    annotate(corpus, "quality", "bad", where=first(1), who="ann")
    assert answers_to(corpus, "quality")["answer"].to_list().count("bad") == 1
    assert corpus.query("SELECT count(*) AS n FROM annotations").item() == 5


def test_an_answer_can_be_taken_back(corpus: Corpus) -> None:
    annotate(corpus, "quality", "good", where=first(2), who="ann")
    assert annotate(corpus, "quality", None, where=first(5), who="ann").changed == 2
    assert answers_to(corpus, "quality").is_empty()


def test_what_is_agreed_or_settled_is_a_filter(corpus: Corpus) -> None:
    annotate(corpus, "quality", "good", where=first(4), who="ann")
    annotate(corpus, "quality", "bad", where=first(2), who="bob")
    good = label_condition("quality", "good")
    assert corpus.frame(["instruction"], where=good)["instruction"].to_list() == ["q02", "q03"]
    annotate(corpus, "quality", "good", where=first(1), who="cyd", settles=True)
    assert corpus.count(good) == 3
    assert list(labels_of(corpus, "quality").values()) == ["good"] * 3
    annotate(corpus, "quality", None, where=first(1), who="cyd", settles=True)
    assert corpus.count(good) == 2


def test_a_question_keeps_the_answers_that_were_given(corpus: Corpus) -> None:
    annotate(corpus, "quality", "good", where="true", who="ann")
    assert ask(corpus, "quality", ["good", "bad", "unclear"]).answers == ("good", "bad", "unclear")
    with pytest.raises(WinnowError, match="answered with 'good' already"):
        ask(corpus, "quality", ["fine", "bad"])
    assert [(q.name, q.answers) for q in questions(corpus)] == [("quality", ("good", "bad", "unclear"))]


@pytest.mark.parametrize(
    ("question", "answer", "who", "told"),
    [
        ("qualty", "good", "ann", "Unknown question 'qualty'"),
        ("quality", "fine", "ann", "Unknown answer 'fine'"),
        ("quality", "good", "a\u202eb", "can't be printed"),
        ("quality", "good", "  ", "is empty"),
    ],
)
def test_a_wrong_answer_is_told(corpus: Corpus, question: str, answer: str, who: str, told: str) -> None:
    with pytest.raises(WinnowError, match=told):
        annotate(corpus, question, answer, where="true", who=who)


def test_hostile_names_are_kept_as_they_are(corpus: Corpus) -> None:
    name, answer = "x'); DROP TABLE annotations; --", "<script>alert(1)</script>"
    ask(corpus, name, [answer, "no"])
    annotate(corpus, name, answer, where=first(2), who="o'brien")
    assert corpus.count(label_condition(name, answer)) == 2
    assert queue(corpus, name, "o'brien")[1] == 10


def test_agreement_tells_numbers_and_where_they_differ(corpus: Corpus) -> None:
    annotate(corpus, "quality", "good", where=first(8), who="ann")
    annotate(corpus, "quality", "bad", where="instruction >= 'q08'", who="ann")
    annotate(corpus, "quality", "good", where=first(6), who="bob")
    annotate(corpus, "quality", "bad", where="instruction >= 'q06'", who="bob")
    report = agreement(corpus, "quality")
    # 12 samples: 6 good and 4 bad by both, 2 apart. Observed 10/12, by chance (8 * 6 + 4 * 6) / 144 = 1/2.
    assert report.shared == 12
    assert report.agreement.value == pytest.approx(10 / 12)
    assert report.pairs[0].kappa.value == pytest.approx((10 / 12 - 1 / 2) / (1 / 2))
    # Pooled: 14 good, 10 bad of 24; 4 unequal pairs of 24: 1 - 23 * 4 / (2 * 14 * 10).
    assert report.alpha.value == pytest.approx(1 - 23 * 4 / (2 * 14 * 10))
    assert [row["answers"] for row in report.disagreements] == [{"ann": "good", "bob": "bad"}] * 2
    annotate(corpus, "quality", "bad", ids=[report.disagreements[0]["id"]], who="ann", settles=True)
    after = agreement(corpus, "quality")
    assert (after.disagreed, after.settled) == (2, 1)
    assert after.disagreements[-1]["settled"] == "bad"


def test_too_few_answers_by_both_have_no_kappa(corpus: Corpus) -> None:
    annotate(corpus, "quality", "good", where="true", who="ann")
    annotate(corpus, "quality", "bad", where=first(9), who="bob")
    report = agreement(corpus, "quality")
    assert (report.pairs[0].kappa.value, report.alpha.value) == (None, None)
    assert report.alpha.reason == "9 samples have two answers; 10 are needed"


def test_queues_give_what_is_left_what_others_answered_and_what_differs(corpus: Corpus) -> None:
    ids = corpus.frame(["id"])["id"].to_list()
    annotate(corpus, "quality", "good", ids=ids[:2], who="ann")
    annotate(corpus, "quality", "good", ids=ids[1:4], who="bob")
    annotate(corpus, "quality", "bad", ids=ids[:1], who="bob")
    assert queue(corpus, "quality", "ann", where=first(6), limit=9) == (ids[2:6], 4)
    assert queue(corpus, "quality", "ann", without=ids[2:4]) == ([ids[4]], 10)
    assert queue(corpus, "quality", "ann", order="others", limit=9) == (ids[2:4], 2)
    assert queue(corpus, "quality", "ann", order="disagreements") == (ids[:1], 1)
    mine, yours = (queue(corpus, "quality", who, order="random", limit=12)[0] for who in ("cyd", "dan"))
    assert mine == yours != ids
    assert sorted(mine) == sorted(ids)


def test_a_corpus_of_an_earlier_version_can_be_labelled(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", [pair("q", "a")])
    with duckdb.connect(str(corpus.path / "corpus.duckdb")) as old:
        for view in ("labels", "answers"):
            old.execute(f"DROP VIEW {view}")
        for table in ("annotations", "questions"):
            old.execute(f"DROP TABLE {table}")
    again = Corpus(corpus.path)
    ask(again, "quality", ["good", "bad"])
    assert annotate(again, "quality", "good", where="true", who="ann").changed == 1
