"""Watches over one `vllm serve`: starts it, starts it once more when it dies, and stops it when nobody uses it.

A process of its own, so that commands may share a server and none has to outlive the others. Whoever uses the server
holds a shared lock on the file `users`; the kernel lets go of it however that process ends, `kill -9` included. The
watcher holds the lock `guard`. In the same folder: `state.json` (readable by its owner alone, as the server's key is in
it; gone when the server is) and `log`, what the server wrote.

It is run as a file, `python -I vllm_guard.py FOLDER < plan.json`, and imports nothing but the standard library: it may
live for days and costs 15 MB.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

POLL_SECONDS = 0.3
HEALTH_SECONDS = 2.0
"""How often a running server is asked how it is."""
STARTS = 2
"""A server that dies is started once more."""
PORTS = 3
"""How often another port is tried, where somebody took one between its choice and its use."""
STOP_SECONDS = 15.0
"""How long a server may take to end before it is killed."""
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""The loopback interface is not behind any proxy that the environment names."""
PORT_TAKEN = ("Address already in use", "address already in use", "EADDRINUSE")


def locked(path: Path, how: int) -> IO[str] | None:
    """The file, opened and locked (`fcntl.LOCK_*`); null if somebody else has it and `how` says not to wait."""
    file = path.open("a")
    try:
        fcntl.flock(file, how)
    except OSError:
        file.close()
        return None
    return file


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """In one step, readable by its owner alone."""
    partial = folder / f".state.{os.getpid()}"
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        json.dump(state, file)
    partial.replace(folder / "state.json")


def health(address: str, seconds: float = 10.0) -> int | None:
    """The status of /health; 0 if nobody listens; null if it did not answer in time, which a busy server may not."""
    try:
        with DIRECT.open(f"{address}/health", timeout=seconds) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except TimeoutError:
        return None
    except OSError as error:
        return None if isinstance(getattr(error, "reason", None), TimeoutError) else 0


@dataclass
class Guard:
    """One server and who uses it."""

    folder: Path
    command: list[str]
    """Without host and port."""
    environment: dict[str, str]
    linger_seconds: float
    """How long the server is kept for the next user after the last one has gone."""
    start_seconds: float
    """How long it may take until it is healthy."""
    key: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    child: subprocess.Popen[bytes] | None = None
    state: dict[str, Any] = field(default_factory=dict)
    starts: int = 0
    ports: int = 0
    unused_since: float | None = None
    asked: float = 0.0

    def watch(self) -> None:
        """Until nobody uses the server any more."""
        self._stop_left_over()
        try:
            self._start()
            while not self._unused():
                self._look()
                time.sleep(POLL_SECONDS)
        finally:
            # The lock on `users` is still held: who comes now waits until the server is gone and starts a new one.
            self._stop()
            (self.folder / "state.json").unlink(missing_ok=True)

    def _unused(self) -> bool:
        users = locked(self.folder / "users", fcntl.LOCK_EX | fcntl.LOCK_NB)
        if users is None:
            self.unused_since = None
            return False
        self.unused_since = self.unused_since or time.monotonic()
        if self.state["state"] != "failed" and time.monotonic() - self.unused_since < self.linger_seconds:
            users.close()
            return False
        self._users = users
        return True

    def _start(self) -> None:
        port = _free_port()
        with (self.folder / "log").open("ab" if self.starts else "wb") as log:
            self.child = subprocess.Popen(
                [*self.command, "--host", "127.0.0.1", "--port", str(port)],
                env={**os.environ, **self.environment, "VLLM_API_KEY": self.key},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_end_with_parent,
            )
        self.starts += 1
        (self.folder / "server.json").write_text(json.dumps([self.child.pid, started(self.child.pid)]))
        self._tell("starting", address=f"http://127.0.0.1:{port}", key=self.key, since=time.time())

    def _tell(self, state: str, **more: Any) -> None:
        self.state = {**self.state, **more, "state": state, "starts": self.starts}
        write_state(self.folder, self.state)

    def _look(self) -> None:
        if self.state["state"] == "failed" or self.child is None:
            return
        code = self.child.poll()
        if code is not None:
            self._ended(code)
        elif time.monotonic() - self.asked > (POLL_SECONDS if self.state["state"] == "starting" else HEALTH_SECONDS):
            self.asked = time.monotonic()
            self._ask()

    def _ask(self) -> None:
        status = health(self.state["address"])
        if status == 200 and self.state["state"] == "starting":
            self._tell("ready", **self._served())
        elif status == 503 and self.state["state"] == "ready":
            self._ended(None)
        elif self.state["state"] == "starting" and time.time() - self.state["since"] > self.start_seconds:
            self._stop()
            self._tell("failed", code=None, why=f"it was not ready after {self.start_seconds:.0f} seconds")

    def _served(self) -> dict[str, Any]:
        """What /v1/models says of the model."""
        request = urllib.request.Request(
            f"{self.state['address']}/v1/models", headers={"Authorization": f"Bearer {self.key}"}
        )
        with DIRECT.open(request, timeout=30) as answer:
            model = json.load(answer)["data"][0]
        return {"window": model.get("max_model_len"), "root": model.get("root")}

    def _ended(self, code: int | None) -> None:
        """The server is gone (or says that its engine is): start it once more if it had been ready before."""
        was_ready = self.state["state"] == "ready"
        self._stop()
        text = (self.folder / "log").read_bytes()[-20_000:].decode(errors="replace")
        if not was_ready and self.ports < PORTS and any(words in text for words in PORT_TAKEN):
            self.ports += 1
            self.starts -= 1
            self._start()
        elif was_ready and self.starts < STARTS:
            self._start()
        else:
            why = "it had been started once more already" if self.starts > 1 else "it ended before it was ready"
            self._tell("failed", code=code, why=why)

    def _stop(self) -> None:
        if self.child is None:
            return
        _end_group(self.child)
        self.child = None
        (self.folder / "server.json").unlink(missing_ok=True)

    def _stop_left_over(self) -> None:
        """A server whose watcher was killed, where the kernel does not end it with its parent."""
        try:
            pid, begun = json.loads((self.folder / "server.json").read_text())
        except (OSError, ValueError):
            return
        if begun is not None and started(pid) == begun:
            _signal_group(pid, signal.SIGTERM)
            time.sleep(1)
            _signal_group(pid, signal.SIGKILL)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """The server and the engine processes that it started."""
    if child.poll() is None:
        _signal_group(child.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(STOP_SECONDS)
    _signal_group(child.pid, signal.SIGKILL)
    child.wait()


def _signal_group(pid: int, what: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, what)


def started(pid: int) -> str | None:
    """When the process began, so that another one with its number is not mistaken for it; null if there is none."""
    done = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def main() -> None:
    """Watch over the server that the plan on standard input describes, unless somebody does already."""
    folder = Path(sys.argv[1])
    plan = json.load(sys.stdin)
    mine, tries = None, 20
    while mine is None and tries:  # somebody may be looking just now whether there is a watcher
        mine, tries = locked(folder / "guard", fcntl.LOCK_EX | fcntl.LOCK_NB), tries - 1
        time.sleep(0 if mine else 0.05)
    if mine is None:
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    Guard(folder, **plan).watch()


if __name__ == "__main__":
    main()
