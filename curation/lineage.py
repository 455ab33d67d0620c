"""Lineage: where a sample comes from, what was made of it, and why it is in or out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import polars as pl

from curation.corpus import Corpus
from curation.tracing import TRACES

MOST_ANCESTORS = 200


@dataclass(frozen=True)
class Origin:
    """A row of a file."""

    file: str | None
    """As it was named when it was ingested; null where the file was not finished, or the sample was made here."""
    sha256: str | None
    source: str
    row: int | None
    """Line of a text file or row of a table, counted from 1."""


@dataclass(frozen=True)
class Relative:
    """Another sample that this one comes from, or that comes from it."""

    id: str
    relation: str
    """earlier version, later version, withdrawn version (its rewriting was undone), parent, child."""
    operator: str | None
    """Name of what made the later of the two."""
    instruction: str


@dataclass(frozen=True)
class Lineage:
    """All that is on record about one sample."""

    id: str
    status: str
    """in, dropped, held out, replaced or withdrawn."""
    because: str
    """Why, in words."""
    origin: Origin
    also_in: tuple[Origin, ...]
    """Other rows with the same text."""
    operator: dict[str, Any] | None
    """What made it: name, parameters, model; null for ingested samples."""
    relatives: tuple[Relative, ...]
    actions: tuple[dict[str, Any], ...]
    """What was decided, the latest first: action, kind, who, note, made_at."""
    selections: tuple[dict[str, Any], ...]
    """name, rank (null: not chosen), reason."""
    mixes: tuple[str, ...]


def lineage(corpus: Corpus, sample_id: str) -> Lineage:
    """Everything that is known about a sample (a unique beginning of its id will do).

    Raises:
        CorpusError: no sample, or more than one, has this id.
    """
    sample_id = corpus.sample(sample_id).id
    row = corpus.query(
        """SELECT v.source, v."row", v.batch, v.operator, v.root, v.parents, v.held_out, s.decision, s.reason,
            s.replaced_by, coalesce(s.is_current, true) AS is_current
        FROM versions v LEFT JOIN states s USING (id) WHERE v.id = ?""",
        sample_id,
    ).row(0, named=True)
    status, because = _status(row)
    actions = corpus.query(
        """SELECT action, kind, who, note, made_at FROM actions WHERE action IN
            (SELECT action FROM changes WHERE id = ? UNION ALL SELECT action FROM tag_changes WHERE id = ?)
        ORDER BY "number" DESC""",
        sample_id,
        sample_id,
    )
    chosen = corpus.query(
        """SELECT name, "rank", NULL AS reason FROM selected WHERE id = ?
        UNION ALL SELECT name, NULL, reason FROM not_selected WHERE id = ? ORDER BY name""",
        sample_id,
        sample_id,
    )
    return Lineage(
        sample_id,
        status,
        because,
        _origin(corpus, row["batch"], row["source"], row["row"]),
        _also_in(corpus, sample_id),
        json.loads(row["operator"]) if row["operator"] else None,
        tuple(_relatives(corpus, sample_id)),
        tuple(actions.to_dicts()),
        tuple(chosen.to_dicts()),
        tuple(corpus.query("SELECT name FROM mixed WHERE id = ? ORDER BY name", sample_id)["name"]),
    )


def _status(row: dict[str, Any]) -> tuple[str, str]:
    if not row["is_current"] and row["replaced_by"]:
        return "replaced", f"{row['replaced_by']} is a later version"
    if not row["is_current"]:
        return "withdrawn", "the rewriting that made it was undone"
    if row["decision"] == "drop":
        return "dropped", row["reason"]
    if row["held_out"]:
        return "held out", "it is set aside for evaluation"
    return "in", f"kept: {row['reason']}" if row["decision"] == "keep" and row[
        "reason"
    ] else "nothing speaks against it"


def _origin(corpus: Corpus, batch: str, source: str, number: int | None) -> Origin:
    found = corpus.query('SELECT "file", sha256 FROM batches WHERE batch = ? ORDER BY added_at LIMIT 1', batch)
    file, digest = found.row(0) if found.height else (None, None)
    return Origin(file, digest, source, number)


def _also_in(corpus: Corpus, sample_id: str) -> tuple[Origin, ...]:
    rows = corpus.query('SELECT batch, source, "row" FROM duplicates WHERE id = ? ORDER BY added_at, "row"', sample_id)
    return tuple(_origin(corpus, *row) for row in rows.head(20).iter_rows())


def _relatives(corpus: Corpus, sample_id: str) -> list[Relative]:
    relations = _versions(corpus, sample_id)
    found = corpus.database.run(
        """SELECT id, relation, operator->>'name' AS operator, left(instruction, 200) AS instruction
        FROM versions JOIN relation_frame USING (id) ORDER BY added_at, id""",
        frames={"relation_frame": relations},
    )
    return [*(Relative(*row) for row in found.iter_rows()), *_family(corpus, [sample_id, *relations["id"]])]


def _versions(corpus: Corpus, sample_id: str) -> pl.DataFrame:
    """The sample's other versions: id, relation."""
    return corpus.query(
        f"""WITH RECURSIVE starts AS (SELECT ? AS id), {TRACES},
        earlier AS (
            SELECT id FROM origins
            UNION SELECT l.id FROM live l JOIN earlier e ON l.following = e.id),
        chain AS (SELECT id FROM earlier UNION SELECT id FROM steps),
        undone AS (
            SELECT m.following AS id FROM made m JOIN chain c ON c.id = m.id JOIN withdrawn w ON w.id = m.following
            UNION
            SELECT m.following FROM made m JOIN undone u ON u.id = m.id JOIN withdrawn w ON w.id = m.following)
        SELECT id, min(relation) AS relation FROM (
            SELECT id, 'earlier version' AS relation FROM earlier
            UNION ALL SELECT id, 'later version' FROM steps WHERE id NOT IN (SELECT id FROM earlier)
            UNION ALL SELECT id, 'withdrawn version' FROM undone WHERE id NOT IN (SELECT id FROM chain))
        WHERE id <> ? GROUP BY id""",
        sample_id,
        sample_id,
    )


def _family(corpus: Corpus, versions: list[str]) -> list[Relative]:
    """Parents of parents, and children, that are no versions of the sample itself, nor were merged with it."""
    found = corpus.database.run(
        (
            """WITH RECURSIVE above AS (
                SELECT unnest(parents) AS id, 1 AS depth FROM samples SEMI JOIN version_frame USING (id)
                WHERE root IS NULL OR root = id
                UNION SELECT unnest(v.parents), depth + 1 FROM samples v JOIN above USING (id) WHERE depth < 20)
            SELECT v.id, 'parent' AS relation, v.operator->>'name' AS operator,
                left(v.instruction, 200) AS instruction, min(depth) AS depth
            FROM above JOIN samples v USING (id) ANTI JOIN version_frame USING (id) GROUP BY ALL
            UNION ALL
            SELECT id, 'child', operator->>'name', left(instruction, 200), 0 FROM samples ANTI JOIN version_frame
            USING (id) WHERE list_has_any(parents, (SELECT list(id) FROM version_frame)) AND (root IS NULL OR root = id)
            ORDER BY depth, id LIMIT ?""",
            [MOST_ANCESTORS],
        ),
        frames={"version_frame": pl.DataFrame({"id": versions}, schema={"id": pl.String})},
    )
    return [Relative(*row[:4]) for row in found.iter_rows()]
