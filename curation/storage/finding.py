"""Finding samples fast in a database that one process keeps open, among a million of them too.

The view `everything` joins six tables whenever it is asked. While the studio has a corpus open, the view's short
columns (all but the texts) also lie in memory: one table of what rarely changes, one of the marks that people set, and
a view of both, called like the other and before it in the search path. They are made when a query first wants them
after a change, and answer every query that they have the columns for; the other view answers the rest. What a
condition on texts finds is kept as positions, so that count, order and pages don't read the texts again.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator

import duckdb

from curation.errors import CorpusError
from curation.storage.sql import check_sql

TEXTS = frozenset({"messages", "rejected", "tools", "instruction", "response", "metadata", "parents", "operator"})
"""Columns that stay out of memory."""

MARKS = ("tags", "held_out", "decision", "decision_reason")
"""Columns that people set: they change often, and most samples have none."""

SMALL = 20_000
"""Up to so many samples the view is as fast as anybody needs."""

FEW = 1_000
"""Up to so many samples are looked up first, and their columns read then."""

KEPT = 16
"""Conditions on texts whose positions are kept."""

MEMORY = "looking"
"""The database in memory."""

OF_SAMPLES = "(SELECT * EXCLUDE (messages, root) FROM samples) AS everything"
"""What a condition on nothing but a sample's own columns can be asked of, without a join; earlier versions as well."""

_TARGET = re.compile(
    r"\s*(?:INSERT\s+INTO|DELETE\s+FROM|UPDATE|(?:CREATE|DROP|ALTER)\s+(?:OR\s+REPLACE\s+)?(TEMP\s+)?(?:TABLE|VIEW)"
    r'(?:\s+IF(?:\s+NOT)?\s+EXISTS)?)\s+("(?:[^"]|"")+"|\w+)',
    re.IGNORECASE,
)
_STAR = re.compile(
    r"(?:\bSELECT|\bALL|\bDISTINCT|,|\.)\s*\*|(?:^|\()\s*FROM\b"
    r"|\b(?:DESCRIBE|SUMMARIZE|SHOW|TABLE|PIVOT|UNPIVOT|COLUMNS)\b",
    re.IGNORECASE,
)
"""Where a query means all columns without naming them: not all of them are in memory, and no error would tell."""


@contextlib.contextmanager
def limited(cursor: duckdb.DuckDBPyConnection, seconds: float | None) -> Iterator[None]:
    """Interrupt what the cursor does after so many seconds; null for no limit.

    Raises:
        CorpusError: it was interrupted.
    """
    timer = threading.Timer(seconds, cursor.interrupt) if seconds else None
    if timer:
        timer.start()
    try:
        yield
    except duckdb.InterruptException:
        took = f"The query took longer than {seconds:g} s" if seconds else "The query"
        raise CorpusError(f"{took} and was stopped.", fix="narrow the filter") from None
    finally:
        if timer:
            timer.cancel()


class Narrow:
    """The short columns of a corpus in memory, beside the open database they come from."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, patience: float | None = None) -> None:
        """Look in this database; a condition on texts may take so many seconds, null for no limit."""
        self._connection = connection
        self._patience = patience
        self._lock = threading.Lock()
        self._writes, self._opened = 0, time.monotonic_ns()
        self._changes = {"samples": 0, "marks": 0}
        self._made: dict[str, int] = {}
        self._usable = False
        self._database, self._key = "", "position"
        self._kept: OrderedDict[tuple[str, str, int], str] = OrderedDict()
        self._number = 0
        self._fitting: dict[tuple[str, str, int], bool] = {}
        self._counts: tuple[int, dict[str, int]] = (0, {})

    @property
    def writes(self) -> int:
        """How often was written since the database was opened: what was asked before may be otherwise now."""
        return self._writes

    def written(self, statements: Iterable[str]) -> None:
        """Statements that write were run: what they changed is looked up again."""
        self._writes += 1
        for part in {_changed(sql) for sql in statements} & self._changes.keys():
            self._changes[part] += 1

    @property
    def state(self) -> tuple[int, int]:
        """Changes with everything that is written; that of another opening of the same corpus is another one."""
        return self._opened, self._writes

    def answers(self, sql: str) -> bool:
        """Whether to ask what is in memory first; it is brought up to date for that."""
        if "everything" not in sql or _STAR.search(sql):
            return False
        with self._lock:
            if self._made != self._changes:
                with contextlib.suppress(duckdb.Error):  # then the view answers, or says what is wrong
                    self._make()
            return self._usable

    def path(self) -> str:
        """The search path in which what is in memory comes before the view."""
        return f"SET search_path = '{MEMORY},{self._database}'"

    def found(self, condition: str) -> str:
        """A condition that means the same and reads no text: where this one does, what it finds is looked up once."""
        check_sql(condition, "filter")
        try:
            return self._found(condition) if self.answers("everything") else condition
        except duckdb.Error:
            return condition  # whoever asks with it learns what is wrong

    def counted(self, sql: str, count: Callable[[str], int]) -> int:
        """What a statement counts, asked once until something is written."""
        writes = self._writes
        if self._counts[0] != writes:
            self._counts = writes, {}
        known = self._counts[1]
        if sql not in known:
            known[sql] = count(sql)
        return known[sql]

    def _found(self, condition: str) -> str:
        if self._fits(condition, f"{MEMORY}.everything AS everything"):
            return condition
        source = OF_SAMPLES if self._fits(condition, OF_SAMPLES) else "everything"
        if source == "everything" or re.search(r"\bselect\b", condition, re.IGNORECASE):
            version = self._writes  # it may look at any table
        else:
            version = self._changes["samples"]
        with self._lock:
            key = condition, source, version
            if key not in self._kept:
                self._kept[key] = self._look_up(condition, source)
            self._kept.move_to_end(key)
            return f"{self._key} IN (SELECT {self._key} FROM {MEMORY}.{self._kept[key]})"

    def _fits(self, condition: str, source: str) -> bool:
        asked = condition, source, self._changes["samples"]
        fits = self._fitting.get(asked)
        if fits is None:
            if len(self._fitting) >= FEW:
                self._fitting.clear()
            fits = self._fitting[asked] = self._is_answered(condition, source)
        return fits

    def _is_answered(self, condition: str, source: str) -> bool:
        with self._connection.cursor() as cursor:
            try:
                cursor.execute(f"EXPLAIN SELECT 1 FROM {source} WHERE ({condition}\n)")
            except duckdb.BinderException:
                return False
        return True

    def _look_up(self, condition: str, source: str) -> str:
        self._number += 1
        table = f"found_{self._number}"
        with self._connection.cursor() as cursor, limited(cursor, self._patience):
            while len(self._kept) >= KEPT:
                cursor.execute(f"DROP TABLE {MEMORY}.{self._kept.popitem(last=False)[1]}")
            cursor.execute(f"CREATE TABLE {MEMORY}.{table} AS SELECT {self._key} FROM {source} WHERE ({condition}\n)")
        return table

    def _make(self) -> None:
        changes, before = dict(self._changes), self._made
        self._made, self._usable = changes, False
        with self._connection.cursor() as cursor:
            self._database = cursor.execute("SELECT current_database()").fetchall()[0][0]
            if cursor.execute("SELECT count(*) FROM samples").fetchall()[0][0] <= SMALL:
                return
            cursor.execute(f"ATTACH IF NOT EXISTS ':memory:' AS {MEMORY}")
            cursor.execute("SET preserve_insertion_order = false")
            if before.get("samples") != changes["samples"]:
                self._make_samples(cursor)
            cursor.execute(_MAKE_MARKS.format(memory=MEMORY, key=self._key))
            cursor.execute(_MAKE_VIEW.format(memory=MEMORY, key=self._key))
        self._usable = True

    def _make_samples(self, cursor: duckdb.DuckDBPyConnection) -> None:
        described = cursor.execute("SELECT column_name FROM (DESCRIBE everything)").fetchall()
        names = ['"' + n.replace('"', '""') + '"' for (n,) in described if n not in TEXTS and n not in MARKS]
        columns = ", ".join("coalesce(root, id) AS root" if name == '"root"' else name for name in names)
        cursor.execute(
            f"CREATE OR REPLACE TABLE {MEMORY}.short AS SELECT {columns} FROM samples LEFT JOIN scores USING (id)"
        )
        # A version has the place of the one before it: then places don't tell samples apart, and ids are slower.
        shared = cursor.execute(f"SELECT count(*) > count(DISTINCT position) FROM {MEMORY}.short").fetchall()[0][0]
        self._key = "id" if shared else "position"


_MAKE_MARKS = """
CREATE OR REPLACE TABLE {memory}.marks AS
SELECT short.{key}, tagged.tags, held_out.id IS NOT NULL AS held_out, states.decision,
    states.reason AS decision_reason, coalesce(states.is_current, true) AS is_current
FROM (SELECT id FROM states UNION SELECT id FROM tags
    UNION SELECT id FROM {memory}.short WHERE root IN (SELECT id FROM held_out)) AS marked
JOIN {memory}.short USING (id)
LEFT JOIN states USING (id)
LEFT JOIN (SELECT id, list(tag ORDER BY tag) AS tags FROM tags GROUP BY id) tagged USING (id)
LEFT JOIN held_out ON held_out.id = short.root"""

_MAKE_VIEW = """
CREATE OR REPLACE VIEW {memory}.everything AS
SELECT short.*, marks.tags, coalesce(marks.held_out, false) AS held_out, marks.decision, marks.decision_reason
FROM {memory}.short LEFT JOIN {memory}.marks USING ({key}) WHERE coalesce(marks.is_current, true)"""


def _changed(sql: str) -> str:
    """Which part of what is in memory a statement may change; one that is not understood may change all."""
    target = _TARGET.match(sql)
    if target is None:
        return "" if sql.lstrip()[:6].upper() == "SELECT" else "samples"
    table = "" if target[1] else target[2].strip('"').lower()
    return {"states": "marks", "tags": "marks", "held_out": "marks"}.get(
        table, "samples" if table in ("samples", "scores", "everything") else ""
    )
