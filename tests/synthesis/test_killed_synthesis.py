from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from curation.errors import ModelError
from synthesis import Distill, EvolInstruct, synthesize
from tests.synthesis.loopback import Loopback, plausible
from tests.synthesis.samples import SeededCorpus, asked

ROOT = Path(__file__).parents[2]
AT_ONCE = 4

COMMAND = """
import sys
from pathlib import Path
from synthesis import EvolInstruct, shards, synthesize
from tests.synthesis.samples import SeededCorpus

class FewPerShard(EvolInstruct):
    seeds_per_shard = 3

shards.APART_SECONDS = 0
synthesize(SeededCorpus(Path(sys.argv[1])), FewPerShard(rounds=2), sys.argv[2], concurrency=4)
"""


def seeds(count: int) -> list:
    return [asked(f"Explain rule number {n} of chess.", f"Rule {n} says so.") for n in range(count)]


def outcomes(corpus: SeededCorpus) -> list[tuple]:
    return [(o["id"], o["parents"], o["metadata"], o["rejected_by"]) for o in corpus.outcomes()]


def command(folder: Path, spec: str) -> subprocess.Popen:
    here = {**os.environ, "PYTHONPATH": "."}
    return subprocess.Popen([sys.executable, "-c", COMMAND, folder, spec], cwd=ROOT, env=here)


def test_killed_and_resumed_equals_uninterrupted(tmp_path):
    whole, killed = (SeededCorpus(tmp_path / name, seeds(12)) for name in ("whole", "killed"))
    with Loopback() as server:
        synthesize(whole, EvolInstruct(rounds=2), server.spec)
    with Loopback(latency_seconds=0.02) as server:
        for at in (12, 40):
            work = command(killed.path, server.spec)
            while server.requests < at and work.poll() is None:
                time.sleep(0.002)
            os.kill(work.pid, signal.SIGKILL)
            work.wait()
        synthesize(killed, EvolInstruct(rounds=2), server.spec)
        asked_in_all = server.requests
        again = synthesize(killed, EvolInstruct(rounds=2), server.spec)
    assert (again.calls, again.resumed, server.requests) == (0, 12, asked_in_all)
    needed = len({json.dumps(body["messages"]) for body in server.bodies})
    assert outcomes(killed) == outcomes(whole)
    assert asked_in_all - needed <= 2 * AT_ONCE, "repeats at most the calls in flight at each kill"


def test_a_server_that_dies_leaves_its_answers_and_two_lines_and_another_goes_on(tmp_path, monkeypatch):
    from curation.language_models import chat, endpoints

    quick = endpoints.Patience(attempts=2, first_wait_seconds=0.01, away_seconds=0.1)
    monkeypatch.setattr(chat, "Patience", lambda: quick)
    corpus = SeededCorpus(tmp_path, seeds(30))
    dying = subprocess.Popen(
        [sys.executable, "examples/loopback_server.py", "--latency", "0.05"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert dying.stdout is not None
    address = dying.stdout.readline().split()[-1]

    def kill_it(done: int, total: int | None, message: str) -> None:
        if done == 10:
            dying.kill()

    with pytest.raises(ModelError, match=r"No server answers at .* any more") as stopped:
        synthesize(corpus, Distill(), f"{address}#loopback", concurrency=AT_ONCE, progress=kill_it)
    dying.wait()
    assert stopped.value.fix.startswith("start it or correct the address, then run the same command again")
    with Loopback(lambda body, n: plausible(body)) as server:
        report = synthesize(corpus, Distill(), server.spec, concurrency=AT_ONCE)
    assert server.requests <= 20
    assert report.resumed + report.cached_calls + report.calls == 30
