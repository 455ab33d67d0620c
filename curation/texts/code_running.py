"""Running code that nobody has read, against tests, in a process that can harm little.

What is held, and by what:

    time         the wall clock of the caller, which kills the whole process group; and CPU seconds (rlimit)
    memory       address space (rlimit; macOS does not hold it), size of a file, open files, no core dumps
    environment  empty; standard input is closed; no site packages; hashes of strings are the same in each run
    processes    Linux: none can be started, signalled or traced (seccomp), only threads. Elsewhere: no new process for
                 the user (rlimit), and Python's audit events
    network      Linux: no socket can be made (seccomp), and none would lead anywhere (a network namespace of its own,
                 where the system lets users have one). Elsewhere: Python's audit events
    files        Linux from 5.13: only Python's library can be read and only its own folder, which is removed, can be
                 written (Landlock). Elsewhere: Python's audit events

Audit events hold what is written in Python; there, code that finds a way to call C is not held. seccomp is in place on
x86_64 and aarch64; what it refuses is a list, and system calls that are newer than the list do not exist for the code.
Not held anywhere: the processor's caches, and how full the disk gets within the seconds (files of at most 8 MB each).
Somebody who attacks on purpose belongs on a machine of his own.

The verdict is a line on a pipe of its own that carries a random token; it comes after the last test. What the code
prints, its exit status and an early exit count for nothing, and code that replaces a builtin, or a function of a module
that the tests import, is told from code that passes. What is left: code and tests share one interpreter, so that an
object which equals everything satisfies a test that compares with `==`, and code that climbs the frames above it to
the token can forge the verdict. Models do not write such code by accident; where one is rewarded for passing, read a
sample.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.errors import OperatorError

BOX = Path(__file__).with_name("code_box.py")
START_SECONDS = 30.0
"""How long Python may take to start, on a machine that is busy."""
OUTPUT_CHARS = 4_000
"""So much of what the code prints is kept."""

UNDECIDED = ("missing", "denied")
"""Kinds of errors that say nothing about the code: it needs a module that is not here, or what is not allowed here."""
NOT_STARTED = "not started"
"""The kind of error where Python did not start, or not in time: the code was never run."""


@dataclass(frozen=True, slots=True)
class CodeOutcome:
    """What became of one program and its tests."""

    passed: bool
    """All tests went through."""
    error_kind: str | None
    """null where passed; else wrong (a test failed), error (an exception), syntax, exit (it left before the end of the
    tests), timeout, memory, tampered (it changed what the tests rely on), missing (a module is not here), denied (it
    wanted network, processes or files), crashed, not started (this machine's fault, not the code's)."""
    detail: str
    """The exception and the line it came from; empty where passed."""
    share: float
    """Tests that went through, of all; 0..1."""
    output: str
    """Beginning of what it printed, both streams."""
    held: tuple[str, ...] = ()
    """What the kernel held: namespaces, files (Landlock), calls (seccomp), and the names of rlimits."""


def run_code(code: str, tests: str | Sequence[str], *, seconds: float = 10.0, memory_mb: int = 512) -> CodeOutcome:
    """Run Python code, and after it tests that use its names, in a locked-down process (see the module).

    Args:
        code: Python source; `__name__` is not `__main__` in it.
        tests: Python source that raises where the code is wrong, or several. `test_...` functions and unittest classes
            that it defines are run.
        seconds: wall clock for code and tests together, without the start of Python.
        memory_mb: address space, Python's own 30 MB included.

    Returns:
        the outcome; deterministic for deterministic code.

    Raises:
        OperatorError: no test was given, or this system can't lock a process down.
    """
    asked = [tests] if isinstance(tests, str) else list(tests)
    if not asked:
        raise OperatorError("No test was given.", fix="give at least one test")
    if os.name != "posix":
        raise OperatorError(
            "Code can't be run locked down on this system.", fix="run it on Linux or macOS, or in a container"
        )
    folder = tempfile.mkdtemp(prefix="winnow-code-")
    try:
        return _Run(code, asked, seconds, memory_mb, folder).outcome()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Run:
    """One process, from its start to its end."""

    def __init__(self, code: str, tests: list[str], seconds: float, memory_mb: int, folder: str) -> None:
        self.seconds, self.tests, self.folder = seconds, len(tests), folder
        self.token = secrets.token_hex(16)
        asked = {
            "code": code, "tests": tests, "token": self.token, "cpu_seconds": math.ceil(seconds) + 1,
            "memory_bytes": memory_mb * 2**20,
        }  # fmt: skip
        self.asked = json.dumps(asked).encode()
        self.told: dict[str, Any] = {}
        self.output = b""
        self.verdict = b""
        self.timed_out = False

    def outcome(self) -> CodeOutcome:
        read_end, write_end = os.pipe()
        process = self._started(write_end)
        os.close(write_end)
        try:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(self.asked)
                process.stdin.close()
            self._follow(process, read_end)
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            os.close(read_end)
            assert process.stdout is not None
            process.stdout.close()
        return self._described(process.returncode)

    def _started(self, write_end: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-sSPB", str(BOX), str(write_end)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            cwd=self.folder,
            env={"PYTHONHASHSEED": "0", "PYTHONIOENCODING": "utf-8", "LC_ALL": "C.UTF-8", "HOME": self.folder},
            pass_fds=(write_end,),
            start_new_session=True,
        )

    def _follow(self, process: subprocess.Popen[bytes], read_end: int) -> None:
        """Read both pipes until the verdict's is closed or time is up."""
        assert process.stdout is not None
        deadline = time.monotonic() + START_SECONDS
        with selectors.DefaultSelector() as waiting:
            waiting.register(read_end, selectors.EVENT_READ)
            waiting.register(process.stdout.fileno(), selectors.EVENT_READ)
            while waiting.get_map() and "kind" not in self.told:
                left = deadline - time.monotonic()
                if left <= 0:
                    self.timed_out = True
                    return
                for key, _ in waiting.select(left):
                    data = os.read(key.fd, 65536)
                    if not data:
                        waiting.unregister(key.fd)
                    elif key.fd != read_end:
                        self.output += data[: 4 * OUTPUT_CHARS - len(self.output)] if self._room() else b""
                    elif self._heard(data):
                        deadline = time.monotonic() + self.seconds
            self._rest(process.stdout.fileno())

    def _rest(self, stdout: int) -> None:
        """What was printed and not read yet."""
        os.set_blocking(stdout, False)
        with contextlib.suppress(BlockingIOError):
            while self._room() and (data := os.read(stdout, 65536)):
                self.output += data

    def _room(self) -> bool:
        return len(self.output) < 4 * OUTPUT_CHARS

    def _heard(self, data: bytes) -> bool:
        """Take in what came over the verdict's pipe; whether the code begins to run now."""
        *lines, rest = (self.verdict + data).split(b"\n")
        self.verdict = rest[-65536:]
        begins = False
        for line in lines:
            with contextlib.suppress(ValueError):
                said = json.loads(line)
                if isinstance(said, dict) and secrets.compare_digest(str(said.pop("token", "")), self.token):
                    begins |= "held" in said
                    self.told.update(said)
        return begins

    def _described(self, status: int) -> CodeOutcome:
        kind, detail = self._kind(status)
        passed = self.told.get("passed", 0)
        went_well = min(max(passed, 0), self.tests) if isinstance(passed, int) and kind != "tampered" else 0
        output = self.output.decode(errors="replace")[:OUTPUT_CHARS]
        # What the code raises or prints may hold half of a character, which nothing can store.
        detail = detail.encode(errors="backslashreplace").decode()
        return CodeOutcome(
            not kind, kind or None, detail, went_well / self.tests, output, tuple(self.told.get("held", ()))
        )

    def _kind(self, status: int) -> tuple[str, str]:
        if "kind" in self.told:
            kind, detail = str(self.told["kind"]), str(self.told.get("detail", ""))
            if not kind and self.told.get("passed") != self.tests:
                return "tampered", "it told of a success that was none"
            return kind, detail
        if "held" not in self.told:
            said = " ".join(self.output.decode(errors="replace").split())[-300:]
            late = f"not within {START_SECONDS:g} seconds" if self.timed_out else said
            return NOT_STARTED, f"Python did not start: {late}"
        if self.timed_out or status == -signal.SIGXCPU:
            return "timeout", f"stopped after {self.seconds:g} seconds"
        if status < 0:
            name = signal.Signals(-status).name
            return "crashed", f"stopped by {name}"
        return "exit", f"left with status {status} before the end of the tests"
