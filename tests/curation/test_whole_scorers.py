from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl
import pytest

from curation.corpus import Corpus
from curation.deciding import drop, tag
from curation.embedding import add_vectors
from curation.errors import CorpusError
from curation.operators import Scorer
from curation.scoring import score
from tests.curation.samples import corpus_of, pair


class Rank(Scorer):
    """The place of a sample among all by the length of its answer."""

    name: ClassVar[str] = "rank"
    whole: ClassVar[bool] = True
    batch_rows: ClassVar[int] = 1

    @property
    def needs(self) -> tuple[str, ...]:
        return "response", "tags"

    @property
    def columns(self) -> dict[str, str]:
        return {"rank": "BIGINT"}

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        return batch.select(pl.col("response").str.len_chars().rank("dense").cast(pl.Int64).alias("rank"))


class First(Scorer):
    """The first number of a sample's vector."""

    name: ClassVar[str] = "first"
    embedding: str | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        return ()

    @property
    def needs_vectors(self) -> bool:
        return True

    @property
    def columns(self) -> dict[str, str]:
        return {"first": "DOUBLE"}

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        return batch.select(
            pl.col("vector").arr.get(0).cast(pl.Float64).alias("first"),
            pl.when(pl.col("vector").is_null()).then(pl.lit("no vector")).alias("reason"),
        )


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return corpus_of(tmp_path / "c", [pair(f"q{n}", "a" * n, metadata={"row": n}) for n in (3, 1, 2)])


def test_a_scorer_of_the_whole_sees_all_samples_at_once_and_again_when_some_are_added(corpus: Corpus) -> None:
    assert score(corpus, Rank()).scored == 3
    assert corpus.frame(["rank"])["rank"].to_list() == [3, 1, 2]
    assert score(corpus, Rank()).already == 3
    corpus_of(corpus.path, [pair("q", "")])
    assert score(corpus, Rank()).scored == 4
    assert corpus.frame(["rank"])["rank"].to_list() == [4, 2, 3, 1]


def test_it_does_not_see_dropped_samples_and_sees_other_tags_as_something_new(corpus: Corpus) -> None:
    score(corpus, Rank())
    drop(corpus, where="response = 'a'", reason="short")
    assert score(corpus, Rank()).scored == 2
    tag(corpus, "good", where="response = 'aa'")
    assert score(corpus, Rank()).scored == 2
    assert corpus.frame(["rank"], where="decision IS NULL")["rank"].to_list() == [2, 1]


def test_a_scorer_gets_the_vectors_and_null_where_there_is_none(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(CorpusError):
        score(corpus, First())
    np.save(tmp_path / "v.npy", np.array([[1, 0], [0.5, 0], [0.25, 0]], np.float32))
    add_vectors(corpus, tmp_path / "v.npy", "row", name="mine")
    corpus_of(corpus.path, [pair("new", "new")])
    report = score(corpus, First(embedding="mine"))
    assert (report.scored, report.unscored) == (3, {"no vector": 1})
    assert corpus.frame(["first"])["first"].to_list() == [0.25, 1.0, 0.5, None]


def test_a_column_that_is_needed_and_missing_is_named(corpus: Corpus) -> None:
    class Needy(Rank):
        @property
        def needs(self) -> tuple[str, ...]:
            return ("length_tokens",)

    with pytest.raises(CorpusError) as error:
        score(corpus, Needy())
    assert error.value.fix == f"winnow score {corpus.path} length"
