from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from curation.language_models.answer_losses import in_chunks
from curation.language_models.causal_lm import open_causal_lm
from curation.sample import Message, Sample, to_frame
from curation.scorers.s_ifd import SelectiveIFD, threshold
from curation.scoring import score
from tests.curation.samples import corpus_of, pair
from tests.data import shared

PAIRS = [
    ("Name three colours.", "Red, green and blue."),
    ("Give a recipe for bread.", "Mix flour, water and salt.\nBake it for an hour."),
    ("What is the capital of France?", "Paris is the capital of France."),
    ("Say r.", "r"),
    ("Say nothing.", ""),
]


@pytest.fixture(scope="module")
def model() -> str:
    return str(shared("reference/tiny_causal_lm"))


def frame(*pairs: tuple[str, str]) -> pl.DataFrame:
    return to_frame([Sample((Message("user", q), Message("assistant", a))) for q, a in pairs])


def gaps(model: str, question: str, answer: str) -> np.ndarray:
    """L(token | question) - L(token) of each token of the answer but the first."""
    lm = open_causal_lm(model)
    before, both, alone = lm.tokenize([f"{question}\n", f"{question}\n{answer}", answer])
    return lm.token_losses([both], [len(before) + 1])[0] - lm.token_losses([alone], [1])[0]


@pytest.mark.parametrize("informative", [0.5, 0.75])
def test_only_tokens_above_the_percentile_of_all_tokens_count(model, informative):
    scores = SelectiveIFD(model=model, informative=informative).score(frame(*PAIRS))

    each = [gaps(model, q, a) for q, a in PAIRS[:3]]
    least = np.percentile(np.abs(np.concatenate(each)).astype(np.float64), 100 * (1 - informative))
    assert scores["s_ifd_threshold"].to_list()[:3] == pytest.approx([least] * 3, rel=1e-5)
    for found, mine in zip(scores.iter_rows(named=True), each, strict=False):
        counted = mine[np.abs(mine) > least + 1e-6]  # batches differ from single rows in the last digits
        assert found["s_ifd_tokens"] == len(counted)
        assert found["s_ifd"] == pytest.approx(math.exp(counted.mean(dtype=float)), rel=1e-5)
    assert scores["reason"].to_list()[3:] == [
        "a one-token answer has no direct loss: nothing comes before its token",
        "the answer is empty",
    ]
    assert scores.row(4)[:3] == (None, None, None)


def test_the_threshold_lies_between_two_sizes_and_is_exceeded_strictly():
    given = np.array([-4, 1, 2, -3], np.float32)
    assert threshold(given, 0.5) == 2.5
    assert threshold(given, 0.75) == 1.75
    assert threshold(given, 1 / 3) == 3.0  # exactly a size: that token does not count
    assert threshold(np.zeros(0, np.float32), 0.5) == 0


def test_a_sample_whose_tokens_the_instruction_hardly_changes_is_null_not_1(model):
    samples = frame(*PAIRS[:3])
    numbers = SelectiveIFD(model=model, informative=0.01).score(samples)
    nothing = numbers.filter(pl.col("s_ifd_tokens") == 0)
    assert len(nothing) == 2
    assert nothing["s_ifd"].to_list() == [None, None]
    assert set(nothing["reason"]) == {"none of its tokens is among those that the instruction tells most about"}


def test_nothing_to_measure_gives_nulls(model):
    assert SelectiveIFD(model=model).score(frame(("Say.", ""))).row(0) == (None, None, None, "the answer is empty")
    assert SelectiveIFD(model=model).score(frame()).shape == (0, 4)


def test_samples_added_later_move_the_percentile_and_what_was_read_is_kept(model, tmp_path):
    corpus = corpus_of(tmp_path / "c", [pair(q, a) for q, a in PAIRS[:2]])
    scorer = SelectiveIFD(model=model)
    assert score(corpus, scorer).scored == 2
    kept = list((corpus.path / "losses").iterdir())
    assert len(kept) == 1
    corpus_of(corpus.path, [pair(*PAIRS[2])])
    assert score(corpus, scorer).scored == 3
    columns = ["s_ifd", "s_ifd_tokens", "s_ifd_threshold"]
    # Read in other batches: the last bits may differ.
    assert_frame_equal(corpus.frame(columns), scorer.score(frame(*PAIRS[:3])).select(columns), rel_tol=1e-5)


def test_a_killed_run_reads_again_only_the_chunk_it_died_in(monkeypatch, tmp_path):
    monkeypatch.setattr("curation.language_models.answer_losses.CHUNK_ROWS", 2)
    batch = pl.DataFrame({"id": list("abcde"), "n": range(5)})
    read: list[str] = []

    def measure(chunk: pl.DataFrame) -> pl.DataFrame:
        if "c" in chunk["id"] and not read.count("a") > 1:
            read.append("a")
            raise KeyboardInterrupt
        read.extend(chunk["id"])
        return chunk.select(pl.col("n") * 2)

    with pytest.raises(KeyboardInterrupt):
        in_chunks(batch, measure, tmp_path, "key")
    read.append("a")
    assert in_chunks(batch, measure, tmp_path, "key")["n"].to_list() == [0, 2, 4, 6, 8]
    assert read.count("b") == 1
    read.clear()
    fewer = pl.DataFrame({"id": list("fdb"), "n": [5, 3, 1]})
    assert in_chunks(fewer, measure, tmp_path, "key")["n"].to_list() == [10, 6, 2]
    assert read == ["f"]  # the others are known, whatever came or went before them
    assert in_chunks(batch, lambda chunk: chunk.select("n"), tmp_path, "other")["n"].to_list() == [0, 1, 2, 3, 4]
