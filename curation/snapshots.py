"""Snapshots of a corpus, and what differs between two of them, two mixes or two selections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from curation.corpus import Corpus
from curation.errors import CorpusError, unknown
from curation.names import checked_name
from curation.storage.sql import literal
from curation.tracing import TRACES

NOW = "now"
"""Names the corpus as it is, where a snapshot could stand."""

ROWS = 1_000
"""Differing samples that a diff gives, if nothing else is asked for."""


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
    source, instruction; in order of ingestion, the first `limit`. Every sample of before is the same, changed or
    removed; where several became one, each of them is changed."""


def snapshot(corpus: Corpus, name: str, *, note: str = "") -> SnapshotReport:
    """Remember which samples are in, in which version, and why others are not. One of the same name is never replaced.

    Of two that take one of the same name at once, both get the report of the first.

    Raises:
        CorpusError: the name is taken, or is no name.
    """
    if checked_name("snapshot", name) == NOW or name in snapshots(corpus)["name"].to_list():
        raise CorpusError(f"There is a snapshot {name!r} already.", fix="choose another name")
    free = "NOT EXISTS (SELECT 1 FROM snapshots WHERE name = ?)"  # the statements may be sent twice
    counts = corpus.database.run(
        (
            f"""INSERT INTO snapshot_members SELECT ?, id, CASE WHEN decision = 'drop' THEN decision_reason END
            FROM everything WHERE {free} ORDER BY position""",
            [name, name],
        ),
        (
            f"""INSERT INTO snapshots SELECT ?, ?, count(*) FILTER (dropped_because IS NULL), count(dropped_because),
            now()::TIMESTAMP FROM snapshot_members WHERE name = ? HAVING {free}""",
            [name, note, name, name],
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


def diff(corpus: Corpus, before: str, after: str = NOW, *, limit: int = ROWS) -> DiffReport:
    """What was added, removed and changed between two sets of samples, and why as far as it is on record.

    Args:
        corpus: whose samples.
        before: `now`, `snapshot:NAME`, `mix:NAME` or `selection:NAME`; the name alone where it is the only one.
        after: the same.
        limit: differing samples to give, the first ones; all are counted.

    Raises:
        CorpusError: there is no such set, or more than one.
    """
    names = _resolved(corpus, before), _resolved(corpus, after)
    found = corpus.database.run(
        f"CREATE OR REPLACE TEMP TABLE before_ids AS SELECT DISTINCT id FROM ({_members(names[0])})",
        f"CREATE OR REPLACE TEMP TABLE after_ids AS SELECT DISTINCT id FROM ({_members(names[1])})",
        "CREATE OR REPLACE TEMP TABLE gone AS SELECT id FROM before_ids ANTI JOIN after_ids USING (id)",
        "CREATE OR REPLACE TEMP TABLE come AS SELECT id FROM after_ids ANTI JOIN before_ids USING (id)",
        f"CREATE OR REPLACE TEMP TABLE why_not AS {_reasons_against(names[1])}",
        f"CREATE OR REPLACE TEMP TABLE why_not_before AS {_reasons_before(names[0])}",
        _PAIRS,
        _CHOSEN,
        _DIFFERING,
        (_COUNTED, [max(0, limit)]),
    )
    counted = found.filter(pl.col("id").is_null())
    counts = {change: counted.filter(change=change) for change in ("same", "added", "removed", "changed")}
    by_reason = {
        change: dict(rows.select("reason", "n").iter_rows())
        for change, rows in counts.items()
        if change != "same" and rows.height
    }
    same, added, removed, changed = (int(rows["n"].sum()) for rows in counts.values())
    rows = found.filter(pl.col("id").is_not_null()).drop("n", "place")
    return DiffReport(*names, same, added, removed, changed, by_reason, rows)


_PAIRS = f"""
CREATE OR REPLACE TEMP TABLE pairs AS
WITH RECURSIVE starts AS (SELECT id FROM gone UNION ALL SELECT id FROM come), {TRACES},
ends AS (
    SELECT o.start, o.id, true AS is_new FROM origins o SEMI JOIN come ON come.id = o.start
    UNION ALL SELECT id, id, false FROM before_ids SEMI JOIN after_ids USING (id)),
found AS (
    SELECT s.start AS id, e.start AS becomes, e.is_new, if(e.is_new, 0, 3) + if(e.id = e.start, 0, 1) AS rank,
        s.via, CASE WHEN NOT e.is_new THEN 'became the same as another sample'
            WHEN s.via IS NULL AND e.id = e.start THEN 'its rewriting was undone' END AS reason
    FROM steps s SEMI JOIN gone ON gone.id = s.start JOIN ends e ON e.id = s.id
    UNION ALL
    SELECT o.start, s.start, true, 2, NULL, 'an earlier version'
    FROM origins o SEMI JOIN gone ON gone.id = o.start JOIN steps s ON s.id = o.id SEMI JOIN come ON come.id = s.start
    WHERE s.via IS NOT NULL
    UNION ALL
    SELECT NULL, s.start, true, 9, NULL, NULL
    FROM steps s SEMI JOIN come ON come.id = s.start JOIN ends e ON e.id = s.id WHERE NOT e.is_new)
SELECT * FROM found"""
"""Samples of both sets of which one is a version of the other; id is null where the other one is in both sets."""

_CHOSEN = """
CREATE OR REPLACE TEMP TABLE chosen AS
SELECT p.id, unnest(arg_min({'becomes': p.becomes, 'via': p.via, 'reason': p.reason}, (p.rank, v.position, v.id)))
FROM pairs p JOIN samples v ON v.id = p.becomes WHERE p.id IS NOT NULL GROUP BY p.id"""

_DIFFERING = """
CREATE OR REPLACE TEMP TABLE differing AS
WITH acted AS (SELECT action, "number", coalesce(operator->>'name', kind) AS how FROM actions WHERE undoes IS NULL),
made AS (
    SELECT k.id, k.becomes.replaced_by AS following, arg_max(a.how, a."number") AS how
    FROM changes k JOIN acted a USING (action) WHERE k.id IN (SELECT via FROM chosen) GROUP BY ALL)
SELECT 'changed' AS change, c.id, c.becomes,
    coalesce(c.reason, m.how, v.operator->>'name', 'another version') AS reason
FROM chosen c JOIN samples v ON v.id = c.becomes LEFT JOIN made m ON m.id = c.via AND m.following = c.becomes
UNION ALL
SELECT 'removed', g.id, NULL, coalesce(w.reason, 'not chosen')
FROM gone g ANTI JOIN chosen USING (id) LEFT JOIN why_not w USING (id)
UNION ALL
SELECT 'added', c.id, NULL,
    CASE WHEN c.id IN (SELECT becomes FROM pairs) THEN 'no longer one with another sample'
        WHEN w.reason IS NOT NULL THEN w.reason
        WHEN v.operator IS NOT NULL THEN 'made by ' || (v.operator->>'name')
        WHEN v.root <> v.id THEN 'rewritten' ELSE 'from ' || v.source END
FROM come c ANTI JOIN chosen t ON t.becomes = c.id JOIN samples v USING (id)
LEFT JOIN why_not_before w USING (id)"""

_COUNTED = """
WITH shown AS (
    SELECT d.*, v.position FROM differing d JOIN samples v USING (id) ORDER BY v.position, d.id LIMIT ?)
SELECT change, NULL AS id, NULL AS becomes, reason, NULL AS source, NULL AS instruction, count(*) AS n, NULL AS place
FROM differing GROUP BY change, reason
UNION ALL
SELECT 'same', NULL, NULL, NULL, NULL, NULL, count(*), NULL FROM before_ids SEMI JOIN after_ids USING (id)
UNION ALL
SELECT s.change, s.id, s.becomes, s.reason, v.source, left(v.instruction, 200), 1, s.position
FROM shown s JOIN samples v USING (id)
ORDER BY place, id, n DESC, reason"""


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
    quoted = literal(name)
    return {
        NOW: "SELECT id FROM everything WHERE decision IS DISTINCT FROM 'drop'",
        "snapshot": f"SELECT id FROM snapshot_members WHERE name = {quoted} AND dropped_because IS NULL",
        "mix": f"SELECT id FROM mixed WHERE name = {quoted}",
        "selection": f"SELECT id FROM selected WHERE name = {quoted}",
    }[kind]


def _reasons_against(spec: str) -> str:
    """Why what is gone is not in a set: what was written down when it was made, else what is known of it now."""
    kind, _, name = spec.partition(":")
    quoted = literal(name)
    dropped = "SELECT id, 'dropped: ' || reason AS reason FROM states WHERE decision = 'drop'"
    held = "SELECT id, 'held out for evaluation' FROM everything WHERE held_out"
    replaced = "SELECT id, 'replaced by another version' FROM states WHERE NOT is_current AND replaced_by IS NOT NULL"
    withdrawn = "SELECT id, 'its rewriting was undone' FROM states WHERE NOT is_current AND replaced_by IS NULL"
    written = _written(kind, quoted)
    given = [written, dropped, *([held] if kind == "mix" else []), replaced, withdrawn]
    ranked = " UNION ALL BY NAME ".join(
        f"SELECT id, reason, {rank} AS rank FROM ({sql}) r(id, reason)" for rank, sql in enumerate(given) if sql
    )
    return f"SELECT id, arg_min(reason, rank) AS reason FROM ({ranked}) SEMI JOIN gone USING (id) GROUP BY id"


def _written(kind: str, quoted: str) -> str | None:
    return {
        "snapshot": "SELECT id, 'dropped: ' || dropped_because AS reason FROM snapshot_members "
        f"WHERE name = {quoted} AND dropped_because IS NOT NULL",
        "selection": f"SELECT id, reason FROM not_selected WHERE name = {quoted}",
    }.get(kind)


def _reasons_before(spec: str) -> str:
    """Why what has come was not in a set."""
    kind, _, name = spec.partition(":")
    written = _written(kind, literal(name))
    if kind == NOW:
        written = "SELECT id, 'dropped: ' || reason AS reason FROM states WHERE decision = 'drop' AND is_current"
    if written is None:
        return "SELECT NULL::VARCHAR AS id, NULL::VARCHAR AS reason WHERE false"
    lead = "left before: " if kind == "selection" else "no longer "
    return f"SELECT id, '{lead}' || min(reason) AS reason FROM ({written}) SEMI JOIN come USING (id) GROUP BY id"


def summary(report: DiffReport) -> list[dict[str, Any]]:
    """The counts of a diff as rows: change, reason, samples."""
    return [
        {"change": change, "reason": reason, "samples": n}
        for change, reasons in report.by_reason.items()
        for reason, n in reasons.items()
    ]
