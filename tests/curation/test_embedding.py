import shutil
from pathlib import Path

import numpy as np
import pytest

from curation.corpus import Corpus
from curation.embedding import embed
from curation.errors import CorpusError
from curation.sample import to_frame
from curation.vectors import vectors_of
from tests.curation.samples import corpus_of, pair

WORDS = [
    "river stone",
    "cold bread",
    "写一首关于秋天的诗",
    "sum of two numbers",
    "train to the coast",
    "green tea 绿茶",
]


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return corpus_of(tmp_path / "c", [pair(f"{w} {i}", w) for i in range(10) for w in WORDS])


def test_every_sample_gets_a_unit_vector_and_embedding_again_does_nothing(corpus: Corpus) -> None:
    first, second = embed(corpus), embed(corpus)
    assert (first.embedded, second.embedded, second.already) == (60, 0, 60)
    assert np.allclose(np.linalg.norm(vectors_of(corpus).matrix, axis=1), 1, atol=1e-3)


def test_new_samples_get_vectors_in_the_same_space(corpus: Corpus) -> None:
    embed(corpus)
    before = vectors_of(corpus)
    old = dict(zip(before.ids, np.array(before.matrix), strict=True))
    corpus.add(to_frame([pair("river stone 99", "river stone")]))
    assert embed(corpus).embedded == 1
    after = vectors_of(corpus)
    assert len(after.ids) == len(set(after.ids)) == 61
    assert all(np.array_equal(old[i], v) for i, v in zip(after.ids, after.matrix, strict=True) if i in old)


def test_a_run_killed_after_its_merge_leaves_no_vector_twice(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "rmtree", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        embed(corpus)
    monkeypatch.undo()
    corpus.add(to_frame([pair("one more", "sample")]))
    assert embed(corpus).embedded == 1
    ids = vectors_of(corpus).ids
    assert len(ids) == len(set(ids)) == 61


def test_the_same_name_for_another_model_or_text_is_refused(corpus: Corpus) -> None:
    embed(corpus, name="mine")
    with pytest.raises(CorpusError, match="was made with"):
        embed(corpus, name="mine", text="response")


@pytest.mark.parametrize("name", ["../out", "a/b", ".hidden", ""])
def test_a_name_that_leads_out_of_the_corpus_is_refused(corpus: Corpus, name: str) -> None:
    with pytest.raises(CorpusError, match="can be called"):
        embed(corpus, name=name or " ")
