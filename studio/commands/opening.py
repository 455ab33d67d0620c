"""The commands around the corpus: jobs, the list of operators, the demo, the studio."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from studio.commands.performing import CORPUS, JSON, facts, perform


@click.command()
@CORPUS
@click.option("--cancel", metavar="ID", help="Stop a running job")
@click.option("--resume", metavar="ID", help="Start a stopped job again")
@click.option("--log", "log_of", metavar="ID", help="Show what a job printed")
@JSON
def jobs(corpus: Path, cancel: str | None, resume: str | None, log_of: str | None, as_json: bool) -> None:
    """List the commands that ran on a corpus, stop one, or start one again."""
    from curation.corpus import Corpus
    from studio import jobs as background
    from studio.commands.printing import print_json, print_table

    folder = Corpus(corpus).path
    if cancel:
        background.cancel(background.job(folder, cancel))
    if resume:
        background.resume(background.job(folder, resume))
    if log_of:
        click.echo(background.log(background.job(folder, log_of)))
        return
    rows = [
        {"id": j.id, "state": j.state, "seconds": round(j.seconds, 1), "progress": j.error or j.message, "line": j.line}
        for j in background.jobs(folder)
    ]
    if as_json:
        print_json({"jobs": rows})
    else:
        print_table(rows, ["id", "state", "seconds", "progress"])


@click.command()
@JSON
def operators(as_json: bool) -> None:
    """List the scorers, selectors and synthesizers with their parameters."""
    from studio.commands.listing import operator_rows
    from studio.commands.printing import print_json, print_table

    rows = operator_rows()
    if as_json:
        print_json({"operators": rows})
    else:
        print_table(rows, ["kind", "name", "parameters", "summary"])


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default="demo")
@JSON
def demo(folder: Path, as_json: bool) -> None:
    """Build the demo corpus in FOLDER: 313 samples in English and Chinese with planted defects."""
    from studio.demo_corpus import build_demo

    perform(
        None,
        as_json,
        lambda progress: build_demo(folder, progress),
        facts("{r.folder}", "samples", "held_out", "scored", "selections"),
    )


@click.command()
@click.argument("corpus", type=click.Path(path_type=Path), default="demo")
@click.option("--port", default=8501, show_default=True)
@click.option("--headless", is_flag=True, help="Do not open a browser")
@click.option(
    "--address", default="127.0.0.1", show_default=True, help="To listen on; 0.0.0.0 for other machines: needs a login"
)
@click.option(
    "--workspace",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Whose files the browser may read and write, besides the corpus; the current folder if not given",
)
@click.option("--without-login", is_flag=True, help="Let other machines in although nobody has to log in")
def studio(corpus: Path, port: int, headless: bool, address: str, workspace: Path | None, without_login: bool) -> None:
    """Open the studio on a corpus in the browser.

    For others to reach it, set WINNOW_PASSWORD (they may change the corpus) or WINNOW_VIEWER_PASSWORD (they may look).
    """
    from studio.door.serving import run_studio

    sys.exit(run_studio(corpus, port, headless, address=address, workspace=workspace, without_login=without_login))
