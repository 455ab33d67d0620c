import multiprocessing
import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from curation.corpus import Corpus
from curation.embedding import embed
from curation.errors import CorpusError, ModelError, OperatorError
from curation.sample import to_frame
from curation.vectors import vectors_of
from tests.curation.samples import corpus_of, pair
from tests.data import shared

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


def assert_same_vectors(corpus: Corpus, *names: str) -> None:
    first, second = (vectors_of(corpus, name) for name in names)
    assert first.ids == second.ids
    assert np.array_equal(first.matrix, second.matrix)


def test_worker_processes_give_the_same_vectors_bit_by_bit(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation.embedding.SHARD_ROWS", 16)
    embed(corpus, name="here")
    report = embed(corpus, name="there", engine="processes", workers=2)
    assert (report.embedded, report.dimensions) == (60, vectors_of(corpus).matrix.shape[1])
    assert_same_vectors(corpus, "here", "there")


def test_a_model_is_opened_by_the_worker_and_gives_the_same_vectors(corpus: Corpus) -> None:
    model = f"sentence-transformers:{shared('reference/static_embedder')}"
    embed(corpus, model, name="here")
    embed(corpus, model, name="there", engine="processes", workers=1)
    assert_same_vectors(corpus, "here", "there")


def test_a_worker_that_is_killed_while_it_encodes_loses_nothing(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curation.embedding.SHARD_ROWS", 4)
    killed = []

    def kill_once(done: int, total: int | None, message: str) -> None:
        if done and not killed:
            killed.append(multiprocessing.active_children()[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    embed(corpus, name="killed", engine="processes", workers=1, progress=kill_once)
    embed(corpus, name="here")
    assert len(killed) == 1
    assert_same_vectors(corpus, "here", "killed")


def test_a_run_that_was_stopped_goes_on_from_its_last_shard_on_another_engine(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curation.embedding.SHARD_ROWS", 16)

    def stop(done: int, total: int | None, message: str) -> None:
        if done == 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(corpus, name="stopped", engine="processes", workers=1, progress=stop)
    assert embed(corpus, name="stopped").embedded == 28
    embed(corpus, name="here")
    assert_same_vectors(corpus, "here", "stopped")


def test_an_unknown_engine_or_a_model_that_is_not_there_is_told_wherever_it_runs(corpus: Corpus) -> None:
    with pytest.raises(OperatorError, match="Unknown engine 'rays'"):
        embed(corpus, engine="rays")
    with pytest.raises(ModelError, match="There is no model folder") as error:
        embed(corpus, "sentence-transformers:./no/such/folder", engine="processes", workers=1)
    assert error.value.fix == "give another: sentence-transformers:NAME_OR_PATH"


class Overflowing:
    """Gives no numbers for texts with a word in them."""

    spec = "overflowing"

    def __init__(self, word: str) -> None:
        self.word = word

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([[np.nan, 1] if self.word in text else [0, 1] for text in texts], np.float32)


def test_a_text_without_finite_numbers_gets_no_vector_and_it_is_said(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("curation.embedding.open_encoder", lambda spec, **_: Overflowing("bread"))
    report = embed(corpus, "overflowing", progress=lambda done, total, message: told.append(message))
    assert (report.embedded, report.already, report.without) == (50, 0, 10)
    assert "10 got no finite numbers" in told[-1]
    assert np.isfinite(vectors_of(corpus).matrix).all()
    again = embed(corpus, "overflowing")
    assert (again.embedded, again.already, again.without) == (0, 50, 10)


def test_a_model_that_gives_no_finite_number_at_all_is_refused(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curation.embedding.open_encoder", lambda spec, **_: Overflowing(""))
    with pytest.raises(ModelError, match="no finite numbers for any of 60 samples"):
        embed(corpus, "overflowing")
