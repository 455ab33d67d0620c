"""`kill -9` at random moments of ingest and score: nothing committed is lost, and a rerun ends as if it had not been.

    python -m benchmarks kills

Each round is a corpus of its own: a file of 200,000 rows is ingested, killed, looked at, ingested again; then scored,
killed, looked at, scored again. Every round must end with what an uninterrupted run made of the same file.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from curation.corpus import Corpus

ROWS = int(os.environ.get("ROWS", "200000"))
KILLS = int(os.environ.get("KILLS", "20"))
SCORER = "heuristics"
WORDS = (
    "sum",
    "list",
    "name",
    "write",
    "why",
    "how",
    "the",
    "of",
    "red",
    "two",
    "river",
    "engine",
    "17",
    "你好",
    "code",
)


@dataclass(frozen=True)
class Contents:
    """What must be equal."""

    samples: int
    ids: str
    rejected: int
    scored: int
    score_sum: float | None


def run() -> None:
    """Rounds of two kills, until twenty of them landed before the end of what they hit."""
    rng = random.Random(int(os.environ.get("SEED", "0")))
    with tempfile.TemporaryDirectory() as folder:
        file = _rows(Path(folder) / "rows.jsonl")
        seconds = {verb: _seconds(verb, Path(folder) / "whole", file) for verb in ("ingest", "score")}
        whole = _contents(Path(folder) / "whole")
        print(
            f"  uninterrupted: ingest {seconds['ingest']:.1f} s, {SCORER} {seconds['score']:.1f} s; {whole}", flush=True
        )
        landed: Counter[str] = Counter()
        rounds = 0
        while landed.total() - sum(landed[f"{verb} after its end"] for verb in seconds) < KILLS:
            corpus = Path(folder) / f"round-{rounds}"
            for verb in ("ingest", "score"):
                where = _killed(verb, corpus, file, rng.uniform(0.2, seconds[verb]))
                landed[where] += 1
                if "after" in where:  # the machine is less busy than it was
                    seconds[verb] *= 0.8
                _seconds(verb, corpus, file)
            if _contents(corpus) != whole:
                sys.exit(f"round {rounds} ended otherwise: {_contents(corpus)}")
            subprocess.run(["rm", "-rf", corpus], check=True)
            rounds += 1
    print(f"  {rounds} rounds, all ended as the uninterrupted run; the kills landed: {dict(landed)}", flush=True)


def _rows(path: Path) -> Path:
    """Rows with some texts that come twice and some lines that are broken."""
    rng, line = random.Random(1), ""
    with path.open("w") as file:
        for number in range(ROWS):
            words = " ".join(rng.choices(WORDS, k=12))
            row = {"instruction": f"{number} {words[:30]}", "input": "", "output": words}
            line = line if number % 50 == 49 else json.dumps(row, ensure_ascii=False) + "\n"
            file.write("{broken\n" if number % 997 == 500 else line)
    return path


def _command(verb: str, corpus: Path, file: Path) -> list[str]:
    return [sys.executable, "-m", "studio.cli", verb, str(corpus), str(file) if verb == "ingest" else SCORER, "--json"]


def _seconds(verb: str, corpus: Path, file: Path) -> float:
    begun = time.perf_counter()
    done = subprocess.run(_command(verb, corpus, file), capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{verb} ended with {done.returncode}: {done.stderr[-2000:]}")
    return time.perf_counter() - begun


def _killed(verb: str, corpus: Path, file: Path, after_seconds: float) -> str:
    """Kill the command and its children after so long; where that landed. What it had said to be stored is there."""
    process = subprocess.Popen(
        _command(verb, corpus, file), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    time.sleep(after_seconds)
    ended = process.poll() is not None
    os.killpg(process.pid, signal.SIGKILL) if not ended else None
    process.wait()
    if not (corpus / "corpus.duckdb").exists():
        return f"{verb} before the corpus was made"
    stored, promised = _stored(verb, corpus), _promised(corpus, verb)
    if stored < promised:
        sys.exit(f"{verb} had said that {promised:,} are stored, and {stored:,} are")
    if ended:
        return f"{verb} after its end"
    return f"{verb} with {'nothing' if not stored else 'a part' if stored < ROWS * 0.97 else 'all'} stored"


def _stored(verb: str, corpus: Path) -> int:
    from curation.corpus import Corpus

    opened = Corpus(corpus)
    return opened.count() if verb == "ingest" else _scored(opened)[0]


def _scored(corpus: Corpus) -> tuple[int, float | None]:
    # The narrow tables, not the view: it is made again at the end of a run.
    for run in corpus.query("SELECT run FROM score_runs WHERE scorer = ?", SCORER)["run"]:
        found = corpus.query(f'SELECT count(*) AS n, sum({SCORER})::DOUBLE + sum(repetition) AS s FROM "score_{run}"')
        return found.row(0)
    return 0, None


def _promised(corpus: Path, verb: str) -> int:
    """What the command said last, in its job's folder, to have stored."""
    import re

    most = 0
    for events in (corpus / "jobs").glob(f"{verb}-*/events.jsonl"):
        for line in events.read_text().splitlines():
            event = json.loads(line) if line.endswith("}") else {"message": "", "done": 0}
            added = re.search(r"([\d,]+) added", event["message"])
            most = max(most, int(added[1].replace(",", "")) if added else event["done"] if verb == "score" else 0)
    return most


def _contents(path: Path) -> Contents:
    from curation.corpus import Corpus

    corpus = Corpus(path)
    ids = corpus.query(
        "SELECT md5(string_agg(id || ' ' || position, ',' ORDER BY position)) AS ids FROM samples"
    ).item()
    scored, total = _scored(corpus)
    return Contents(corpus.count(), ids, corpus.rejected().height, scored, total and round(total, 6))
