"""What was asked in batches and which batches were sent, kept in `batches.sqlite` beside the calls.

A result names only the first digits of a call's key: here stands which call that is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Self

from curation.errors import CorpusError
from curation.language_models.batch_files import Asked

FILE = "batches.sqlite"
SETTLED = ("completed", "failed", "expired", "cancelled")
"""States in which nothing more comes from a batch."""
BUSY_SECONDS = 60

_SCHEMA = """
CREATE TABLE IF NOT EXISTS asked (
    id TEXT PRIMARY KEY, key TEXT NOT NULL, model TEXT NOT NULL, request TEXT NOT NULL, endpoint TEXT NOT NULL,
    run TEXT NOT NULL, sent TEXT
);
CREATE TABLE IF NOT EXISTS sent (
    sha256 TEXT PRIMARY KEY, file TEXT NOT NULL, spec TEXT NOT NULL, requests INTEGER NOT NULL, url TEXT NOT NULL,
    input_file TEXT, batch TEXT, state TEXT NOT NULL, tries INTEGER NOT NULL, taken INTEGER NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class Sent:
    """A file that was sent, or is about to be."""

    sha256: str
    """Of the file."""
    file: str
    spec: str
    """Of the chat model."""
    requests: int
    url: str
    input_file: str | None = None
    """Its id at the endpoint."""
    batch: str | None = None
    state: str = "uploading"
    tries: int = 1
    """How often it was sent: a batch that failed as a whole may be sent again."""
    taken: bool = False
    """Whether its results were read."""

    @property
    def mark(self) -> str:
        """In the batch's metadata: by it one is found again that was started before its id was kept here."""
        return f"{self.sha256[:32]}-{self.tries}"


@dataclass(frozen=True, slots=True)
class Known:
    """A call that was written into a file."""

    key: str
    model: str
    request: str
    endpoint: str
    run: str


class BatchStore:
    """The batches of one corpus."""

    def __init__(self, corpus: Path) -> None:
        """Open or create it.

        Raises:
            CorpusError: the file can't be opened.
        """
        try:
            self._database = sqlite3.connect(corpus / FILE, timeout=BUSY_SECONDS, isolation_level=None)
            self._database.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise CorpusError(
                f"{corpus / FILE} can't be opened: {error}.", fix="check that the folder is a corpus and can be written"
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._database.close()

    def remember(self, calls: Iterable[Asked], run: str) -> None:
        """Keep which call each id stands for."""
        rows = [(a.id, a.key, a.model, _storable(a.rendered), a.endpoint, run) for a in calls]
        with self._database:
            self._database.execute("BEGIN")
            self._database.executemany(
                "INSERT INTO asked (id, key, model, request, endpoint, run) VALUES (?, ?, ?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET run = excluded.run",
                rows,
            )

    def known(self, call_id: str) -> Known | None:
        """The call of an id; null where none of this corpus was written with it."""
        row = self._database.execute(
            "SELECT key, model, request, endpoint, run FROM asked WHERE id = ?", (call_id,)
        ).fetchone()
        return None if row is None else Known(*row)

    def keys(self, run: str) -> list[str]:
        """Keys of the calls that were written for a run."""
        return [row[0] for row in self._database.execute("SELECT key FROM asked WHERE run = ?", (run,))]

    def in_flight(self) -> set[str]:
        """Ids in batches that were sent and may still be answered."""
        rows = self._database.execute("SELECT id FROM asked JOIN sent ON asked.sent = sent.sha256 WHERE NOT sent.taken")
        return {row[0] for row in rows}

    def sent(self) -> list[Sent]:
        """Every file that was sent, the first one first."""
        columns = ", ".join(Sent.__dataclass_fields__)
        rows = self._database.execute(f"SELECT {columns} FROM sent ORDER BY rowid").fetchall()
        return [replace(Sent(*row), taken=bool(row[-1])) for row in rows]

    def keep(self, sent: Sent, ids: Iterable[str] = ()) -> None:
        """Keep how it stands with a file, and that these calls are in it."""
        marks = ", ".join("?" * len(Sent.__dataclass_fields__))
        with self._database:
            self._database.execute("BEGIN")
            self._database.execute(f"INSERT OR REPLACE INTO sent VALUES ({marks})", astuple(sent))
            self._database.executemany("UPDATE asked SET sent = ? WHERE id = ?", [(sent.sha256, i) for i in ids])


def _storable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
