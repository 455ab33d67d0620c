"""How a command runs its verb: as a job with a folder, with progress on stderr and the report on stdout."""

from __future__ import annotations

import contextvars
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from curation.errors import OperatorError, WinnowError, of_disk

argv: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("argv", default=None)
"""The words of the command that runs."""

WHERE = click.option(
    "--where", metavar="SQL", help="Only samples that meet this condition, such as: source = 'a' AND ifd < 1"
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else")
SETTINGS = click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A parameter of the operator")
CORPUS = click.argument("corpus", type=click.Path(path_type=Path))


def perform(corpus: Path | None, as_json: bool, work: Callable[[Any], Any], show: Callable[[Any], None]) -> None:
    """Run a verb as a job: progress to stderr and the job's folder, the report to stdout and the folder."""
    from studio.commands.printing import ProgressLine, as_dict, print_json
    from studio.jobs import FOLDER_VARIABLE, Recorder, job_id

    words = argv.get() or []
    given = os.environ.get(FOLDER_VARIABLE)
    folder = Path(given) if given else corpus / "jobs" / job_id(words) if corpus and words else None
    recorder, line = Recorder(folder, words), ProgressLine(silent=False)

    def progress(done: int, total: int | None, message: str) -> None:
        recorder.progress(done, total, message)
        line(done, total, message)

    try:
        report = work(progress)
    except WinnowError as error:
        recorder.finish(2, error=error)
        raise
    except KeyboardInterrupt:
        recorder.finish(130)
        raise
    except BaseException as error:
        disk = of_disk(error)
        if disk is not None:
            recorder.finish(2, error=disk)
            raise disk from None
        unexpected = WinnowError(f"Unexpected {type(error).__name__}: {error}", fix="read the job's log and report it")
        recorder.finish(1, error=unexpected)
        raise
    finally:
        line.close()
    plain = as_dict(report)
    recorder.finish(0, plain)
    if as_json:
        print_json(plain)
    else:
        show(report)


def facts(title: str, *names: str) -> Callable[[Any], None]:
    """Show these fields of a report under a title, which is formatted with the report as `r`."""

    def show(report: Any) -> None:
        from studio.commands.printing import print_facts

        print_facts(title.format(r=report), {n.replace("_", " "): getattr(report, n) for n in names})

    return show


def pairs(given: Iterable[str], option: str) -> dict[str, str]:
    """NAME=VALUE words as a dict.

    Raises:
        OperatorError: a word has no `=`.
    """
    found = {}
    for word in given:
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise OperatorError(
                f"{option} {word!r} is not NAME=VALUE.", fix=f"write it like: {option} {word or 'NAME'}=VALUE"
            )
        found[name.strip()] = value
    return found


def shard_folder(corpus: Path) -> Path | None:
    """Where a command puts its shards: its job's folder."""
    from studio.jobs import FOLDER_VARIABLE, job_id

    words = argv.get()
    given = os.environ.get(FOLDER_VARIABLE)
    return Path(given) if given else corpus / "jobs" / job_id(words) if words else None
