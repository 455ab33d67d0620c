"""The commands for data that keeps coming: a watched folder, and what a batch brought."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from curation.errors import IngestError
from studio.commands.performing import CORPUS, JSON, pairs, perform

POLICY = click.option(
    "--on-conflict",
    type=click.Choice(["keep-both", "newest", "review"]),
    default="keep-both",
    show_default=True,
    help="Same question, other answer: keep both, drop the earlier one, or tag both 'contradiction'",
)


@click.command()
@CORPUS
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--once", is_flag=True, help="Read what is there and end")
@click.option("--every", default=10.0, show_default=True, metavar="SECONDS", help="Between two looks")
@click.option(
    "--pattern", default="*", show_default=True, help="Which files; '**/*.jsonl' looks into folders below, too"
)
@click.option("--source", help="What to call the source; each file's name if not given")
@click.option(
    "--map", "fields", multiple=True, metavar="NAME=COLUMN", help="Which column is meant, such as: response=reply"
)
@click.option("--arrivals", "measured", is_flag=True, help="Say of each file how much of it is new")
@POLICY
@JSON
def watch(
    corpus: Path,
    folder: Path,
    once: bool,
    every: float,
    pattern: str,
    source: str | None,
    fields: tuple[str, ...],
    measured: bool,
    on_conflict: str,
    as_json: bool,
) -> None:
    """Ingest the files of FOLDER as they come and as they change, until Ctrl-C."""
    from curation.corpus import Corpus
    from curation.watching import watch as verb

    mapped = pairs(fields, "--map")
    if not folder.is_dir():  # before a corpus is made for nothing
        raise IngestError(f"There is no folder {folder}.", fix=f"name a folder, or: winnow ingest {corpus} FILE")
    opened = Corpus.create(corpus)

    def arrived(file: Any) -> None:
        click.echo(_line(file), err=as_json)
        if not isinstance(file, IngestError) and file.added and (measured or on_conflict != "keep-both"):
            from curation.arrivals import arrivals as measure

            click.echo(f"  {_brief(measure(opened, file.batch, on_conflict=on_conflict))}", err=as_json)

    perform(
        opened.path,
        as_json,
        lambda progress: verb(
            opened, folder, pattern=pattern, once=once, every_seconds=every, source=source, fields=mapped,
            arrived=arrived, progress=progress,
        ),
        _show_watch,
    )  # fmt: skip


def _line(file: Any) -> str:
    if isinstance(file, IngestError):
        return f"refused: {file.message}"
    return f"{file.file}: {file.added:,} added, {file.duplicates:,} duplicates, {file.rejected:,} rejected"


def _brief(report: Any) -> str:
    known = report.measured and report.novel is not None
    new = f"{report.novel:,} of {report.measured:,} novel" if known else "nothing earlier to compare to"
    settled = f", {report.dropped:,} earlier ones dropped" if report.dropped else ""
    settled += f", {report.tagged:,} tagged" if report.tagged else ""
    return f"{new}, {report.contradictions:,} contradict earlier samples{settled}"


def _show_watch(report: Any) -> None:
    click.echo(
        f"{len(report.files):,} files read: {report.added:,} added, {report.duplicates:,} duplicates, "
        f"{report.rejected:,} rejected; {len(report.refused):,} files refused"
    )
    for path in report.unfinished:
        click.echo(f"still being written: {path}")


@click.command()
@CORPUS
@click.argument("batch", required=False)
@click.option("--embedding", help="Which vectors; the latest if not given")
@POLICY
@click.option(
    "--novel-above", default=0.3, show_default=True, help="Distance (1 - cosine) from which a sample is novel"
)
@JSON
def arrivals(
    corpus: Path, batch: str | None, embedding: str | None, on_conflict: str, novel_above: float | None, as_json: bool
) -> None:
    """Say what BATCH (an ingested file; the latest) brought: how much of it is new, and what it contradicts."""
    from curation.arrivals import arrivals as verb
    from curation.corpus import Corpus

    opened = Corpus(corpus)
    perform(
        opened.path,
        as_json,
        lambda progress: verb(
            opened, batch, embedding=embedding, on_conflict=on_conflict, novel_above=novel_above, progress=progress
        ),
        _show_arrivals,
    )


def _show_arrivals(report: Any) -> None:
    from studio.commands.printing import print_facts

    facts = {
        "batch": report.batch,
        "samples": report.samples,
        "duplicates": report.duplicates,
        "rejected": report.rejected,
        "earlier samples": report.earlier,
        "novel": report.novel,
        "novel is above": report.novel_above,
        "novelty": report.quantiles,
        "usual distance here": report.usual,
        "embedding": report.embedding or None,
        "contradicting": report.contradictions,
        "contradicted": report.contradicted,
    }
    settled = {"dropped": report.dropped, "tagged": report.tagged}
    print_facts(f"{report.file}", facts | {name: n for name, n in settled.items() if n})
    _show_neighbours("most novel", report.most_novel)
    _show_neighbours("least novel", report.least_novel)
    _show_contradictions(report)


def _show_neighbours(title: str, found: Any) -> None:
    from studio.commands.printing import print_table, shortened

    if found:
        click.echo(f"\n{title}")
        print_table(
            [
                {
                    "novelty": round(a.novelty, 3),
                    "sample": shortened(a.instruction, 50),
                    "nearest": shortened(a.neighbour_instruction, 50),
                }
                for a in found
            ]
        )


def _show_contradictions(report: Any) -> None:
    from studio.commands.printing import print_table, shortened

    if report.listed:
        click.echo("\nsame question, other answer")
        print_table(
            [
                {
                    "question": shortened(c.question, 40),
                    "earlier": shortened(c.old_answer, 30),
                    "new": shortened(c.new_answer, 30),
                    "earlier id": c.old,
                }
                for c in report.listed[:10]
            ]
        )
