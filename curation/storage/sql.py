"""SQL made from names and from what users type."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence

import duckdb

from curation.errors import CorpusError


def quoted(name: str) -> str:
    """A column name as SQL reads it, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as SQL reads it, whatever characters it has."""
    return "'" + text.replace("'", "''") + "'"


def score_table(run: str) -> str:
    """Name of the narrow table of a scoring run."""
    return quoted(f"score_{run}")


def latest(column: str, runs: Sequence[str]) -> str:
    """A score column of the run that measured a sample last; the runs are given the last used one first."""
    cases = " ".join(f"WHEN {score_table(r)}.id IS NOT NULL THEN {score_table(r)}.{quoted(column)}" for r in runs)
    return f"CASE {cases} END"


def run_id(*parts: str | None) -> str:
    """A short stable name for a run: equal parts, equal name."""
    return hashlib.sha256("\x1f".join(p or "" for p in parts).encode()).hexdigest()[:12]


def condition(where: str | None) -> str:
    """` WHERE (...)` for a user's condition, or nothing.

    Raises:
        CorpusError: it is not one SQL condition.
    """
    return f" WHERE ({check_sql(where, 'filter')}\n)" if where and where.strip() else ""


def working(where: str | None) -> str:
    """The working set of a filter: what meets it and was not dropped."""
    kept = "decision IS DISTINCT FROM 'drop'"
    return f"({check_sql(where, 'filter')}\n) AND {kept}" if where and where.strip() else kept


def check_sql(fragment: str, what: str) -> str:
    """The fragment, if it is a single expression list that only reads.

    Raises:
        CorpusError: it holds another statement, or does not parse.
    """
    try:
        clause = f"WHERE ({fragment}\n)" if what == "filter" else f"ORDER BY {fragment}\n"
        statements = duckdb.extract_statements(f"SELECT 1 FROM everything {clause}")
    except duckdb.Error as error:
        reason = str(error).split("\n")[0]
        raise CorpusError(
            f"The {what} {fragment!r} is not SQL: {reason}", fix="write it like: source = 'a' AND turns > 1"
        ) from None
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise CorpusError(f"The {what} {fragment!r} is more than one condition.", fix="write one condition, without ;")
    return fragment


def bad_sql(error: duckdb.Error, columns: Iterable[str]) -> CorpusError:
    """The two lines for a condition that does not work, with the columns there are."""
    message = str(error).split("\n")[0].split(" in FROM clause!")[0]
    message = re.sub(r"^(Binder|Catalog|Conversion|Parser|Permission|Invalid Input) Error: ", "", message).strip()
    return CorpusError(f"The filter does not work: {message}", fix=f"use SQL over these columns: {', '.join(columns)}")
