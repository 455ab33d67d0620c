"""The commands for batches: what a synthesis asks next as files, results back, and OpenAI's Batch between the two."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from studio.commands.performing import CORPUS, JSON, SETTINGS, WHERE, facts, pairs, perform
from studio.commands.synthesizing import ACCEPT, acceptance

FILES = click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
TAKEN = ("taken", "known", "failed", "refused", "unfinished", "missing", "strangers", "unreadable", "cost_usd")


@click.group()
def batch() -> None:
    """Synthesize by OpenAI's Batch (half the price) or `vllm run-batch`: write, send and poll (or run it), take."""


@batch.command()
@CORPUS
@click.argument("synthesizer")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--model", required=True, help="As for synthesize: openai:MODEL, vllm:MODEL, http://HOST:PORT/v1#MODEL")
@click.option("--judge", help="As for synthesize: who judges, where it is not the model")
@SETTINGS
@ACCEPT
@WHERE
@click.option("--limit", type=click.IntRange(min=1), help="Seed samples at most")
@click.option("--seed", default=0, show_default=True)
@JSON
def write(
    corpus: Path,
    synthesizer: str,
    out: Path,
    model: str,
    judge: str | None,
    settings: tuple[str, ...],
    accept: tuple[str, ...],
    where: str | None,
    limit: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Write the calls that `synthesize` with these arguments needs next into files in folder OUT."""
    from curation.corpus import Corpus
    from curation.operators import build
    from synthesis.batching import write_batch
    from synthesis.synthesizers import SYNTHESIZERS

    operator = build("synthesizer", SYNTHESIZERS, synthesizer, pairs(settings, "--set"))
    opened, rules = Corpus(corpus), acceptance(accept)
    perform(
        opened.path,
        as_json,
        lambda progress: write_batch(
            opened,
            operator,
            model,
            out,
            judge_spec=judge,
            acceptance=rules,
            where=where,
            limit=limit,
            seed=seed,
            progress=progress,
        ),
        facts("run {r.run}", "files", "requests", "seeds", "finished", "in_flight", "refused"),
    )


@batch.command()
@CORPUS
@FILES
@JSON
def take(corpus: Path, files: tuple[Path, ...], as_json: bool) -> None:
    """Keep the answers of output and error files; `synthesize` then finds them."""
    from curation.corpus import Corpus
    from curation.language_models.batch_results import take_results

    path = Corpus(corpus).path
    perform(path, as_json, lambda progress: take_results(path, files, progress=progress), facts("answers", *TAKEN))


@batch.command()
@CORPUS
@FILES
@click.option("--model", required=True, help="openai:MODEL, or an address that has Batch endpoints")
@JSON
def send(corpus: Path, files: tuple[Path, ...], model: str, as_json: bool) -> None:
    """Send files of `batch write` to OpenAI's Batch; what is under way is not sent twice."""
    from curation.corpus import Corpus
    from curation.language_models.batch_sending import send_files

    path = Corpus(corpus).path
    perform(path, as_json, lambda progress: send_files(path, model, files, progress=progress), _show)


@batch.command()
@CORPUS
@click.option("--wait", is_flag=True, help="Until every batch has ended")
@click.option("--every", default=30.0, show_default=True, help="Seconds between two looks")
@JSON
def poll(corpus: Path, wait: bool, every: float, as_json: bool) -> None:
    """Ask how the sent batches stand, and take the results of those that ended, completed or not."""
    from curation.corpus import Corpus
    from curation.language_models.batch_sending import poll_batches

    path = Corpus(corpus).path
    perform(
        path,
        as_json,
        lambda progress: poll_batches(path, wait=wait, every_seconds=every, progress=progress),
        _show,
    )


def _show(report: Any) -> None:
    from studio.commands.printing import print_facts, print_table

    print_table(report.batches, ["file", "batch", "state", "requests", "done", "errors", "reason"])
    if report.taken is not None:
        print_facts("answers", {name.replace("_", " "): getattr(report.taken, name) for name in TAKEN})
