"""What only a GPU shows: bf16, LoRA, QLoRA, packing and preferences on CUDA, a few steps each. Run with: -m gpu."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import WriteMix
from tests.training.test_training import CHAT, MATHS, PAIRS, trained_here
from training.config import TrainConfig
from training.runs.run_folder import events
from training.training import TrainReport


def _why_not() -> str | None:
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed"
    import torch

    if not torch.cuda.is_available():
        return "no CUDA device is visible here"
    return None if torch.cuda.is_bf16_supported() else "the CUDA device does not compute in bf16"


@pytest.fixture(scope="module", autouse=True)
def _gpu() -> None:
    reason = _why_not()
    if reason:
        pytest.skip(reason)


pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def mix(write_mix: WriteMix) -> Path:
    return write_mix(train=MATHS[:30] + CHAT[:30], eval=MATHS[30:40] + CHAT[30:40])


def steps(tiny_model: Path, mix: Path, run: Path, **fields: Any) -> TrainReport:
    base = {"adapter": "full", "max_length": 128, "batch_size": 8, "max_steps": 12, "save_steps": 6, "eval_steps": None}
    done = trained_here(mix, TrainConfig.checked({"base_model": str(tiny_model), **base, **fields}), run)
    assert done.state == "done", events(run)[-1]
    assert str(done.device).startswith("cuda")
    return done


def log_of(run: Path) -> dict[str, Any]:
    return [event for event in events(run) if event["type"] == "log"][-1]


def test_all_weights_train_in_bf16_with_masters_in_float32(tiny_model: Path, mix: Path, tmp_path: Path) -> None:
    from safetensors import safe_open

    done = steps(tiny_model, mix, tmp_path)
    assert done.losses[-1][1] < done.losses[0][1]
    assert done.peak_memory_gib is not None
    with safe_open(tmp_path / "final" / "model.safetensors", "pt") as weights:
        assert {str(weights.get_tensor(name).dtype) for name in weights.keys()} == {"torch.float32"}  # noqa: SIM118


def test_lora_trains_over_a_base_in_bf16(tiny_model: Path, mix: Path, tmp_path: Path) -> None:
    done = steps(tiny_model, mix, tmp_path, adapter="lora", learning_rate=5e-3)
    assert done.losses[-1][1] < done.losses[0][1]
    assert (tmp_path / "final" / "adapter_model.safetensors").exists()


def test_qlora_trains_over_a_base_in_4_bits(tiny_model: Path, mix: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    done = steps(tiny_model, mix, tmp_path, adapter="qlora", learning_rate=5e-3)
    assert done.losses[-1][1] < done.losses[0][1]
    assert (tmp_path / "final" / "adapter_model.safetensors").exists()


@pytest.mark.parametrize("packing", ["best-fit", "wrapped"])
def test_packed_samples_train(tiny_model: Path, mix: Path, tmp_path: Path, packing: str) -> None:
    done = steps(tiny_model, mix, tmp_path, packing=packing)
    assert done.losses[-1][1] < done.losses[0][1]


def test_packed_and_unpacked_samples_have_the_same_loss_in_bf16(tiny_model: Path, mix: Path, tmp_path: Path) -> None:
    one = {"max_steps": 1, "batch_size": 60}
    packed = steps(tiny_model, mix, tmp_path / "packed", **one)
    unpacked = steps(tiny_model, mix, tmp_path / "unpacked", **one, packing="none")
    assert packed.train_loss == pytest.approx(unpacked.train_loss, abs=0.02)


def test_preferences_train_an_adapter_on_a_gpu(tiny_model: Path, write_mix: WriteMix, tmp_path: Path) -> None:
    pairs = write_mix(train=PAIRS[:24], eval=PAIRS[24:])
    done = steps(tiny_model, pairs, tmp_path, method="dpo", adapter="lora", learning_rate=5e-3)
    assert done.losses[0][1] == pytest.approx(0.6931, abs=0.01)
    assert done.losses[-1][1] < 0.65
    assert done.held_out[-1]["accuracy"] > 0.5


def test_a_resumed_run_has_the_losses_of_an_uninterrupted_one_on_a_gpu(
    tiny_model: Path, mix: Path, tmp_path: Path
) -> None:
    import shutil

    whole = steps(tiny_model, mix, tmp_path / "whole")
    again = tmp_path / "again"
    steps(tiny_model, mix, again)
    # As a kill after the first checkpoint leaves it.
    shutil.rmtree(again / "checkpoints" / "checkpoint-12", ignore_errors=True)
    shutil.rmtree(again / "final")
    (again / "status.json").unlink()
    resumed = steps(tiny_model, mix, again)
    assert [loss for _, loss in resumed.losses] == pytest.approx([loss for _, loss in whole.losses], abs=1e-3)


def test_tokens_per_second_and_mfu_are_measured(tiny_model: Path, mix: Path, tmp_path: Path) -> None:
    steps(tiny_model, mix, tmp_path)
    log = log_of(tmp_path)
    assert log["tokens_per_second"] > 0
    assert log["mfu"] is not None or log["mfu_reason"]
