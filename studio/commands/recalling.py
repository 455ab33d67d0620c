"""The commands that look back: snapshots, differences, and why a sample is in or out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from studio.commands.performing import CORPUS, JSON, facts, perform


@click.command()
@CORPUS
@click.argument("name", required=False)
@click.option("--note", default="", help="What it is for")
@JSON
def snapshot(corpus: Path, name: str | None, note: str, as_json: bool) -> None:
    """Remember which samples are in, under NAME; without a name, list the snapshots."""
    from curation.corpus import Corpus
    from curation.snapshots import snapshot as verb
    from curation.snapshots import snapshots
    from studio.commands.printing import print_json, print_table

    opened = Corpus(corpus)
    if name is not None:
        perform(
            opened.path,
            as_json,
            lambda progress: verb(opened, name, note=note),
            facts("snapshot {r.name}", "samples", "dropped"),
        )
        return
    rows = snapshots(opened).to_dicts()
    if as_json:
        print_json({"snapshots": rows})
    else:
        print_table([{**row, "made_at": f"{row['made_at']:%Y-%m-%d %H:%M}"} for row in rows])


@click.command()
@CORPUS
@click.argument("before")
@click.argument("after", default="now")
@click.option("--limit", type=click.IntRange(min=0), default=20, show_default=True, help="Samples to show")
@JSON
def diff(corpus: Path, before: str, after: str, limit: int, as_json: bool) -> None:
    """What differs between two snapshots, mixes or selections, and why: added, removed, changed."""
    from curation.corpus import Corpus
    from curation.snapshots import diff as verb
    from curation.snapshots import summary
    from studio.commands.printing import print_facts, print_json, print_table, shortened

    report = verb(Corpus(corpus), before, after, limit=limit)
    rows = report.rows.to_dicts()
    counts = {name: getattr(report, name) for name in ("before", "after", "same", "added", "removed", "changed")}
    if as_json:
        print_json({**counts, "by_reason": report.by_reason, "rows": rows})
        return
    print_facts(f"{report.before} -> {report.after}", {n: v for n, v in counts.items() if n not in ("before", "after")})
    for table in (
        [{**row, "reason": shortened(row["reason"], 70)} for row in summary(report)],
        [{**row, "instruction": shortened(row["instruction"], 50)} for row in rows],
    ):
        if table:
            click.echo()
            print_table(table)


@click.command()
@CORPUS
@click.argument("sample_id", metavar="ID")
@JSON
def why(corpus: Path, sample_id: str, as_json: bool) -> None:
    """Why a sample is in or out: its file and row, versions, family, decisions, selections and mixes."""
    from curation.corpus import Corpus
    from curation.lineage import lineage
    from studio.commands.printing import as_dict, print_json

    found = lineage(Corpus(corpus), sample_id)
    if as_json:
        print_json(as_dict(found))
    else:
        _show_lineage(found)


def _show_lineage(found: Any) -> None:
    from studio.commands.printing import print_facts, print_table, shortened

    origin = found.origin
    print_facts(
        found.id,
        {
            "status": f"{found.status}: {found.because}",
            "file": origin.file or origin.source,
            "row": origin.row,
            "sha256": origin.sha256,
            "also in": ", ".join(f"{o.source}:{o.row}" for o in found.also_in) or None,
            "made by": found.operator["name"] if found.operator else None,
            "mixes": ", ".join(found.mixes) or None,
        },
    )
    tables: tuple[list[dict[str, Any]], ...] = (
        [
            {"relation": r.relation, "id": r.id, "operator": r.operator, "instruction": shortened(r.instruction, 50)}
            for r in found.relatives
        ],
        [{"action": a["action"], "kind": a["kind"], "note": a["note"], "who": a["who"]} for a in found.actions],
        [{"selection": s["name"], "rank": s["rank"], "reason": s["reason"]} for s in found.selections],
    )
    for rows in tables:
        if rows:
            click.echo()
            print_table(rows)
