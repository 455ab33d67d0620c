"""Every generation call, kept in `calls.sqlite`, so that no answer is paid for twice and none is lost.

Each attempt is a row: what was sent, what came back raw, tokens, cost, error. A call's key is the hash of what was
asked and of nothing else, so a finished call answers every later request that reads the same, in any run and from any
address.
Parsing is outside the key: the raw response is kept, and a better parser reads old answers again for nothing.
Several processes may write at once; `kill -9` loses at most the calls that were in flight.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import orjson

from curation.errors import CorpusError

if TYPE_CHECKING:
    from pathlib import Path

    from curation.language_models.models import ChatRequest

BUSY_SECONDS = 60
"""How long a writer waits for another process before it gives up."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS calls (
    key TEXT NOT NULL, attempt INTEGER NOT NULL, model TEXT NOT NULL, endpoint TEXT NOT NULL,
    request TEXT NOT NULL, response TEXT, finish_reason TEXT, input_tokens INTEGER, output_tokens INTEGER,
    cost_usd REAL, cost_reason TEXT, error TEXT, run TEXT NOT NULL, created TEXT NOT NULL, seconds REAL,
    PRIMARY KEY (key, attempt)
);
CREATE INDEX IF NOT EXISTS calls_by_run ON calls (run);
CREATE TABLE IF NOT EXISTS served (name TEXT PRIMARY KEY, weights TEXT NOT NULL);
"""

_INSERT = """
INSERT INTO calls
SELECT :key, coalesce(max(attempt), 0) + 1, :model, :endpoint, :request, :response, :finish_reason,
       :input_tokens, :output_tokens, :cost_usd, :cost_reason, :error, :run, :created, :seconds
FROM calls WHERE key = :key
"""

_TOTALS = """
SELECT coalesce(sum(answered), 0), sum(input_tokens), sum(output_tokens), sum(cost_usd),
       coalesce(min(NOT answered OR (input_tokens IS NOT NULL AND output_tokens IS NOT NULL)), 1),
       coalesce(min(cost_usd IS NOT NULL OR NOT (answered OR cost_reason IS NOT NULL)), 1),
       max(cost_reason) FILTER (WHERE cost_usd IS NULL)
FROM (SELECT *, error IS NULL AS answered FROM calls WHERE run = ? AND rowid > ?)
"""


def rendered(model: str, request: ChatRequest) -> str:
    """Canonical JSON of all that an answer depends on; no address, key, run or retry policy is in it."""
    messages = [{"role": role, "content": content} for role, content in request.messages]
    asked = {
        "v": 1,
        "api": "chat" if request.prompt is None else "completions",
        "model": model,
        **({"messages": messages} if request.prompt is None else {"prompt": request.prompt}),
        "parameters": {name: value for name, value in request.parameters.items() if value is not None},
        "sample_index": request.sample_index,
    }
    return json.dumps(asked, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def call_key(model: str, request: ChatRequest) -> str:
    """SHA-256 of the rendered request, in hex."""
    return key_of(rendered(model, request))


def key_of(asked: str) -> str:
    """The key of a rendered request."""
    return hashlib.sha256(asked.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of a call: `response` (raw) or `error`, never both."""

    key: str
    model: str
    endpoint: str
    """Host and port, without credentials or path; `replay` for replayed answers."""
    request: str
    """The rendered request that `key` is the hash of."""
    run: str
    response: dict[str, Any] | None = None
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None
    """null = unknown, and then `cost_reason` says why; 0 only where nothing was sent."""
    cost_reason: str | None = None
    error: str | None = None
    seconds: float | None = None
    """From being sent to being recorded; null where nothing was sent."""
    attempt: int = 0
    """Counts from 1 within a key; given by the store."""
    created: str = ""
    """When it was answered or failed: UTC, ISO 8601; given by the store."""


@dataclass(frozen=True, slots=True)
class Totals:
    """What a run was answered and what that took."""

    calls: int
    input_tokens: int | None
    """null when some endpoint did not report tokens."""
    output_tokens: int | None
    cost_usd: float | None
    cost_reason: str | None


class CallStore:
    """The calls of one corpus."""

    def __init__(self, path: Path) -> None:
        """Open or create the store.

        Raises:
            CorpusError: the file is there but holds no calls, or its folder can't be written.
        """
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=16
            )
            _prepare(self._database)
        except (sqlite3.Error, OSError) as error:
            raise CorpusError(
                f"{path} can't be opened as a store of calls: {error}.",
                fix="move the file away (a new one is made) and check that its folder can be written",
            ) from None

    def lookup(self, key: str) -> dict[str, Any] | None:
        """The raw response of a finished call; null when it never finished."""
        row = self._database.execute(
            "SELECT response FROM calls WHERE key = ? AND error IS NULL ORDER BY attempt DESC LIMIT 1", (key,)
        ).fetchone()
        return None if row is None else json.loads(row[0])

    def weights(self, name: str, found: str | None) -> str:
        """Keep what a server said it serves under a name; where it said nothing now (null), what it said last."""
        if found is None:
            row = self._database.execute("SELECT weights FROM served WHERE name = ?", (name,)).fetchone()
            return row[0] if row else ""
        self._database.execute("INSERT OR REPLACE INTO served VALUES (?, ?)", (name, found))
        return found

    def record(self, attempt: Attempt) -> None:
        """Keep one attempt; it gets the next number of its key and is on disk when this returns.

        Raises:
            CorpusError: the disk would not take it.
        """
        row = {name: getattr(attempt, name) for name in Attempt.__dataclass_fields__ if name != "attempt"}
        row["response"] = None if attempt.response is None else _json(attempt.response)
        row["created"] = datetime.now(UTC).isoformat(timespec="milliseconds")
        try:
            self._database.execute(_INSERT, {name: _storable(value) for name, value in row.items()})
        except sqlite3.OperationalError as error:
            raise CorpusError(
                f"{self.path} could not take an answer: {error}.",
                fix="free disk space and check that you may write there, then run the same command again",
            ) from None

    def attempts(self, key: str) -> list[Attempt]:
        """Every try of a call, first to last."""
        columns = ", ".join(Attempt.__dataclass_fields__)
        rows = self._database.execute(f"SELECT {columns} FROM calls WHERE key = ? ORDER BY attempt", (key,))
        return [_attempt(row) for row in rows]

    def last(self) -> int:
        """Number of the newest attempt: what `totals` counts on from."""
        return int(self._database.execute("SELECT coalesce(max(rowid), 0) FROM calls").fetchone()[0])

    def totals(self, run: str, *, after: int = 0) -> Totals:
        """Answered calls, tokens and cost recorded under a run; what it took from other runs cost it nothing.

        Args:
            run: whose calls.
            after: only those newer than this number (see `last`); with 0 over all commands that worked on the run.
        """
        row = self._database.execute(_TOTALS, (run, after)).fetchone()
        calls, tokens_in, tokens_out, cost, counted, priced, reason = row
        return Totals(
            calls=calls,
            input_tokens=(tokens_in or 0) if counted else None,
            output_tokens=(tokens_out or 0) if counted else None,
            cost_usd=float(cost or 0) if priced else None,
            cost_reason=None if priced else reason,
        )

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _prepare(database: sqlite3.Connection) -> None:
    """WAL and the table. Turning WAL on needs the file alone, and SQLite does not wait for that by itself."""
    for tries in range(100):
        try:
            database.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError:
            if tries == 99:
                raise
            time.sleep(0.05)
    database.execute("PRAGMA synchronous = NORMAL")
    database.executescript(_SCHEMA)
    if "seconds" not in {row[1] for row in database.execute("PRAGMA table_info(calls)")}:  # of an earlier version
        with contextlib.suppress(sqlite3.OperationalError):  # another process was faster
            database.execute("ALTER TABLE calls ADD COLUMN seconds REAL")


def _json(response: dict[str, Any]) -> str:
    try:
        return orjson.dumps(response).decode()
    except TypeError:  # half of a surrogate pair
        return json.dumps(response, ensure_ascii=False)


def _storable(value: Any) -> Any:
    """Half of a surrogate pair, which models do send, can't be stored; its escape can, and reads back the same."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _attempt(row: tuple[Any, ...]) -> Attempt:
    values = dict(zip(Attempt.__dataclass_fields__, row, strict=True))
    values["response"] = None if values["response"] is None else json.loads(values["response"])
    return Attempt(**values)
