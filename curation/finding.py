"""Finding samples fast in a database that one process keeps open, among a million of them too.

The view `everything` joins six tables whenever it is asked. While the studio has a corpus open, the view's short
columns (all but the texts) also lie in one table in memory, of the same name and before it in the search path. It is
made when a query first wants it after a change, and answers every query that it has the columns for; the view answers
the others. What a condition on texts finds is kept as positions: count, order and pages don't read the texts again.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterable

import duckdb

TEXTS = frozenset({"messages", "rejected", "tools", "instruction", "response", "metadata", "parents", "operator"})
"""Columns that stay out of memory."""

SMALL = 20_000
"""Up to so many samples the view is as fast as anybody needs."""

KEPT = 16
"""Conditions on texts whose positions are kept."""

MEMORY = "looking"
"""The database in memory."""

SOURCES = frozenset({"samples", "states", "tags", "held_out", "scores", "everything"})
"""What the view is made from."""

CURRENT = """
(SELECT * EXCLUDE (messages, root) FROM samples
 WHERE id NOT IN (SELECT id FROM states WHERE NOT is_current)) AS everything"""
"""What a condition on nothing but a sample's own columns can be asked of: the view without its joins."""

_TARGET = re.compile(
    r"\s*(?:INSERT\s+INTO|DELETE\s+FROM|UPDATE|(?:CREATE|DROP|ALTER)\s+(?:OR\s+REPLACE\s+)?(TEMP\s+)?(?:TABLE|VIEW)"
    r'(?:\s+IF(?:\s+NOT)?\s+EXISTS)?)\s+("(?:[^"]|"")+"|\w+)',
    re.IGNORECASE,
)
_STAR = re.compile(r"\*|\bDESCRIBE\b|\bCOLUMNS\b", re.IGNORECASE)


class Narrow:
    """The short columns of a corpus in memory, beside the open database they come from."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self._changes = self._writes = 0
        self._made_at: int | None = None
        self._usable = False
        self._database, self._key = "", "position"
        self._kept: OrderedDict[tuple[str, int], str] = OrderedDict()
        self._number = 0

    def written(self, statements: Iterable[str]) -> None:
        """Statements that write were run: what they changed is looked up again."""
        self._writes += 1
        if any(_may_change(sql) for sql in statements):
            self._changes += 1

    def answers(self, sql: str) -> bool:
        """Whether to ask the table in memory first; it is brought up to date for that."""
        if "everything" not in sql or _STAR.search(re.sub(r"(?i)count\(\*\)", "", sql)):
            return False
        with self._lock:
            if self._made_at != self._changes:
                self._make()
            return self._usable

    def path(self) -> str:
        """The search path in which the table in memory comes before the view."""
        return f"SET search_path = '{MEMORY},{self._database}'"

    def found(self, condition: str) -> str:
        """A condition that means the same and reads no text: where this one does, what it finds is looked up once."""
        if not self.answers("everything") or self._is_short(condition):
            return condition
        # Other tables may be named inside, so then every write counts.
        key = condition, self._writes if re.search(r"\bselect\b", condition, re.IGNORECASE) else self._changes
        with self._lock:
            table = self._kept.get(key)
            if table is None:
                table = self._kept[key] = self._look_up(condition)
            self._kept.move_to_end(key)
        return f"{self._key} IN (SELECT {self._key} FROM {MEMORY}.{table})"

    def _is_short(self, condition: str) -> bool:
        with self._connection.cursor() as cursor:
            try:
                cursor.execute(f"EXPLAIN SELECT 1 FROM {MEMORY}.everything AS everything WHERE ({condition}\n)")
            except duckdb.BinderException:
                return False
        return True

    def _look_up(self, condition: str) -> str:
        self._number += 1
        table = f"found_{self._number}"
        with self._connection.cursor() as cursor:
            while len(self._kept) >= KEPT:
                cursor.execute(f"DROP TABLE {MEMORY}.{self._kept.popitem(last=False)[1]}")
            make = f"CREATE TABLE {MEMORY}.{table} AS SELECT {self._key} FROM {{}} WHERE ({condition}\n)"
            try:
                cursor.execute(make.replace("{}", CURRENT, 1))
            except duckdb.BinderException:
                cursor.execute(make.replace("{}", "everything", 1))
        return table

    def _make(self) -> None:
        changes, self._usable = self._changes, False
        with self._connection.cursor() as cursor:
            self._database = cursor.execute("SELECT current_database()").fetchall()[0][0]
            samples = cursor.execute("SELECT count(*) FROM samples").fetchall()[0][0]
            if samples > SMALL:
                described = cursor.execute("SELECT column_name FROM (DESCRIBE everything)").fetchall()
                columns = ", ".join('"' + n.replace('"', '""') + '"' for (n,) in described if n not in TEXTS)
                cursor.execute(f"ATTACH IF NOT EXISTS ':memory:' AS {MEMORY}")
                cursor.execute(f"CREATE OR REPLACE TABLE {MEMORY}.everything AS SELECT {columns} FROM everything")
                # A version that came back shares its place with the one that had replaced it.
                shared = f"SELECT count(*) > count(DISTINCT position) FROM {MEMORY}.everything"
                self._key = "id" if cursor.execute(shared).fetchall()[0][0] else "position"
                self._usable = True
        self._made_at = changes


def _may_change(sql: str) -> bool:
    """Whether a statement may change what the view shows; one that is not understood may."""
    if sql.lstrip()[:6].upper() in ("SELECT", "WITH ", "FROM  "):
        return False
    target = _TARGET.match(sql)
    return target is None or (not target[1] and target[2].strip('"').lower() in SOURCES)
