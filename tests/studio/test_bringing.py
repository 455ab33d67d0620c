import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def winnow(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "studio.cli", *map(str, words)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=-1, stderr=-1, text=True,
    )  # fmt: skip


def write(path: Path, *pairs: tuple[str, str]) -> None:
    path.write_text("".join(json.dumps({"instruction": q, "output": a}) + "\n" for q, a in pairs))
    os.utime(path, (time.time() - 60, time.time() - 60))


def test_a_watched_folder_says_what_each_file_brought_until_it_is_ended(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.jsonl", ("Capital of Australia?", "Sydney."), ("How do I bake bread?", "In an oven."))
    watching = winnow("watch", tmp_path / "c", tmp_path / "in", "--every", 0.2, "--on-conflict", "newest")
    assert watching.stdout is not None
    assert "a.jsonl: 2 added" in watching.stdout.readline()
    assert "nothing earlier to compare to" in watching.stdout.readline()
    write(tmp_path / "in" / "b.jsonl", ("Capital of Australia?", "Canberra."))
    assert "b.jsonl: 1 added" in watching.stdout.readline()
    assert "1 contradict earlier samples, 1 earlier ones dropped" in watching.stdout.readline()
    watching.send_signal(signal.SIGTERM)
    assert "2 files read: 3 added" in watching.communicate(timeout=60)[0]
    assert watching.returncode == 0

    told = json.loads(winnow("arrivals", tmp_path / "c", "b.jsonl", "--json").communicate(timeout=120)[0])
    assert (told["samples"], told["earlier"], told["contradictions"]) == (1, 1, 0)
    assert told["most_novel"][0]["neighbour_instruction"] == "How do I bake bread?"
