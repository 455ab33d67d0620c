"""Lineage: where a sample comes from, what was made of it, and why it is in or out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from curation.corpus import Corpus

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
    """earlier version, later version, parent, child."""
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
        (*_versions(corpus, sample_id, row["root"]), *_family(corpus, row["root"])),
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


def _versions(corpus: Corpus, sample_id: str, root: str) -> list[Relative]:
    rows = corpus.query(
        """SELECT id, operator->>'name' AS operator, left(instruction, 200) AS instruction FROM versions
        WHERE root = ? AND id <> ? ORDER BY added_at, id""",
        root,
        sample_id,
    )
    later = {sample_id}
    parents = dict(corpus.query("SELECT id, parents FROM versions WHERE root = ?", root).iter_rows())
    for _ in range(rows.height):
        later |= {i for i, of in parents.items() if later & set(of or ())}
    return [
        Relative(i, "later version" if i in later else "earlier version", operator, text)
        for i, operator, text in rows.iter_rows()
    ]


def _family(corpus: Corpus, root: str) -> list[Relative]:
    """Parents of parents, and children, that are no versions of the sample itself."""
    found = corpus.query(
        """WITH RECURSIVE above AS (
            SELECT unnest(parents) AS id, 1 AS depth FROM versions WHERE root = ?
            UNION SELECT unnest(v.parents), depth + 1 FROM versions v JOIN above USING (id) WHERE depth < 20)
        SELECT v.id, 'parent' AS relation, v.operator->>'name' AS operator, left(v.instruction, 200) AS instruction,
            min(depth) AS depth
        FROM above JOIN versions v USING (id) WHERE v.root <> ? GROUP BY ALL
        UNION ALL
        SELECT id, 'child', operator->>'name', left(instruction, 200), 0 FROM versions
        WHERE list_has_any(parents, (SELECT list(id) FROM versions WHERE root = ?)) AND root <> ?
        ORDER BY depth, id LIMIT ?""",
        root,
        root,
        root,
        root,
        MOST_ANCESTORS,
    )
    return [Relative(*row[:4]) for row in found.iter_rows()]
