"""The commands that train, and those that say what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from studio.performing import CORPUS, JSON, SETTINGS, WHERE, facts, pairs, perform

METHODS = ("sft", "pretrain", "dpo", "kto", "orpo", "simpo", "reward", "grpo")
ADAPTERS = ("full", "lora", "qlora", "freeze", "prompt", "prefix", "p-tuning")
"""As in `TrainConfig`, which would have to be imported for help alone; a test holds them equal."""


@click.command()
@click.argument("mix", type=click.Path(path_type=Path))
@click.option("--base-model", help="Path or name; the corpus' warm-up model if not given")
@click.option("--method", type=click.Choice(METHODS), default="sft", show_default=True)
@click.option("--adapter", type=click.Choice(ADAPTERS), help="Weights to train: lora; full for the small warm-up model")
@click.option("--run", "run_name", help="What to call the run")
@SETTINGS
@JSON
def train(
    mix: Path,
    base_model: str | None,
    method: str,
    adapter: str | None,
    run_name: str | None,
    settings: tuple[str, ...],
    as_json: bool,
) -> None:
    """Train on the mix in folder MIX; the same command resumes a run that was stopped."""
    from studio.runs import corpus_of, prepared
    from training import train as verb

    config, run = prepared(mix, base_model, method, adapter, run_name, pairs(settings, "--set"))
    perform(
        corpus_of(mix),
        as_json,
        lambda progress: verb(mix, config, run, progress=progress),
        facts("{r.run}", "state", "steps", "rows", "tokens", "train_loss", "seconds", "tokens_per_second"),
    )


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RUN...")
@click.option("--no-baseline", is_flag=True, help="Do not train on random samples of equal token count")
@JSON
def evaluate(runs: tuple[Path, ...], no_baseline: bool, as_json: bool) -> None:
    """Held-out loss by source: base model, trained model, and a random subset of equal token count."""
    from studio.runs import corpus_of, show_evaluation
    from training import evaluate as verb

    perform(
        corpus_of(runs[0]),
        as_json,
        lambda progress: verb(runs, baseline=not no_baseline, progress=progress),
        show_evaluation,
    )


@click.command("diverse-evol")
@CORPUS
@click.argument("budget")
@click.option("--name", required=True, help="What to call the selection")
@click.option("--base-model", help="Path or name; the corpus' warm-up model if not given")
@click.option("--adapter", type=click.Choice(ADAPTERS), help="Weights to train: lora; full for the small warm-up model")
@click.option("--rounds", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--initial", type=click.IntRange(min=1), default=100, show_default=True, help="Random samples before")
@click.option("--seed", default=0, show_default=True)
@SETTINGS
@WHERE
@JSON
def diverse_evol(
    corpus: Path,
    budget: str,
    name: str,
    base_model: str | None,
    adapter: str | None,
    rounds: int,
    initial: int,
    seed: int,
    settings: tuple[str, ...],
    where: str | None,
    as_json: bool,
) -> None:
    """Choose BUDGET samples in rounds: train on those chosen, then add what lies farthest for the trained model."""
    from curation.corpus import Corpus
    from studio.runs import training_config
    from training.diverse_evol import DEFAULTS
    from training.diverse_evol import diverse_evol as verb

    opened = Corpus(corpus)
    fields = {**DEFAULTS, "adapter": adapter, **pairs(settings, "--set")}
    config = training_config(opened.path, opened.path, base_model, fields)
    perform(
        opened.path,
        as_json,
        lambda progress: verb(
            opened, budget, config, name=name, rounds=rounds, initial=initial, where=where, seed=seed, progress=progress
        ),
        show_rounds,
    )


def show_rounds(report: Any) -> None:
    """The selection's size, and a line for each round."""
    from studio.printing import as_dict, print_facts, print_table

    print_facts(f"selection {report.name}", {"chosen": len(report.ids), "pool": report.pool})
    rounds = as_dict(report)["rounds"]
    print_table(rounds, ["selection", "samples", "trained_on", "train_loss"])
