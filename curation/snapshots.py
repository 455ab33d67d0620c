"""Snapshots of a corpus, and what differs between two of them, two mixes or two selections."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import polars as pl

from curation.corpus import Corpus
from curation.errors import CorpusError, unknown
from curation.names import checked_name

NOW = "now"
"""Names the corpus as it is, where a snapshot could stand."""


@dataclass(frozen=True)
class SnapshotReport:
    """A snapshot that was taken."""

    name: str
    samples: int
    """Of the working set: those that were not dropped."""
    dropped: int


@dataclass(frozen=True)
class DiffReport:
    """What is in `after` and not in `before`, and the other way round."""

    before: str
    after: str
    same: int
    added: int
    removed: int
    changed: int
    """Samples of which another version is in."""
    by_reason: dict[str, dict[str, int]]
    """added, removed, changed -> reason -> samples."""
    rows: pl.DataFrame
    """change (added, removed, changed), id (of before, for a new one of after), becomes (id after a change), reason,
    source, instruction; in order of ingestion."""


def snapshot(corpus: Corpus, name: str, *, note: str = "") -> SnapshotReport:
    """Remember which samples are in, in which version, and why others are not. One of the same name is never replaced.

    Raises:
        CorpusError: the name is taken, or is no name.
    """
    if checked_name("snapshot", name) == NOW or name in snapshots(corpus)["name"].to_list():
        raise CorpusError(f"There is a snapshot {name!r} already.", fix="choose another name")
    counts = corpus.database.run(
        (
            """INSERT INTO snapshot_members SELECT ?, id, CASE WHEN decision = 'drop' THEN decision_reason END
            FROM everything ORDER BY position""",
            [name],
        ),
        (
            """INSERT INTO snapshots SELECT ?, ?, count(*) FILTER (dropped_because IS NULL), count(dropped_because),
            now()::TIMESTAMP FROM snapshot_members WHERE name = ?""",
            [name, note, name],
        ),
        ("SELECT samples, dropped FROM snapshots WHERE name = ?", [name]),
    ).row(0)
    return SnapshotReport(name, *counts)


def snapshots(corpus: Corpus) -> pl.DataFrame:
    """name, note, samples, dropped, made_at of every snapshot, oldest first."""
    return corpus.query("SELECT * FROM snapshots ORDER BY made_at, name")


def sets(corpus: Corpus) -> dict[str, str]:
    """What can be compared: `now`, `snapshot:NAME`, `mix:NAME`, `selection:NAME` -> the name alone."""
    names = {NOW: NOW}
    names |= {f"snapshot:{n}": n for n in snapshots(corpus)["name"]}
    names |= {f"mix:{n}": n for n in corpus.mixes()}
    return names | {f"selection:{n}": n for n in corpus.selections()}


def diff(corpus: Corpus, before: str, after: str = NOW) -> DiffReport:
    """What was added, removed and changed between two sets of samples, and why as far as it is on record.

    Args:
        corpus: whose samples.
        before: `now`, `snapshot:NAME`, `mix:NAME` or `selection:NAME`; the name alone where it is the only one.
        after: the same.

    Raises:
        CorpusError: there is no such set, or more than one.
    """
    names = _resolved(corpus, before), _resolved(corpus, after)
    rows = corpus.database.run(
        f"CREATE OR REPLACE TEMP TABLE before_ids AS {_members(names[0])}",
        f"CREATE OR REPLACE TEMP TABLE after_ids AS {_members(names[1])}",
        f"CREATE OR REPLACE TEMP TABLE why_not AS {_reasons_against(names[1])}",
        """CREATE OR REPLACE TEMP TABLE gone AS
        SELECT v.id, v.root, v.position, v.source, v.instruction FROM versions v SEMI JOIN before_ids USING (id)
        WHERE id NOT IN (SELECT id FROM after_ids)""",
        """CREATE OR REPLACE TEMP TABLE come AS
        SELECT v.id, v.root, v.position, v.source, v.instruction, v.operator, v.parents, v.added_at
        FROM versions v SEMI JOIN after_ids USING (id) WHERE id NOT IN (SELECT id FROM before_ids)""",
        _ROWS,
    )
    same = corpus.database.run(
        f"SELECT count(*) AS n FROM ({_members(names[0])}) SEMI JOIN ({_members(names[1])}) b USING (id)"
    ).item()
    reasons: dict[str, Counter[str]] = {"added": Counter(), "removed": Counter(), "changed": Counter()}
    for change, reason in rows.select("change", "reason").iter_rows():
        reasons[change][reason] += 1
    totals = {change: counts.total() for change, counts in reasons.items()}
    return DiffReport(
        *names,
        same,
        totals["added"],
        totals["removed"],
        totals["changed"],
        {change: dict(counts.most_common()) for change, counts in reasons.items() if counts},
        rows.drop("position"),
    )


_ROWS = """
SELECT 'changed' AS change, g.id, c.id AS becomes, coalesce(c.operator->>'name', 'an earlier version') AS reason,
    g.source, left(g.instruction, 200) AS instruction, g.position
FROM gone g JOIN come c ON c.root = g.root
UNION ALL
SELECT 'removed', g.id, NULL, coalesce(w.reason, 'not chosen'), g.source, left(g.instruction, 200), g.position
FROM gone g LEFT JOIN why_not w USING (id) WHERE g.root NOT IN (SELECT root FROM come)
UNION ALL
SELECT 'added', c.id, NULL, CASE WHEN c.operator IS NOT NULL THEN 'made by ' || (c.operator->>'name')
        WHEN c.root <> c.id THEN 'rewritten' ELSE 'from ' || c.source END,
    c.source, left(c.instruction, 200), c.position
FROM come c WHERE c.root NOT IN (SELECT root FROM gone)
ORDER BY position, id"""


def _resolved(corpus: Corpus, spec: str) -> str:
    known = sets(corpus)
    if spec in known:
        return spec
    found = [full for full, name in known.items() if name == spec]
    if len(found) > 1:
        raise CorpusError(f"There are several sets called {spec!r}.", fix=f"say which: {' or '.join(found)}")
    if not found:
        raise unknown("snapshot, mix or selection", spec, known, CorpusError)
    return found[0]


def _members(spec: str) -> str:
    kind, _, name = spec.partition(":")
    quoted = "'" + name.replace("'", "''") + "'"
    return {
        NOW: "SELECT id FROM everything WHERE decision IS DISTINCT FROM 'drop'",
        "snapshot": f"SELECT id FROM snapshot_members WHERE name = {quoted} AND dropped_because IS NULL",
        "mix": f"SELECT id FROM mixed WHERE name = {quoted}",
        "selection": f"SELECT id FROM selected WHERE name = {quoted}",
    }[kind]


def _reasons_against(spec: str) -> str:
    """Why samples are not in a set: what was written down when it was made, else what is known of them now."""
    kind, _, name = spec.partition(":")
    quoted = "'" + name.replace("'", "''") + "'"
    dropped = "SELECT id, 'dropped: ' || reason AS reason FROM states WHERE decision = 'drop'"
    held = "SELECT id, 'held out for evaluation' FROM held_out"
    replaced = "SELECT id, 'replaced by another version' FROM states WHERE NOT is_current AND replaced_by IS NOT NULL"
    withdrawn = "SELECT id, 'its rewriting was undone' FROM states WHERE NOT is_current AND replaced_by IS NULL"
    written = {
        "snapshot": "SELECT id, 'dropped: ' || dropped_because AS reason FROM snapshot_members "
        f"WHERE name = {quoted} AND dropped_because IS NOT NULL",
        "selection": f"SELECT id, reason FROM not_selected WHERE name = {quoted}",
    }.get(kind)
    given = [written, dropped, *([held] if kind == "mix" else []), replaced, withdrawn]
    ranked = " UNION ALL BY NAME ".join(
        f"SELECT id, reason, {rank} AS rank FROM ({sql}) r(id, reason)" for rank, sql in enumerate(given) if sql
    )
    return f"SELECT id, arg_min(reason, rank) AS reason FROM ({ranked}) GROUP BY id"


def summary(report: DiffReport) -> list[dict[str, Any]]:
    """The counts of a diff as rows: change, reason, samples."""
    return [
        {"change": change, "reason": reason, "samples": n}
        for change, reasons in report.by_reason.items()
        for reason, n in reasons.items()
    ]
