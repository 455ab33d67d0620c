"""Running code nobody has read: what passes, what is told from passing, and what the process can't do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from curation.errors import OperatorError
from curation.texts.code_running import BOX, run_code
from tests.data import shared

ADD = "def add(a, b):\n    return a + b\n"
TEST = "assert add(1, 2) == 3"
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="what the kernel holds is held on Linux only")


def kind_of(code: str, tests: str | list[str] = TEST, **limits: float) -> str | None:
    return run_code(code, tests, **{"seconds": 5, "memory_mb": 256, **limits}).error_kind  # type: ignore[arg-type]


def test_right_code_passes_and_what_it_prints_is_kept():
    outcome = run_code("print('hello')\n" + ADD, TEST)
    assert (outcome.passed, outcome.error_kind, outcome.share, outcome.output) == (True, None, 1.0, "hello\n")


def test_wrong_code_fails_with_the_line_of_the_test():
    outcome = run_code(
        "def add(a, b):\n    return a - b\n", ["assert add(0, 0) == 0", "\nassert add(1, 2) == 3, 'sum'"]
    )
    assert (outcome.passed, outcome.error_kind, outcome.share) == (False, "wrong", 0.5)
    assert outcome.detail == "AssertionError: sum (test.py:2)"


def test_functions_named_test_and_unittest_classes_are_run():
    unit = "import unittest\nclass Sums(unittest.TestCase):\n    def test_sum(self): self.assertEqual(add(1, 2), {})\n"
    assert kind_of(ADD, "def test_sum():\n    assert add(1, 2) == 3") is None
    assert kind_of(ADD, "def test_sum():\n    assert add(1, 2) == 4") == "wrong"
    assert kind_of(ADD, unit.format(3)) is None
    assert kind_of(ADD, unit.format(4)) == "wrong"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("def add(a, b)", "syntax"),
        ("def add(a, b):\n    return c", "error"),
        ("add = input()", "error"),  # standard input is closed
        ("import numpy_of_the_future", "missing"),
        ("x = bytearray(10**10)", "memory"),
        ("x = []\nwhile True:\n    x.append(' ' * 10**7)", "memory"),
    ],
)
def test_each_failure_has_its_kind(code: str, kind: str):
    assert kind_of(code) == kind


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("import sys\nprint('1 passed')\nsys.exit(0)", "exit"),
        ("import os\nprint('passed')\nos._exit(0)", "exit"),
        ("def add(a, b):\n    raise SystemExit(0)", "exit"),
        ("import os\ndef add(a, b):\n    os._exit(0)", "exit"),
        ("import builtins\nbuiltins.abs = lambda x: 3\n" + ADD, "tampered"),
        ("import unittest\nunittest.TestCase.assertEqual = lambda *a: None\n" + ADD, "tampered"),
        ("import math\nmath.isclose = lambda *a: True\ndef add(a, b):\n    return 0", "tampered"),
        (
            'import os\nfor pipe in range(3, 64):\n    try: os.write(pipe, b\'{"kind": "", "detail": "", '
            '"passed": 1, "token": ""}\\n\')\n    except OSError: pass\nos._exit(0)',
            "exit",
        ),
    ],
)
def test_a_success_can_not_be_claimed(code: str, kind: str):
    outcome = run_code(code, ["import math, unittest\nassert math.isclose(add(1, 2), 3)"], seconds=5)
    assert (outcome.passed, outcome.error_kind, outcome.share) == (False, kind, 0.0)


CLIMBS = """
import json, os, sys
frame = sys._getframe()
while "token" not in frame.f_locals:
    frame = frame.f_back
said = {"token": frame.f_locals["token"], "kind": "", "detail": "", "passed": %s}
os.write(frame.f_locals["pipe"], json.dumps(said).encode() + b"\\n")
"""


@pytest.mark.parametrize(
    "code",
    [
        "import sys\nsys.modules['__main__']._tested = lambda *a: None\ndef add(a, b): return 0",
        "import gc\ngc.get_objects()\n" + ADD,
        CLIMBS % 0,
        CLIMBS % 50,
        CLIMBS % '"many"',
    ],
)
def test_nor_by_those_who_know_how_the_judge_is_written(code: str):
    outcome = run_code(code, [TEST, TEST + ", 2"])
    assert not outcome.passed
    assert 0 <= outcome.share <= 1


def test_half_of_a_character_in_an_error_can_be_stored():
    outcome = run_code("raise ValueError('\\ud83d')", TEST)
    assert (outcome.error_kind, outcome.detail) == ("error", "ValueError: \\ud83d (answer.py:1)")


@pytest.mark.parametrize(("program", "seconds"), [("/bin/false", 30), (sys.executable, 0.0)])
def test_a_process_that_does_not_start_says_nothing_about_the_code(
    monkeypatch: pytest.MonkeyPatch, program: str, seconds: float
):
    monkeypatch.setattr("curation.texts.code_running.sys.executable", program)
    monkeypatch.setattr("curation.texts.code_running.START_SECONDS", seconds)
    outcome = run_code(ADD, TEST)
    assert (outcome.passed, outcome.error_kind) == (False, "not started")
    assert outcome.detail.startswith("Python did not start")


@pytest.mark.parametrize(
    "code",
    [
        "import os\nwhile True:\n    os.fork()",
        "import subprocess\nsubprocess.run(['ls'])",
        "import os\nos.kill(os.getppid(), 9)",
        "import socket\nsocket.socket()",
        "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:1/')",
        "import ctypes\nctypes.CDLL(None)",
        "open('/etc/passwd').read()",
        "import os\nos.listdir('/')",
        "import pathlib\npathlib.Path('/tmp/winnow-was-here').write_text('x')",
        "import os\nos.chmod('/tmp', 0o777)",
    ],
)
def test_processes_network_and_other_files_are_denied(code: str):
    began = time.monotonic()
    assert kind_of(code) in ("denied", "error")  # urllib wraps what it is denied
    assert time.monotonic() - began < 5
    assert not Path("/tmp/winnow-was-here").exists()


ATTEMPTS = {
    "write": "open('/tmp/winnow-was-here', 'w')",
    "read": "open('/proc/{parent}/environ').read()",
    "home": "os.listdir(os.path.expanduser('~root'))",
    "remove": "os.remove('{victim}')",
    "truncate": "os.truncate('{victim}', 0)",
    "rename": "os.rename('{victim}', 'mine')",
    "link": "os.link('{victim}', 'mine')",
    "chmod": "os.chmod('{victim}', 0o777)",
    "touch": "os.utime('{victim}')",
    "fork": "os.fork()",
    "execute": "os.execv('/bin/ls', ['ls'])",
    "spawn": "subprocess.run(['ls'])",
    "socket": "socket.socket()",
    "unix": "socket.socket(socket.AF_UNIX)",
    "signal": "os.kill({parent}, 0)",
    "limits": "resource.prlimit({parent}, resource.RLIMIT_CPU, (99, 99))",
    "memory": "os.memfd_create('x')",
    "large": "open('large', 'wb').write(b'x' * 10**8)",
    "ring": "box._libc.syscall(425, 8, None) >= 0 or 1 / 0",
    "namespace": "box._libc.unshare(0x20000) == 0 or 1 / 0",
}


@LINUX
def test_the_kernel_denies_the_same_without_python_s_help(tmp_path: Path):
    victim = tmp_path / "victim"
    victim.write_text("here")
    inside = tmp_path / "inside"
    inside.mkdir()
    attempts = {n: a.format(parent=os.getpid(), victim=victim) for n, a in ATTEMPTS.items()}
    script = f"""
import importlib.util, json, os, resource, socket, subprocess
spec = importlib.util.spec_from_file_location("box", {str(BOX)!r})
box = importlib.util.module_from_spec(spec); spec.loader.exec_module(box)
held, done = box.locked_down(os.getcwd(), 20, 2**29), []
for name, attempt in json.loads({json.dumps(json.dumps(attempts))}).items():
    try: exec(attempt)
    except Exception: continue
    done.append(name)
open("own", "w").write("x"); os.mkdir("folder"); os.rename("own", "folder/own"); socket.socketpair()
print(json.dumps([held, done]))
"""
    ran = subprocess.run(
        [sys.executable, "-sSPB", "-c", script], cwd=inside, capture_output=True, text=True, check=True
    )
    held, done = json.loads(ran.stdout)
    if not {"files", "calls"} <= set(held):
        pytest.skip(f"this kernel has no Landlock or no seccomp; held are {held}")
    assert done == []
    assert victim.read_text() == "here"


@LINUX
def test_the_kernel_holds_files_and_calls_here():
    held = run_code(ADD, TEST).held
    if not {"files", "calls"} <= set(held):
        pytest.skip(f"this kernel has no Landlock or no seccomp; held are {held}")
    assert {"CPU", "AS", "FSIZE", "NOFILE", "CORE"} <= set(held)


def test_an_endless_loop_is_stopped_and_so_is_a_sleep():
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        kinds = list(pool.map(lambda c: kind_of(c, seconds=0.5), ["while True: pass", "import time\ntime.sleep(60)"]))
    assert kinds == ["timeout", "timeout"]
    assert time.monotonic() - began < 10


def test_endless_output_is_cut():
    outcome = run_code("while True:\n    print('x' * 1000)", TEST, seconds=0.5)
    assert outcome.error_kind == "timeout"
    assert len(outcome.output) == 4_000


def test_the_environment_is_empty_and_the_folder_is_removed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "hunter2")
    code = "import os\nopen('kept', 'w').write('x')\nprint(os.getcwd(), dict(os.environ))\n" + ADD
    outcome = run_code(code, TEST)
    assert outcome.passed
    assert "hunter2" not in outcome.output
    assert not Path(outcome.output.split(" ")[0]).exists()


def test_threads_asyncio_and_dataclasses_work():
    code = """
import asyncio, dataclasses, threading
@dataclasses.dataclass
class Sum:
    total: "int" = 0
async def later(a, b):
    await asyncio.sleep(0)
    return a + b
def add(a, b):
    total = Sum()
    thread = threading.Thread(target=lambda: setattr(total, "total", asyncio.run(later(a, b))))
    thread.start(); thread.join()
    return total.total
"""
    assert run_code(code, TEST).passed


def test_equal_code_has_equal_outcomes_with_sets_of_texts():
    code = "print(list({'b', 'a', 'd', 'c', 'e'}))\n" + ADD
    assert len({run_code(code, TEST).output for _ in range(3)}) == 1


def test_no_tests_is_an_error():
    with pytest.raises(OperatorError, match="No test"):
        run_code(ADD, [])


def test_runs_side_by_side_do_not_mix():
    before = threading.active_count()
    with ThreadPoolExecutor(4) as pool:
        shares = list(pool.map(lambda n: run_code(ADD, f"assert add(1, {n}) == 3").share, [2, 3] * 4))
    assert shares == [1, 0] * 4
    assert threading.active_count() <= before


def test_the_canonical_solutions_of_humaneval_pass_and_broken_ones_do_not():
    lines = shared("data/humaneval.jsonl").read_text().splitlines()[::16]

    def passed(line: str, broken: bool) -> bool:
        row = json.loads(line)
        code = row["prompt"] + ("    return None\n" if broken else row["canonical_solution"])
        return run_code(code, f"{row['test']}\ncheck({row['entry_point']})", seconds=20).passed

    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(lambda line: passed(line, False), lines))
        assert not any(pool.map(lambda line: passed(line, True), lines[:4]))
