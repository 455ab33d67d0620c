"""Ends that nobody wished for: `kill -9`, several writers at once, a full disk, a folder one may not write to."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from curation.corpus import Corpus
from curation.ingestion import ingest
from curation.operators import build
from curation.scorers import SCORERS
from curation.scoring import score

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
ROWS = 3000

INGEST = """
import sys
from curation.files import reading
from curation.corpus import Corpus
from curation.ingestion import ingest
reading.CHUNK_ROWS = 100
ingest(Corpus.create(sys.argv[1]), [sys.argv[2]], progress=lambda done, *_: print(done, flush=True))
"""
SCORE = """
import sys
from curation.corpus import Corpus
from curation.scorers import Length
from curation.scoring import score
Length.batch_rows = 100
score(Corpus(sys.argv[1]), Length(), progress=lambda done, *_: print(done, flush=True))
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(json.dumps({"instruction": f"q{i}", "output": f"a{i} " * 20, "n": i}) + "\n" for i in range(ROWS))
    )
    return path


def killed_after(lines: int, script: str, *arguments: Path) -> int:
    """Run a script until it has said so many times how far it is, kill it, and return what it said last."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)], stdout=-1, text=True, env=ENVIRONMENT
    )
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(lines)]
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    return int(said[-1])


def command(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
    words = (sys.executable, "-m", "studio.cli", *map(str, words))
    return subprocess.run(words, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, **options)


def all_ids(corpus: Corpus) -> list[str]:
    return corpus.query("SELECT id FROM samples ORDER BY position")["id"].to_list()


def test_killed_again_and_again_ingest_and_score_lose_nothing_and_end_the_same(tmp_path: Path, file: Path) -> None:
    whole, path = Corpus.create(tmp_path / "whole"), tmp_path / "killed"
    ingest(whole, [file])
    for lines in (1, 4, 17):
        promised = killed_after(lines, INGEST, path, file)
        assert Corpus(path).count() >= promised
    corpus = Corpus(path)
    assert ingest(corpus, [file]).files[0].added < ROWS
    assert all_ids(corpus) == all_ids(whole)

    length = build("scorer", SCORERS, "length")
    score(whole, length)
    promised = killed_after(3, SCORE, path)
    assert score(corpus, length).already >= promised
    columns = ["id", *whole.score_columns()]
    assert corpus.frame(columns).equals(whole.frame(columns))


def test_two_ingests_and_a_score_at_once_all_finish(tmp_path: Path, file: Path) -> None:
    path = tmp_path / "c"
    corpus = Corpus.create(path)
    ingest(corpus, [file])
    files = [tmp_path / name for name in ("one.jsonl", "two.jsonl")]
    for other in files:
        other.write_text(file.read_text().replace('"q', f'"{other.stem} '))
    words = [["ingest", str(path), str(other)] for other in files] + [["score", str(path), "length"]]
    running = [
        subprocess.Popen([sys.executable, "-m", "studio.cli", *w, "--json"], cwd=ROOT, env=ENVIRONMENT, stdout=-1)
        for w in words
    ]
    reports = [json.loads(process.communicate(timeout=120)[0]) for process in running]
    assert [report.get("added") for report in reports] == [ROWS, ROWS, None]
    assert corpus.count() == 3 * ROWS
    assert corpus.count("length IS NOT NULL") >= ROWS


def is_two_lines(done: subprocess.CompletedProcess[str]) -> bool:
    said = [line for line in done.stderr.splitlines() if "%" not in line[:5]]
    return done.returncode == 2 and len(said) == 2 and said[0].startswith("error: ") and said[1].startswith("  fix: ")


def small_files(most_bytes: int) -> object:
    """For a command that may write no file longer than this: to it, a disk that is full."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))


@pytest.mark.parametrize(
    ("words", "most_bytes"),
    [
        (["ingest", "CORPUS", "MORE"], 60_000),
        (["score", "CORPUS", "heuristics"], 20_000),
        (["embed", "CORPUS", "--vectors", "VECTORS", "--by", "n"], 60_000),
        (["export", "CORPUS", "mix", "OUT", "--part", "where:true"], 60_000),
    ],
)
def test_a_full_disk_is_two_lines_and_with_room_the_same_command_ends_well(
    tmp_path: Path, file: Path, words: list[str], most_bytes: int
) -> None:
    corpus = Corpus.create(tmp_path / "c")
    ingest(corpus, [file])
    (tmp_path / "more.jsonl").write_text(file.read_text().replace('"q', '"new '))
    np.save(tmp_path / "vectors.npy", np.ones((ROWS, 16), np.float32))
    names = {"CORPUS": "c", "MORE": "more.jsonl", "OUT": "out", "VECTORS": "vectors.npy"}
    line = [tmp_path / names[word] if word in names else word for word in words]
    full = command(*line, preexec_fn=small_files(most_bytes))
    assert is_two_lines(full), full.stderr
    assert corpus.count() == ROWS
    again = command(*line)
    assert again.returncode == 0, again.stderr
    assert corpus.count() == (2 * ROWS if words[0] == "ingest" else ROWS)


READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'


def test_a_folder_and_a_file_one_may_not_write_are_two_lines(tmp_path: Path, file: Path) -> None:
    path = tmp_path / "c"
    ingest(Corpus.create(path), [file])
    if os.geteuid():
        path.chmod(0o500)
        (path / "corpus.duckdb").chmod(0o400)
        before: list[object] = []
    else:  # root may write everywhere, unless it is mounted otherwise
        before = ["unshare", "-m", "sh", "-c", READ_ONLY, path]
        if subprocess.run([*map(str, before), "true"], capture_output=True).returncode:
            pytest.skip("neither permissions nor a mount can make a folder read-only here")
    for words in (["score", path, "length"], ["ingest", path / "new", file]):
        line = [*map(str, [*before, sys.executable, "-m", "studio.cli", *words])]
        done = subprocess.run(line, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
        assert is_two_lines(done), done.stderr
    path.chmod(0o700)
    (path / "corpus.duckdb").chmod(0o600)
    assert Corpus(path).count() == ROWS
