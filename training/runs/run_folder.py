"""A run is a folder: anybody can follow, stop or judge it by reading files, whichever process trains.

- `config.json`: the TrainConfig. `data.json`: the mix's folder, the hashes of its files and of the token ids
- `manifest.json`: the mix's. `log.txt`: everything the process printed
- `events.jsonl`: what happened, one JSON object per line. `status.json`: state, process, step
- `checkpoints/`: to resume from. `final/`: the trained model or adapter, with its tokenizer
- `STOP`: asks the process to save a checkpoint and end
- `accelerate.json`: what several processes are launched with. `failed-1.json`: why a process other than the first ended
"""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.errors import WinnowError

MARK_OF_COMPLETE = "complete"
"""File in a checkpoint that is written last: without it the process died while saving."""


@dataclass(frozen=True, slots=True)
class RunStatus:
    """Where a run stands."""

    state: str
    """none | starting | running | stopped | failed | done | died (its process is gone; it can be resumed)."""
    step: int = 0
    max_steps: int | None = None
    pid: int | None = None
    message: str | None = None
    fix: str | None = None

    @property
    def live(self) -> bool:
        """Whether a process works on it."""
        return self.state in ("starting", "running")


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The paths of a run, and the reading and writing of its small files."""

    path: Path

    @property
    def final(self) -> Path:
        """The trained model or adapter; exists only when it is complete."""
        return self.path / "final"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def stop_file(self) -> Path:
        """Its existence asks the process to stop."""
        return self.path / "STOP"

    def checkpoint(self) -> Path | None:
        """The last complete checkpoint."""
        complete = [p.parent for p in self.checkpoints.glob(f"checkpoint-*/{MARK_OF_COMPLETE}")]
        return max(complete, key=lambda p: int(p.name.split("-")[1]), default=None)

    def remove_incomplete_checkpoints(self) -> None:
        """Delete what a process that died while saving has left."""
        for folder in self.checkpoints.glob("checkpoint-*"):
            if not (folder / MARK_OF_COMPLETE).exists():
                shutil.rmtree(folder)

    def read(self, name: str) -> dict[str, Any]:
        """The JSON object in file `name`; empty where there is none."""
        try:
            value = json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def write(self, name: str, value: dict[str, Any]) -> None:
        """Replace file `name` in one step: readers see the old object or the new one."""
        self.path.mkdir(parents=True, exist_ok=True)
        draft = self.path / f".{name}.{os.getpid()}"
        draft.write_text(json.dumps(value, ensure_ascii=False, indent=2), encoding="utf-8")
        draft.replace(self.path / name)

    def failures(self) -> list[dict[str, Any]]:
        """Why processes other than the first ended: message and fix, the lowest number first."""
        return [found for path in sorted(self.path.glob("failed-*.json")) if (found := self.read(path.name))]

    def clear_failures(self) -> None:
        """Forget why processes of an earlier try ended."""
        for path in self.path.glob("failed-*.json"):
            path.unlink(missing_ok=True)

    def clear(self) -> None:
        """Forget an earlier try that left nothing to resume from."""
        self.clear_failures()
        for name in ("events.jsonl", "status.json", "data.json", "STOP"):
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.checkpoints, ignore_errors=True)


class EventLog:
    """Appends to a run's events; one write per line, so that a reader never sees half of an earlier one."""

    def __init__(self, run: RunFolder, *, writes: bool = True) -> None:
        """Continue after the events that are there.

        Args:
            run: whose events.
            writes: false in all processes but the first: what they would tell, the first one tells.
        """
        self._writes = writes
        if not writes:
            return
        path = run.path / "events.jsonl"
        run.path.mkdir(parents=True, exist_ok=True)
        data = path.read_bytes() if path.exists() else b""
        self._number = data.count(b"\n")
        self._file = path.open("ab", buffering=0)
        if data and not data.endswith(b"\n"):  # the process before died within a line
            self._file.write(b"\n")

    def emit(self, type_: str, **fields: Any) -> None:
        """Append one event."""
        if not self._writes:
            return
        self._number += 1
        event = {"seq": self._number, "ts": round(time.time(), 3), "type": type_, **fields}
        self._file.write(json.dumps(event, ensure_ascii=False).encode() + b"\n")


class EventReader:
    """Reads a growing event file, each event once."""

    def __init__(self, run: RunFolder) -> None:
        """Begin at the first event."""
        self._path = run.path / "events.jsonl"
        self._offset = 0

    def new(self) -> list[dict[str, Any]]:
        """The events since the last call; a line still being written waits for the next one."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [event for line in whole.splitlines() if (event := _parsed(line)) is not None]


def events(run_dir: Path | str) -> list[dict[str, Any]]:
    """A run's events in order; of those with equal type and step only the last.

    Steps after the last checkpoint are logged again when a killed run is resumed.
    """
    kept: dict[tuple[Any, ...], dict[str, Any]] = {}
    for number, event in enumerate(EventReader(RunFolder(Path(run_dir))).new()):
        key = (event["type"], event["step"]) if "step" in event else (event["type"], None, number)
        kept.pop(key, None)
        kept[key] = event
    return list(kept.values())


def status(run_dir: Path | str) -> RunStatus:
    """Where the run in this folder stands; `none` where there is no run."""
    found = RunFolder(Path(run_dir)).read("status.json")
    if not found:
        return RunStatus("none")
    state = found["state"]
    if state in ("starting", "running") and not _alive(found.get("pid"), found.get("process_start")):
        state = "died"
    return RunStatus(
        state,
        found.get("step", 0),
        found.get("max_steps"),
        found.get("pid"),
        found.get("message"),
        found.get("fix"),
    )


def check_finished(run_dir: Path | str) -> None:
    """Refuse a run that has not come to its end.

    Raises:
        WinnowError: there is none in this folder, or it is not done.
    """
    now = status(run_dir)
    if now.state == "none":
        raise WinnowError(f"There is no run in {run_dir}.", fix="give a folder that winnow train wrote")
    if now.state != "done":
        raise WinnowError(
            f"The run {run_dir} is not finished: {now.state} at step {now.step} of {now.max_steps or '?'}.",
            fix="run its winnow train command again: it goes on from the last checkpoint",
        )


def stop(run_dir: Path | str) -> None:
    """Ask a live run to save a checkpoint and end; returns at once, `status` then becomes `stopped`."""
    if status(run_dir).live:
        RunFolder(Path(run_dir)).stop_file.write_text("stop\n", encoding="utf-8")


def process_start(pid: int) -> str | None:
    """What tells a process from a later one with the same id; null where there is no such process.

    On Linux the clock ticks from boot to its start; elsewhere only whether it lives.
    """
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    except OSError:
        return None if Path("/proc/self/stat").exists() else _answers(pid)
    zombie = after_name[0] == "Z"
    return None if zombie else after_name[19]


def _alive(pid: int | None, started: str | None) -> bool:
    return pid is not None and started is not None and process_start(pid) == started


def _answers(pid: int) -> str | None:
    try:
        os.kill(pid, 0)
    except OSError:
        return None
    return "alive"


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None
