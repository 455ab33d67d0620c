"""The commands that train, and those that say what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from studio.commands.performing import CORPUS, JSON, SETTINGS, WHERE, facts, pairs, perform

METHODS = ("sft", "pretrain", "dpo", "kto", "orpo", "simpo", "reward", "grpo")
ADAPTERS = ("full", "lora", "qlora", "freeze", "prompt", "prefix", "p-tuning")
"""As in `TrainConfig`, which would have to be imported for help alone; a test holds them equal."""


@click.command()
@click.argument("mix", type=click.Path(path_type=Path))
@click.option("--base-model", help="Path or name; the corpus' warm-up model if not given")
@click.option("--method", type=click.Choice(METHODS), default="sft", show_default=True)
@click.option("--adapter", type=click.Choice(ADAPTERS), help="Weights to train: lora; full for the small warm-up model")
@click.option("--run", "run_name", help="What to call the run")
@click.option("--show-command", is_flag=True, help="Print what would start the training; start nothing")
@SETTINGS
@JSON
def train(
    mix: Path,
    base_model: str | None,
    method: str,
    adapter: str | None,
    run_name: str | None,
    show_command: bool,
    settings: tuple[str, ...],
    as_json: bool,
) -> None:
    """Train on the mix in folder MIX; the same command resumes a run that was stopped.

    Several processes: --set processes=4 --set strategy=fsdp2. Several machines run the same command on a folder that
    they share, with WINNOW_MACHINES, WINNOW_MACHINE_RANK and WINNOW_MAIN_ADDRESS=HOST:PORT.
    """
    from studio.runs import corpus_of, prepared
    from training import train as verb

    config, run = prepared(mix, base_model, method, adapter, run_name, pairs(settings, "--set"))
    if show_command:
        from training.training import command_of

        click.echo(command_of(mix, config, run))
        return
    perform(corpus_of(mix), as_json, lambda progress: verb(mix, config, run, progress=progress), show_training)


def show_training(report: Any) -> None:
    """What a run did, what should be known of it, and what looks wrong with it."""
    names = ["state", "steps", "rows", "tokens", "train_loss", "seconds", "tokens_per_second"]
    facts("{r.run}", *names, *(["launch"] if report.launch else []))(report)
    for text in report.notes:
        click.echo(f"note: {text}", err=True)
    for text in report.warnings:
        click.echo(f"warning: {text}", err=True)


@click.command("export-model")
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--as", "kind", type=click.Choice(("adapter", "merged", "gguf")), default="merged", show_default=True)
@click.option("--base", help="What the base model is called elsewhere, such as its name on the hub")
@click.option("--push", metavar="OWNER/NAME", help="Upload to the hub too; the token is read from HF_TOKEN")
@click.option("--public", is_flag=True, help="A repository that is made is open to everybody; else private")
@JSON
def export_model(
    run: Path, folder: Path, kind: Any, base: str | None, push: str | None, public: bool, as_json: bool
) -> None:
    """Write the model of a finished RUN to FOLDER with a model card: an adapter, merged weights, or GGUF."""
    from studio.runs import corpus_of
    from training.exporting.export import export_model as verb

    perform(
        corpus_of(run),
        as_json,
        lambda progress: verb(run, folder, kind, base=base, push=push, public=public, progress=progress),
        facts("{r.folder}", "kind", "base_model", "bytes", "files", "pushed", "notes"),
    )


@click.command("serve-model")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--port", default=0, show_default="any free one", help="On 127.0.0.1; for Transformers")
@click.option("--by", type=click.Choice(("auto", "transformers", "vllm")), default="auto", show_default=True)
@JSON
def serve_model(run: Path, port: int, by: Any, as_json: bool) -> None:
    """Let the model of a finished RUN and its base answer at an address, until Ctrl-C; the Chat page asks there."""
    from studio.runs import corpus_of
    from training.serving.serving import serve

    perform(
        corpus_of(run),
        as_json,
        lambda progress: serve(run, port=port, by=by, progress=progress),
        facts("{r.run}", "by", "address", "model", "seconds"),
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
    from studio.commands.printing import as_dict, print_facts, print_table

    print_facts(f"selection {report.name}", {"chosen": len(report.ids), "pool": report.pool})
    rounds = as_dict(report)["rounds"]
    print_table(rounds, ["selection", "samples", "trained_on", "train_loss"])
