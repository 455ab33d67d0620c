from pathlib import Path

import pytest

from curation.corpus import Corpus
from curation.errors import CorpusError
from curation.sample import Message, Sample, script_of, to_frame


def pair(question: str, answer: str, **more: object) -> Sample:
    return Sample((Message("user", question), Message("assistant", answer)), **more)  # type: ignore[arg-type]


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    corpus = Corpus.create(tmp_path / "c")
    corpus.add(
        to_frame(
            [pair("q1", "a1", source="x"), pair("q2", "a2", source="y", tags=("t",)), pair("问", "答", source="y")]
        )
    )
    return corpus


def test_there_is_no_corpus_where_nothing_was_ingested(tmp_path: Path) -> None:
    with pytest.raises(CorpusError) as error:
        Corpus(tmp_path / "none")
    assert error.value.fix.startswith("winnow ingest")


def test_a_sample_comes_back_as_it_went_in(corpus: Corpus) -> None:
    sample = Sample(
        (Message("system", "s"), Message("user", "u"), Message("assistant", "a", "because", '[{"name": "f"}]')),
        rejected=(Message("assistant", "b"),),
        label=True,
        tools="[]",
        shape="messages",
        source="z",
        parents=("p",),
        operator="{}",
        tags=("t",),
        metadata={"k": [1, "二"]},
    )
    assert corpus.add(to_frame([sample])) == (1, 0)
    assert corpus.sample(sample.id) == sample


def test_filters_orders_and_pages(corpus: Corpus) -> None:
    assert corpus.count("source = 'y'") == 2
    assert corpus.frame(["response"], order="instruction DESC", limit=1, offset=1)["response"].to_list() == ["a2"]
    assert corpus.frame(["id"], where="script = 'Chinese'").height == 1
    assert corpus.frame(["id"], where="list_contains(tags, 't')").height == 1


@pytest.mark.parametrize(
    "where",
    [
        "1 = 1) ; DROP TABLE samples; --",
        "1 = 1; SELECT 2",
        "nonsense > 1",
        "(SELECT count(*) FROM read_text('/etc/passwd')) > 0",
        "(SELECT count(*) FROM 'secrets.parquet') > 0",
        "(",
    ],
)
def test_a_filter_that_is_no_condition_is_refused_in_two_lines(corpus: Corpus, where: str) -> None:
    with pytest.raises(CorpusError):
        corpus.count(where)
    assert corpus.count() == 3


def test_a_filter_may_end_in_a_comment(corpus: Corpus) -> None:
    assert corpus.count("source = 'x' -- only x") == 1


def test_a_score_is_shown_beside_the_samples_and_null_keeps_its_reason(corpus: Corpus) -> None:
    import polars as pl

    ids = corpus.frame(["id"])["id"]
    corpus.begin_scoring("r1", "size", "{}", None, {"size": "DOUBLE"})
    shard = pl.DataFrame({"id": ids[:2], "size": [1.5, None], "reason": [None, "too odd"]})
    for _ in range(2):
        corpus.add_scores("r1", "out-1", shard)
    corpus.refresh_scores()
    assert corpus.frame(["size"])["size"].to_list() == [1.5, None, None]
    assert corpus.unscored_reasons("r1") == {"too odd": 1}
    assert corpus.unscored("r1", None)["id"].to_list() == ids[2:].to_list()
    assert corpus.score_columns() == {"size": "DOUBLE"}


def test_opening_a_corpus_that_exists_keeps_its_scores(corpus: Corpus) -> None:
    corpus.begin_scoring("r1", "size", "{}", None, {"size": "DOUBLE"})
    corpus.refresh_scores()
    assert Corpus.create(corpus.path).score_columns() == {"size": "DOUBLE"}


def test_of_two_runs_with_the_same_column_the_one_used_last_is_shown(corpus: Corpus) -> None:
    import polars as pl

    ids = corpus.frame(["id"])["id"]
    for run, value in (("r1", 1.0), ("r2", 2.0), ("r1", 1.0)):
        corpus.begin_scoring(run, "s", "{}", None, {"s": "DOUBLE"})
        corpus.add_scores(run, "out-1", pl.DataFrame({"id": ids, "s": [value] * 3}))
        corpus.refresh_scores()
    assert corpus.frame(["s"])["s"].to_list() == [1.0, 1.0, 1.0]
    assert len(corpus.score_runs()) == 2


def test_a_score_may_not_take_the_name_of_a_column(corpus: Corpus) -> None:
    with pytest.raises(CorpusError, match="'source'"):
        corpus.begin_scoring("r", "s", "{}", None, {"source": "DOUBLE"})


def test_outcomes_of_a_synthesis_are_taken_once(corpus: Corpus) -> None:
    import polars as pl

    good, bad = pair("q3", "a3", operator='{"name": "x"}', parents=("p",)), pair("q4", "sorry")
    outcomes = to_frame([good, bad]).with_columns(
        pl.Series("rejected_by", [None, "refusal"]), pl.Series("detail", [None, "sorry"])
    )
    assert corpus.add_outcomes("run", "out-1", outcomes) == (1, 0)
    assert corpus.add_outcomes("run", "out-1", outcomes) == (0, 0)
    assert corpus.query("SELECT rejected_by FROM synthesis_rejected").rows() == [("refusal",)]
    assert corpus.sample(good.id).parents == ("p",)


@pytest.mark.parametrize(
    ("text", "script"),
    [("plain", "Latin"), ("café crème", "Latin"), ("今天天气很好", "Chinese"), ("用 Python 写代码", "Chinese"),
     ("こんにちは", "Japanese"), ("안녕하세요", "Korean"), ("Привет", "Cyrillic"), ("", "Latin")],
)  # fmt: skip
def test_the_script_stands_in_for_the_language(text: str, script: str) -> None:
    assert script_of(text) == script
