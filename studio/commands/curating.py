"""The commands that bring, measure and choose samples."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import click

from curation.errors import IngestError, OperatorError
from studio.commands.performing import CORPUS, JSON, SETTINGS, WHERE, facts, pairs, perform, shard_folder


@click.command()
@CORPUS
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--source", help="What to call the source; the file's name if not given")
@click.option(
    "--map", "fields", multiple=True, metavar="NAME=COLUMN", help="Which column is meant, such as: response=reply"
)
@click.option(
    "--rules",
    multiple=True,
    metavar="NAME=VALUE",
    help="What becomes of conversations with feedback, such as: thumbs=false",
)
@click.option("--encoding", help="Of text files that are not UTF-8, such as: gb18030")
@JSON
def ingest(
    corpus: Path,
    files: tuple[str, ...],
    source: str | None,
    fields: tuple[str, ...],
    rules: tuple[str, ...],
    encoding: str | None,
    as_json: bool,
) -> None:
    """Read files (JSON, JSONL, Parquet, CSV, text; .gz, .zst) and addresses (https://, hf://datasets/) into a corpus.

    Known text adds nothing.
    """
    from curation.corpus import Corpus
    from curation.files.feedback import rules_from
    from curation.files.fetching import is_remote
    from curation.ingestion import ingest as verb

    mapped, judged = pairs(fields, "--map"), rules_from(pairs(rules, "--rules"))
    missing = [file for file in files if not is_remote(file) and not Path(file).exists()]
    if missing:  # before a corpus is made for nothing
        raise IngestError(f"There is no file {missing[0]}.", fix="check the name; a pattern works too: data/*.jsonl")
    opened = Corpus.create(corpus)
    perform(
        opened.path,
        as_json,
        lambda progress: verb(
            opened, files, source=source, fields=mapped, rules=judged, encoding=encoding, progress=progress
        ),
        lambda report: _show_ingest(report, corpus),
    )


def _show_ingest(report: Any, corpus: Path) -> None:
    from studio.commands.printing import print_table

    print_table(
        [
            {
                "file": f.file,
                "shape": ", ".join(f.shapes),
                "added": f.added,
                "duplicates": f.duplicates,
                "rejected": f.rejected,
            }
            for f in report.files
        ]
    )
    by_rule = Counter[str]()
    for f in report.files:
        by_rule.update(f.rules)
    if by_rule:
        from curation.files.feedback import FeedbackRules

        rules = [(r, n, FeedbackRules.model_fields[r].description) for r, n in by_rule.items()]
        click.echo()
        print_table([{"rule": r, "samples": n, "what it says": told} for r, n, told in rules])
    if report.rejected:
        click.echo(f"{report.rejected:,} rows could not be read; see why: winnow inspect {corpus} --rejected")


@click.command()
@CORPUS
@WHERE
@click.option("--selection", help="Only the samples of this selection, best first")
@click.option("--rejected", is_flag=True, help="The rows that could not be read, and why")
@click.option("--order", metavar="SQL", help="Such as: ifd DESC NULLS LAST")
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="Samples to show")
@JSON
def inspect(
    corpus: Path, where: str | None, selection: str | None, rejected: bool, order: str | None, limit: int, as_json: bool
) -> None:
    """Show samples, or the rows that could not be read."""
    from curation.corpus import Corpus
    from studio.commands.inspecting import rejected_rows, samples
    from studio.commands.printing import print_json

    opened = Corpus(corpus)
    found = rejected_rows(opened, limit) if rejected else samples(opened, where, selection, order, limit)
    if as_json:
        print_json(found)
    else:
        _show_samples(found)


def _show_samples(found: dict[str, Any]) -> None:
    from studio.commands.printing import print_table, shortened

    if "rows" in found:
        print_table(
            [{**row, "text": shortened(row["text"] or "", 60)} for row in found["rows"]],
            ["file", "line", "reason", "text"],
        )
    else:
        print_table(
            [
                {
                    "id": s["id"],
                    "source": s["source"],
                    "first turn": shortened(s["messages"][0]["content"], 50),
                    "last turn": shortened(s["messages"][-1]["content"], 50),
                }
                for s in found["samples"]
            ]
        )
    click.echo(f"{found['count']:,} in all")


@click.command()
@CORPUS
@click.argument("scorer")
@SETTINGS
@WHERE
@click.option("--engine", type=click.Choice(["here", "processes", "ray"]), default="here", show_default=True)
@click.option("--workers", type=click.IntRange(min=1), help="Of the engine; one per core if not given")
@JSON
def score(
    corpus: Path,
    scorer: str,
    settings: tuple[str, ...],
    where: str | None,
    engine: str,
    workers: int | None,
    as_json: bool,
) -> None:
    """Measure samples by a scorer (see: winnow operators), or by one of your own: the path of its .py file."""
    from curation.corpus import Corpus
    from curation.own_operators import build_any
    from curation.scorers import SCORERS
    from curation.scoring import score as verb

    operator = build_any("scorer", SCORERS, scorer, pairs(settings, "--set"))
    opened = Corpus(corpus)
    folder = shard_folder(opened.path)
    perform(
        opened.path,
        as_json,
        lambda progress: verb(
            opened, operator, where=where, engine=engine, workers=workers, folder=folder, progress=progress
        ),
        facts("{r.scorer}", "columns", "scored", "unscored", "already"),
    )


@click.command()
@CORPUS
@click.option(
    "--model",
    default="lexical",
    show_default=True,
    help="lexical, sentence-transformers:NAME_OR_PATH, or hf-mean:, hf-weighted:, hf-last:NAME_OR_PATH (a causal LM)",
)
@click.option("--text", type=click.Choice(["both", "instruction", "response"]), default="both", show_default=True)
@click.option("--vectors", type=click.Path(path_type=Path), help="Take these vectors instead: a .npy file")
@click.option("--by", metavar="FIELD", help="Metadata field whose order the rows of --vectors have")
@click.option("--name", help="What to call the embedding")
@WHERE
@click.option("--engine", type=click.Choice(["here", "processes", "ray"]), default="here", show_default=True)
@click.option("--workers", type=click.IntRange(min=1), help="Of the engine; one per core if not given")
@JSON
def embed(
    corpus: Path,
    model: str,
    text: str,
    vectors: Path | None,
    by: str | None,
    name: str | None,
    where: str | None,
    engine: str,
    workers: int | None,
    as_json: bool,
) -> None:
    """Give every sample a vector."""
    from curation.corpus import Corpus
    from curation.embedding import add_vectors
    from curation.embedding import embed as verb

    if (vectors is None) != (by is None):
        raise OperatorError(
            "--vectors and --by go together.", fix="name the metadata field: --vectors FILE.npy --by FIELD"
        )
    opened = Corpus(corpus)

    def work(progress: Any) -> Any:
        if vectors is not None and by is not None:
            return add_vectors(opened, vectors, by, name=name)
        return verb(opened, model, text=text, name=name, where=where, engine=engine, workers=workers, progress=progress)

    perform(opened.path, as_json, work, facts("embedding {r.name}", "model", "dimensions", "embedded", "already"))


@click.command("warm-up")
@CORPUS
@SETTINGS
@click.option("--seed", default=0, show_default=True)
@JSON
def warm_up(corpus: Path, settings: tuple[str, ...], seed: int, as_json: bool) -> None:
    """Train the small local causal LM that IFD uses, and training starts from, when none is named."""
    from curation.corpus import Corpus
    from studio.commands.warming import warm_up_corpus

    opened = Corpus(corpus)
    given = pairs(settings, "--set")
    perform(
        opened.path,
        as_json,
        lambda progress: warm_up_corpus(opened, given, seed, progress),
        facts("{r.folder}", "parameters", "steps", "tokens", "seconds", "held_out_loss_before", "held_out_loss_after"),
    )


@click.command("hold-out")
@CORPUS
@click.argument("budget")
@click.option("--seed", default=0, show_default=True)
@JSON
def hold_out(corpus: Path, budget: str, seed: int, as_json: bool) -> None:
    """Set samples aside for evaluation, each source with its share; no selection takes them."""
    from curation.corpus import Corpus
    from curation.selection import hold_out as verb

    opened = Corpus(corpus)
    perform(
        opened.path,
        as_json,
        lambda progress: verb(opened, budget, seed=seed),
        facts("held out for evaluation", "added", "held_out", "by_source"),
    )


@click.command()
@CORPUS
@click.argument("selector")
@click.argument("budget")
@click.option("--name", required=True, help="What to call the selection")
@SETTINGS
@WHERE
@click.option("--embedding", help="Which vectors; the latest if not given")
@JSON
def select(
    corpus: Path,
    selector: str,
    budget: str,
    name: str,
    settings: tuple[str, ...],
    where: str | None,
    embedding: str | None,
    as_json: bool,
) -> None:
    """Choose BUDGET samples (a number, or a share such as 5%) and keep the choice under a name."""
    from curation.corpus import Corpus
    from curation.own_operators import build_any
    from curation.selection import select as verb
    from curation.selectors import SELECTORS

    operator = build_any("selector", SELECTORS, selector, pairs(settings, "--set"))
    opened = Corpus(corpus)
    perform(
        opened.path,
        as_json,
        lambda progress: verb(opened, operator, budget, name=name, where=where, embedding=embedding, progress=progress),
        _show_selection,
    )


def _show_selection(report: Any) -> None:
    from studio.commands.printing import print_facts

    # Reasons that differ in a number or an id alone are one kind.
    kinds = Counter(
        re.sub(r"\b[0-9a-f]{16,}\b|-?\d[\d.,]*(e-?\d+)?", "…", reason) for reason in report.rejected.values()
    )
    print_facts(
        f"selection {report.name}",
        {
            "selector": report.selector,
            "chosen": len(report.ids),
            "pool": report.pool,
            "left": dict(kinds.most_common(4)),
        },
    )


@click.command()
@CORPUS
@click.argument("names", nargs=-1, required=True, metavar="SELECTION...")
@click.option("--embedding", help="Which vectors; the latest if not given")
@click.option("--draws", type=click.IntRange(min=3), default=5, show_default=True, help="Random subsets beside them")
@click.option(
    "--at-most",
    type=click.IntRange(min=2),
    default=2_000,
    show_default=True,
    help="Samples of each that diversity is measured on",
)
@click.option(
    "--reference",
    default="random",
    show_default=True,
    metavar="NAME",
    help="What + and - are relative to: random, longest, or one of the selections",
)
@JSON
def compare(
    corpus: Path,
    names: tuple[str, ...],
    embedding: str | None,
    draws: int,
    at_most: int,
    reference: str,
    as_json: bool,
) -> None:
    """Put selections side by side: size, diversity beside random draws, scores, sources, overlap, examples."""
    from curation.comparing import compare as verb
    from curation.corpus import Corpus
    from studio.commands.printing import ProgressLine, print_json
    from studio.comparisons import checked_reference, comparison_json, show_comparison

    checked_reference(reference, names)
    line = ProgressLine(silent=as_json)
    try:
        found = verb(Corpus(corpus), names, embedding=embedding, draws=draws, at_most=at_most, progress=line)
    finally:
        line.close()
    if as_json:
        print_json(comparison_json(found, reference))
    else:
        show_comparison(found, reference)
