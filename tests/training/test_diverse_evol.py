from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from curation.corpus import Corpus
from curation.errors import WinnowError
from curation.language_models.encoders import open_encoder
from curation.selection import select
from curation.selectors import Longest
from tests.curation.samples import corpus_of, pair
from training.config import TrainConfig
from training.diverse_evol import DiverseEvolReport, diverse_evol
from training.training import TrainReport, prepare, report
from training.worker import Worker

WORDS = ("kettle", "orange", "winter", "雨", "violin", "harbour")


pytestmark = pytest.mark.usefixtures("one_thread")


def sixty(folder: Path) -> Corpus:
    return corpus_of(folder, [pair(f"Say {w} {n}", f"{w} " * (n % 5 + 1)) for n in range(10) for w in WORDS])


@pytest.fixture(scope="module")
def config(tiny_model: Path) -> TrainConfig:
    return TrainConfig(
        base_model=str(tiny_model), adapter="full", max_length=64, max_steps=2, save_steps=100, eval_steps=None
    )


@pytest.fixture(scope="module")
def evolved(tmp_path_factory: pytest.TempPathFactory, config: TrainConfig) -> tuple[Corpus, DiverseEvolReport]:
    corpus = sixty(tmp_path_factory.mktemp("evolved") / "c")
    return corpus, diverse_evol(corpus, 20, config, name="evolved", rounds=2, initial=8, training=Here())


class Here:
    """Trains in this process, which saves the start of another one; stops before a run when told so."""

    def __init__(self, stops_before: int | None = None) -> None:
        self.runs: list[str] = []
        self._stops_before = stops_before

    def __call__(self, mix: Path, config: TrainConfig, run: Path) -> TrainReport:
        if len(self.runs) == self._stops_before:
            raise KeyboardInterrupt
        folder = prepare(mix, config, run).path
        if report(run).state != "done":
            self.runs.append(run.name)
            Worker(folder).work()
        return report(run)


def test_each_round_goes_on_from_the_selection_before_and_adds_what_its_model_finds_farthest(evolved) -> None:
    corpus, made = evolved
    kept = [corpus.selection(name).ids for name in ("evolved-round-0", "evolved-round-1", "evolved")]
    assert [len(ids) for ids in kept] == [8, 14, 20]
    assert kept[2][:14] == kept[1]
    assert kept[1][:8] == kept[0]
    assert made.ids == kept[2]
    assert [(r.trained_on, r.samples) for r in made.rounds] == [(8, 14), (14, 20)]
    assert kept[2] == [*kept[1], *farthest(corpus, made.rounds[1].run, kept[1], 6)]
    assert not list((corpus.path / "embeddings").iterdir())


def farthest(corpus: Corpus, run: str, ids: list[str], more: int) -> list[str]:
    """The greedy rule with the whole matrix of distances."""
    frame = corpus.frame(["id", "instruction", "response"], order="id")
    texts = [f"{q}\n\n{a}" for q, a in zip(frame["instruction"], frame["response"], strict=True)]
    vectors = open_encoder(f"hf-mean:{run}/final").encode(texts)
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    rows = [frame["id"].to_list().index(i) for i in ids]
    for _ in range(more):
        rows.append(int(distances[:, rows].min(axis=1).argmax()))
    return [frame["id"][row] for row in rows[len(ids) :]]


def test_killed_and_called_again_it_ends_as_if_it_had_not_been(evolved, config, tmp_path) -> None:
    corpus, rest, nothing = sixty(tmp_path / "c"), Here(), Here()
    with pytest.raises(KeyboardInterrupt):
        diverse_evol(corpus, 20, config, name="e", rounds=2, initial=8, training=Here(stops_before=1))
    assert corpus.selections() == ["e-round-0", "e-round-1"]
    again = diverse_evol(corpus, 20, config, name="e", rounds=2, initial=8, training=rest)
    assert again.ids == evolved[1].ids
    assert len(rest.runs) == 1
    assert diverse_evol(corpus, 20, config, name="e", rounds=2, initial=8, training=nothing).ids == again.ids
    assert nothing.runs == []


@pytest.mark.parametrize(
    ("budget", "initial", "message"), [(8, 8, "no round has one to choose"), (100, 8, "the pool has only 60")]
)
def test_a_budget_that_leaves_no_round_or_exceeds_the_pool_is_two_lines(
    config, tmp_path, budget, initial, message
) -> None:
    corpus = sixty(tmp_path / "c")
    with pytest.raises(WinnowError, match=message):
        diverse_evol(corpus, budget, config, name="e", rounds=2, initial=initial, training=Here())


@pytest.mark.parametrize("wrong", [{"budget": 5}, {"rounds": 0}, {"budget": 500}, {"budget": "many"}])
def test_wrong_arguments_leave_a_stored_selection_as_it_was(
    tmp_path: Path, wrong: dict[str, Any], config: TrainConfig
) -> None:
    corpus = sixty(tmp_path / "c")
    before = select(corpus, Longest(), 3, name="mine-round-0").ids
    with pytest.raises(WinnowError):
        diverse_evol(corpus, **{"budget": 20, "config": config, "name": "mine", "rounds": 2, "initial": 8, **wrong})
    assert corpus.selection("mine-round-0").ids == before
