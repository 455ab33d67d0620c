from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from curation.errors import WinnowError
from training.runs.launching import HELD, held, held_by_worker
from training.runs.run_folder import EventLog, EventReader, RunFolder, events, process_start, status, stop


def test_of_a_step_that_was_logged_twice_readers_keep_the_last(tmp_path: Path) -> None:
    log = EventLog(RunFolder(tmp_path))
    log.emit("log", step=1, loss=3.0)
    log.emit("log", step=2, loss=2.0)
    EventLog(RunFolder(tmp_path)).emit("log", step=2, loss=2.5)
    assert [(e["seq"], e["step"], e["loss"]) for e in events(tmp_path)] == [(1, 1, 3.0), (3, 2, 2.5)]


def test_a_line_torn_by_a_kill_is_skipped_and_the_next_one_is_whole(tmp_path: Path) -> None:
    EventLog(RunFolder(tmp_path)).emit("log", step=1)
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(b'{"type": "log", "st')
    reader = EventReader(RunFolder(tmp_path))
    assert [e["step"] for e in reader.new()] == [1]
    EventLog(RunFolder(tmp_path)).emit("log", step=2)
    assert [e["step"] for e in reader.new()] == [2]


def test_a_running_state_without_its_process_means_that_it_died(tmp_path: Path) -> None:
    assert status(tmp_path).state == "none"
    process = subprocess.Popen(["sleep", "60"])
    run = RunFolder(tmp_path)
    run.write("status.json", {"state": "running", "pid": process.pid, "process_start": process_start(process.pid)})
    assert status(tmp_path).live
    process.kill()
    process.wait()
    assert status(tmp_path).state == "died"


def test_another_process_with_the_same_id_is_not_taken_for_the_run(tmp_path: Path) -> None:
    RunFolder(tmp_path).write("status.json", {"state": "running", "pid": os.getpid(), "process_start": "0"})
    assert status(tmp_path).state == "died"


def test_only_a_live_run_is_asked_to_stop(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    stop(tmp_path)
    assert not run.stop_file.exists()
    run.write("status.json", {"state": "running", "pid": os.getpid(), "process_start": process_start(os.getpid())})
    stop(tmp_path)
    assert run.stop_file.exists()


def test_a_checkpoint_that_was_not_completed_is_not_resumed_from(tmp_path: Path) -> None:
    for step, complete in ((9, True), (10, True), (11, False)):
        folder = tmp_path / "checkpoints" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        if complete:
            (folder / "complete").touch()
    run = RunFolder(tmp_path)
    assert run.checkpoint() == tmp_path / "checkpoints" / "checkpoint-10"
    run.remove_incomplete_checkpoints()
    assert sorted(p.name for p in run.checkpoints.iterdir()) == ["checkpoint-10", "checkpoint-9"]


def alive() -> dict[str, object]:
    return {"state": "running", "pid": os.getpid(), "process_start": process_start(os.getpid())}


def test_a_worker_that_is_started_by_hand_holds_its_run_and_forgets_what_the_one_before_was_asked(
    tmp_path: Path,
) -> None:
    run = RunFolder(tmp_path)
    run.stop_file.write_text("stop")
    run.write("failed-1.json", {"message": "no memory", "fix": "lower max_length"})
    with held_by_worker(run):
        assert not run.stop_file.exists()
        assert run.failures() == []
        run.write("status.json", alive())
        with held(run) as lock:
            assert lock is None
        with pytest.raises(WinnowError, match="Another process trains the run"), held_by_worker(run):
            pass


def test_a_worker_whose_starter_has_handed_on_the_lock_takes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunFolder(tmp_path)
    monkeypatch.setenv(HELD, str(tmp_path))
    with held(run) as lock:
        assert lock is not None
        run.write("status.json", alive())
        run.stop_file.write_text("stop")
        with held_by_worker(run):
            assert run.stop_file.exists()
