"""SQL made from names and from what users type."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

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
    """The fragment, if it is a single expression list that only reads the corpus.

    Raises:
        CorpusError: it holds another statement, does not parse, or calls what changes or stalls the database.
    """
    problem = _problem(fragment, what)
    if problem is not None:
        raise CorpusError(problem[0], fix=problem[1])
    return fragment


SHOWN_CHARS = 200
"""Of a filter that is refused, in the message."""

ROWS_FROM = frozenset({"unnest", "range", "generate_series", "json_each", "json_tree"})
"""Functions a condition may read rows from: any other reaches the database's settings, its log, or files."""

NOT_CALLED = frozenset(
    {"repeat", "lpad", "rpad", "bar", "format", "printf", "list_resize", "array_resize", "sleep_ms", "write_log"}
    | {"nextval", "currval", "getenv", "range", "generate_series", "bitstring"}
    | {"levenshtein", "editdist3", "damerau_levenshtein"}
)
"""Functions that wait, write, or make so much of one value that no time limit stops them; rows they may make."""

LONGEST_FILTER = 4_000_000
"""Characters; what a lasso of a hundred thousand samples makes is shorter."""

_parsing = threading.Lock()


@lru_cache(maxsize=512)
def _problem(fragment: str, what: str) -> tuple[str, str] | None:
    """Message and fix for a fragment that is refused."""
    if len(fragment) > LONGEST_FILTER:
        return (
            f"The {what} has {len(fragment):,} characters, more than {LONGEST_FILTER:,}.",
            "tag the samples first, then filter by the tag",
        )
    shown = repr(fragment if len(fragment) <= SHOWN_CHARS else fragment[:SHOWN_CHARS] + "…")
    # What is a condition in round brackets and in square ones closes neither of them.
    wrapped = ("WHERE ({}\n)", "WHERE [{}\n]") if what == "filter" else ("ORDER BY {}\n",)
    for clause in wrapped:
        try:
            told = _parsed("SELECT 1 FROM everything " + clause.format(fragment))
        except duckdb.Error as error:
            told = {"error": True, "error_message": str(error).split("\n")[0], "error_type": "parser"}
        if told["error"] and told.get("error_type") == "parser":
            reason = str(told["error_message"])[:SHOWN_CHARS]
            return f"The {what} {shown} is not SQL: {reason}", "write it like: source = 'a' AND turns > 1"
        if told["error"] or len(told["statements"]) != 1 or told["statements"][0]["node"]["type"] != "SELECT_NODE":
            return f"The {what} {shown} is more than one condition.", "write one condition, without ;"
        for name in _calls(told):
            if name in NOT_CALLED or name.startswith("from:"):
                name = name.removeprefix("from:")
                return f"The {what} may not call {name}().", "use the corpus' columns, and functions of their values"
    return None


def _parsed(sql: str) -> dict[str, Any]:
    with _parsing, _parser().cursor() as cursor:
        row = cursor.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()[0]
    found: dict[str, Any] = json.loads(row[0])
    return found


@lru_cache(maxsize=1)
def _parser() -> duckdb.DuckDBPyConnection:
    return duckdb.connect(config={"enable_external_access": "false", "threads": 1})


def _calls(tree: Any) -> Iterator[str]:
    """Functions that a parsed statement calls; of rows, but for those one may read from, with `from:` before it."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, list):
            waiting += node
        elif isinstance(node, dict):
            if node.get("type") == "TABLE_FUNCTION":
                called = node["function"]
                name = str(called.get("function_name", "")).lower()
                if name not in ROWS_FROM:
                    yield f"from:{name}"
                node = called  # one that rows may be read from, but what it is given is looked at
            elif node.get("class") == "FUNCTION":
                yield str(node.get("function_name", "")).lower()
            waiting += node.values()


def bad_sql(error: duckdb.Error, columns: Iterable[str]) -> CorpusError:
    """The two lines for a condition that does not work, with the columns there are."""
    message = str(error).split("\n")[0].split(" in FROM clause!")[0]
    message = re.sub(r"^(Binder|Catalog|Conversion|Parser|Permission|Invalid Input) Error: ", "", message).strip()
    if len(message) > 2 * SHOWN_CHARS:  # it quotes what was typed
        message = message[: 2 * SHOWN_CHARS] + "…"
    return CorpusError(f"The filter does not work: {message}", fix=f"use SQL over these columns: {', '.join(columns)}")
