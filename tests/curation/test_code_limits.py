"""What code that a model wrote can't do, each limit by its name; `test_code_running.py` has the rest."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from curation.corpus import Corpus
from curation.texts.code_running import run_code

FINE = "assert done"
FORBIDDEN = ("denied", "error")


def test_code_can_not_read_the_corpus_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = Corpus.create(tmp_path / "corpus")
    (corpus.path / "secret.txt").write_text("hunter2")
    monkeypatch.chdir(corpus.path)
    for attempt in (
        f"open({str(corpus.path / 'secret.txt')!r}).read()",
        f"open({str(corpus.path / 'corpus.duckdb')!r}, 'rb').read()",
        f"__import__('os').listdir({str(corpus.path)!r})",
        f"__import__('os').symlink({str(corpus.path)!r}, 'mine'); print(open('mine/secret.txt').read())",
        f"print(open('/proc/{os.getpid()}/cwd/secret.txt').read())",
        f"__import__('os').remove({str(corpus.path / 'secret.txt')!r})",
    ):
        outcome = run_code(f"{attempt}\ndone = True", FINE, seconds=5)
        assert (outcome.passed, outcome.error_kind in FORBIDDEN) == (False, True), attempt
        assert "hunter2" not in outcome.output
    assert run_code("import os\ndone = 'secret.txt' not in os.listdir('.')", FINE).passed
    assert (corpus.path / "secret.txt").read_text() == "hunter2"


def test_code_can_not_read_keys_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "hunter2")
    code = "import os\nprint(dict(os.environ))\ndone = 'OPENAI_API_KEY' not in os.environ\n"
    assert run_code(code, FINE).passed
    for place in ("self", os.getpid()):
        outcome = run_code(f"print(open('/proc/{place}/environ').read())\ndone = True", FINE)
        assert "hunter2" not in outcome.output
        assert place == "self" or outcome.error_kind in FORBIDDEN


def test_code_can_not_open_the_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        port = server.getsockname()[1]
        for attempt in (
            f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 2)",
            f"import urllib.request\nurllib.request.urlopen('http://127.0.0.1:{port}', timeout=2)",
            f"import http.client\nhttp.client.HTTPConnection('127.0.0.1', {port}, timeout=2).request('GET', '/')",
            f"import socket\nsocket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {port}))",
        ):
            outcome = run_code(f"{attempt}\ndone = True", FINE, seconds=5)
            assert (outcome.passed, outcome.error_kind in FORBIDDEN) == (False, True), attempt
        with pytest.raises(TimeoutError):
            server.accept()


def test_code_can_not_fork_without_limit() -> None:
    for attempt in (
        "import os\nwhile True:\n    os.fork()",
        "import subprocess\nwhile True:\n    subprocess.Popen(['sleep', '9'])",
        "import multiprocessing\nfor _ in range(999):\n    multiprocessing.Process(target=print).start()",
    ):
        began = time.monotonic()
        assert run_code(attempt, FINE, seconds=5).error_kind in FORBIDDEN
        assert time.monotonic() - began < 5  # refused at once, not stopped by the clock


def test_code_can_not_outlive_its_time_limit() -> None:
    began = time.monotonic()
    stubborn = "import signal, threading, time\nfor n in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):\n"
    stubborn += "    signal.signal(n, signal.SIG_IGN)\nthreading.Thread(target=time.sleep, args=(99,)).start()\n"
    outcome = run_code(f"{stubborn}while True:\n    pass", FINE, seconds=0.5)
    assert (outcome.passed, outcome.error_kind) == (False, "timeout")
    left_behind = run_code(f"{stubborn}done = True", FINE, seconds=0.5)  # a thread that would go on after the tests
    assert left_behind.error_kind in (None, "timeout")
    assert time.monotonic() - began < 8


def test_code_can_not_outgrow_its_memory_limit() -> None:
    for attempt in ("x = bytearray(300 * 2**20)", "x = []\nwhile True:\n    x.append('y' * 2**20)"):
        outcome = run_code(f"{attempt}\ndone = True", FINE, memory_mb=256)
        assert (outcome.passed, outcome.error_kind) == (False, "memory")
    assert run_code("x = bytearray(100 * 2**20)\ndone = True", FINE, memory_mb=256).passed
