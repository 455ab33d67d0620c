"""Jobs: a `winnow` command in the background, and its folder, which anybody can read.

    jobs/ID/job.json       the command, its process, when it started
    jobs/ID/events.jsonl   progress, one object per line
    jobs/ID/log.txt        what it printed
    jobs/ID/report.json    what it returned, long lists as their length; or error.json: message and fix
    jobs/ID/ended          when it ended, by the clock
    jobs/ID/exit_code      written last

A command typed in a terminal has such a folder too. The same command is the same job: starting it again resumes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from curation.errors import CorpusError, WinnowError, unknown
from studio.door import access, workspace
from studio.door.sessions import SECRETS

FOLDER_VARIABLE = "WINNOW_JOB"
"""Set for a process that was started as a job: the folder it writes to."""

EVENTS_PER_SECOND = 4
MOST_ENTRIES = 200
"""A list or table of a report that is longer is kept as its length."""

OUTPUT_OPTIONS = frozenset({"--json", "--quiet"})


@dataclass(frozen=True)
class Job:
    """A command, and how far it is."""

    id: str
    folder: Path
    argv: list[str]
    """Without the leading `winnow`."""
    state: str
    """running | done | failed | cancelled | died (its process is gone without a word; it can be resumed)."""
    done: int
    total: int | None
    message: str
    started: float
    """Seconds since the epoch."""
    seconds: float
    error: str | None
    fix: str | None
    report: dict[str, Any] | None

    @property
    def line(self) -> str:
        """The command as one types it."""
        return command_line(self.argv)


def command_line(argv: Sequence[str]) -> str:
    """A command as one types it in a shell."""
    return " ".join(_quoted(word) for word in ("winnow", *argv))


def _quoted(word: str) -> str:
    # A filter has single quotes inside: double ones around it read better than the shell's way out.
    if "'" in word and not re.search(r'[$`"\\!\n]', word):
        return f'"{word}"'
    return shlex.quote(word)


def job_id(argv: Sequence[str]) -> str:
    """The name of a command's job: verb, operator or first word, and a hash of the rest."""
    words = [a for a in argv if a not in OUTPUT_OPTIONS]
    what = "".join(c if c.isalnum() or c in "-_" else "-" for c in "-".join(Path(w).name for w in words[2:3]))
    digest = hashlib.sha256("\x1f".join(words).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return "-".join(p for p in (words[0], what[:24].strip("-"), digest) if p)


def start(corpus: Path, argv: Sequence[str], *, cwd: Path | None = None) -> Job:
    """Run `winnow ARGV` in a process of its own, which outlives this one; in `cwd`, or where this one runs.

    Raises:
        CorpusError: the same command runs already.
        WinnowError: a page asks for it whose reader may only look, or for files outside the workspace.
    """
    access.require_editor()
    workspace.in_reach(argv, Path(corpus))
    folder = Path(corpus) / "jobs" / job_id(argv)
    claim(folder, argv)
    with (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "studio.cli", *argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=cwd,
            env={**_environment(), FOLDER_VARIABLE: str(folder), "PYTHONPATH": _search_path()},
            start_new_session=True,
        )
    _reap(process)
    _write_job(folder, argv, process.pid, cwd)
    return job(Path(corpus), folder.name)


def _environment() -> dict[str, str]:
    # A job needs no password of the studio's, and may run what others wrote.
    return {name: value for name, value in os.environ.items() if name not in SECRETS}


def _search_path() -> str:
    root = str(Path(__file__).resolve().parents[1])
    return os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])


def _reap(process: subprocess.Popen[bytes]) -> None:
    # Without somebody who waits for it, an ended child stays a zombie for as long as the studio runs.
    import threading

    threading.Thread(target=process.wait, daemon=True).start()


def claim(folder: Path, argv: Sequence[str]) -> None:
    """Make a job's folder ready for a new attempt.

    Raises:
        CorpusError: the same command runs already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    old = _read_json(folder / "job.json")
    if old and old.get("pid") != os.getpid() and _runs(old) and not (folder / "exit_code").exists():
        raise CorpusError(
            f"This command runs already, as process {old['pid']}.",
            fix=f"wait for it, or stop it: winnow jobs {folder.parent.parent} --cancel {folder.name}",
        )
    for name in ("exit_code", "ended", "report.json", "error.json", "cancelled", "events.jsonl"):
        (folder / name).unlink(missing_ok=True)


def _write_job(folder: Path, argv: Sequence[str], pid: int, cwd: Path | None = None) -> None:
    words = [a for a in argv if a not in OUTPUT_OPTIONS]
    _write_json(
        folder / "job.json",
        {
            "argv": words,
            "cwd": str(cwd or Path.cwd()),
            "pid": pid,
            "process_start": process_start(pid),
            "started": time.time(),
        },
    )


class Recorder:
    """What a command writes into its job's folder while it runs; without a folder it writes nothing."""

    def __init__(self, folder: Path | None, argv: Sequence[str]) -> None:
        self.folder = folder
        self._events: IO[str] | None = None
        self._last = 0.0
        if folder is None:
            return
        if os.environ.get(FOLDER_VARIABLE) != str(folder):
            claim(folder, argv)
        _write_job(folder, argv, os.getpid())
        self._events = (folder / "events.jsonl").open("a", buffering=1)

    def progress(self, done: int, total: int | None, message: str) -> None:
        """Keep where it is, a few times a second at most; the last step always."""
        now = time.monotonic()
        if self._events is None or (now - self._last < 1 / EVENTS_PER_SECOND and done != total):
            return
        self._last = now
        event = {"at": round(time.time(), 3), "done": done, "total": total, "message": message}
        self._events.write(json.dumps(event, ensure_ascii=False) + "\n")

    def finish(self, code: int, report: dict[str, Any] | None = None, error: WinnowError | None = None) -> None:
        """Keep how it ended."""
        if self.folder is None:
            return
        with contextlib.suppress(OSError):  # on a full disk the error itself still has to be said
            if report is not None:
                _write_json(self.folder / "report.json", {name: _counted(value) for name, value in report.items()})
            if error is not None:
                _write_json(self.folder / "error.json", {"message": error.message, "fix": error.fix})
            (self.folder / "ended").write_text(str(time.time()))
            (self.folder / "exit_code").write_text(str(code))


def jobs(corpus: Path) -> list[Job]:
    """All jobs of a corpus, the one started last first."""
    found = [_job(file.parent) for file in (Path(corpus) / "jobs").glob("*/job.json")]
    return sorted((j for j in found if j is not None), key=lambda j: -j.started)


def job(corpus: Path, name: str) -> Job:
    """One job.

    Raises:
        CorpusError: there is none of this name.
    """
    found = _job(Path(corpus) / "jobs" / name)
    if found is None:
        raise unknown("job", name, [j.id for j in jobs(corpus)], CorpusError)
    return found


def cancel(job: Job) -> None:
    """Ask a running job to stop; what it stored stays, and it can be resumed.

    Raises:
        WinnowError: a page asks for it whose reader may only look.
    """
    access.require_editor()
    now, stored = _job(job.folder), _read_json(job.folder / "job.json") or {}
    if now is None or now.state != "running":  # it has ended since the page was drawn, or another browser stopped it
        return
    (job.folder / "cancelled").touch()
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(int(stored["pid"]), signal.SIGTERM)


def resume(job: Job) -> Job:
    """Start the same command again: it goes on from what was stored.

    Raises:
        CorpusError: it runs already.
    """
    cwd = (_read_json(job.folder / "job.json") or {}).get("cwd")
    return start(job.folder.parent.parent, job.argv, cwd=Path(cwd) if cwd else None)


def log(job: Job, last: int = 200) -> str:
    """The last lines that a job printed."""
    path = job.folder / "log.txt"
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 200 * last))
        lines = file.read().decode("utf-8", "replace").replace("\r", "\n").splitlines()
    return "\n".join(lines[-last:])


def _counted(value: Any) -> Any:
    # The ids of a selection are in the corpus; a page that follows jobs needs to know how many there are.
    return len(value) if isinstance(value, list | dict) and len(value) > MOST_ENTRIES else value


def _job(folder: Path) -> Job | None:
    stored = _read_json(folder / "job.json")
    if stored is None:
        return None
    last = _last_event(folder / "events.jsonl")
    error = _read_json(folder / "error.json") or {}
    state = _state(folder, stored)
    ended = _ended(folder)
    until = ended or (time.time() if state == "running" else last.get("at", stored["started"]))
    return Job(
        id=folder.name,
        folder=folder,
        argv=stored["argv"],
        state=state,
        done=last.get("done", 0),
        total=last.get("total"),
        message=last.get("message", ""),
        started=stored["started"],
        seconds=max(0.0, until - stored["started"]),
        error=error.get("message"),
        fix=error.get("fix"),
        report=_read_json(folder / "report.json"),
    )


def _ended(folder: Path) -> float | None:
    """When a job said how it ended; of one that an earlier version ran, when the file was written."""
    with contextlib.suppress(OSError, ValueError):
        return float((folder / "ended").read_text())
    with contextlib.suppress(OSError):
        return (folder / "exit_code").stat().st_mtime  # in a copied corpus that is another time
    return None


def _state(folder: Path, stored: dict[str, Any]) -> str:
    try:
        code = int((folder / "exit_code").read_text())
    except (OSError, ValueError):
        if _runs(stored):
            return "running"
        return "cancelled" if (folder / "cancelled").exists() else "died"
    if code == 0:  # a training that was asked to stop saves a checkpoint and ends well
        return "cancelled" if (_read_json(folder / "report.json") or {}).get("state") == "stopped" else "done"
    return "cancelled" if (folder / "cancelled").exists() else "failed"


def _runs(stored: dict[str, Any]) -> bool:
    started = process_start(int(stored["pid"]))
    return started is not None and started == stored.get("process_start")


def process_start(pid: int) -> str | None:
    """What tells a process from a later one with the same id; null when it does not run (a zombie does not)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        if Path("/proc/self").exists():
            return None
        return _process_start_by_ps(pid)
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def _process_start_by_ps(pid: int) -> str | None:
    done = subprocess.run(["ps", "-o", "lstart=,stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    words = done.stdout.split()
    return None if not words or words[-1].startswith("Z") else " ".join(words[:-1])


def _last_event(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 4096))
            lines = file.read().split(b"\n")
    except OSError:
        return {}
    for line in reversed(lines):
        with contextlib.suppress(ValueError):
            event = json.loads(line)
            if isinstance(event, dict):
                return event
    return {}


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _write_json(path: Path, content: dict[str, Any]) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(json.dumps(content, ensure_ascii=False))
    partial.replace(path)
