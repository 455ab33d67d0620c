from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from curation import searching
from curation.corpus import Corpus
from curation.deciding import edit
from curation.embedding import embed
from curation.errors import WinnowError
from curation.sample import to_frame
from curation.searching import Kind, Query, both, search, warm
from curation.vectors import store
from tests.curation.samples import corpus_of, pair

TEXTS = ("Bake bread", "bake a Cake", "Sort a list", "sort a dict", "Bread and butter")


@pytest.fixture
def corpus(tmp_path: Path) -> Iterator[Corpus]:
    corpus = corpus_of(tmp_path / "c", [pair(text, f"answer {n}") for n, text in enumerate(TEXTS)])
    with corpus.database.held():
        yield corpus


def with_vectors(corpus: Corpus, vectors: list[list[float]], model: str = "file:mine.npy") -> Corpus:
    """Row i is of the i-th sample."""
    folder = corpus.path / "embeddings" / "mine"
    folder.mkdir(parents=True)
    about = {"name": "mine", "model": model, "text": "both"}
    store(folder, corpus.frame(["id"])["id"].to_list(), [np.array(vectors, np.float32)], about)
    return corpus


def instructions(corpus: Corpus, condition: str | None) -> list[str]:
    return corpus.frame(["instruction"], where=condition)["instruction"].to_list()


def test_text_is_found_in_any_case_unless_told_otherwise(corpus: Corpus) -> None:
    assert instructions(corpus, search(corpus, Query("BREAD")).condition) == ["Bake bread", "Bread and butter"]
    assert search(corpus, Query("Bread", case=True)).total == 1
    assert search(corpus, Query("answer 3")).total == 1
    assert search(corpus, Query("50%_'; DROP TABLE samples; --")).total == 0


def test_a_regular_expression_is_found_and_met_by_the_filter_too(corpus: Corpus) -> None:
    query = Query(r"^(bake|sort)\b", Kind.REGEX)
    found = search(corpus, query, where="instruction LIKE '%list'  -- a comment")
    assert found.total == 1
    assert search(corpus, query).total == 4
    assert search(corpus, Query("^sort", Kind.REGEX, case=True)).total == 1


def test_a_bad_regular_expression_is_two_lines(corpus: Corpus) -> None:
    with pytest.raises(WinnowError, match=r"'\(bread' does not work: missing \)") as raised:
        search(corpus, Query("(bread", Kind.REGEX))
    assert "RE2" in raised.value.fix


def test_nothing_looked_for_is_everything_that_meets_the_filter(corpus: Corpus) -> None:
    found = search(corpus, Query("  "), where="contains(instruction, 'ist')")
    assert (found.total, found.condition, found.ids) == (1, None, None)


def test_what_is_like_a_sample_comes_nearest_first_without_the_sample(corpus: Corpus) -> None:
    # Lengths don't count: cosines to the first are 0.8, 0.6, 0 and -1.
    with_vectors(corpus, [[1, 0], [8, 6], [0, 1], [-2, 0], [0.3, 0.4]])
    ids = corpus.frame(["id"])["id"].to_list()
    found = search(corpus, Query(like=(ids[0],)), most=3)
    assert found.ids is not None
    assert found.similarity is not None
    assert found.ids.to_list() == [ids[1], ids[4], ids[2]]
    assert found.similarity.to_list() == pytest.approx([0.8, 0.6, 0.0], abs=1e-6)
    assert corpus.count(found.condition) == 3


def test_what_is_like_two_samples_lies_between_them_and_meets_the_filter(corpus: Corpus) -> None:
    with_vectors(corpus, [[1, 0], [0, 1], [1, 1], [1, 0.1], [-1, 0]])
    ids = corpus.frame(["id"])["id"].to_list()
    found = search(corpus, Query(like=(ids[0][:12], ids[1])), where="instruction <> 'Sort a list'", most=1)
    assert found.ids is not None
    assert found.ids.to_list() == [ids[3]]


def test_an_earlier_version_is_not_found_by_meaning(corpus: Corpus) -> None:
    with_vectors(corpus, [[1, 0], [1, 0.1], [1, 0.2], [0, 1], [-1, 0]])
    ids = corpus.frame(["id"])["id"].to_list()
    edit(corpus, ids[1], response="another answer")
    found = search(corpus, Query(like=(ids[0],)), most=1)
    assert found.ids is not None
    assert found.ids.to_list() == [ids[2]]


def test_a_typed_query_is_compared_by_the_stored_encoder(corpus: Corpus) -> None:
    with pytest.raises(WinnowError, match="no embedding"):
        search(corpus, Query("how to bake", Kind.MEANING))
    embed(corpus)
    found = search(corpus, Query("how to bake bread", Kind.MEANING), most=2)
    assert "Bake bread" in instructions(corpus, found.where)
    with pytest.raises(WinnowError, match="finds nothing"):
        search(corpus, Query("ㅤ" * 3 + ".", Kind.MEANING))


def test_an_encoder_that_was_warmed_is_not_opened_again(corpus: Corpus) -> None:
    warm(corpus)  # there is nothing to open yet, and the search says so
    embed(corpus)
    warm(corpus)
    opened = searching._encoder.cache_info().misses
    assert search(corpus, Query("bread", Kind.MEANING)).total
    assert searching._encoder.cache_info().misses == opened


def test_vectors_that_were_brought_along_can_not_be_compared_with_words(corpus: Corpus) -> None:
    with_vectors(corpus, [[1, 0]] * 5)
    with pytest.raises(WinnowError, match="brought along"):
        search(corpus, Query("bread", Kind.MEANING))


def test_a_sample_without_a_vector_says_so(corpus: Corpus) -> None:
    with_vectors(corpus, [[1, 0]] * 5)
    corpus.add(to_frame([pair("Late", "come")]))
    late = corpus.frame(["id"], where="instruction = 'Late'")["id"][0]
    with pytest.raises(WinnowError, match="has no vector") as raised:
        search(corpus, Query(like=(late,)))
    assert "winnow embed" in raised.value.fix


def test_conditions_are_joined_so_that_a_comment_hides_nothing() -> None:
    assert both("a = 1", None, "b OR c") == "(a = 1) AND (b OR c)"
    assert both("a -- why", "b") == "(a -- why\n) AND (b)"
    assert both(None) is None
