"""The commands that decide about samples: keep, drop, tag, rewrite, and take it back."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import click

from curation.errors import CorpusError, OperatorError
from studio.commands.performing import CORPUS, JSON, SETTINGS, WHERE, facts, pairs, perform

CHANGED = ("action", "changed", "unchanged")


def by_ids(command: Callable[..., None]) -> Callable[..., None]:
    """The options that name samples one by one or in a file; `command` is given them as `ids`, null where none was.

    Raises:
        CorpusError: the file of `--ids` holds none, or is not UTF-8.
    """
    given = click.option("--id", "ids", multiple=True, metavar="ID", help="Or this sample; may be given several times")
    listed = click.option(
        "--ids",
        "file",
        type=click.File(encoding="utf-8-sig"),  # some editors begin a file with a mark that is no id
        metavar="FILE",
        help="Or those of this file, an id in each line; - is standard input",
    )

    @functools.wraps(command)
    def read(*args: Any, ids: tuple[str, ...], file: TextIO | None, **rest: Any) -> None:
        command(*args, ids=[*ids, *(_ids_of(file) if file else ())] or None, **rest)

    return given(listed(read))


def _ids_of(file: TextIO) -> list[str]:
    try:
        found = [*filter(None, map(str.strip, file))]
    except UnicodeDecodeError:
        raise CorpusError(f"The ids in {file.name} are not UTF-8 text.", fix="save the file as UTF-8") from None
    if not found:
        raise CorpusError(f"No id stands in {file.name}.", fix="write an id in each line")
    return found


def _decided(corpus: Path, as_json: bool, work: Callable[[Any], Any]) -> None:
    from curation.corpus import Corpus

    opened = Corpus(corpus)
    perform(opened.path, as_json, lambda progress: work(opened), facts("{r.kind}", *CHANGED))


@click.command()
@CORPUS
@WHERE
@by_ids
@click.option("--reason", required=True, help="Why; shown wherever the samples are")
@JSON
def drop(corpus: Path, where: str | None, ids: list[str] | None, reason: str, as_json: bool) -> None:
    """Leave samples out of scoring, selections and mixes; they stay in the corpus with the reason."""
    from curation.deciding import drop as verb

    _decided(corpus, as_json, lambda opened: verb(opened, where=where, ids=ids, reason=reason))


@click.command()
@CORPUS
@WHERE
@by_ids
@click.option("--note", default="", help="Why")
@JSON
def keep(corpus: Path, where: str | None, ids: list[str] | None, note: str, as_json: bool) -> None:
    """Mark samples as wanted; takes back that they were dropped."""
    from curation.deciding import keep as verb

    _decided(corpus, as_json, lambda opened: verb(opened, where=where, ids=ids, note=note))


@click.command()
@CORPUS
@WHERE
@by_ids
@click.option("--note", default="", help="Why")
@JSON
def clear(corpus: Path, where: str | None, ids: list[str] | None, note: str, as_json: bool) -> None:
    """Make samples neither kept nor dropped."""
    from curation.deciding import clear as verb

    _decided(corpus, as_json, lambda opened: verb(opened, where=where, ids=ids, note=note))


@click.command()
@CORPUS
@click.argument("name", metavar="TAG")
@WHERE
@by_ids
@click.option("--remove", is_flag=True, help="Take the tag away instead")
@click.option("--note", default="", help="Why")
@JSON
def tag(
    corpus: Path, name: str, where: str | None, ids: list[str] | None, remove: bool, note: str, as_json: bool
) -> None:
    """Give samples a tag, or take it away."""
    from curation.deciding import tag as give
    from curation.deciding import untag as take

    def work(opened: Any) -> Any:
        if remove:
            return take(opened, name, where=where, ids=ids, note=note)
        return give(opened, name, where=where, ids=ids, note=note)

    _decided(corpus, as_json, work)


@click.command()
@CORPUS
@click.argument("sample_id", metavar="ID")
@click.option("--instruction", help="The new question, where there is only one")
@click.option("--response", help="The new last answer; - reads it from standard input")
@click.option("--note", default="", help="Why")
@JSON
def edit(corpus: Path, sample_id: str, instruction: str | None, response: str | None, note: str, as_json: bool) -> None:
    """Rewrite a sample as a new version; the old one is kept."""
    from curation.deciding import edit as verb

    if instruction is None and response is None:
        raise OperatorError("There is nothing to rewrite.", fix="give --instruction or --response")
    text = sys.stdin.read() if response == "-" else response
    _decided(corpus, as_json, lambda opened: verb(opened, sample_id, instruction=instruction, response=text, note=note))


@click.command()
@CORPUS
@click.argument("normalizer")
@SETTINGS
@WHERE
@click.option("--note", default="", help="Why")
@JSON
def normalize(
    corpus: Path, normalizer: str, settings: tuple[str, ...], where: str | None, note: str, as_json: bool
) -> None:
    """Let a normalizer rewrite samples, each as a new version (see: winnow operators)."""
    from curation.corpus import Corpus
    from curation.normalizers import NORMALIZERS
    from curation.normalizing import normalize as verb
    from curation.operators import build

    operator = build("normalizer", NORMALIZERS, normalizer, pairs(settings, "--set"))
    opened = Corpus(corpus)
    perform(
        opened.path,
        as_json,
        lambda progress: verb(opened, operator, where=where, note=note, progress=progress),
        facts("{r.normalizer}", "action", "looked_at", "changed"),
    )


@click.command()
@CORPUS
@click.argument("action", required=False)
@JSON
def undo(corpus: Path, action: str | None, as_json: bool) -> None:
    """Take back the latest action, or ACTION of the history; undoing an undo does it again."""
    from curation.actions import undo as verb

    _decided(corpus, as_json, lambda opened: verb(opened, action))


@click.command()
@CORPUS
@click.option("--limit", type=click.IntRange(min=1), default=30, show_default=True, help="Actions to show")
@JSON
def history(corpus: Path, limit: int, as_json: bool) -> None:
    """What was decided and rewritten, the latest first."""
    from curation.actions import history as verb
    from curation.corpus import Corpus
    from studio.commands.printing import print_json, print_table

    rows = verb(Corpus(corpus)).head(limit).to_dicts()
    if as_json:
        print_json({"actions": rows})
        return
    for row in rows:
        row["made_at"] = f"{row['made_at']:%Y-%m-%d %H:%M}"
        row["undone"] = "undone" if row["undone"] else ""
    print_table(rows, ["action", "kind", "changed", "note", "who", "made_at", "undone"])
