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
from curation.errors import CorpusError, OperatorError
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
    revive: bool = False,
) -> int:
    """Put new versions in the place of samples, as a part of an action; how many were replaced.

    Where the new text is in the corpus already, the old sample is replaced by that one. A sample that is no longer
    current, as somebody rewrote it meanwhile, is left alone.

    Args:
        corpus: whose samples.
        action: its id; several calls with the same one make one action, and a call that is repeated changes nothing.
        kind: of the action, such as `edit` or `normalize`.
        versions: id of the old sample -> the new one; its parents and operator are set here.
        operator: JSON of what made the new versions.
        who: did it; the name of the user when null.
        note: why.
        revive: whether a new text that is there and was dropped comes back; else its old sample stays as it is.

    Raises:
        OperatorError: the new texts are each other's old ones.
    """
    other = {old: sample for old, sample in versions.items() if sample.id != old}
    if not other:
        return 0
    parents = _parents(other)
    made = [dataclasses.replace(s, parents=parents[s.id], operator=operator) for s in other.values()]
    frame = to_frame(made).with_columns(pl.Series("old_id", list(other), dtype=pl.String))
    result = corpus.database.run(
        _TARGETS.format(action=action, dropped="false" if revive else "n.decision = 'drop' AND n.is_current"),
        *begun(action, kind, who, note, operator),
        "CREATE OR REPLACE TEMP TABLE fresh AS SELECT id FROM targets ANTI JOIN samples USING (id) WHERE first_of_id",
        _INSERT_VERSIONS,
        _COMING,
        _TAKE_PLACE,
        *_tags_carried(action),
        *changed(action, _REPLACED),
        f"""SELECT count(*) AS n FROM changes WHERE action = '{action}' AND becomes.replaced_by IS NOT NULL
        AND id IN (SELECT old_id FROM version_frame)""",
        frames={"version_frame": frame},
    )
    return int(result.item())


def _parents(versions: dict[str, Sample]) -> dict[str, tuple[str, ...]]:
    """Id of each new sample -> all old ones that it replaces."""
    following = {old: sample.id for old, sample in versions.items()}
    for start in following:
        seen, at = {start}, following[start]
        while at in following and at not in seen:
            seen.add(at)
            at = following[at]
        if at == start:
            raise OperatorError(
                f"Rewriting {start} and {following[start]} would put each in the place of the other.",
                fix="mend the normalizer: doing it twice must change nothing more",
            )
    parents: dict[str, list[str]] = {}
    for old, new in following.items():
        parents.setdefault(new, []).append(old)
    return {new: tuple(olds) for new, olds in parents.items()}


_TARGETS = """
CREATE OR REPLACE TEMP TABLE targets AS
SELECT f.*, o.position, coalesce(o.root, o.id) AS root, o.batch, o.source AS old_source, o."row" AS old_row,
    o.metadata AS old_metadata, row_number() OVER (PARTITION BY f.id ORDER BY o.position) = 1 AS first_of_id
FROM version_frame f JOIN samples o ON o.id = f.old_id
LEFT JOIN states s ON s.id = o.id
LEFT JOIN states n ON n.id = f.id
WHERE coalesce(s.is_current, true) AND NOT coalesce({dropped}, false)
    AND NOT EXISTS (SELECT 1 FROM changes c WHERE c.action = '{action}' AND c.id = f.old_id)"""

_INSERT_VERSIONS = """
INSERT INTO samples BY NAME
SELECT position, id, messages, rejected, label, tools, instruction, response, shape, old_source AS source,
    old_row AS "row", parents, operator, old_metadata AS metadata, coalesce(len(messages), 2) AS turns,
    length(response)::INTEGER AS response_chars, script, batch, now()::TIMESTAMP AS added_at, root
FROM targets SEMI JOIN fresh USING (id) WHERE first_of_id"""

_COMING = f"""
CREATE OR REPLACE TEMP TABLE coming AS
SELECT v.id, v.old_id, v.position, v.root, v.batch, v.old_source, v.old_row, v.parents, v.id IN (SELECT id FROM fresh)
    AS is_fresh, coalesce({state_of("n")}, {HIDDEN}) AS was, {state_of("o")} AS of_old
FROM targets v LEFT JOIN states n ON n.id = v.id LEFT JOIN states o ON o.id = v.old_id
WHERE v.first_of_id AND (v.id IN (SELECT id FROM fresh) OR NOT n.is_current OR n.decision = 'drop')"""
"""What becomes a sample of the corpus: new texts, and those that are hidden or dropped."""

_TAKE_PLACE = """
UPDATE samples SET position = c.position, root = c.root, batch = c.batch, source = c.old_source, "row" = c.old_row,
    parents = c.parents
FROM coming c WHERE samples.id = c.id AND NOT c.is_fresh AND c.was.replaced_by IS NULL AND NOT c.was.is_current
    AND coalesce(samples.root, samples.id) <> c.root AND samples.root IS NOT NULL"""
"""A version that was taken back and now stands for another sample has that one's place."""

_REPLACED = f"""
SELECT id, was,
    {{'decision': of_old.decision, 'reason': of_old.reason, 'replaced_by': NULL, 'is_current': true}} AS becomes
FROM coming
UNION ALL
SELECT v.old_id AS id, {state_of("o")} AS was,
    {{'decision': o.decision, 'reason': o.reason, 'replaced_by': v.id, 'is_current': false}} AS becomes
FROM targets v LEFT JOIN states o ON o.id = v.old_id"""


def _tags_carried(action: str) -> list[str]:
    """The statements that give what becomes a sample the tags of those it replaces, and no others."""
    olds = "(SELECT v.id, t.tag, t.origin FROM targets v SEMI JOIN coming USING (id) JOIN tags t ON t.id = v.old_id)"
    return tagged(
        action,
        f"""SELECT id, tag, min(origin) AS origin, false AS was, true AS becomes FROM {olds} o
        WHERE NOT EXISTS (SELECT 1 FROM tags k WHERE k.id = o.id AND k.tag = o.tag) GROUP BY id, tag
        UNION ALL
        SELECT k.id, k.tag, k.origin, true, false FROM tags k SEMI JOIN coming USING (id)
        WHERE NOT EXISTS (SELECT 1 FROM {olds} o WHERE o.id = k.id AND o.tag = k.tag)""",
    )


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
        *changed(new, _undone(str(old))),
        *tagged(new, f"SELECT id, tag, origin, becomes AS was, was AS becomes FROM tag_changes WHERE action = '{old}'"),
    )
    return ActionReport(new, "undo", int(found["changed"]), 0)


def _undone(action: str) -> str:
    """SQL: what an action changed, the other way round.

    A version that another sample was merged into, or that a file has too, stays; one that stayed for such a reason goes
    with the last sample that it stood for.
    """
    return f"""
    WITH mine AS (
        SELECT id, becomes AS was, coalesce(was, {NO_STATE}) AS becomes FROM changes WHERE action = '{action}'),
    others AS (
        SELECT replaced_by AS id FROM states
        WHERE NOT is_current AND replaced_by IS NOT NULL AND id NOT IN (SELECT id FROM mine)
        UNION ALL SELECT id FROM duplicates)
    SELECT id, was, becomes FROM mine
    WHERE becomes.is_current OR becomes.replaced_by IS NOT NULL OR id NOT IN (SELECT id FROM others)
    UNION ALL
    SELECT s.id, {state_of("s")} AS was, {HIDDEN} AS becomes
    FROM states s JOIN samples v ON v.id = s.id
    WHERE s.is_current AND v.root <> v.id AND s.id NOT IN (SELECT id FROM mine) AND s.id NOT IN (SELECT id FROM others)
        AND s.id IN (SELECT was.replaced_by FROM mine WHERE becomes.is_current AND was.replaced_by IS NOT NULL)"""


def history(corpus: Corpus) -> pl.DataFrame:
    """Every action, the latest first: number, action, kind, who, note, operator, undoes, made_at, changed, undone."""
    actions = corpus.query(
        """WITH decided AS (SELECT action, count(*) FILTER (
                (was IS NULL OR was.is_current OR was.replaced_by IS NOT NULL)
                AND (becomes.is_current OR becomes.replaced_by IS NOT NULL)) AS n FROM changes GROUP BY action),
            tagged AS (SELECT action, count(*) AS n FROM tag_changes GROUP BY action)
        SELECT a.*, coalesce(decided.n, tagged.n, 0) AS changed
        FROM actions a LEFT JOIN decided USING (action) LEFT JOIN tagged USING (action) ORDER BY "number" DESC"""
    )
    undone: set[str] = set()
    marks = []
    for row in actions.iter_rows(named=True):  # the latest first, so what undoes an action is seen before it
        marks.append(row["action"] in undone)
        if row["undoes"] and row["action"] not in undone:
            undone.add(row["undoes"])
    return actions.with_columns(pl.Series("undone", marks, dtype=pl.Boolean))


def latest(corpus: Corpus) -> dict[str, Any] | None:
    """The action that `undo` takes back unless told otherwise, as a row of `history`; null where there is none."""
    found = history(corpus).filter(~pl.col("undone") & pl.col("undoes").is_null())
    return found.row(0, named=True) if found.height else None


def _undoable(corpus: Corpus, action: str | None) -> dict[str, Any]:
    if action is None:
        row, missing = latest(corpus), "There is nothing to undo."
    else:
        found = history(corpus).filter(pl.col("action") == action)
        row, missing = found.row(0, named=True) if found.height else None, f"There is no action {action!r}."
    if row is None:
        raise CorpusError(missing, fix=f"see what was done: winnow history {corpus.path}")
    return row


def _refuse_overtaken(corpus: Corpus, action: str) -> None:
    overtaken = corpus.query(
        f"""SELECT (SELECT count(*) FROM changes c LEFT JOIN states s USING (id) WHERE c.action = ?
                AND coalesce({state_of("s")}, {NO_STATE}) IS DISTINCT FROM c.becomes)
          + (SELECT count(*) FROM tag_changes c LEFT JOIN states s USING (id) WHERE c.action = ?
                AND (c.becomes <> EXISTS (SELECT 1 FROM tags t WHERE t.id = c.id AND t.tag = c.tag)
                    OR (NOT s.is_current AND NOT EXISTS (SELECT 1 FROM changes k WHERE k.action = ?)))) AS n""",
        action,
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
            [action, kind, who or user(), checked(note), operator, undoes, action],
        )
    ]


def checked(text: str) -> str:
    """The text, if it can be stored.

    Raises:
        CorpusError: it holds half characters.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise CorpusError(f"{text!r} is not valid text.", fix="write it in UTF-8") from None
    return text


def user() -> str:
    """The name of who runs this process."""
    with contextlib.suppress(OSError, KeyError):
        return getpass.getuser()
    return "unknown"


def changed(action: str, rows: str) -> list[str]:
    """The statements that write changes down (`rows` selects id, was, becomes) and make them so."""
    return [
        f"""CREATE OR REPLACE TEMP TABLE made AS SELECT r.id, r.was, r.becomes FROM ({rows}) r
        WHERE coalesce(r.was, {NO_STATE}) IS DISTINCT FROM r.becomes
          AND NOT EXISTS (SELECT 1 FROM changes k WHERE k.action = '{action}' AND k.id = r.id)""",
        f"INSERT INTO changes SELECT '{action}', id, was, becomes FROM made",
        "DELETE FROM states WHERE id IN (SELECT id FROM made)",
        """INSERT INTO states
        SELECT id, becomes.decision, becomes.reason, becomes.replaced_by, becomes.is_current FROM made""",
    ]


def tagged(action: str, rows: str) -> list[str]:
    """The statements that write changes of tags down (`rows`: id, tag, origin, was, becomes) and make them so."""
    return [
        f"""CREATE OR REPLACE TEMP TABLE made_tags AS SELECT r.* FROM ({rows}) r WHERE NOT EXISTS (
            SELECT 1 FROM tag_changes k WHERE k.action = '{action}' AND k.id = r.id AND k.tag = r.tag)""",
        f"INSERT INTO tag_changes SELECT '{action}', id, tag, origin, was, becomes FROM made_tags",
        "DELETE FROM tags WHERE EXISTS (SELECT 1 FROM made_tags m WHERE m.id = tags.id AND m.tag = tags.tag)",
        "INSERT INTO tags SELECT id, tag, origin, now()::TIMESTAMP FROM made_tags WHERE becomes",
    ]
