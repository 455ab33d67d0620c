from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import numpy as np
import polars as pl
import pytest

from curation.embedding import embed
from curation.engines import checked, measured, spread
from curation.errors import ModelError, OperatorError
from curation.operators import Scorer
from curation.sample import to_frame
from curation.scorers import SCORERS, Heuristics, Language, NearDuplicate
from curation.scoring import score
from curation.vectors import vectors_of
from tests.curation.deadly import Halving, broken, die, refusing, threads
from tests.curation.samples import corpus_of, pair
from tests.data import shared

WORDS = ["river stone", "cold bread", "写一首关于秋天的诗", "2 + 3 = 6", "train to the coast at noon", "you idiot", ""]
SAMPLES = [
    pair(f"Question {i} on {WORDS[i % 7]}", f"Answer: {WORDS[i // 2 % 7]}, {WORDS[i // 5 % 7]}", source="ab"[i % 2])
    for i in range(48)
]


def frame() -> pl.DataFrame:
    """Samples with all that scorers ask for: tags, vectors, the batch they came in."""
    vectors = np.random.default_rng(0).normal(size=(48, 8)).astype(np.float32)
    vectors[5] = vectors[4]
    return to_frame(SAMPLES).with_columns(
        pl.Series("metadata", [f'{{"stars": {i % 6}}}' for i in range(48)]),
        pl.Series("tags", [["good"], ["bad"], []] * 16, dtype=pl.List(pl.String)),
        pl.Series("instag", [["cooking", "history"], ["maths"], None] * 16, dtype=pl.List(pl.String)),
        pl.Series("batch", ["first"] * 24 + ["second"] * 24),
        pl.Series("vector", vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=pl.Array(pl.Float32, 8)),
    )


def files(folder: Path) -> Path:
    """What scorers read besides samples."""
    ids = frame()["id"].to_list()
    (folder / "scores.csv").write_text("id,reward\n" + "".join(f"{id_},{i / 7}\n" for i, id_ in enumerate(ids[:40])))
    (folder / "benchmark.jsonl").write_text(
        '{"question": "Question 7 on river stone, and on cold bread", "answer": "4"}\n'
    )
    return folder


PARAMETERS: dict[str, dict[str, object]] = {
    "toxicity": {},
    "metadata": {"field": "stars"},
    "file": {"path": "{files}/scores.csv"},
    "ifd": {"model": "hf:{tiny}"},
    "importance": {"target_tag": "good", "min_tokens": 1},
    "contamination": {"benchmarks": "{files}/benchmark.jsonl"},
    "instag-normalized": {"min_count": 1},
}
"""Of scorers that don't run without any, and of those with a `model` that needn't be named or that is here."""


def examples(folder: Path, tiny: Path) -> list[Scorer]:
    """Every scorer that needs no other model."""
    return [
        scorer(**{k: v.format(files=folder, tiny=tiny) if isinstance(v, str) else v for k, v in given.items()})
        for scorer in SCORERS
        if (given := PARAMETERS.get(scorer.name, {})) or not {"model", "run"} & scorer.model_fields.keys()
    ]


def measure(asked: tuple[Scorer, pl.DataFrame]) -> pl.DataFrame:
    return checked(*asked)


def in_batches(samples: pl.DataFrame, rows: int = 12) -> list[tuple[str, pl.DataFrame]]:
    return [(f"{start:02d}", samples.slice(start, rows)) for start in range(0, samples.height, rows)]


def test_every_scorer_measures_the_same_in_worker_processes(tmp_path: Path) -> None:
    scorers = examples(files(tmp_path), shared("reference/tiny_causal_lm"))
    asked = [
        (f"{scorer.name} {name}", (scorer, batch))
        for scorer in scorers
        for name, batch in in_batches(frame(), 48 if scorer.whole else 24)
    ]
    here, there = spread(measure, asked), spread(measure, asked, "processes", 2)
    for (name, expected), (same, found) in zip(here, there, strict=True):
        assert (name, found.equals(expected)) == (same, True)
    assert len(scorers) >= 12


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray cluster of two workers on this machine."""
    ray = pytest.importorskip("ray", reason="needs the extra: pip install 'winnow-studio[ray]'")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


def test_a_ray_cluster_measures_the_same(cluster: None) -> None:
    asked = [
        (f"{s.name} {name}", (s, batch)) for s in (Heuristics(), Language()) for name, batch in in_batches(frame())
    ]
    there = list(spread(measure, asked, "ray", 2))
    assert [name for name, _ in there] == [name for name, _ in asked]
    assert all(found.equals(measure(given)) for (_, found), (_, given) in zip(there, asked, strict=True))


class InThrees(NearDuplicate):
    """Prepares three samples at a time."""

    batch_rows: ClassVar[int] = 3


@pytest.mark.parametrize("engine", ["processes", "ray"])
def test_near_duplicates_are_the_same_when_workers_prepare_them_in_parts(engine: str, request) -> None:
    if engine == "ray":
        request.getfixturevalue("cluster")
    samples = frame().head(20)
    ((_, expected),) = measured(NearDuplicate(), [("all", samples)])
    ((name, found),) = measured(InThrees(), [("all", samples)], engine, 2)
    assert expected["near_duplicate"].sum() > 0
    assert (name, found.equals(expected)) == ("all", True)


def test_the_parts_of_preference_pairs_and_plain_samples_are_told_apart_as_ever() -> None:
    twice = pl.concat([frame().head(6), frame().head(6).with_columns(label=pl.lit(False))])
    prepared = twice.hstack(NearDuplicate().prepare(twice))
    assert NearDuplicate().score(prepared).equals(NearDuplicate().score(twice))


def test_a_ray_cluster_encodes_the_same_bit_by_bit(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curation.embedding.SHARD_ROWS", 16)
    corpus = corpus_of(tmp_path / "c", SAMPLES)
    embed(corpus, name="here")
    embed(corpus, name="there", engine="ray", workers=2)
    here, there = vectors_of(corpus, "here"), vectors_of(corpus, "there")
    assert here.ids == there.ids
    assert np.array_equal(here.matrix, there.matrix)


class Mortal(Scorer):
    """Characters of the answer. The worker that measures `stop` is killed, once."""

    name: ClassVar[str] = "mortal"
    batch_rows: ClassVar[int] = 2
    graves: str

    @property
    def columns(self) -> dict[str, str]:
        return {"mortal": "BIGINT"}

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        if "stop" in batch["response"]:
            die(Path(self.graves), 1)
        return batch.select(pl.col("response").str.len_chars().cast(pl.Int64).alias("mortal"))


@pytest.mark.parametrize("engine", ["processes", "ray"])
def test_a_killed_worker_loses_nothing(engine: str, tmp_path: Path, request) -> None:
    if engine == "ray":
        request.getfixturevalue("cluster")
    (tmp_path / "graves").mkdir()
    answers = [*("a" * n for n in range(11)), "stop", "after"]
    corpus = corpus_of(tmp_path / "c", [pair(f"q{i}", answer) for i, answer in enumerate(answers)])
    report = score(corpus, Mortal(graves=str(tmp_path / "graves")), engine=engine, workers=2)
    assert len(list((tmp_path / "graves").iterdir())) == 1
    assert (report.scored, corpus.frame(["mortal"])["mortal"].to_list()) == (13, [*range(11), 4, 5])


def numbered(count: int) -> list[tuple[str, int]]:
    return [(f"batch {number}", number) for number in range(count)]


def test_a_batch_that_kills_every_worker_is_named_and_the_others_before_it_come_back(tmp_path: Path) -> None:
    done = spread(Halving(tmp_path, 99), numbered(20), "processes", 2)
    found = []
    with pytest.raises(OperatorError, match="'batch 13' was killed 4 times") as error:
        found.extend(done)
    assert found == [(name, number / 2) for name, number in numbered(13)]
    assert "--workers" in error.value.fix
    assert len(list(tmp_path.iterdir())) >= 4


def test_a_batch_that_kills_every_worker_of_a_cluster_is_named(cluster: None, tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="'batch 13' was killed 4 times"):
        list(spread(Halving(tmp_path, 99), numbered(14)[12:], "ray", 2))


def test_three_kills_are_survived(tmp_path: Path) -> None:
    assert list(spread(Halving(tmp_path, 3), numbered(20), "processes", 2)) == [(n, i / 2) for n, i in numbered(20)]


def test_a_worker_of_a_cluster_takes_as_many_threads_as_the_lead_so_that_sums_are_the_same(
    cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for given in (None, "3"):
        monkeypatch.setenv("OMP_NUM_THREADS", given) if given else monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        assert {found for _, found in spread(threads, numbered(4), "ray", 2)} == {given}


@pytest.mark.parametrize("engine", ["here", "processes", "ray"])
def test_what_a_user_can_mend_comes_back_from_a_worker_with_its_fix(engine: str, request) -> None:
    if engine == "ray":
        request.getfixturevalue("cluster")
    with pytest.raises(ModelError, match="0 is too much") as error:
        list(spread(refusing, numbered(3), engine, 1))
    assert (type(error.value), error.value.fix) == (ModelError, "give less")


def test_a_bug_in_a_worker_stays_one() -> None:
    with pytest.raises(ZeroDivisionError):
        list(spread(broken, numbered(3), "processes", 1))


def test_batches_are_read_a_few_ahead_of_the_workers_and_no_more() -> None:
    read: list[int] = []
    ahead = spread(partial(max, 0), ((name, read.append(i) or i) for name, i in numbered(50)), "processes", 2)
    next(ahead)
    assert len(read) == 4
    ahead.close()


def test_work_that_no_other_process_could_import_is_refused() -> None:
    with pytest.raises(OperatorError) as error:
        list(spread(lambda number: number, numbered(3), "processes", 1))
    assert "a file of its own" in error.value.fix


OWN = """
import polars as pl
from pydantic import Field
from curation.operators import Scorer

LETTER = "e"

def counted(column):
    return pl.col(column).str.count_matches(LETTER).cast(pl.Int64)

class Letters(Scorer):
    '''How often a letter is in a column.'''
    name = "letters"
    column: str = Field("response", description="Which")

    @property
    def columns(self):
        return {"letters": "BIGINT"}

    def score(self, batch):
        return batch.select(counted(self.column).alias("letters"))
"""


@pytest.mark.parametrize("engine", ["processes", "ray"])
def test_a_scorer_from_a_file_of_the_users_own_runs_even_if_the_main_script_is_gone(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request
) -> None:
    if engine == "ray":
        request.getfixturevalue("cluster")
    name = f"letters_for_{engine}"
    (tmp_path / f"{name}.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    gone = ModuleType("__main__")
    gone.__file__ = str(tmp_path / "gone.py")
    monkeypatch.setitem(sys.modules, "__main__", gone)
    scorer = importlib.import_module(name).Letters()
    found = [measures for _, measures in measured(scorer, in_batches(frame(), 24), engine, 2)]
    assert pl.concat(found)["letters"].to_list() == [s.messages[-1].content.count("e") for s in SAMPLES]
