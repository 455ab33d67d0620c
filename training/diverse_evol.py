"""DiverseEvol: the model that is being tuned says what it has not seen yet.

Each round trains the base model on what is chosen so far, embeds the pool with that model, and lets k-center add the
samples that lie farthest from all chosen ones. Everything goes through the verbs (select, export, train, embed), and
each step's result is stored under a name made from its content: killed and called again it goes on where it was.

CORPUS/runs/NAME-round-1-ab12cd/               a round's training run
CORPUS/runs/NAME-round-1-ab12cd/chosen.json    what was chosen with its model: the round is over
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.corpus import Corpus
from curation.embedding import embed
from curation.errors import CorpusError, OperatorError
from curation.mixing import Mix, Part, export
from curation.names import checked_name
from curation.progress import Progress, silent
from curation.selection import samples_in, select
from curation.selectors.k_center import KCenter
from curation.selectors.random import Random
from curation.size_matched import candidates
from curation.storage.sql import working
from training.config import TrainConfig
from training.runs.run_folder import RunFolder
from training.training import TrainReport, train

Training = Callable[[Path, TrainConfig, Path], TrainReport]
"""Trains on a mix's folder into a run's folder; a finished run is reported at once."""

DEFAULTS: dict[str, Any] = {"epochs": 3, "max_length": 512, "eval_steps": None}
"""Of each round's training, as in the paper; held-out losses are taken before and after only."""


@dataclass(frozen=True)
class Round:
    """One round: a model, and what it chose."""

    selection: str
    """Name of the selection it ended with; the last round's is the result."""
    trained_on: int
    """Samples."""
    samples: int
    """Of the selection, those before included."""
    run: str
    train_loss: float | None


@dataclass(frozen=True)
class DiverseEvolReport:
    """A stored selection and the rounds that made it."""

    name: str
    ids: list[str]
    """The random ones first, then those of each round in the order chosen."""
    pool: int
    rounds: tuple[Round, ...]


def diverse_evol(
    corpus: Corpus,
    budget: int | float | str,
    config: TrainConfig,
    *,
    name: str,
    rounds: int = 10,
    initial: int = 100,
    where: str | None = None,
    seed: int = 0,
    training: Training | None = None,
    progress: Progress = silent,
) -> DiverseEvolReport:
    """Choose samples round by round with a model that is tuned on what is chosen so far, and store the choice.

    Source: DiverseEvol, Wu et al. 2023, arXiv:2311.08182, section 3; code: OFA-Sys/DiverseEvol (100 random samples, ten
    rounds of 100; 3 epochs of full training from the base model, max_length 512; mean of the last layer over prompt and
    answer; L2 distance).

    Differs from the source: vectors are of unit length, and of the bare text of prompt and answer without a template;
    the rounds share what the budget leaves after the first samples evenly, whatever it is.

    Args:
        corpus: to choose from.
        budget: samples to keep: a number, or a share of the pool such as "5%".
        config: of each round's training; its base model is where every round begins.
        name: of the selection; those of the rounds are called NAME-round-0 (the random one), NAME-round-1, ...
        rounds: how often a model is trained and chooses.
        initial: random samples to begin with.
        where: the working set; the whole corpus when null.
        seed: of the random samples.
        training: how a run is trained; in a process of its own when null.
        progress: told the rounds that are over, and what is being done.

    Raises:
        CorpusError: the pool is smaller than the budget, or no budget is left after the first samples.
        WinnowError: a training failed.
        KeyboardInterrupt: a training was stopped.
    """
    checked_name("selection", name)
    pool = candidates(corpus, where).height
    # Before anything is stored: a selection of that name would be replaced.
    sizes = _sizes(samples_in(budget, pool), pool, initial, rounds)
    first = select(corpus, Random(seed=seed), initial, name=f"{name}-round-0", where=where)

    def trained(mix: Path, settings: TrainConfig, run: Path) -> TrainReport:
        return train(mix, settings, run, progress=told)

    def told(done: int, total: int | None, message: str) -> None:
        progress(len(over), len(sizes) - 1, f"round {len(over) + 1}: {message}")

    over: list[Round] = []
    ids: Sequence[str] = first.ids
    for number, size in enumerate(sizes[1:], 1):
        following = name if number == len(sizes) - 1 else f"{name}-round-{number}"
        step = _Step(corpus, config, f"{name}-round-{number - 1}", tuple(ids), following, size, where)
        report = step.trained(training or trained)
        ids = step.chosen() or step.choose(Path(str(report.checkpoint)), told)
        over.append(Round(following, len(step.ids), size, report.run, report.train_loss))
        progress(number, len(sizes) - 1, f"round {number}: {size:,} samples")
    return DiverseEvolReport(name, list(ids), first.pool, tuple(over))


def _sizes(keep: int, pool: int, initial: int, rounds: int) -> list[int]:
    """Samples that are chosen before the first round and after each one."""
    if rounds < 1 or initial < 1:
        raise OperatorError(
            f"{rounds} rounds that begin with {initial} samples can't be made.", fix="give --rounds and --initial >= 1"
        )
    if keep > pool:
        raise CorpusError(
            f"{keep:,} samples are asked for, but the pool has only {pool:,}.", fix=f"ask for at most {pool}"
        )
    rounds = min(rounds, keep - initial)
    if rounds < 1:
        raise OperatorError(
            f"Of the {keep:,} samples {initial:,} would be random ones: no round has one to choose.",
            fix="raise the budget, or give a smaller --initial",
        )
    return [initial + (keep - initial) * number // rounds for number in range(rounds + 1)]


@dataclass(frozen=True)
class _Step:
    """From one selection to the next."""

    corpus: Corpus
    config: TrainConfig
    selection: str
    ids: tuple[str, ...]
    following: str
    size: int
    where: str | None

    @property
    def _name(self) -> str:
        """Of the run and the embedding: other samples or another config have others."""
        content = json.dumps([self.config.model_dump(mode="json"), self.ids])
        return f"{self.selection}-{hashlib.sha256(content.encode()).hexdigest()[:6]}"

    @property
    def _run(self) -> RunFolder:
        return RunFolder(self.corpus.path / "runs" / self._name)

    def trained(self, training: Training) -> TrainReport:
        mix = Mix(name=self._name, parts=(Part(selection=self.selection),))
        folder = self.corpus.path / "mixes" / mix.name
        if not (folder / "manifest.json").exists():  # it is written last
            export(self.corpus, mix, folder)
        report = training(folder, self.config, self._run.path)
        if report.state != "done":
            raise KeyboardInterrupt
        return report

    def chosen(self) -> list[str] | None:
        """What was chosen with this step's model before, if the selection is still that one."""
        if self.following not in self.corpus.selections():
            return None
        ids = self.corpus.selection(self.following).ids
        return ids if self._run.read("chosen.json") == self._choice(ids) else None

    def choose(self, model: Path, progress: Progress) -> list[str]:
        """Embed the pool with the model and let k-center go on; the vectors are of no use after that."""
        pool = working(f"({self.where}\n) AND NOT held_out" if self.where else "NOT held_out")
        embed(self.corpus, f"hf-mean:{model}", name=self._name, where=pool, progress=progress)
        selector = KCenter(after=self.selection)
        chosen = select(self.corpus, selector, self.size, name=self.following, where=self.where, embedding=self._name)
        if chosen.ids[: len(self.ids)] != list(self.ids):
            raise CorpusError(
                f"The selection {self.selection!r} is no longer what round {self.following!r} was begun with.",
                fix="run the same command again",
            )
        self._run.write("chosen.json", self._choice(chosen.ids))
        shutil.rmtree(self.corpus.path / "embeddings" / self._name)
        return chosen.ids

    def _choice(self, ids: Sequence[str]) -> dict[str, object]:
        digest = hashlib.sha256("\n".join(ids).encode()).hexdigest()
        return {"selection": self.following, "samples": self.size, "where": self.where, "sha256": digest}
