"""Conditions of a filter: the SQL of one that was put together by hand, and the parts of one that was typed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

from curation.storage.sql import literal, quoted
from studio.languages import mark

NUMBERS = (
    *("DOUBLE", "FLOAT", "DECIMAL", "BIGINT", "INTEGER", "SMALLINT", "TINYINT", "HUGEINT"),
    *("UBIGINT", "UINTEGER", "USMALLINT", "UTINYINT"),
)
LONG = ("id", "instruction", "response", "messages", "rejected", "metadata", "parents", "tools", "root")
"""Columns whose values are too many, or too long, to be offered."""

TESTS: dict[str, dict[str, str]] = {
    "number": {
        "at least": mark("at least"), "at most": mark("at most"), "between": mark("between"),
        "equal": mark("equal to"), "known": mark("has a value"), "unknown": mark("has no value"),
    },
    "text": {
        "one of": mark("is one of"), "none of": mark("is none of"), "contains": mark("contains"),
        "begins": mark("begins with"), "known": mark("has a value"), "unknown": mark("has no value"),
    },
    "list": {
        "has": mark("has one of"), "has not": mark("has none of"), "known": mark("has a value"),
        "unknown": mark("has no value"),
    },
    "yes or no": {"yes": mark("is yes"), "no": mark("is no")},
    "time": {"since": mark("on or after"), "until": mark("on or before")},
    "other": {"known": mark("has a value"), "unknown": mark("has no value")},
}  # fmt: skip
"""Kind of column -> code of a test -> what it is called."""


@dataclass(frozen=True)
class Condition:
    """A column, a test, and what it is compared with."""

    column: str
    kind: str
    """A key of TESTS."""
    test: str
    """A key of TESTS[kind]."""
    values: tuple[str | float | date, ...] = ()
    """One; two for `between`; as many as wanted for `one of` and its like; none for `known` and its like."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left to fill in."""
        if self.test in ("known", "unknown", "yes", "no"):
            return True
        return len(self.values) == 2 if self.test == "between" else bool(self.values) and self.values != ("",)

    @property
    def sql(self) -> str:
        """As a filter reads it, whatever characters names and values have."""
        name, values = quoted(self.column) if not _is_plain(self.column) else self.column, self.values
        match self.test:
            case "known":
                return f"{name} IS NOT NULL"
            case "unknown":
                return f"{name} IS NULL"
            case "yes":
                return name
            case "no":
                return f"NOT {name}"
            case "at least" | "since":
                return f"{name} >= {_value(values[0])}"
            case "at most":
                return f"{name} <= {_value(values[0])}"
            case "until":
                return f"{name} < {_value(_following(values[0]))}"
            case "between":
                low, high = sorted(values)
                return f"{name} BETWEEN {_value(low)} AND {_value(high)}"
            case "equal":
                return f"{name} = {_value(values[0])}"
            case "contains":
                return f"contains({name}, {_value(values[0])})"
            case "begins":
                return f"starts_with({name}, {_value(values[0])})"
            case "has":
                return f"list_has_any({name}, [{_several(values)}])"
            case "has not":
                return f"NOT list_has_any({name}, [{_several(values)}])"
        return self._one_of(name)

    def _one_of(self, name: str) -> str:
        negated = self.test == "none of"
        if len(self.values) == 1:
            return f"{name} {'<>' if negated else '='} {_value(self.values[0])}"
        return f"{name} {'NOT ' if negated else ''}IN ({_several(self.values)})"


def kind_of(column_type: str) -> str:
    """The kind of tests that a column of a DuckDB type takes."""
    if column_type.endswith("[]"):
        return "list" if column_type == "VARCHAR[]" else "other"
    if column_type.startswith(NUMBERS):
        return "number"
    if column_type.startswith(("TIMESTAMP", "DATE")):
        return "time"
    return {"VARCHAR": "text", "BOOLEAN": "yes or no"}.get(column_type, "other")


def _is_plain(name: str) -> bool:
    # As one types it: only what SQL would read as a word of its own, or as several, needs quotes.
    return re.fullmatch(r"[a-z_][a-z0-9_]*", name) is not None and name not in _taken()


@lru_cache
def _taken() -> frozenset[str]:
    import duckdb

    with duckdb.connect() as connection:
        words = connection.execute("SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category <> 'unreserved'")
        return frozenset(word for (word,) in words.fetchall())


def _value(value: str | float | date) -> str:
    if isinstance(value, date):
        return f"DATE '{value.isoformat()}'"
    if isinstance(value, str):
        return literal(value)
    if not math.isfinite(value):
        return f"'{value}'::DOUBLE"
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))


def _several(values: Sequence[str | float | date]) -> str:
    return ", ".join(_value(value) for value in values)


def _following(day: str | float | date) -> str | float | date:
    return day + timedelta(days=1) if isinstance(day, date) else day


def joined(where: str | None, added: str) -> str:
    """A filter with one more condition; the first one stays as it was typed."""
    before = (where or "").strip()
    if not before:
        return added
    if added in conditions(before):
        return before
    one = conditions(before)
    # A filter with OR, or one that can't be parted, stands as one condition beside the new one.
    return f"({before}\n) AND {added}" if len(one) == 1 and _has_or(before) else f"{before} AND {added}"


def _has_or(where: str) -> bool:
    return "--" in where or "/*" in where or any(word == "or" for word, _ in _outer_words(where))


def conditions(where: str) -> list[str]:
    """The parts of a condition that stand side by side with AND; one that can't be parted is a single part."""
    parts, start, between = [], 0, False
    for word, at in _outer_words(where):
        if word == "or":
            return [where.strip()]
        if word == "and" and not between:
            parts.append(where[start:at].strip())
            start = at + len("and")
        between = word == "between" or (between and word != "and")
    return [part for part in (*parts, where[start:].strip()) if part]


def _outer_words(where: str) -> Iterator[tuple[str, int]]:
    # Quoted text and what stands in parentheses is passed over.
    depth = 0
    for found in re.finditer(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|[()]|\w+", where):
        token = found.group()
        depth += (token == "(") - (token == ")")
        if depth == 0 and token[0].isalpha():
            yield token.lower(), found.start()
