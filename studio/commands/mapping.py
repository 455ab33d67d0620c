"""The command that lays out a map, and the one that keeps what was drawn around."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from studio.commands.deciding import by_ids
from studio.commands.performing import CORPUS, JSON, WHERE, perform
from studio.commands.printing import print_facts


@click.command("map")
@CORPUS
@click.option("--embedding", help="Which vectors; the latest if not given")
@click.option("--method", type=click.Choice(["tsne", "pca"]), default="tsne", show_default=True)
@click.option("--clusters", type=click.IntRange(min=1), help="How many; by the number of samples if not given")
@click.option("--titles", default="words", show_default=True, metavar="words|MODEL", help="What names the clusters")
@WHERE
@click.option("--seed", default=0, show_default=True)
@click.option("--anew", is_flag=True, help="Move the samples that are on the map already, too")
@JSON
def map_samples(
    corpus: Path,
    embedding: str | None,
    method: str,
    clusters: int | None,
    titles: str,
    where: str | None,
    seed: int,
    anew: bool,
    as_json: bool,
) -> None:
    """Lay out an embedding in two dimensions, with clusters and their titles; again adds what came since."""
    from curation.corpus import Corpus
    from curation.mapping.maps import MapSpec, make_map

    opened = Corpus(corpus)
    spec = MapSpec(method, clusters, titles, where, seed)
    perform(
        opened.path,
        as_json,
        lambda progress: make_map(opened, spec, embedding=embedding, anew=anew, progress=progress),
        _show,
    )


def _show(report: Any) -> None:
    from studio.commands.printing import print_table

    told = {"method": report.method, "samples": report.samples, "added": report.added, "laid out anew": report.moved}
    print_facts(f"map of {report.embedding}", told)
    click.echo()
    print_table([{"cluster": title, "samples": n} for title, n in report.clusters.items()])


@click.command()
@CORPUS
@by_ids
@click.option("--name", required=True, help="What to call the selection")
@JSON
def choose(corpus: Path, ids: list[str] | None, name: str, as_json: bool) -> None:
    """Keep the samples you name as a selection; those that none may hold stay out."""
    from curation.by_hand import select_by_hand
    from curation.corpus import Corpus

    opened = Corpus(corpus)
    perform(
        opened.path,
        as_json,
        lambda progress: select_by_hand(opened, ids or [], name=name),
        lambda report: print_facts(
            f"selection {report.name}", {"chosen": len(report.ids), "left": len(report.rejected)}
        ),
    )
