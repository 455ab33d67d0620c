"""Searching for a mix: small runs over sizes or source weights, the law they follow, and which runs to make next.

Every run is a folder like any other: it can be resumed, followed and compared, and is never trained twice.

SEARCH/mixes/NAME/    parts of the mix
SEARCH/report.json    what was found
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from curation.errors import WinnowError
from curation.names import checked_name
from curation.progress import Progress, silent
from curation.storage.sql import literal
from training.config import TrainConfig
from training.data.mix_folder import NO_SOURCE, MixFolder
from training.mix_search.design import in_words, shares_of_size, source_weights
from training.mix_search.law import FEWEST_SIZES, Fit, fit, worth_running
from training.mix_search.regression import WeightsFit, fewest_mixes, fit_weights
from training.mix_search.trials import Plan, Source
from training.runs.run_folder import RunFolder, status
from training.training import TrainReport, train

Training = Callable[[Path, TrainConfig, Path], TrainReport]
"""Trains on a mix's folder into a run's folder; a finished run is reported at once."""

DEFAULTS: dict[str, Any] = {"eval_steps": None, "sample_answers": 0}
"""Of each run: held-out losses are taken before and after only."""
AHEAD = (2.0, 4.0, 8.0)
"""How many times the mix's data is forecast."""


@dataclass(frozen=True)
class Trial:
    """A run of the search, and what it reached."""

    name: str
    run: str
    share: float | None
    weights: dict[str, float] | None
    repeat: int
    rows: int
    tokens: int
    """Trained on, in one pass."""
    loss: float
    """Held out, nats per token, of the weights that the run kept; `base` is before. NaN where it broke down."""
    base: float
    loss_by_source: dict[str, float]
    seconds: float
    trained: bool
    """By this call; else it was there already."""


@dataclass(frozen=True)
class NextRun:
    """A run that would tell more."""

    what: str
    share: float | None
    weights: dict[str, float] | None
    worth: float | None
    """Sizes: share of the uncertainty about twice the data that it takes away; null where the law lacks sizes.
    Weights: expected gain, in nats."""


@dataclass(frozen=True)
class SearchReport:
    """What the runs have shown so far."""

    name: str
    over: str
    """sizes or weights."""
    mix: str
    rows: int
    """Of the mix."""
    base_model: str
    trials: list[Trial]
    law: Fit | None
    """Loss against tokens; null where weights were searched."""
    weights: WeightsFit | None
    """null where sizes were searched."""
    next: list[NextRun]
    recipe: dict[str, Any] | None
    """Of the best mix; null without one. `largest`: source -> rows, as many as these weights allow; `file`: the
    recipe for `winnow export`, null where there is none: `reason` says why."""
    notes: list[str]


@dataclass(frozen=True)
class Search:
    """What is searched, and how."""

    name: str
    over: Literal["sizes", "weights"] = "sizes"
    runs: int | None = None
    """Sizes, or mixes; 4 sizes, or twice the sources + 2 when null."""
    repeats: int = 1
    """Runs of each size or mix, with other draws and seeds: they tell noise from effect."""
    smallest: float = 1 / 16
    """Sizes: share of the mix that the smallest run trains on."""
    share: float = 0.5
    """Weights: text of each run, as a share of the mix's: the less, the further weights go without repeated rows."""
    seed: int = 0


def search(
    mix_dir: Path | str,
    config: TrainConfig,
    wanted: Search,
    *,
    folder: Path,
    runs_dir: Path,
    training: Training | None = None,
    progress: Progress = silent,
) -> SearchReport:
    """Train what has not been trained yet, and say what all runs of the search show; the report is kept in the folder.

    Args:
        mix_dir: what is searched within: sizes are parts of it, weights are of its sources.
        config: of every run; repeats add to its seed.
        wanted: the search.
        folder: of the search.
        runs_dir: where its runs lie.
        training: how a run is trained; in a process of its own when null.
        progress: told the runs that are over, and what is being done.

    Raises:
        WinnowError: the mix has no held-out rows or too few samples, or a training failed.
        KeyboardInterrupt: a training was stopped; the same call goes on from there.
    """
    checked_name("search", wanted.name)
    source = Source(MixFolder(Path(mix_dir).expanduser().resolve()), seed=wanted.seed)
    text = wanted.share * source.text
    plans = _plans(source, wanted)
    trials: list[Trial] = []

    def told(done: int, total: int | None, message: str) -> None:
        progress(len(trials), len(plans), f"run {len(trials) + 1} of {len(plans)}: {message}")

    def trained(mix: Path, settings: TrainConfig, run: Path) -> TrainReport:
        return train(mix, settings, run, progress=told)

    for plan in plans:
        mix = source.write(plan, text, folder / "mixes" / _folder_name(source, wanted, plan))
        trials.append(_trial(plan, mix, config, wanted, runs_dir, training or trained))
        progress(len(trials), len(plans), f"{trials[-1].name}: held-out loss {trials[-1].loss:.4f}")
    report = _report(source, wanted, config, trials, folder)
    RunFolder(folder).write("report.json", asdict(report))
    return report


def found(folder: Path) -> dict[str, Any] | None:
    """The report that a search left in its folder; null where there is none."""
    return RunFolder(folder).read("report.json") or None


def _plans(source: Source, wanted: Search) -> list[Plan]:
    repeats = range(wanted.repeats)
    if wanted.over == "sizes":
        shares = shares_of_size(wanted.smallest, _enough(wanted, FEWEST_SIZES, FEWEST_SIZES, "A law over sizes"))
        if shares[0] * len(source.rows) < 1:
            raise WinnowError(
                f"{shares[0]:.3g} of the {len(source.rows):,} rows of {source.mix.path} is none.",
                fix="give a larger --smallest, or a larger mix",
            )
        return [Plan(share, None, repeat) for share in shares for repeat in repeats]
    text = source.text_by_source()
    if len(text) < 2:
        raise WinnowError(
            f"The mix {source.mix.path} has one source: there is nothing to weigh.",
            fix="search over sizes: --over sizes, or export a mix of several sources",
        )
    if not 0 < wanted.share <= 1:
        raise WinnowError(f"{wanted.share:g} is no share of the mix.", fix="give --share between 0 and 1, such as 0.5")
    natural = {name: n / source.text for name, n in text.items()}
    most = {name: min(1.0, n / (wanted.share * source.text)) for name, n in text.items()}
    fewest = fewest_mixes(len(text))
    runs = _enough(wanted, max(fewest, 2 * len(text) + 2), fewest, f"A law over the weights of {len(text)} sources")
    points = source_weights(natural, runs, most=most, seed=wanted.seed)
    return [Plan(None, weights, repeat) for weights in points for repeat in repeats]


def _enough(wanted: Search, default: int, fewest: int, what: str) -> int:
    """The runs that are wanted; refused before the first one where all of them would show nothing."""
    runs = wanted.runs or default
    if runs < fewest:
        raise WinnowError(
            f"{what} needs {fewest} runs that differ, and {runs} are asked for.",
            fix=f"give --runs {fewest} or more, or leave it out",
        )
    return runs


def _folder_name(source: Source, wanted: Search, plan: Plan) -> str:
    # Another mix, seed or amount of text makes other folders: nothing of an earlier search is taken for this one's.
    amount = wanted.share if wanted.over == "weights" else 1
    content = json.dumps([source.mix.hashes(("train", "eval")), wanted.seed, amount])
    return f"{wanted.name}-{plan.label}-{hashlib.sha256(content.encode()).hexdigest()[:6]}"


def _trial(plan: Plan, mix: Path, config: TrainConfig, wanted: Search, runs_dir: Path, training: Training) -> Trial:
    own = config.model_copy(update={"seed": config.seed + plan.repeat})
    digest = hashlib.sha256(f"{mix.name}/{own.model_dump_json()}".encode()).hexdigest()[:6]
    run = runs_dir / f"{wanted.name}-{plan.label}-{digest}"
    there = status(run).state == "done"
    report = training(mix, own, run)
    if report.state != "done":
        raise KeyboardInterrupt
    if not report.held_out:
        raise WinnowError(
            f"The run {run} has no held-out loss.",
            fix="see that rows of eval.jsonl can be measured: winnow evaluate RUN",
        )
    before, after = report.held_out[0], report.held_out[-1]
    # With patience the run keeps the weights of an earlier step.
    after = next((told for told in report.held_out if told["step"] == report.best_step), after)
    return Trial(
        name=run.name,
        run=str(run),
        share=plan.share,
        weights=plan.weights,
        repeat=plan.repeat,
        rows=report.rows,
        tokens=report.tokens,
        loss=math.nan if after["loss"] is None else after["loss"],
        base=before["loss"],
        loss_by_source=after.get("loss_by_source") or {},
        seconds=report.seconds,
        trained=not there,
    )


def _report(source: Source, wanted: Search, config: TrainConfig, trials: list[Trial], folder: Path) -> SearchReport:
    over_sizes = wanted.over == "sizes"
    sound = [trial for trial in trials if _sound(trial)]
    law = _law(sound) if over_sizes else None
    weights = None if over_sizes else _weights(source, wanted, sound)
    return SearchReport(
        name=wanted.name,
        over=wanted.over,
        mix=str(source.mix.path),
        rows=len(source.rows),
        base_model=config.base_model,
        trials=trials,
        law=law,
        weights=weights,
        next=_next_sizes(sound) if over_sizes else _next_weights(weights),
        recipe=_recipe(source, weights, wanted, folder),
        notes=_notes(wanted, trials, config),
    )


def _sound(trial: Trial) -> bool:
    """Whether all losses of a run are finite: one that broke down tells nothing of the data."""
    return all(isinstance(x, int | float) and math.isfinite(x) for x in (trial.loss, *trial.loss_by_source.values()))


def _law(trials: Sequence[Trial]) -> Fit:
    largest = max((trial.tokens for trial in trials), default=0)
    return fit([t.tokens for t in trials], [t.loss for t in trials], ahead=[times * largest for times in AHEAD])


def _next_sizes(trials: Sequence[Trial]) -> list[NextRun]:
    """Sizes by how much one more run of each would settle about twice the data; those that a law lacks come first."""
    lacking = FEWEST_SIZES - len({trial.tokens for trial in trials})
    if lacking > 0:
        missing = _between(sorted({trial.share or 0.0 for trial in trials}), lacking)
        return [NextRun(f"{_of_mix(share)}: a law needs {FEWEST_SIZES} sizes", share, None, None) for share in missing]
    by_share = {trial.share or 0.0: trial for trial in trials}
    smallest, largest = by_share[min(by_share)], by_share[max(by_share)]
    options = [
        (share, float(trial.tokens), f"{_of_mix(share)} again, with another seed") for share, trial in by_share.items()
    ]
    half = (smallest.share or 0.0) / 2
    options.append((half, smallest.tokens / 2, _of_mix(half)))
    options.append((2.0, 2.0 * largest.tokens, "a mix of twice the data, where the corpus has it"))
    worth = worth_running(
        [t.tokens for t in trials], [t.loss for t in trials], [n for _, n, _ in options], 2.0 * largest.tokens
    )
    told = [NextRun(what, share, None, gain) for (share, _, what), gain in zip(options, worth, strict=True) if gain > 0]
    return sorted(told, key=lambda run: -(run.worth or 0.0))[:3]


def _between(shares: Sequence[float], count: int) -> list[float]:
    """So many shares more, each in the middle of the widest step between those there are."""
    places, found = [*shares] or [1.0], list[float]()
    for _ in range(count):
        steps = list(pairwise(places)) or [(places[0] / 4, places[0])]
        low, high = max(steps, key=lambda step: step[1] / step[0])
        found.append(round(math.sqrt(low * high), 4))
        places = sorted([*places, found[-1]])
    return found


def _of_mix(share: float) -> str:
    return "the whole mix" if share == 1 else f"{share:.4g} of the mix"


def _weights(source: Source, wanted: Search, trials: Sequence[Trial]) -> WeightsFit:
    text = source.text_by_source()
    names = list(text)
    natural = tuple(text[name] / source.text for name in names)
    most = tuple(min(1.0, text[name] / (wanted.share * source.text)) for name in names)
    points = [tuple((trial.weights or {}).get(name, 0.0) for name in names) for trial in trials]
    losses = [trial.loss_by_source or {"all": trial.loss} for trial in trials]
    return fit_weights(names, points, losses, _held_out_shares(trials), natural, most=most, seed=wanted.seed)


def _held_out_shares(trials: Sequence[Trial]) -> dict[str, float]:
    """Shares of the held-out tokens by source: those with which the losses by source give the losses of all."""
    import numpy as np
    from scipy.optimize import nnls

    names = sorted(trials[0].loss_by_source) if trials else []
    if not names:
        return {"all": 1.0}
    by_source = np.array([[trial.loss_by_source[name] for name in names] for trial in trials])
    # That they sum to 1 is one more equation, as heavy as all others together.
    heavy = 10 * float(np.abs(by_source).max()) * len(trials)
    found, _ = nnls(
        np.vstack([by_source, np.full(len(names), heavy)]), np.append([trial.loss for trial in trials], heavy)
    )
    return dict(zip(names, map(float, found / found.sum()), strict=True))


def _next_weights(weights: WeightsFit | None) -> list[NextRun]:
    if weights is None:
        return []
    return [NextRun(in_words(p.weights), None, p.weights, p.improvement) for p in weights.next]


def _recipe(source: Source, weights: WeightsFit | None, wanted: Search, folder: Path) -> dict[str, Any] | None:
    if weights is None or weights.best is None:
        return None
    best = {name: share for name, share in weights.best.weights.items() if share > 0}
    rows = source.most_rows(best)
    exported = RunFolder(source.mix.path).read("manifest.json")
    if not isinstance(exported.get("mix"), dict):
        return {"largest": rows, "file": None, "reason": "the mix was not exported from a corpus"}
    if any(part.get("stage") for part in exported["mix"].get("parts") or ()):
        reason = "the mix has stages, and weights of sources do not say which rows belong to which"
        return {"largest": rows, "file": None, "reason": reason}
    inside = f"id IN (SELECT id FROM mixed WHERE name = {literal(str(exported['name']))})"
    parts = [{"where": f"{_of_source(name)} AND {inside}", "rows": n} for name, n in rows.items() if n]
    kept = {key: exported["mix"][key] for key in ("format", "seed") if key in exported["mix"]}
    RunFolder(folder).write("best.json", {"name": f"{wanted.name}-best", "parts": parts, **kept})
    return {"largest": rows, "file": str(folder / "best.json"), "reason": None}


def _of_source(name: str) -> str:
    return "coalesce(source, '') = ''" if name == NO_SOURCE else f"source = {literal(name)}"


def _notes(wanted: Search, trials: Sequence[Trial], config: TrainConfig) -> list[str]:
    notes = [
        f"Every run makes {'one pass' if config.epochs == 1 else f'{config.epochs:g} passes'} over its own rows"
        if config.max_steps is None
        else f"Every run makes {config.max_steps} steps, however few rows it has: small ones see theirs more often"
    ]
    if wanted.repeats == 1:
        notes.append("One run of each: repeats tell noise from effect and narrow the intervals")
    broken = sum(not _sound(trial) for trial in trials)
    if broken:
        notes.append(f"{broken} of {len(trials)} runs end with a held-out loss that is no number, and are left out")
    worse = sum(trial.loss > trial.base for trial in trials)
    if worse:
        notes.append(f"{worse} of {len(trials)} runs end with a higher held-out loss than the base model's")
    return notes
