"""The corpus database: one process has it open at a time, and nobody ever sees a lock.

A command opens the file for the moment it needs and closes it again; while another process has it, it waits. The studio
keeps it open for as long as it runs and says so in `owner.json` (pid, port, token); a command that finds an owner sends
its statements there over loopback. Callers can't tell the difference: `run` is the whole interface.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from curation.errors import CorpusError, of_disk
from curation.storage.finding import Narrow, limited
from curation.storage.tables import upgraded

Statement = tuple[str, Sequence[Any]]
"""SQL and the values of its `?` marks."""

FILE = "corpus.duckdb"
OWNER = "owner.json"
EXCHANGE = "exchange"

WAIT_SECONDS = 120.0
"""How long a command waits for another one to let go of the file."""

ANSWER_SECONDS = 3600.0
"""How long a command waits for the owner to answer."""

REMEMBERED = 64
"""Answers to writes that an owner keeps, for a request that is sent again."""

RETRIES = 5
"""How often a statement is sent again when the owner went away while it was asked."""

CONFIG: dict[str, str | bool | int | float | list[str]] = {
    # 1.5 and 2.0 both read and write this format; 2.0's own default is unreadable by 1.5.
    "storage_compatibility_version": "v1.5.0",
    # Polars and pyarrow read files, so that a typed filter can reach none; and no extension is fetched.
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}

ARROW = pl.CompatLevel.newest() if duckdb.__version__ >= "2" else pl.CompatLevel.oldest()
"""Before 2.0 DuckDB hands conditions on a frame to pyarrow, which can't compare views of strings."""

_writing = threading.RLock()


@dataclass(frozen=True)
class Owner:
    """Who keeps the database open, and where it answers."""

    pid: int
    port: int
    token: str

    def write(self, folder: Path) -> None:
        """Announce it, readable by this user only."""
        path = folder / f".{OWNER}.{self.pid}"
        path.write_text(json.dumps({**asdict(self), "folder": str(folder.resolve())}))
        path.chmod(0o600)
        path.replace(folder / OWNER)


def owner_of(folder: Path) -> Owner | None:
    """The live owner of a corpus folder; what a dead process left behind, or was copied along, does not count."""
    try:
        told = json.loads((folder / OWNER).read_text())
        mine = told.pop("folder") == str(folder.resolve())
        owner = Owner(**told)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return owner if mine and is_alive(owner.pid) else None


def is_alive(pid: int) -> bool:
    """Whether a process with this id runs (a zombie does not)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return True


class Database:
    """Statements in, a frame out, in one transaction, wherever the database is open."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._held: duckdb.DuckDBPyConnection | None = None
        self.narrow: Narrow | None = None
        """Of a database that `hold` opened."""
        self.patience: float | None = None
        """Seconds a statement that only reads may take where no limit is given; null for no limit."""
        self.before_writing: Callable[[], None] | None = None
        """Raises where the one who asks, in this process, may change nothing."""

    def run(
        self,
        *statements: str | Statement,
        frames: Mapping[str, pl.DataFrame] | None = None,
        timeout_seconds: float | None = None,
    ) -> pl.DataFrame:
        """Run the statements in one transaction; the last one's rows are returned.

        `frames` can be read by name as tables. Two writers never meet: the second waits.

        Raises:
            CorpusError: the file stayed locked for `WAIT_SECONDS`, or the time limit ran out.
            duckdb.Error: a statement is wrong; nothing was written.
        """
        script = [(s, ()) if isinstance(s, str) else s for s in statements]
        if _reads_only(script):
            timeout_seconds = timeout_seconds or self.patience
        elif self.before_writing is not None:
            self.before_writing()
        request = uuid.uuid4().hex
        for _ in range(RETRIES):
            with self._connection() as connection:
                if not isinstance(connection, Owner):
                    return execute(connection, script, frames or {}, timeout_seconds, self.narrow)
                # What got no answer is asked again: a living owner remembers what it answered to a request, and where
                # it died every write is one that changes nothing when it is done twice.
                with contextlib.suppress(OSError):
                    return _ask(connection, self.folder, request, script, frames or {}, timeout_seconds)
        raise CorpusError(
            "The studio that has this corpus open stopped answering.",
            fix="close the studio or start it again, then run this command again: it goes on from what was stored",
        )

    def hold(self) -> duckdb.DuckDBPyConnection:
        """Open the file and keep it open until this process ends; `Owner.write` tells others where to ask.

        Raises:
            CorpusError: another studio has it open.
        """
        connection = self._open()
        if isinstance(connection, Owner):
            raise CorpusError(
                f"{self.folder} is open in another studio (process {connection.pid}).",
                fix="use that one, or close it first",
            )
        self._held, self.narrow = connection, Narrow(connection, self.patience)
        return connection

    def release(self) -> None:
        """Close what `hold` opened."""
        if self._held is not None:
            self._held.close()
            self._held = self.narrow = None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep the file open over several calls of `run`; others wait meanwhile."""
        if self._held is not None:
            yield
            return
        connection = self._open()
        if isinstance(connection, Owner):
            yield
            return
        self._held = connection
        try:
            yield
        finally:
            self._held = None
            connection.close()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[duckdb.DuckDBPyConnection | Owner]:
        if self._held is not None:
            yield self._held
            return
        connection = self._open()
        try:
            yield connection
        finally:
            if not isinstance(connection, Owner):
                connection.close()

    def _open(self) -> duckdb.DuckDBPyConnection | Owner:
        deadline = time.monotonic() + WAIT_SECONDS
        pause = 0.01
        while True:
            owner = owner_of(self.folder)
            if owner is not None and owner.pid != os.getpid() and _answers(owner):
                return owner
            try:
                return connect(self.folder)
            except duckdb.IOException as error:
                if "set lock" not in str(error):
                    raise unopened(self.folder, error) from None
                if time.monotonic() > deadline:
                    raise CorpusError(
                        f"{self.folder} is still in use by another command after {WAIT_SECONDS:.0f} s.",
                        fix="wait for that command or end it, then run this one again",
                    ) from None
            except (duckdb.Error, OSError) as error:
                raise unopened(self.folder, error) from None
            time.sleep(pause)
            pause = min(pause * 1.5, 0.25)


def connect(folder: Path) -> duckdb.DuckDBPyConnection:
    """Open the database file in this process."""
    return upgraded(duckdb.connect(str(folder / FILE), config=dict(CONFIG)))


def unopened(folder: Path, error: Exception) -> CorpusError:
    """The two lines for a database that can't be opened."""
    reason = str(error).split("\n")[0]
    return CorpusError(
        f"The corpus database {folder / FILE} can't be opened: {reason}",
        fix="check the folder's permissions and free disk space, or restore it from a copy",
    )


def execute(
    connection: duckdb.DuckDBPyConnection,
    statements: Sequence[Statement],
    frames: Mapping[str, pl.DataFrame],
    timeout_seconds: float | None = None,
    narrow: Narrow | None = None,
) -> pl.DataFrame:
    """Run statements in one transaction on an open connection; the last one's rows."""
    cursor = connection.cursor()
    reads = _reads_only(statements)
    lock = contextlib.nullcontext() if reads else _writing
    path = narrow.path() if narrow and reads and narrow.answers(statements[-1][0]) else None
    with lock, contextlib.closing(cursor), limited(cursor, timeout_seconds):
        for name, frame in frames.items():
            cursor.register(name, frame.to_arrow(compat_level=ARROW))
        try:
            cursor.begin()
            result = _rows(cursor, statements, path)
            cursor.commit()
            if narrow and not reads:
                narrow.written(sql for sql, _ in statements)
        except duckdb.InterruptException:
            cursor.rollback()
            raise
        except BaseException as error:
            with contextlib.suppress(duckdb.Error):
                cursor.rollback()
            disk = of_disk(error)
            if disk is not None:
                raise disk from None
            raise
    return result


def _rows(cursor: duckdb.DuckDBPyConnection, statements: Sequence[Statement], path: str | None) -> pl.DataFrame:
    for sql, values in statements[:-1]:
        cursor.execute(sql, list(values))
    sql, values = statements[-1]
    if not _is_query(sql):
        cursor.execute(sql, list(values))
        return pl.DataFrame()
    frame: pl.DataFrame
    if path:
        with contextlib.suppress(duckdb.BinderException):  # it needs a column that is not in memory
            cursor.execute(path)
            frame = cursor.sql(sql, params=list(values)).pl()
            return frame
        cursor.execute("RESET search_path")
    frame = cursor.sql(sql, params=list(values)).pl()
    return frame


def _is_query(sql: str) -> bool:
    return sql.lstrip().split(None, 1)[0].lower() in {"select", "with", "from", "describe"}


def _reads_only(statements: Sequence[Statement]) -> bool:
    return all(_is_query(sql) for sql, _ in statements)


def _answers(owner: Owner) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", owner.port, timeout=5)
    try:
        connection.request("GET", "/", headers={"Authorization": owner.token})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _ask(
    owner: Owner,
    folder: Path,
    request: str,
    statements: Sequence[Statement],
    frames: Mapping[str, pl.DataFrame],
    timeout_seconds: float | None,
) -> pl.DataFrame:
    exchange = folder / EXCHANGE
    files = {name: f"{uuid.uuid4().hex}.arrow" for name in frames}
    try:
        for name, file in files.items():
            exchange.mkdir(exist_ok=True)
            frames[name].write_ipc(exchange / file)
        asked = {"request": request, "statements": statements, "frames": files, "timeout_seconds": timeout_seconds}
        status, answer = _post(owner, json.dumps(asked, default=str))
    finally:
        for file in files.values():
            (exchange / file).unlink(missing_ok=True)
    if status == 200:
        return pl.read_ipc(io.BytesIO(answer)) if answer else pl.DataFrame()
    problem = json.loads(answer)
    if problem["kind"] == "corpus":
        raise CorpusError(problem["message"], fix=problem["fix"])
    raise duckdb.Error(problem["message"])


def _post(owner: Owner, body: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", owner.port, timeout=ANSWER_SECONDS)
    try:
        connection.request("POST", "/run", body=body.encode(), headers={"Authorization": owner.token})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except http.client.HTTPException as error:
        raise OSError(str(error)) from None
    finally:
        connection.close()


Answer = tuple[int, bytes]
"""HTTP status and body."""


class Answers:
    """The owner's side of a request: each is done once, however often it is sent."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, folder: Path, narrow: Narrow | None = None) -> None:
        self._connection = connection
        self._folder = folder
        self._narrow = narrow
        self._given: dict[str, Future[Answer]] = {}
        self._lock = threading.Lock()

    def to(self, body: bytes) -> Answer:
        """The answer to a request's body."""
        try:
            request = str(json.loads(body).get("request"))
        except (ValueError, AttributeError):
            request = ""
        with self._lock:
            earlier = self._given.get(request)
            mine = self._given.setdefault(request, Future()) if earlier is None else earlier
            while len(self._given) > REMEMBERED:
                self._given.pop(next(iter(self._given)))
        if earlier is None:
            mine.set_result(_answer(self._connection, self._folder, body, self._narrow))
        return mine.result()


def _answer(connection: duckdb.DuckDBPyConnection, folder: Path, body: bytes, narrow: Narrow | None) -> Answer:
    try:
        asked = json.loads(body)
        frames = {name: pl.read_ipc(_inside(folder, file).read_bytes()) for name, file in asked["frames"].items()}
        result = execute(connection, asked["statements"], frames, asked.get("timeout_seconds"), narrow)
    except CorpusError as error:
        return 400, json.dumps({"kind": "corpus", "message": error.message, "fix": error.fix}).encode()
    except (duckdb.Error, OSError, ValueError, KeyError, pl.exceptions.PolarsError) as error:
        kind, fix = "sql" if isinstance(error, duckdb.Error) else "corpus", "close the studio, then run this again"
        return 400, json.dumps({"kind": kind, "message": str(error), "fix": fix}).encode()
    buffer = io.BytesIO()
    if result.width:
        result.write_ipc(buffer)
    return 200, buffer.getvalue()


def _inside(folder: Path, name: str) -> Path:
    path = (folder / EXCHANGE / name).resolve()
    if path.parent != (folder / EXCHANGE).resolve():
        raise ValueError(f"{name} lies outside the corpus folder")
    return path
