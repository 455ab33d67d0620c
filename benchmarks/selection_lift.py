"""Does selection help? The same small model, tuned on equal tokens of every selector's choice, on what it did not see.

`python -m benchmarks.selection_lift DATA FOLDER [--budgets 1 5 10] [--selectors NAME...] [--seeds 5] [--threads 2]`

A base model is trained on data that is neither the pool (Alpaca) nor evaluated; one that had read the pool could not
tell what a choice of it brings. Every selector chooses from the pool;
the base model is tuned on the choice, always on as many answer tokens as a random choice of that budget has, and its
loss is measured on held-out samples of other sources and of Alpaca itself. Random choices give the band. FOLDER keeps
the corpus, the scores, the selections and each result (`results.jsonl`): called again, it goes on where it stopped.
After it comes what quality signals keep of AlpacaEval's answers (`lift_preferences`). DATA is named in `lift_data`.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks import lift_data, lift_preferences, lift_training
from benchmarks.lift_settings import SETTINGS, STATES, TEXTS, Setting
from benchmarks.lift_tables import BASE, RANDOM, tables

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus
    from curation.operators import Pool, Selector
    from curation.progress import Progress

LARGEST = 10.0
"""Percent of the pool that selectors are asked for at once; smaller budgets are prefixes."""
CHEAP = 2.0
"""Up to this budget, in percent, every selection is trained in `ORDERS` orders."""
ORDERS = 3


@dataclass(frozen=True)
class Run:
    """One training: of a selection, at a budget, in an order."""

    name: str
    key: str
    """Hash of all that its losses depend on."""
    percent: float
    budget: int
    """Samples."""
    seed: int
    rows: np.ndarray
    """Rows of the pool, best first."""
    tokens: int


def main(arguments: list[str]) -> None:
    """Prepare, run what has not been run, and print the tables."""
    asked = _arguments(arguments)
    # Worker processes compute on one core each; this process on all that it may use.
    os.environ["OMP_NUM_THREADS"] = "1"
    lift_training.begin(asked.threads)
    wanted = [s for s in SETTINGS if not asked.selectors or asked.selectors & {s.name, s.selector}]
    asked.needs = {c for s in wanted for c in s.build().needs} if asked.only != "preferences" else set()
    prepared = Prepared(Path(asked.data), Path(asked.folder), asked)
    if asked.only != "preferences":
        perform(prepared.runs(wanted), prepared.folder, asked.threads)
        current = {run.key for run in prepared.runs(s for s in SETTINGS if prepared.has_chosen(s))}
        for line in tables([row for row in results(prepared.folder) if row["key"] in current], asked.budgets):
            print(line)
    if asked.only != "training":
        arguments_of = (prepared.data, prepared.corpus, prepared.base, asked.encoder, TEXTS)
        for line in lift_preferences.table(*arguments_of):
            print(line)


def _arguments(arguments: list[str]) -> Any:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.selection_lift")
    parser.add_argument("data", help="folder of the files that lift_data names")
    parser.add_argument("folder", help="where everything is kept")
    parser.add_argument("--budgets", type=float, nargs="+", default=[1, 5, 10], help="percent of Alpaca")
    parser.add_argument("--selectors", nargs="+", default=[], help="names of selectors or of lines of the table")
    parser.add_argument("--seeds", type=int, default=5, help="random choices")
    parser.add_argument("--threads", type=int, default=2, help="cores: as many trainings run at a time")
    parser.add_argument("--encoder", default="lexical", help="of the texts; another one wants another folder")
    parser.add_argument("--only", choices=["training", "preferences"])
    found = parser.parse_args(arguments)
    found.selectors = set(found.selectors)
    return found


def told(what: str, begun: tuple[float, float]) -> None:
    """Say what took how long; work of child processes is in the wall time only."""
    wall, cores = (now - then for now, then in zip(clocks(), begun, strict=True))
    print(f"  {wall:7.1f} s, {cores:7.1f} core s  {what}", flush=True)


def clocks() -> tuple[float, float]:
    """Wall time and this process' processor time, in seconds."""
    return time.monotonic(), time.process_time()


def every(steps: int) -> Progress:
    """A progress that tells each so many steps."""

    def progress(done: int, total: int | None, text: str) -> None:
        if done % steps == 0:
            print(f"    {done:,} of {total}: {text}", flush=True)

    return progress


# -------------------------------------------------------------------- preparing


class Prepared:
    """The base model, the corpus with its scores, the pool, and everything in tokens."""

    def __init__(self, data: Path, folder: Path, asked: Any) -> None:
        """Make what is not there yet."""
        from curation.language_models.causal_lm import fingerprint_of

        self.data, self.folder, self.asked = data, folder, asked
        folder.mkdir(parents=True, exist_ok=True)
        self.base = folder / "base"
        begun = clocks()
        found = lift_data.parts(data)
        self._train_base(found)
        told("the base model", begun)
        begun = clocks()
        self.corpus: Corpus = lift_data.corpus_of(found, folder)
        self._embed(TEXTS, asked.encoder)
        lift_data.score_all(self.corpus, self.base, asked.needs, asked.threads)
        told("the corpus, its vectors and scores", begun)
        self.frame = self._frame()
        self.model = fingerprint_of(str(self.base))
        self._tokenize(found)
        self.answers = lift_training.stored(folder / "pool.npz").answers

    def _train_base(self, found: lift_data.Parts) -> None:
        from curation.warm_up import WarmUpSettings, warm_up

        turns = ("user", "assistant")
        pairs = found.base.select("instruction", "response").iter_rows()
        conversations = [[{"role": r, "content": t} for r, t in zip(turns, pair, strict=True)] for pair in pairs]
        settings = WarmUpSettings(token_budget=2_000_000, row_tokens=256, batch_rows=4, epochs=2)
        report = warm_up(conversations, self.base, settings=settings, progress=every(200))
        print(
            f"base model: {report.parameters:,} parameters, {report.vocabulary:,} words, {report.tokens:,} tokens, "
            f"held-out loss {report.held_out_loss_before:.2f} -> {report.held_out_loss_after:.2f}"
        )

    def _embed(self, name: str, encoder: str) -> None:
        from curation.embedding import embed

        embed(self.corpus, encoder, name=name)

    def _frame(self) -> pl.DataFrame:
        """The pool with every column that a selector may read, ordered by id."""
        import polars as pl

        from curation.vectors import vectors_of

        scores = [name for name in self.corpus.score_columns() if not name.endswith("_direct_loss")]
        columns = ["id", "source", "instruction", "response", "response_chars", *scores]
        frame = self.corpus.frame(columns).sort("id")
        ids = vectors_of(self.corpus, TEXTS).ids
        taste = lift_data.preference_head(self.corpus, self.data, self.asked.encoder, TEXTS)
        frame = frame.join(pl.DataFrame({"id": ids, "taste": taste}), on="id", how="left", maintain_order="left")
        first = pl.col("instruction").str.to_lowercase().str.extract(r"^\W*(\p{L}+)").fill_null("").alias("first_word")
        return frame.with_columns(first, lift_data.words(frame["instruction"]).alias("words"))

    def _tokenize(self, found: lift_data.Parts) -> None:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self.base)
        sets = {f"held-out-{name}": frame for name, frame in found.held_out.items()} | {"pool": self.pool_frame()}
        for name, frame in sets.items():
            lift_training.tokens_of(frame, tokenizer).save(self.folder / f"{name}.npz")

    def pool_frame(self) -> pl.DataFrame:
        """Alpaca without what is held out, ordered by id."""
        return self.frame.filter(source=lift_data.OWN)

    # ---------------------------------------------------------------- selections

    def runs(self, wanted: Iterable[Setting]) -> list[Run]:
        """Every training that the arguments ask for, the smallest budgets first."""
        from curation.selectors import Random

        found = [self._run(BASE, 0, np.empty(0, np.int64), {}, 0)]
        for seed in range(self.asked.seeds):
            rows, spec = self.chosen(Random(seed=seed), TEXTS)
            found += [self._run(RANDOM, percent, rows, spec, seed) for percent in self.asked.budgets]
        for setting in wanted:
            rows, spec = self._tried(setting)
            for percent in self.asked.budgets if len(rows) else ():
                orders = ORDERS if percent <= CHEAP else 1
                found += [self._run(setting.name, percent, rows, spec, seed) for seed in range(orders)]
        return sorted((run for run in found if len(run.rows) == run.budget), key=lambda run: run.percent)

    def samples(self, percent: float) -> int:
        """A budget in samples."""
        return round(percent / 100 * len(self.answers))

    def _run(self, name: str, percent: float, rows: np.ndarray, spec: dict[str, Any], seed: int) -> Run:
        budget = self.samples(percent)
        tokens = lift_training.token_budget(budget, self.answers)
        chosen = rows[:budget]
        recipe = [lift_training.STEP_TOKENS, lift_training.WINDOW, lift_training.LEARNING_RATE, lift_training.RISE]
        content = json.dumps([name, spec, self.model, lift_data.EACH, *recipe, tokens, seed])
        key = hashlib.sha256(content.encode() + chosen.tobytes()).hexdigest()[:16]
        return Run(name, key, percent, budget, seed, chosen, tokens)

    def _tried(self, setting: Setting) -> tuple[np.ndarray, dict[str, Any]]:
        """Rows that a setting chooses; none where it can't be tried, which is told."""
        from curation.errors import WinnowError

        try:
            return self.chosen(setting.build(), setting.vectors)
        except WinnowError as error:
            print(f"  not run: {setting.name}: {error.message}", flush=True)
            return np.empty(0, np.int64), {}

    def has_chosen(self, setting: Setting) -> bool:
        """Whether its selection is stored."""
        from curation.errors import WinnowError

        try:
            return self._stored(setting.build(), setting.vectors)[0].exists()
        except WinnowError:
            return False

    def _stored(self, selector: Selector, vectors: str) -> tuple[Path, dict[str, Any]]:
        """Where the selection is kept, and all that it depends on."""
        spec = selector.spec() | {"vectors": self.asked.encoder if vectors == TEXTS else STATES, "model": self.model}
        name = hashlib.sha256(json.dumps([spec, self._most], sort_keys=True).encode()).hexdigest()[:12]
        return self.folder / "selections" / f"{selector.name}-{name}.json", spec

    @property
    def _most(self) -> int:
        return self.samples(max(LARGEST, *self.asked.budgets))

    def chosen(self, selector: Selector, vectors: str) -> tuple[np.ndarray, dict[str, Any]]:
        """Rows of the pool, best first, enough for the largest budget; those of an equal selector are read."""
        from curation.selection import checked

        path, spec = self._stored(selector, vectors)
        if not path.exists():
            pool = self._pool(selector, vectors)
            begun = clocks()
            selection = checked(selector, selector.select(pool, self._most), pool, self._most)
            told(f"{selector.name} chose {self._most:,} of {len(pool):,}", begun)
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(selection.ids))
        place = {i: row for row, i in enumerate(self.pool_frame()["id"])}
        return np.array([place[i] for i in json.loads(path.read_text())], np.int64), spec

    def _pool(self, selector: Selector, vectors: str) -> Pool:
        import polars as pl

        from curation.columns import unscored_column
        from curation.operators import Pool
        from curation.vectors import vectors_of

        frame = self.pool_frame()
        missing = [c for c in selector.needs if c not in frame.columns]
        if missing:
            raise unscored_column(self.corpus, missing[0])
        frame = frame.select(
            pl.col("id", "source", *(c for c in dict.fromkeys(selector.needs) if c not in ("id", "source")))
        )
        if not selector.needs_vectors:
            return Pool(frame)
        if vectors == STATES:
            self._embed(STATES, f"hf-weighted:{self.base}")
        stored = vectors_of(self.corpus, vectors)
        place = {i: row for row, i in enumerate(stored.ids)}
        targets = self.frame.filter(source="target")["id"]
        of_pool, of_targets = ([place[i] for i in ids] for ids in (frame["id"], targets))
        return Pool(frame, np.asarray(stored.matrix[of_pool]), np.asarray(stored.matrix[of_targets]))


# -------------------------------------------------------------------- training


def perform(runs: list[Run], folder: Path, threads: int) -> None:
    """Train what has no result yet, so many at a time, and append each result as it comes."""
    import torch

    from curation.engines import spread

    known = {row["key"] for row in results(folder)}
    left = [run for run in runs if run.key not in known]
    print(f"  {len(left)} trainings of {len(runs)} to do", flush=True)
    alone = threads < 2 or torch.cuda.is_available()
    done = spread(
        functools.partial(_performed, folder),
        ((run.key, run) for run in left),
        "here" if alone else "processes",
        threads,
    )
    with (folder / "results.jsonl").open("a") as file:
        for number, (_, row) in enumerate(done, 1):
            file.write(json.dumps(row) + "\n")
            file.flush()
            mean = np.mean([row["losses"][source] for source in lift_data.SOURCES])
            told_row = f"{row['percent']:g} % {row['name']}: {mean:.4f}"
            print(f"  {number}/{len(left)} {row['core_seconds']:6.1f} core s  {told_row}", flush=True)


def _performed(folder: Path, run: Run) -> dict[str, Any]:
    about = {"key": run.key, "name": run.name, "percent": run.percent, "budget": run.budget, "seed": run.seed}
    return about | lift_training.tuned(folder, run.rows, run.tokens, run.seed)


def results(folder: Path) -> list[dict[str, Any]]:
    """Every result so far; a line that was cut off by a kill is passed over."""
    path = folder / "results.jsonl"
    return list(_lines(path)) if path.exists() else []


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text().splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue


if __name__ == "__main__":
    main(sys.argv[1:])
