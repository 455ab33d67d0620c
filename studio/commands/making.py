"""The commands that make something of the samples: new ones, a mix, a model, a judgement."""

from __future__ import annotations

from pathlib import Path

import click

from studio.commands.performing import CORPUS, JSON, facts, perform
from studio.commands.synthesizing import accept as accept
from studio.commands.synthesizing import synthesize as synthesize


@click.command()
@CORPUS
@click.argument("mix")
@click.argument("out", required=False, type=click.Path(path_type=Path))
@click.option(
    "--part",
    "parts",
    multiple=True,
    metavar="SELECTION[=ROWS|=xWEIGHT][*TIMES][@STAGE]",
    help="A selection, all of it, so many rows, or a weight such as x2; or where:SQL, all samples that meet it. "
    "*TIMES: each sample comes so often. "
    "@STAGE: trained on stage after stage, in the order of the parts",
)
@click.option(
    "--format",
    "format_name",
    default="messages",
    show_default=True,
    help="messages, prompt-completion, alpaca, sharegpt, preference",
)
@click.option("--seed", default=0, show_default=True)
@JSON
def export(
    corpus: Path,
    mix: str,
    out: Path | None,
    parts: tuple[str, ...],
    format_name: str,
    seed: int,
    as_json: bool,
) -> None:
    """Write a mix: MIX is a name for the --part's given, or a selection, or a JSON file with a recipe."""
    from curation.corpus import Corpus
    from curation.mixing import export as verb
    from studio.commands.mixes import recipe

    opened = Corpus(corpus)
    wanted = recipe(mix, parts, format_name, seed, opened.selections())
    perform(
        opened.path,
        as_json,
        lambda progress: verb(opened, wanted, out, progress=progress),
        facts("{r.folder}", "rows", "sha256", "by_source", "eval_rows", "random_rows", "skipped", "notes"),
    )
