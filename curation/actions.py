"""Actions: what was done to samples by hand or by a normalizer, written down so that it can be undone.

An action holds what each sample was and what it becomes; undoing is another action with the two exchanged. A new text
is a new sample with the old one as its parent: the old one stays as an earlier version, out of the view `everything`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import uuid
from dataclasses import dataclass
from typing import Any

import polars as pl

from curation.corpus import Corpus
from curation.errors import CorpusError
from curation.sample import Sample, to_frame

NO_STATE = "{'decision': NULL, 'reason': NULL, 'replaced_by': NULL, 'is_current': true}"
HIDDEN = "{'decision': NULL, 'reason': NULL, 'replaced_by': NULL, 'is_current': false}"


@dataclass(frozen=True)
class ActionReport:
    """What an action changed."""

    action: str
    """Its id, by which it can be undone; empty where nothing changed."""
    kind: str
    changed: int
    """Samples that are now other than they were."""
    unchanged: int
    """Samples that were so already."""


def state_of(alias: str) -> str:
    """SQL: the state in a row of the table `states`, null where a join found none."""
    fields = ", ".join(f"'{f}': {alias}.{f}" for f in ("decision", "reason", "replaced_by", "is_current"))
    return f"CASE WHEN {alias}.id IS NOT NULL THEN {{{fields}}} END"


def replace_samples(
    corpus: Corpus,
    action: str,
    kind: str,
    versions: dict[str, Sample],
    *,
    operator: str,
    who: str | None = None,
    note: str = "",
) -> int:
    """Put new versions in the place of samples, as a part of an action; how many were replaced.

    Where the new text is in the corpus already, the old sample is replaced by that one.

    Args:
        corpus: whose samples.
        action: its id; several calls with the same one make one action, and a call that is repeated changes nothing.
        kind: of the action, such as `edit` or `normalize`.
        versions: id of the old sample -> the new one; its parents and operator are set here.
        operator: JSON of what made the new versions.
        who: did it; the name of the user when null.
        note: why.
    """
    new = {old: dataclasses.replace(s, parents=(old,), operator=operator) for old, s in versions.items()}
    other = {old: sample for old, sample in new.items() if sample.id != old}
    if not other:
        return 0
    frame = to_frame(list(other.values())).with_columns(pl.Series("old_id", list(other), dtype=pl.String))
    becomes_old = "{'decision': o.decision, 'reason': o.reason, 'replaced_by': v.id, 'is_current': false}"
    becomes_new = "{'decision': o.decision, 'reason': o.reason, 'replaced_by': NULL, 'is_current': true}"
    corpus.database.run(
        f"""CREATE OR REPLACE TEMP TABLE targets AS
        SELECT f.*, o.position, coalesce(o.root, o.id) AS root, o.batch, o.source AS old_source,
            o."row" AS old_row, o.metadata AS old_metadata,
            row_number() OVER (PARTITION BY f.id ORDER BY o.position) = 1 AS first_of_id
        FROM version_frame f JOIN samples o ON o.id = f.old_id
        WHERE NOT EXISTS (SELECT 1 FROM changes c WHERE c.action = '{action}' AND c.id = f.old_id)""",
        *begun(action, kind, who, note, operator),
        "CREATE OR REPLACE TEMP TABLE fresh AS SELECT id FROM targets ANTI JOIN samples USING (id) WHERE first_of_id",
        """INSERT INTO samples BY NAME
        SELECT position, id, messages, rejected, label, tools, instruction, response, shape, old_source AS source,
            old_row AS "row", parents, operator, old_metadata AS metadata, coalesce(len(messages), 2) AS turns,
            length(response)::INTEGER AS response_chars, script, batch, now()::TIMESTAMP AS added_at, root
        FROM targets SEMI JOIN fresh USING (id) WHERE first_of_id""",
        """INSERT INTO tags SELECT DISTINCT v.id, t.tag, t.origin, now()::TIMESTAMP FROM targets v
        JOIN tags t ON t.id = v.old_id
        WHERE NOT EXISTS (SELECT 1 FROM tags k WHERE k.id = v.id AND k.tag = t.tag)""",
        """INSERT INTO held_out SELECT DISTINCT v.id, now()::TIMESTAMP FROM targets v JOIN held_out h ON h.id = v.old_id
        WHERE v.id NOT IN (SELECT id FROM held_out)""",
        *changed(
            action,
            # A text that is there already and not dropped stays as it is; one that is hidden or dropped comes back.
            f"""SELECT v.id,
                coalesce({state_of("n")}, CASE WHEN v.id IN (SELECT id FROM fresh) THEN {HIDDEN} END) AS was,
                {becomes_new} AS becomes
            FROM targets v LEFT JOIN states o ON o.id = v.old_id LEFT JOIN states n ON n.id = v.id
            WHERE v.first_of_id AND (v.id IN (SELECT id FROM fresh) OR NOT n.is_current OR n.decision = 'drop')
            UNION ALL
            SELECT v.old_id AS id, {state_of("o")} AS was, {becomes_old} AS becomes
            FROM targets v LEFT JOIN states o ON o.id = v.old_id""",
        ),
        frames={"version_frame": frame},
    )
    return len(other)


def latest_versions(corpus: Corpus) -> dict[str, str]:
    """The id of every sample that was replaced -> that of its latest version."""
    found = corpus.query("SELECT id, replaced_by FROM states WHERE NOT is_current AND replaced_by IS NOT NULL")
    following = dict(found.iter_rows())
    latest: dict[str, str] = {}
    for old, new in following.items():
        seen = {old}
        while new in following and new not in seen:
            seen.add(new)
            new = following[new]
        latest[old] = new
    return latest


def undo(corpus: Corpus, action: str | None = None, *, who: str | None = None) -> ActionReport:
    """Put back what an action changed; undoing an undo does it again.

    Args:
        corpus: whose action.
        action: its id; the latest that is not undone when null.
        who: undoes it.

    Raises:
        CorpusError: there is nothing to undo, or what it changed was changed again since.
    """
    found = _undoable(corpus, action)
    if found["undone"]:
        raise CorpusError(f"The action {found['action']} is undone already.", fix=f"winnow history {corpus.path}")
    _refuse_overtaken(corpus, str(found["action"]))
    new, old = uuid.uuid4().hex[:12], found["action"]
    corpus.database.run(
        *begun(new, "undo", who, f"undo of {found['kind']}: {found['note']}".rstrip(": "), None, str(old)),
        f"INSERT INTO changes SELECT '{new}', id, becomes, coalesce(was, {NO_STATE}) FROM changes "
        f"WHERE action = '{old}' AND NOT EXISTS (SELECT 1 FROM changes WHERE action = '{new}')",
        f"INSERT INTO tag_changes SELECT '{new}', id, tag, becomes, was FROM tag_changes "
        f"WHERE action = '{old}' AND NOT EXISTS (SELECT 1 FROM tag_changes WHERE action = '{new}')",
        *_states_applied(new),
        *tags_applied(new),
    )
    return ActionReport(new, "undo", int(found["changed"]), 0)


def history(corpus: Corpus) -> pl.DataFrame:
    """Every action, the latest first: number, action, kind, who, note, operator, undoes, made_at, changed, undone."""
    actions = corpus.query(
        """SELECT a.*, (SELECT count(*) FROM changes c WHERE c.action = a.action AND (c.was IS NULL OR
                c.was.is_current OR c.becomes.replaced_by IS NOT NULL))
            + (SELECT count(*) FROM tag_changes c WHERE c.action = a.action) AS changed
        FROM actions a ORDER BY "number" DESC"""
    )
    undone: set[str] = set()
    marks = []
    for row in actions.iter_rows(named=True):  # the latest first, so what undoes an action is seen before it
        marks.append(row["action"] in undone)
        if row["undoes"] and row["action"] not in undone:
            undone.add(row["undoes"])
    return actions.with_columns(pl.Series("undone", marks, dtype=pl.Boolean))


def _undoable(corpus: Corpus, action: str | None) -> dict[str, Any]:
    every = history(corpus)
    if action is None:
        found = every.filter(~pl.col("undone") & pl.col("undoes").is_null())
        missing = "There is nothing to undo."
    else:
        found = every.filter(pl.col("action") == action)
        missing = f"There is no action {action!r}."
    if found.is_empty():
        raise CorpusError(missing, fix=f"see what was done: winnow history {corpus.path}")
    return found.row(0, named=True)


def _refuse_overtaken(corpus: Corpus, action: str) -> None:
    overtaken = corpus.query(
        f"""SELECT (SELECT count(*) FROM changes c LEFT JOIN states s USING (id) WHERE c.action = ?
                AND coalesce({state_of("s")}, {NO_STATE}) IS DISTINCT FROM c.becomes)
          + (SELECT count(*) FROM tag_changes c WHERE c.action = ?
                AND c.becomes <> EXISTS (SELECT 1 FROM tags t WHERE t.id = c.id AND t.tag = c.tag)) AS n""",
        action,
        action,
    ).item()
    if overtaken:
        raise CorpusError(
            f"{overtaken:,} of the samples of action {action} were changed again since.",
            fix=f"undo what came later first: winnow history {corpus.path}",
        )


def begun(
    action: str, kind: str, who: str | None, note: str, operator: str | None = None, undoes: str | None = None
) -> list[Any]:
    """The statement that writes an action down, once."""
    return [
        (
            """INSERT INTO actions SELECT (SELECT coalesce(max("number"), 0) + 1 FROM actions), ?, ?, ?, ?, ?, ?,
            now()::TIMESTAMP WHERE ? NOT IN (SELECT action FROM actions)""",
            [action, kind, who or user(), note, operator, undoes, action],
        )
    ]


def user() -> str:
    """The name of who runs this process."""
    with contextlib.suppress(OSError, KeyError):
        return getpass.getuser()
    return "unknown"


def changed(action: str, rows: str) -> list[str]:
    """The statements that write changes down (`rows` selects id, was, becomes) and make them so."""
    return [
        f"""INSERT INTO changes SELECT '{action}', r.id, r.was, r.becomes FROM ({rows}) r
        WHERE coalesce(r.was, {NO_STATE}) IS DISTINCT FROM r.becomes
          AND NOT EXISTS (SELECT 1 FROM changes k WHERE k.action = '{action}' AND k.id = r.id)""",
        *_states_applied(action),
    ]


def _states_applied(action: str) -> list[str]:
    return [
        f"DELETE FROM states WHERE id IN (SELECT id FROM changes WHERE action = '{action}')",
        f"INSERT INTO states SELECT id, becomes.decision, becomes.reason, becomes.replaced_by, becomes.is_current "
        f"FROM changes WHERE action = '{action}'",
    ]


def tags_applied(action: str) -> list[str]:
    """The statements that make written changes of tags so."""
    mine = f"tag_changes c WHERE c.action = '{action}'"
    return [
        f"DELETE FROM tags WHERE EXISTS (SELECT 1 FROM {mine} AND c.id = tags.id AND c.tag = tags.tag)",
        f"INSERT INTO tags SELECT id, tag, 'hand', now()::TIMESTAMP FROM {mine} AND c.becomes",
    ]
