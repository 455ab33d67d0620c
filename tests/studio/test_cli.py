import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from curation.corpus import Corpus
from curation.ingestion import ingest
from studio import jobs

ROOT = Path(__file__).resolve().parents[2]


def winnow(*words: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "studio.cli", *map(str, words)], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == code, done.stderr
    return done


def answer(*words: object) -> dict[str, Any]:
    """What a command prints with --json: one object, and nothing else on stdout."""
    return json.loads(winnow(*words, "--json").stdout)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("raw") / "raw.jsonl"
    rows = [
        {"instruction": f"Question {i}?", "output": "word " * (i + 1), "stars": i, "tags": ["t"]} for i in range(60)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n")
    return path


@pytest.fixture
def corpus(raw: Path, tmp_path: Path) -> Path:
    ingest(Corpus.create(tmp_path / "c"), [raw])
    return tmp_path / "c"


def test_the_loop_in_commands_answers_with_one_object_each(raw: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "c"
    assert {k: v for k, v in answer("ingest", corpus, raw).items() if k != "files"} == {
        "added": 60,
        "duplicates": 0,
        "rejected": 1,
    }
    assert answer("ingest", corpus, raw)["added"] == 0
    found = answer("inspect", corpus, "--where", "source = 'raw'", "--limit", 2)
    assert found["count"] == 60
    assert set(found["samples"][0]) >= {"id", "messages", "source", "metadata", "scores", "tags"}
    rejected = answer("inspect", corpus, "--rejected")
    assert (rejected["count"], rejected["rows"][0]["line"]) == (1, 61)
    scored = answer("score", corpus, "length")
    assert (scored["scored"], scored["unscored"]) == (60, {})
    chosen = answer("select", corpus, "longest", "10%", "--name", "best")
    assert (chosen["name"], len(chosen["ids"]), len(chosen["rejected"])) == ("best", 6, 54)
    assert [s["id"] for s in answer("inspect", corpus, "--selection", "best")["samples"]] == chosen["ids"]
    exported = answer("export", corpus, "best", tmp_path / "out")
    assert (exported["rows"], exported["by_source"], len(exported["sha256"])) == (6, {"raw": 6}, 64)
    assert len((tmp_path / "out" / "train.jsonl").read_text().splitlines()) == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["score", "CORPUS", "lenght"], "did you mean 'length'"),
        (["score", "CORPUS", "length", "--set", "foo"], "--set foo=VALUE"),
        (["inspect", "CORPUS", "--where", "nonsense = 1"], "use SQL over these columns"),
        (["inspect", "nowhere"], "winnow ingest nowhere FILE..."),
        (["ingest", "CORPUS", "nowhere.json"], "check the name"),
        (["select", "CORPUS", "random", "1000", "--name", "x"], "ask for at most 60"),
        (["select", "CORPUS", "random"], "winnow select --help"),
        (["score", "CORPUS", "ifd"], "winnow warm-up"),
        (["train", "nowhere"], "winnow train nowhere --base-model"),
        (["evaluate", "nowhere"], "fix:"),
        (["nonsense"], "winnow --help"),
        (["synthesize", "CORPUS", "distill", "--model", "nowhere:x"], "fix:"),
        (["export", "CORPUS", "nothing"], "choose one of"),
        (["export", "CORPUS", "recipe.json", "--part", "a"], "give one or the other"),
    ],
)
def test_a_mistake_is_two_lines_and_exit_code_2(corpus: Path, words: list[str], message: str) -> None:
    done = winnow(*[corpus if w == "CORPUS" else w for w in words], code=2)
    lines = [line for line in done.stderr.splitlines() if "%" not in line[:5]]
    assert lines[-2].startswith("error: ")
    assert lines[-1].startswith("  fix: ")
    assert message in lines[-1]
    assert done.stdout == ""
    assert "Traceback" not in done.stderr


def test_help_comes_at_once_and_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'transformers', 'streamlit', 'duckdb', 'polars', 'openai', 'sklearn'}"
    code = f"import sys\nfrom studio import cli\nprint({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("package", ["curation", "synthesis", "training", "studio"])
def test_importing_a_room_loads_no_heavy_library(package: str) -> None:
    code = f"import sys, {package}\nprint({{'torch', 'transformers', 'vllm', 'streamlit'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


def test_a_job_runs_apart_reports_and_is_listed(corpus: Path) -> None:
    job = jobs.start(corpus, ["score", str(corpus), "length"])
    job = until_it_ends(corpus, job.id)
    assert (job.state, job.report["scored"], job.done, job.total) == ("done", 60, 60, 60)
    assert job.line == f"winnow score {corpus} length"
    assert (job.folder / "in.parquet").exists()
    assert [j.id for j in jobs.jobs(corpus)] == [job.id]


def test_a_job_that_fails_keeps_its_two_lines(corpus: Path) -> None:
    job = until_it_ends(corpus, jobs.start(corpus, ["score", str(corpus), "ifd"]).id)
    assert job.state == "failed"
    assert "No model is named" in (job.error or "")
    assert (job.fix or "").startswith("winnow warm-up")
    assert "No model is named" in jobs.log(job)


def test_a_killed_job_is_seen_to_have_died_and_the_same_command_resumes_it(
    corpus: Path, slow_scores: list[str]
) -> None:
    job = jobs.start(corpus, slow_scores)
    with pytest.raises(Exception, match="runs already"):
        jobs.start(corpus, slow_scores)
    until_it_works(corpus, job.id)
    os.kill(json.loads((job.folder / "job.json").read_text())["pid"], signal.SIGKILL)
    time.sleep(0.3)
    died = jobs.job(corpus, job.id)
    assert died.state == "died"
    assert until_it_ends(corpus, jobs.resume(died).id).state == "done"
    assert Corpus(corpus).count("stars IS NOT NULL") == 60


def test_a_job_can_be_cancelled_and_resumed(corpus: Path, slow_scores: list[str]) -> None:
    job = jobs.start(corpus, slow_scores)
    until_it_works(corpus, job.id)
    jobs.cancel(jobs.job(corpus, job.id))
    cancelled = until_it_ends(corpus, job.id)
    assert cancelled.state == "cancelled"
    assert until_it_ends(corpus, jobs.resume(cancelled).id).state == "done"


@pytest.fixture
def slow_scores(corpus: Path) -> list[str]:
    """A command that is busy reading for a while: many samples to score."""
    rows = "".join(json.dumps({"instruction": f"more {i}", "output": "x " * 200}) + "\n" for i in range(60_000))
    (corpus.parent / "more.jsonl").write_text(rows)
    ingest(Corpus(corpus), [corpus.parent / "more.jsonl"])
    return ["score", str(corpus), "metadata", "--set", "field=stars"]


def until_it_works(corpus: Path, job_id: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and jobs.job(corpus, job_id).state == "running":
        if (jobs.job(corpus, job_id).folder / "in.parquet").exists():
            return
        time.sleep(0.02)


def until_it_ends(corpus: Path, job_id: str) -> jobs.Job:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        job = jobs.job(corpus, job_id)
        if job.state != "running":
            return job
        time.sleep(0.05)
    raise AssertionError(f"{job_id} still runs")


def test_inspect_answers_while_a_score_runs(corpus: Path, slow_scores: list[str]) -> None:
    job = jobs.start(corpus, slow_scores)
    until_it_works(corpus, job.id)
    assert answer("inspect", corpus, "--limit", 1)["count"] == 60_060
    assert until_it_ends(corpus, job.id).state == "done"


def test_a_job_is_resumed_where_it_was_started(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "more.jsonl").write_text('{"instruction": "one more", "output": "yes"}\n')
    job = jobs.start(corpus, ["ingest", str(corpus), "more.jsonl"], cwd=tmp_path / "here")
    assert until_it_ends(corpus, job.id).report["added"] == 1
    assert until_it_ends(corpus, jobs.resume(jobs.job(corpus, job.id)).id).report["duplicates"] == 1


def test_a_port_in_use_is_two_lines(corpus: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = winnow("studio", corpus, "--port", port, "--headless", code=2)
    assert f"fix: winnow studio {corpus} --port {port + 1}" in done.stderr
