from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curation.errors import WinnowError
from tests.training.conftest import WriteMix, byte_tokenizer
from tests.training.test_training import CHAT, MATHS, trained_here
from training.config import TrainConfig
from training.methods.opening import check_base_model, open_model, open_tokenizer
from training.runs.failures import explained
from training.runs.run_folder import RunFolder, status
from training.training import TrainReport, prepare, report
from training.worker import Worker

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture(scope="module")
def mix(write_mix: WriteMix) -> Path:
    return write_mix(train=MATHS[:30] + CHAT[:30])


@pytest.fixture(scope="module")
def config(tiny_model: Path) -> TrainConfig:
    return TrainConfig(
        base_model=str(tiny_model), adapter="full", max_length=128, batch_size=2, max_steps=8, save_steps=2
    )


@pytest.fixture(scope="module")
def uninterrupted(mix: Path, config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> TrainReport:
    return trained_here(mix, config, tmp_path_factory.mktemp("uninterrupted"))


def fails_at(step: int, error: Callable[[], Exception]) -> Callable[[], bool]:
    """What a worker asks after every step; it was asked once before the first."""
    calls = iter(range(1000))

    def asked() -> bool:
        if next(calls) == step:
            raise error()
        return False

    return asked


def out_of_gpu_memory() -> Exception:
    import torch

    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def out_of_memory_in_words() -> Exception:
    return RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later")


def out_of_cpu_memory() -> Exception:
    """As torch says it."""
    import torch

    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 50)
    return raised.value


def test_memory_that_runs_out_leaves_the_last_checkpoint_from_which_the_run_goes_on(
    mix: Path, config: TrainConfig, uninterrupted: TrainReport, tmp_path: Path
) -> None:
    run = prepare(mix, config, tmp_path)
    assert not Worker(run.path, stop_asked=fails_at(5, out_of_gpu_memory)).work()
    ended = status(tmp_path)
    assert ended.state == "failed"
    assert ended.message == "Not enough memory with batch_size 2, max_length 128, full."
    assert ended.fix == (
        "lower max_length, set activation_checkpointing on, use adapter lora; the last checkpoint is kept"
    )
    assert run.checkpoint() == tmp_path / "checkpoints" / "checkpoint-4"
    assert trained_here(mix, config, tmp_path).losses == uninterrupted.losses


@pytest.mark.parametrize("error", [out_of_gpu_memory, out_of_cpu_memory, out_of_memory_in_words, MemoryError])
def test_memory_that_runs_out_is_known_by_what_is_raised(
    error: Callable[[], Exception], config: TrainConfig, tmp_path: Path
) -> None:
    assert explained(error(), config, RunFolder(tmp_path)).message.startswith("Not enough memory with batch_size 2")


def test_what_saves_memory_depends_on_what_goes_through_the_model_at_a_time(tmp_path: Path) -> None:
    def fix(**fields: Any) -> str:
        return explained(MemoryError(), TrainConfig(base_model="m", adapter="lora", **fields), RunFolder(tmp_path)).fix

    assert fix(packing="best-fit") == ("lower max_length, set activation_checkpointing on; the last checkpoint is kept")
    assert fix(packing="none").startswith("halve batch_size and double accumulation, lower max_length, set")
    assert fix(method="dpo").startswith("halve batch_size and double accumulation")
    assert fix(packing="none", batch_size=1).startswith("lower max_length, set")


def test_a_disk_that_fills_while_a_checkpoint_is_written_leaves_the_one_before_and_no_half_of_the_new(
    mix: Path, config: TrainConfig, uninterrupted: TrainReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    save = torch.save

    def save_on_a_full_disk(content: Any, file: Any, *args: Any, **rest: Any) -> None:
        if "checkpoint-6" in str(file):
            Path(str(file)).write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(content, file, *args, **rest)

    run = prepare(mix, config, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", save_on_a_full_disk)
        assert not Worker(run.path).work()
    assert str(status(tmp_path).message).startswith("The disk is full: ")
    assert status(tmp_path).fix == "free some space and run the same command again"
    assert sorted(p.name for p in run.checkpoints.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-4"]
    assert trained_here(mix, config, tmp_path).losses == uninterrupted.losses


def test_what_libraries_say_of_a_full_disk_is_understood(config: TrainConfig, tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    said = Exception("Error while serializing: I/O error: No space left on device (os error 28)")
    assert explained(said, config, run).message.startswith("The disk is full")


def test_a_base_model_without_a_chat_template_is_trained_with_a_plain_one_and_a_note(
    tiny_model: Path, mix: Path, config: TrainConfig, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(tiny_model, bare, ignore=shutil.ignore_patterns("chat_template.jinja", "tokenizer*"))
    byte_tokenizer(None).save_pretrained(bare)
    done = trained_here(mix, config.model_copy(update={"base_model": str(bare), "max_steps": 1}), tmp_path / "run")
    assert done.state == "done"
    assert any("has no chat template" in note for note in done.notes)
    assert "im_start" in (tmp_path / "run" / "final" / "chat_template.jinja").read_text()


def test_a_base_model_without_its_weights_is_told_before_anything_starts(
    tiny_model: Path, mix: Path, config: TrainConfig, tmp_path: Path
) -> None:
    empty, bare, sharded = tmp_path / "empty", tmp_path / "bare", tmp_path / "sharded"
    empty.mkdir()
    with pytest.raises(WinnowError, match=r"empty is no model: it has no config\.json"):
        check_base_model(str(empty))
    shutil.copytree(tiny_model, bare, ignore=shutil.ignore_patterns("*.safetensors"))
    with pytest.raises(WinnowError, match="bare is incomplete: a file of weights is missing") as raised:
        prepare(mix, config.model_copy(update={"base_model": str(bare)}), tmp_path / "run")
    assert raised.value.fix.startswith("copy or download the folder again")
    shutil.copytree(tiny_model, sharded)
    index = {"weight_map": {"a": "model.safetensors", "b": "model-00002.safetensors", "c": "model-00003.safetensors"}}
    (sharded / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(WinnowError, match=r"model-00002\.safetensors \(and 1 more\) is missing"):
        check_base_model(str(sharded))
    assert not (tmp_path / "run").exists()


def test_a_base_model_with_too_few_or_broken_weights_is_not_trained_from_random_numbers(
    tiny_model: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    fewer, broken = tmp_path / "fewer", tmp_path / "broken"
    shutil.copytree(tiny_model, fewer)
    weights = load_file(fewer / "model.safetensors")
    gone = next(name for name in weights if "mlp" in name)
    save_file({k: v for k, v in weights.items() if k != gone}, fewer / "model.safetensors", {"format": "pt"})
    with pytest.raises(WinnowError, match=f"has no weights for 1 of its parameters, such as {gone}"):
        open_model(str(fewer))
    shutil.copytree(tiny_model, broken)
    (broken / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(WinnowError, match="could not be opened"):
        open_model(str(broken))


def test_a_damaged_adapter_or_tokenizer_is_told_in_two_lines(tiny_model: Path, tmp_path: Path) -> None:
    config = tmp_path / "adapter_config.json"
    (tmp_path / "adapter_model.safetensors").write_bytes(b"\0" * 100)
    config.write_text(json.dumps({"base_model_name_or_path": str(tiny_model), "peft_type": "LORA", "r": 4}))
    with pytest.raises(WinnowError, match=r"The adapter of the base model .* could not be opened"):
        open_model(str(tmp_path))
    for content in ("", "{}", "[]"):
        config.write_text(content)
        with pytest.raises(WinnowError, match=r"The adapter_config\.json of .* can't be read"):
            open_model(str(tmp_path))
    shutil.copytree(tiny_model, tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").write_text("{}")
    with pytest.raises(WinnowError, match=r"The tokenizer of the base model .* could not be opened"):
        open_tokenizer(str(tmp_path / "model"))


def test_a_run_that_failed_before_it_learnt_anything_is_reported_without_numbers(
    mix: Path, config: TrainConfig, tmp_path: Path
) -> None:
    run = prepare(mix, config, tmp_path)
    assert not Worker(run.path, stop_asked=fails_at(0, MemoryError)).work()
    failed = report(tmp_path)
    assert (failed.state, failed.train_loss, failed.tokens_per_second, failed.checkpoint) == (
        "failed",
        None,
        None,
        None,
    )
