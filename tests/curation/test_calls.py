from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from curation.errors import CorpusError
from curation.language_models.calls import Attempt, CallStore, call_key
from curation.language_models.models import ChatRequest

HELLO = ChatRequest((("user", "Hello"),), {"temperature": 1.0, "max_tokens": 8})
ANSWER = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}


def attempt(key: str = "k", **fields) -> Attempt:
    return Attempt(key, "m", "localhost:8000", "{}", fields.pop("run", "r"), **fields)


def test_the_key_changes_with_all_that_changes_the_answer_and_with_nothing_else():
    others = [
        call_key("other-model", HELLO),
        call_key("m", replace(HELLO, messages=(("system", "Be brief."), ("user", "Hello")))),
        call_key("m", replace(HELLO, parameters={"temperature": 0.0, "max_tokens": 8})),
        call_key("m", replace(HELLO, sample_index=1)),
    ]
    same = replace(HELLO, parameters={"max_tokens": 8, "top_p": None, "temperature": 1.0})
    assert len({call_key("m", HELLO), *others}) == 5
    assert call_key("m", same) == call_key("m", HELLO)


def test_an_attempt_that_failed_is_kept_but_is_no_answer(tmp_path):
    with CallStore(tmp_path / "calls.sqlite") as calls:
        calls.record(attempt(error="503 busy"))
        assert calls.lookup("k") is None
        calls.record(attempt(response=ANSWER, finish_reason="stop"))
        assert calls.lookup("k") == ANSWER
        assert [(a.attempt, a.error) for a in calls.attempts("k")] == [(1, "503 busy"), (2, None)]


def test_an_unknown_cost_makes_the_total_unknown_and_never_zero(tmp_path):
    with CallStore(tmp_path / "calls.sqlite") as calls:
        calls.record(attempt("a", response=ANSWER, input_tokens=3, output_tokens=1, cost_usd=0.25))
        assert calls.totals("r").cost_usd == 0.25
        calls.record(attempt("b", response=ANSWER, input_tokens=3, output_tokens=1, cost_reason="no price"))
        total = calls.totals("r")
        assert (total.calls, total.input_tokens, total.cost_usd, total.cost_reason) == (2, 6, None, "no price")


def test_totals_count_from_a_mark_on(tmp_path):
    with CallStore(tmp_path / "calls.sqlite") as calls:
        calls.record(attempt("a", response=ANSWER, input_tokens=3, output_tokens=1, cost_usd=1.0))
        mark = calls.last()
        calls.record(attempt("b", response=ANSWER, input_tokens=5, output_tokens=2, cost_usd=0.5))
        assert (calls.totals("r", after=mark).input_tokens, calls.totals("r", after=mark).cost_usd) == (5, 0.5)


def test_a_store_of_an_earlier_version_gets_the_new_column(tmp_path):
    path = tmp_path / "calls.sqlite"
    with sqlite3.connect(path) as old:
        old.execute(
            "CREATE TABLE calls (key TEXT NOT NULL, attempt INTEGER NOT NULL, model TEXT, endpoint TEXT, request TEXT, "
            "response TEXT, finish_reason TEXT, input_tokens INTEGER, output_tokens INTEGER, cost_usd REAL, "
            "cost_reason TEXT, error TEXT, run TEXT, created TEXT, PRIMARY KEY (key, attempt))"
        )
        old.execute("INSERT INTO calls (key, attempt, response, run) VALUES ('old', 1, '{}', 'r')")
    for _ in range(2):
        with CallStore(path) as calls:
            calls.record(attempt("new", response=ANSWER, seconds=0.5))
            assert calls.lookup("old") == {}
            assert calls.attempts("new")[-1].seconds == 0.5


def test_what_a_failed_attempt_may_have_cost_is_part_of_the_total(tmp_path):
    with CallStore(tmp_path / "calls.sqlite") as calls:
        calls.record(attempt("a", error="timed out", cost_usd=0.25))
        calls.record(attempt("a", error="503 busy"))
        calls.record(attempt("a", response=ANSWER, input_tokens=3, output_tokens=1, cost_usd=0.5))
        assert (calls.totals("r").calls, calls.totals("r").cost_usd, calls.totals("r").input_tokens) == (1, 0.75, 3)
        calls.record(attempt("b", error="timed out", cost_reason="no price"))
        assert (calls.totals("r").cost_usd, calls.totals("r").cost_reason) == (None, "no price")


def test_a_disk_that_takes_no_more_gives_two_lines(tmp_path):
    with CallStore(tmp_path / "calls.sqlite") as calls:
        calls._database.execute("PRAGMA max_page_count = 1")
        with pytest.raises(CorpusError, match="could not take an answer: database or disk is full") as raised:
            calls.record(attempt(response={"text": "x" * 100_000}))
    assert raised.value.fix.startswith("free disk space")


def test_what_a_server_said_it_serves_is_remembered(tmp_path):
    with CallStore(tmp_path / "calls.sqlite") as calls:
        assert calls.weights("address#m", None) == ""
        assert calls.weights("address#m", "abc") == "abc"
        assert calls.weights("address#m", None) == "abc"
        assert calls.weights("address#m", "") == ""


def test_several_writers_lose_nothing(tmp_path):
    def write(writer: int) -> None:
        with CallStore(tmp_path / "calls.sqlite") as calls:
            for n in range(25):
                calls.record(attempt("shared", error=f"{writer}/{n}"))

    with ThreadPoolExecutor(4) as writers:
        list(writers.map(write, range(4)))
    with CallStore(tmp_path / "calls.sqlite") as calls:
        assert [a.attempt for a in calls.attempts("shared")] == list(range(1, 101))


def test_what_was_recorded_survives_kill_9(tmp_path):
    script = (
        "import sys; from pathlib import Path; from curation.language_models.calls import Attempt, CallStore\n"
        "calls = CallStore(Path(sys.argv[1]))\n"
        "for n in range(10**9):\n"
        "    calls.record(Attempt('k', 'm', 'e', '{}', 'r', error=str(n)))\n"
        "    print(n, flush=True)\n"
    )
    path = tmp_path / "calls.sqlite"
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", script, path], stdout=subprocess.PIPE, text=True, cwd=root) as writer:
        assert writer.stdout is not None
        while int(writer.stdout.readline()) < 50:
            pass
        os.kill(writer.pid, signal.SIGKILL)
        acknowledged = 51 + len(writer.stdout.readlines())
    with CallStore(path) as calls:
        assert len(calls.attempts("k")) >= acknowledged


def test_a_file_that_is_no_store_gives_two_lines(tmp_path):
    path = tmp_path / "calls.sqlite"
    path.write_text("this is not a database at all, but it is long enough to be taken for one" * 20)
    with pytest.raises(CorpusError, match="can't be opened as a store of calls"):
        CallStore(path)
