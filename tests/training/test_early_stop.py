"""Early stop, the best weights and sample answers in real runs of a tiny model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import WriteMix
from training.config import TrainConfig
from training.runs.run_folder import RunFolder, events, status
from training.training import TrainReport, prepare, report
from training.worker import Worker

ROWS = [
    {
        "id": f"m{i}",
        "source": "maths" if i % 2 else "tea",
        "messages": [{"role": "user", "content": f"{i} plus 1?"}, {"role": "assistant", "content": str(i + 1)}],
    }
    for i in range(40)
]


pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture(scope="module")
def mix(write_mix: WriteMix) -> Path:
    return write_mix(train=ROWS[:30], eval=ROWS[30:])


@pytest.fixture(scope="module")
def config(tiny_model: Path) -> TrainConfig:
    """Steps so long that held-out loss soon rises, and dropout, so that random numbers matter."""
    return TrainConfig(
        base_model=str(tiny_model),
        adapter="lora",
        lora_dropout=0.3,
        learning_rate=0.3,
        scheduler="constant",
        max_length=64,
        batch_size=2,
        max_steps=40,
        save_steps=40,
        eval_steps=2,
        patience=2,
        checkpoints_kept=1,
        sample_answers=2,
        max_answer_tokens=4,
    )


def trained(mix: Path, config: TrainConfig, run: Path, *, steps: int | None = None) -> TrainReport:
    """A run in this process, or the part of it up to a step."""
    folder = prepare(mix, config, run)
    stop = (lambda: False) if steps is None else (lambda: status(folder.path).step >= steps)
    Worker(folder.path, stop_asked=stop).work()
    return report(folder.path)


def told(run: str, kind: str) -> list[dict[str, Any]]:
    return [event for event in events(run) if event["type"] == kind]


@pytest.fixture(scope="module")
def early(mix: Path, config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> TrainReport:
    return trained(mix, config, tmp_path_factory.mktemp("early"))


def test_a_run_ends_when_held_out_loss_no_longer_falls_and_keeps_the_best_weights(early: TrainReport) -> None:
    assert early.state == "done"
    assert early.steps < 40
    (stop,) = told(early.run, "early_stop")
    losses = {event["step"]: event["loss"] for event in early.held_out if event["step"]}
    assert stop["best_step"] == early.best_step == min(losses, key=lambda step: losses[step])
    assert stop["step"] == early.steps == stop["best_step"] + 2 * 2
    best = Path(early.run) / "checkpoints" / f"checkpoint-{early.best_step}" / "adapter_model.safetensors"
    assert (Path(early.run) / "final" / "adapter_model.safetensors").read_bytes() == best.read_bytes()
    assert not (Path(early.run) / "final" / "optimizer.pt").exists()


def test_the_same_prompts_are_answered_at_every_held_out_loss(early: TrainReport) -> None:
    samples = told(early.run, "samples")
    assert [event["step"] for event in samples] == [event["step"] for event in early.held_out]
    assert {tuple(answer["id"] for answer in event["answers"]) for event in samples} == {("m31", "m30")}
    answer = samples[0]["answers"][0]
    assert answer["prompt"] == [{"role": "user", "content": "31 plus 1?"}]
    assert (answer["reference"], answer["source"]) == ("32", "maths")
    assert answer["tokens"] <= 4


def test_sample_answers_and_patience_do_not_change_what_is_learnt(
    mix: Path, config: TrainConfig, early: TrainReport, tmp_path: Path
) -> None:
    bare = config.model_copy(
        update={"sample_answers": 0, "eval_steps": None, "patience": None, "max_steps": early.steps}
    )
    assert trained(mix, bare, tmp_path).losses == early.losses


def test_a_resumed_run_remembers_its_patience(
    mix: Path, config: TrainConfig, early: TrainReport, tmp_path: Path
) -> None:
    half = (early.best_step or 0) + 3
    assert trained(mix, config, tmp_path, steps=half).state == "stopped"
    resumed = trained(mix, config, tmp_path)
    assert (resumed.losses, resumed.held_out) == (early.losses, early.held_out)
    assert (resumed.steps, resumed.best_step) == (early.steps, early.best_step)


def died_before_its_end(report: TrainReport, run: Path) -> RunFolder:
    """A copy of a run whose process had saved its last checkpoint, but not yet the model."""
    shutil.copytree(report.run, run)
    shutil.rmtree(run / "final")
    folder = RunFolder(run)
    folder.write("status.json", {**folder.read("status.json"), "state": "running", "pid": 2**22 + 1})
    last = [event for event in events(run) if event["type"] not in ("best", "done", "memory")]
    (run / "events.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in last))
    return folder


def weights(run: Path | str) -> bytes:
    return (Path(run) / "final" / "adapter_model.safetensors").read_bytes()


def test_a_process_that_dies_after_the_last_step_leaves_nothing_to_train(
    mix: Path, config: TrainConfig, tmp_path: Path
) -> None:
    # Fifteen rows of two a pass: the seventeenth step is the second of the second pass.
    short = config.model_copy(update={"packing": "none", "max_steps": 17, "save_steps": 17, "patience": None})
    whole = trained(mix, short, tmp_path / "whole")
    folder = died_before_its_end(whole, tmp_path / "died")
    Worker(folder.path).work()
    resumed = report(folder.path)
    assert (resumed.state, resumed.steps, resumed.losses) == ("done", 17, whole.losses)
    assert resumed.held_out == whole.held_out
    assert weights(folder.path) == weights(whole.run)


def test_a_process_that_dies_after_an_early_stop_does_not_train_on(
    mix: Path, config: TrainConfig, early: TrainReport, tmp_path: Path
) -> None:
    often = config.model_copy(update={"save_steps": 1})
    whole = trained(mix, often, tmp_path / "whole")
    assert whole.losses == early.losses
    folder = died_before_its_end(whole, tmp_path / "died")
    assert folder.checkpoint() == folder.checkpoints / f"checkpoint-{early.steps}"
    Worker(folder.path).work()
    resumed = report(folder.path)
    assert (resumed.state, resumed.steps, resumed.best_step) == ("done", early.steps, early.best_step)
    assert resumed.losses == early.losses
    assert weights(folder.path) == weights(early.run)


def test_a_run_that_fails_as_it_goes_on_still_says_how_far_it_was(tmp_path: Path, config: TrainConfig) -> None:
    run = RunFolder(tmp_path)
    run.write("config.json", config.model_dump(mode="json"))
    run.write("status.json", {"state": "starting", "step": 12})
    Worker(tmp_path).set_status(state="starting")
    assert status(tmp_path).step == 12


def test_logs_have_speed_memory_and_time_left_and_say_why_there_is_no_mfu(early: TrainReport) -> None:
    log = told(early.run, "log")[-1]
    assert log["tokens_per_second"] > 0
    assert log["peak_memory_gib"] > 0
    assert log["seconds_left"] >= 0
    assert log["mfu"] is None
    assert log["mfu_reason"].startswith("no GPU")


def test_what_the_base_model_never_learnt_is_looked_for_once(early: TrainReport) -> None:
    (base,) = told(early.run, "base")
    assert (base["vocabulary"], base["rate"], base["untrained_tokens"]) == (259, 0.3, [])
    assert any("learning rate 0.3" in text for text in early.warnings)
