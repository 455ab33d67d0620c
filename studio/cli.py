"""The command `winnow`: one command per verb. Imports are inside the commands, so that help is instant."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from curation.errors import WinnowError, of_disk
from studio.commands import (
    advising,
    annotating,
    batching,
    bringing,
    comparing_runs,
    curating,
    deciding,
    improving,
    iterating,
    judging,
    making,
    mapping,
    mix_searching,
    opening,
    pricing,
    recalling,
    tuning,
    viewing,
)
from studio.commands.performing import argv as running


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="winnow-studio", prog_name="winnow")
def winnow() -> None:
    """Curate, synthesize, mix and train on fine-tuning data. CORPUS is a folder."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run a command; a mistake the user can mend is two lines on stderr and exit code 2."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    running.set(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    # Threads that spin while they wait make torch several times slower on a machine that does something else too.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        winnow.main(args=arguments, prog_name="winnow", standalone_mode=False)
    except WinnowError as error:
        _say(error)
    except click.ClickException as error:
        click.echo(f"error: {error.format_message()}\n  fix: see {_help_line(error)}", err=True)
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo("stopped: what was stored stays; the same command goes on from there", err=True)
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        disk = of_disk(error)
        if disk is None:
            raise
        _say(disk)


def _say(error: WinnowError) -> NoReturn:
    click.echo(f"error: {' '.join(error.message.split())}\n  fix: {error.fix}", err=True)
    sys.exit(2)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def _help_line(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return f"{context.command_path if context else 'winnow'} --help"


for command in (
    *(curating.ingest, curating.inspect, curating.score, curating.embed, curating.warm_up, curating.hold_out),
    *(curating.select, curating.compare, making.synthesize, making.export, tuning.train, judging.evaluate),
    *(advising.advise,),
    *(tuning.export_model, tuning.serve_model),
    *(tuning.diverse_evol, iterating.iterate_dpo, improving.improve_prompt, pricing.price, making.accept),
    *(comparing_runs.compare_runs, comparing_runs.bad_cases, mix_searching.mix_search),
    *(deciding.keep, deciding.drop, deciding.clear, deciding.tag, deciding.edit, deciding.normalize, deciding.undo),
    *(bringing.watch, bringing.arrivals, batching.batch),
    *(annotating.search, annotating.annotate, annotating.agreement, annotating.teach),
    *(deciding.history, recalling.snapshot, recalling.diff, recalling.why),
    *(viewing.views,),
    *(mapping.map_samples, mapping.choose),
    *(opening.jobs, opening.operators, opening.demo, opening.studio),
):
    winnow.add_command(command)


if __name__ == "__main__":
    main()
