"""Speed, share of the peak, the best measurement and early stop, without a trainer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from training.advice.compute import flops_per_token, peak_of, utilisation
from training.runs.best import Best, copy_weights, to_fall
from training.runs.pace import Pace
from training.runs.recording import Recorder
from training.runs.run_folder import EventLog, RunFolder, events


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_speed_leaves_out_held_out_losses_and_checkpoints_and_time_left_does_not() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.begin(10)
    clock.now += 4
    first = pace.log(11, 20, 400)
    assert (first["seconds"], first["tokens_per_second"], first["seconds_left"]) == (4, 100.0, 36.0)
    with pace.apart():
        clock.now += 30
    clock.now += 2
    second = pace.log(12, 20, 800)
    assert (second["seconds"], second["tokens_per_second"]) == (6, 200.0)
    assert second["seconds_left"] == 32 * 8
    assert second["mfu"] is None
    assert second["mfu_reason"] == "the run has not begun"


def test_an_adapter_costs_four_operations_per_weight_and_full_training_six() -> None:
    sizes = {"parameters": 8e9, "layers": 32, "hidden": 4096, "length": 0}
    assert flops_per_token(trained=8e9, **sizes) == 6 * 8e9
    assert flops_per_token(trained=0, **sizes) == 4 * 8e9
    # NVIDIA reports 402 TFLOP/s at 12,473 tokens/s for LoRA on Llama 3 8B with sequences of 4,096.
    mine = flops_per_token(parameters=7.5e9, trained=4e7, layers=32, hidden=4096, length=4096)
    assert mine * 12_473 / 1e12 == pytest.approx(402, rel=0.05)


def test_the_peak_is_that_of_the_named_gpu() -> None:
    assert peak_of("NVIDIA H100 80GB HBM3").tflops == 989.4
    assert peak_of("NVIDIA H100 PCIe").tflops == 756.0
    assert peak_of("NVIDIA A100-SXM4-80GB").tflops == 312.0
    assert peak_of("NVIDIA L40S").tflops == 362.0
    assert peak_of("NVIDIA L4").tflops == 121.0
    assert peak_of("NVIDIA A10").tflops == 125.0
    assert peak_of("Some GPU").tflops is None
    assert "no GPU" in peak_of(None).reason
    assert utilisation(10_000, 5e10, peak_of("NVIDIA H100 80GB HBM3")) == pytest.approx(0.505, abs=1e-3)


def test_what_is_to_fall_is_the_objective_then_the_errors_then_the_loss() -> None:
    assert to_fall({"loss": 2.0, "accuracy": 0.75, "objective": 0.5}) == (0.5, "objective")
    assert to_fall({"loss": 2.0, "accuracy": 0.75}) == (0.25, "share of pairs got wrong")
    assert to_fall({"loss": 2.0, "accuracy": None}) == (2.0, "loss")
    assert to_fall({"step": 3})[0] is None


def test_patience_is_remembered_from_the_events_up_to_the_checkpoint() -> None:
    told = [
        {"type": "held_out", "step": s, "loss": x} for s, x in ((0, 1.0), (10, 3.0), (20, 2.0), (30, 2.5), (40, 2.6))
    ]
    best = Best.resumed(2, told, 30)
    assert (best.step, best.value, best.waited, best.over) == (20, 2.0, 1, False)
    best.add(40, {"loss": 2.6})
    assert best.over


def test_weights_are_copied_without_what_only_a_resumed_run_needs(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint-5"
    folder.mkdir()
    for name in ("model.safetensors", "config.json", "optimizer.pt", "scheduler.pt", "rng_state.pth", "complete"):
        (folder / name).touch()
    copy_weights(folder, tmp_path / "final")
    assert {path.name for path in (tmp_path / "final").iterdir()} == {"model.safetensors", "config.json"}


def recorder(tmp_path: Path, losses: list[float], **more: Any) -> Recorder:
    made = Recorder(EventLog(RunFolder(tmp_path)), lambda **_: None, stop_asked=lambda: False, eval_steps=1, **more)
    made.held_out = lambda model: {"loss": losses.pop(0)}
    return made


def stepped(made: Recorder, step: int, checkpoints: Path) -> Any:
    state = SimpleNamespace(global_step=step, max_steps=100, num_input_tokens_seen=0)
    control = SimpleNamespace(should_save=False, should_log=False, should_training_stop=False)
    made.on_step_end(SimpleNamespace(output_dir=str(checkpoints)), state, control, model=None)
    return control


def test_a_better_held_out_loss_is_saved_and_too_long_without_one_ends_the_run(tmp_path: Path) -> None:
    made = recorder(tmp_path, [3.0, 2.0, 2.1, 2.2], patience=2)
    controls = [stepped(made, step, tmp_path) for step in (1, 2, 3, 4)]
    assert [control.should_save for control in controls] == [True, True, False, False]
    assert [control.should_training_stop for control in controls] == [False, False, False, True]
    stopped = next(e for e in events(tmp_path) if e["type"] == "early_stop")
    assert (stopped["step"], stopped["best_step"], stopped["patience"]) == (4, 2, 2)
    assert made.best_checkpoint(tmp_path) is None  # not complete
    (tmp_path / "checkpoint-2").mkdir()
    (tmp_path / "checkpoint-2" / "complete").touch()
    assert made.best_checkpoint(tmp_path) == tmp_path / "checkpoint-2"


def test_without_patience_nothing_is_saved_for_a_held_out_loss(tmp_path: Path) -> None:
    made = recorder(tmp_path, [3.0, 2.0])
    assert not any(stepped(made, step, tmp_path).should_save for step in (1, 2))
    assert made.best_checkpoint(tmp_path) is None


def test_what_the_trainer_logs_is_told_under_names_without_slashes(tmp_path: Path) -> None:
    made = recorder(tmp_path, [])
    logs = {"loss": 1.0, "rewards/margins": 0.5, "rewards/length/mean": 0.2, "rewards/length/std": 0.1, "text": "x"}
    state = SimpleNamespace(global_step=1, max_steps=2, num_input_tokens_seen=0)
    made.on_log(None, state, SimpleNamespace(should_save=False), logs={**logs, "completions/mean_length": 12.0})
    (event,) = events(tmp_path)
    assert (event["reward_margins"], event["rewards"], event["answer_tokens"]) == (0.5, {"length": 0.2}, 12.0)
