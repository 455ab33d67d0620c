"""Runs untrusted code inside a locked-down process; a program that `code_running` starts, never imported.

It stands alone (only the standard library, no site packages): the process reads one JSON object from its standard
input, gives up what it may give up, runs the code and then the tests, and writes lines of JSON to the verdict pipe.
Each line carries the token that came with the input; a line without it counts for nothing.
"""

from __future__ import annotations

import ast
import builtins
import ctypes
import errno
import json
import os
import platform
import resource
import struct
import sys
import types
from collections.abc import Callable, Iterable
from typing import Any

WHERE_LIBRARIES_LIE = (
    "/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/local/lib", "/usr/share/zoneinfo", "/etc/ld.so.cache",
    "/etc/localtime", "/dev/null", "/dev/zero", "/dev/urandom", "/dev/random",
)  # fmt: skip
FILE_BYTES = 8 * 2**20
OPEN_FILES = 64

# System calls by number, from the kernel's tables. Denied is what reaches other processes, the network, the machine's
# settings, or files by ways that Landlock does not see. From FIRST_NEW on only those that are named are let through.
DENIED = {
    "x86_64": (
        41, 42, 43, 49, 50, 288, 57, 58, 59, 322, 101, 310, 311, 62, 200, 129, 297, 165, 166, 155, 161, 272, 308, 321,
        298, 250, 248, 249, 175, 313, 176, 246, 320, 169, 167, 168, 170, 171, 164, 227, 305, 159, 323, 141, 29, 68, 64,
        319, 240, 90, 91, 268, 92, 93, 94, 260, 132, 235, 261, 280, 188, 189, 190, 197, 198, 199, 304, 179, 163, 172,
        173, 103, 153, 300, 135,
    ),
    "aarch64": (
        198, 203, 200, 201, 202, 242, 221, 281, 117, 270, 271, 129, 130, 138, 240, 40, 39, 41, 51, 97, 268, 280, 241,
        219, 217, 218, 105, 273, 106, 104, 294, 142, 224, 225, 161, 162, 170, 112, 266, 171, 282, 140, 194, 186, 190,
        279, 180, 52, 53, 55, 54, 88, 5, 6, 7, 14, 15, 16, 265, 60, 89, 116, 58, 262, 92,
    ),
}  # fmt: skip
CLONE, TGKILL, PRLIMIT = {"x86_64": (56, 234, 302), "aarch64": (220, 131, 261)}.get(platform.machine(), (0, 0, 0))
ARCHITECTURE = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
FIRST_NEW, NEW_AND_HARMLESS = 424, (436, 437, 439)
THREAD = 0x10000

DENIED_EVENTS = (
    "socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname", "subprocess.",
    "ctypes.", "os.fork", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.kill", "pty.", "os.chmod",
    "os.chown", "os.setxattr", "os.removexattr", "os.chflags", "os.lockf", "syslog.", "webbrowser.", "os.chroot",
    "gc.get_",
)  # fmt: skip
"""Beginnings of Python's audit events that are refused."""
WRITING_EVENTS = (
    "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.utime", "shutil.",
)  # fmt: skip
READING_EVENTS = ("os.listdir", "os.scandir", "os.walk", "glob.glob")

_libc = ctypes.CDLL(None, use_errno=True)


def locked_down(folder: str, cpu_seconds: int, memory_bytes: int) -> list[str]:
    """Give up everything but the folder and Python's own library; the names of what the kernel now holds."""
    held = []
    if hasattr(_libc, "unshare") and _libc.unshare(0x10000000 | 0x40000000 | 0x08000000) == 0:
        held.append("namespaces")  # user, network, System V objects: root is nobody, and has no network, from here on
    if sys.platform == "linux":
        _libc.prctl(1, 9, 0, 0, 0)  # dies with its parent
        _libc.prctl(38, 1, 0, 0, 0)  # gains no privileges, which both of the following ask for
        held += ["files"] if _landlock(folder) else []
        held += ["calls"] if _seccomp() else []
    limits = {"CORE": 0, "FSIZE": FILE_BYTES, "NOFILE": OPEN_FILES, "CPU": cpu_seconds, "AS": memory_bytes}
    if "calls" not in held:
        limits["NPROC"] = 0  # counted for the whole user, so that it forbids threads too
    for name, limit in limits.items():
        try:
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (limit, limit))
        except (ValueError, OSError):
            continue
        held.append(name)
    return held


def _landlock(folder: str) -> bool:
    """Read Python's library, write in the folder, nothing else: no /proc, no home, no corpus."""
    version = _libc.syscall(444, None, ctypes.c_size_t(0), ctypes.c_uint(1))
    if version < 1:
        return False
    everything = (1 << (13 + (version >= 2) + (version >= 3))) - 1
    attribute = struct.pack("Q", everything)
    rules = _libc.syscall(444, attribute, ctypes.c_size_t(len(attribute)), ctypes.c_uint(0))
    if rules < 0:
        return False
    reading, of_files = 0b1101, 0b111 | (1 << 14) & everything
    for path in (*sys.path, *WHERE_LIBRARIES_LIE):
        _allow(rules, path, reading if os.path.isdir(path) else reading & of_files)
    _allow(rules, "/dev/null", 0b110)
    _allow(rules, folder, everything & ~1)
    return int(_libc.syscall(446, ctypes.c_int(rules), ctypes.c_uint(0))) == 0


def _allow(rules: int, path: str, access: int) -> None:
    try:
        opened = os.open(path, os.O_RDONLY)
    except OSError:
        return
    _libc.syscall(445, ctypes.c_int(rules), ctypes.c_int(1), struct.pack("=Qi", access, opened), ctypes.c_uint(0))
    os.close(opened)


def _seccomp() -> bool:
    machine = platform.machine()
    if machine not in DENIED:
        return False
    steps = b"".join(struct.pack("HBBI", *step) for step in _filter(machine, os.getpid()))
    held = ctypes.create_string_buffer(steps)
    program = struct.pack("HxxxxxxQ", len(steps) // 8, ctypes.addressof(held))
    return int(_libc.prctl(22, 2, program, 0, 0)) == 0


def _filter(machine: str, pid: int) -> list[tuple[int, int, int, int]]:
    """A BPF program: (code, steps to skip if so, steps to skip if not, value)."""
    load, equal, at_least, any_bit, answer = 0x20, 0x15, 0x35, 0x45, 0x06
    refuse, unknown, allow, kill = 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS, 0x7FFF0000, 0x80000000
    number, first_argument = 0, 16
    steps = [(load, 0, 0, 4), (equal, 1, 0, ARCHITECTURE[machine]), (answer, 0, 0, kill), (load, 0, 0, number)]
    for harmless in NEW_AND_HARMLESS:
        steps += [(equal, 0, 1, harmless), (answer, 0, 0, allow)]
    steps += [(at_least, 0, 1, FIRST_NEW), (answer, 0, 0, unknown)]
    for denied in DENIED[machine]:
        steps += [(equal, 0, 1, denied), (answer, 0, 0, refuse)]
    steps += [(equal, 0, 4, CLONE), (load, 0, 0, first_argument), (any_bit, 0, 1, THREAD), (answer, 0, 0, allow)]
    steps += [(answer, 0, 0, refuse)]
    for own_only, harmless in ((TGKILL, pid), (PRLIMIT, 0)):
        steps += [(equal, 0, 4, own_only), (load, 0, 0, first_argument), (equal, 0, 1, harmless)]
        steps += [(answer, 0, 0, allow), (answer, 0, 0, refuse)]
    return [*steps, (answer, 0, 0, allow)]


def watched(folder: str) -> Callable[[str, tuple[Any, ...]], None]:
    """An audit hook with the same rules, for where the kernel holds none of them; it holds Python code only."""
    inside, readable = _whole(folder), tuple(_whole(path) for path in (*sys.path, *WHERE_LIBRARIES_LIE, folder))

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event.startswith(DENIED_EVENTS):
            raise PermissionError(errno.EPERM, f"{event} is not allowed here")
        if event == "socket.__new__" and arguments[1] not in (-1, 1):
            raise PermissionError(errno.EPERM, "network is not allowed here")
        if event == "open":
            writes = arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
            _within(arguments[:1], (inside, "/dev/null") if writes else readable)
        elif event.startswith(READING_EVENTS):
            _within(arguments[:1], readable)
        elif event.startswith(WRITING_EVENTS):
            _within(arguments[:2], (inside,))

    return hook


def _whole(path: str) -> str:
    return os.path.realpath(path)


def _within(paths: Iterable[object], allowed: tuple[str, ...]) -> None:
    for path in paths:
        if isinstance(path, str | bytes | os.PathLike):
            real = _whole(os.fsdecode(path))
            if not any(real == place or real.startswith(place + os.sep) for place in allowed):
                raise PermissionError(errno.EACCES, f"{os.fsdecode(path)} is out of bounds")


def judged(code: str, tests: list[str], passed: Callable[[int], None]) -> tuple[str, str]:
    """Run the code, then each test in its names; (kind, detail) of the first thing that went wrong.

    Args:
        code: Python source.
        tests: Python sources that raise where the code is wrong. `test_...` functions and unittest classes that they
            define are run too.
        passed: called after each test with the tests that went well so far.
    """
    untouched = _untouched(tests)
    home = types.ModuleType("answer")
    # The names of this program are not the code's business.
    sys.modules["answer"] = sys.modules["__main__"] = home
    kind, detail = _tried(lambda: _executed(code, "answer.py", home.__dict__))
    if kind:
        return kind, detail
    number = 0
    for test in tests:
        failed, about = _tried(lambda source=test: _tested(source, home.__dict__))  # type: ignore[misc]
        if changed := untouched():
            return "tampered", f"the code changed {changed}"
        if failed:
            kind, detail = kind or failed, detail or about
        else:
            number += 1
            passed(number)
    return kind, detail


def _executed(source: str, name: str, names: dict[str, Any]) -> None:
    exec(compile(source, name, "exec", dont_inherit=True), names)


def _tested(source: str, names: dict[str, Any]) -> None:
    defined = [node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    _executed(source, "test.py", names)
    for name in defined:
        found = names.get(name)
        if isinstance(found, type) and hasattr(found, "assertEqual"):
            _unittest(found)
        elif name.startswith("test_") and isinstance(found, types.FunctionType) and not found.__code__.co_argcount:
            found()


def _unittest(case: Any) -> None:
    import unittest

    outcome = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(outcome)
    for _, trace in (*outcome.failures, *outcome.errors):
        raise AssertionError(trace.strip().rpartition("\n")[2])


def _tried(act: Callable[[], None]) -> tuple[str, str]:
    try:
        act()
    except BaseException as error:
        return _kind(error), _told(error)
    return "", ""


def _kind(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno in (errno.EPERM, errno.EACCES):
        return "denied"
    kinds = {
        AssertionError: "wrong", SystemExit: "exit", MemoryError: "memory", ModuleNotFoundError: "missing",
        SyntaxError: "syntax",
    }  # fmt: skip
    return next((kind for known, kind in kinds.items() if isinstance(error, known)), "error")


def _told(error: BaseException) -> str:
    try:
        said = " ".join(str(error).split())
    except BaseException:
        said = ""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in ("answer.py", "test.py"):
            line, where = trace.tb_lineno, trace.tb_frame.f_code.co_filename
        trace = trace.tb_next
    place = f" ({where}:{line})" if line else ""
    return f"{type(error).__name__}{': ' if said else ''}{said[:300]}{place}"


def _untouched(tests: list[str]) -> Callable[[], str]:
    """Whether the builtins and modules that the tests use are still what they were; the name of one that is not."""
    modules: list[Any] = [builtins]
    for name in sorted({name for test in tests for name in _imports(test)} - {"sys", "answer"}):
        try:
            modules.append(__import__(name, fromlist=["*"]))
        except BaseException:  # then the test says so
            continue
    owners = [*modules, *(m.TestCase for m in modules if m.__name__ == "unittest")]
    saved = [(owner, name, value) for owner in owners for name, value in vars(owner).items() if callable(value)]

    def changed() -> str:
        for owner, name, value in saved:
            if vars(owner).get(name) is not value:
                return f"{owner.__name__}.{name}"
        return ""

    return changed


def _imports(test: str) -> list[str]:
    try:
        nodes = list(ast.walk(ast.parse(test)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return plain + [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]


def main() -> None:
    """Read what to run, lock down, run, tell."""
    asked = json.loads(sys.stdin.buffer.read())
    folder, pipe, token = os.getcwd(), int(sys.argv[1]), asked["token"]
    # Kept under names of our own: the code may replace what the modules hold.
    write, leave, dumps, flush = os.write, os._exit, json.dumps, sys.stdout.flush

    def tell(**said: Any) -> None:
        write(pipe, dumps({"token": token, **said}).encode() + b"\n")

    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    held = locked_down(folder, asked["cpu_seconds"], asked["memory_bytes"])
    sys.addaudithook(watched(folder))
    sys.argv[:] = ["answer.py"]
    tell(held=held)
    kind, detail = judged(asked["code"], asked["tests"], lambda number: tell(passed=number))
    try:
        flush()
    finally:
        tell(kind=kind, detail=detail)
        leave(0)


if __name__ == "__main__":
    main()
