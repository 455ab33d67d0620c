from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from curation.errors import WinnowError
from tests.training.conftest import WriteMix
from training.config import TrainConfig
from training.data.mix_folder import MixFolder
from training.evaluation import evaluate, evaluation
from training.runs.launching import held
from training.runs.run_folder import RunFolder, events, process_start, status, stop
from training.training import TrainReport, prepare, report, train
from training.worker import Worker, explained

MATHS = [
    {
        "id": f"m{i}",
        "source": "maths",
        "messages": [{"role": "user", "content": f"{i} plus 1?"}, {"role": "assistant", "content": str(i + 1)}],
    }
    for i in range(60)
]
CHAT = [
    {
        "id": f"c{i}",
        "source": "聊天",
        "messages": [
            {"role": "user", "content": "你好" * (i % 5 + 1)},
            {"role": "assistant", "content": "你好！" * (i % 7 + 1)},
        ],
    }
    for i in range(60)
]
PAIRS = [
    {
        "id": f"p{i}",
        "source": "pairs",
        "prompt": [{"role": "user", "content": f"Say {word}"}],
        "chosen": [{"role": "assistant", "content": word}],
        "rejected": [{"role": "assistant", "content": word[::-1] + "?"}],
    }
    for i, word in enumerate(["yes", "hello", "good", "winter", "kettle", "orange"] * 6)
]


pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture(scope="module")
def mix(write_mix: WriteMix) -> Path:
    return write_mix(
        train=MATHS[:30] + CHAT[:30], eval=MATHS[30:40] + CHAT[30:40], random=CHAT[40:] + MATHS[40:] + CHAT[:20]
    )


@pytest.fixture(scope="module")
def config(tiny_model: Path) -> TrainConfig:
    return TrainConfig(
        base_model=str(tiny_model),
        adapter="full",
        max_length=128,
        batch_size=2,
        max_steps=60,
        save_steps=5,
        eval_steps=None,
    )


def trained_here(mix: Path, config: TrainConfig, run: Path) -> TrainReport:
    """A run in this process: it saves the start of another one."""
    Worker(prepare(mix, config, run).path).work()
    return report(run)


def wait_for(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def in_thread(function: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    result: list[Any] = []

    def call() -> None:
        try:
            result.append(function())
        except WinnowError as error:
            result.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    return thread, result


@pytest.fixture(scope="module")
def uninterrupted(mix: Path, config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> TrainReport:
    return trained_here(mix, config, tmp_path_factory.mktemp("uninterrupted"))


def test_a_run_reports_what_it_did(uninterrupted: TrainReport) -> None:
    assert (uninterrupted.state, uninterrupted.steps, uninterrupted.rows, uninterrupted.dropped) == ("done", 60, 60, {})
    assert [step for step, _ in uninterrupted.losses] == list(range(1, 61))
    assert uninterrupted.losses[-1][1] < uninterrupted.losses[0][1] - 0.5
    before, after = uninterrupted.held_out
    assert (before["step"], after["step"]) == (0, 60)
    assert after["loss_by_source"].keys() == {"maths", "聊天"}
    assert after["loss"] < before["loss"]
    assert "models this small" in str(uninterrupted.learning_rate_reason)
    assert uninterrupted.checkpoint is not None
    assert (Path(uninterrupted.checkpoint) / "tokenizer.json").exists()


def test_losses_by_source_weighted_by_tokens_are_the_loss(uninterrupted: TrainReport) -> None:
    logs = [e for e in events(uninterrupted.run) if e["type"] == "log"]
    assert len(logs) == 60
    for log in logs:
        tokens = log["tokens_by_source"]
        weighted = sum(log["loss_by_source"][s] * tokens[s] for s in tokens) / sum(tokens.values())
        assert weighted == pytest.approx(log["loss"], abs=1e-9)


def test_a_killed_run_is_followed_by_two_and_ends_with_the_losses_of_an_uninterrupted_one(
    mix: Path, config: TrainConfig, uninterrupted: TrainReport, tmp_path: Path
) -> None:
    first, killed = in_thread(lambda: train(mix, config, tmp_path))
    wait_for(lambda: status(tmp_path).step >= 12)
    os.kill(status(tmp_path).pid or 0, signal.SIGKILL)
    first.join()
    assert isinstance(killed[0], WinnowError)
    assert killed[0].message.startswith("The training process was killed by signal 9 at step")
    assert "run the same command again, it goes on from checkpoint-" in killed[0].fix
    assert status(tmp_path).state == "died"

    second, resumed = in_thread(lambda: train(mix, config, tmp_path))
    wait_for(lambda: status(tmp_path).live)
    attached = train(mix, config, tmp_path)
    second.join()
    assert attached == resumed[0]
    assert attached.state == "done"
    assert attached.losses == uninterrupted.losses
    assert attached.held_out == uninterrupted.held_out
    begun = [e["from_step"] for e in events(tmp_path) if e["type"] == "train_begin"]
    assert begun[0] == 0
    assert begun[1] >= 10


def test_a_stopped_run_goes_on_from_where_it_stopped(
    mix: Path, config: TrainConfig, uninterrupted: TrainReport, tmp_path: Path
) -> None:
    run = prepare(mix, config, tmp_path)
    working = threading.Thread(target=Worker(run.path).work)
    working.start()
    wait_for(lambda: status(tmp_path).step >= 3)
    stop(tmp_path)
    working.join()
    stopped = report(tmp_path)
    assert stopped.state == "stopped"
    assert stopped.steps < 60
    assert stopped.checkpoint == str(tmp_path / "checkpoints" / f"checkpoint-{stopped.steps}")
    run.stop_file.unlink()
    assert trained_here(mix, config, tmp_path).losses == uninterrupted.losses


def test_a_finished_run_is_reported_at_once(mix: Path, config: TrainConfig, uninterrupted: TrainReport) -> None:
    before = (Path(uninterrupted.run) / "events.jsonl").read_bytes()
    assert train(mix, config, uninterrupted.run) == uninterrupted
    assert (Path(uninterrupted.run) / "events.jsonl").read_bytes() == before


def test_a_run_folder_keeps_its_config_and_its_data(
    mix: Path, config: TrainConfig, uninterrupted: TrainReport, write_mix: WriteMix
) -> None:
    with pytest.raises(WinnowError, match=r"was begun with seed = 0, not 1\.\n  fix: give another run folder"):
        train(mix, config.model_copy(update={"seed": 1}), uninterrupted.run)
    with pytest.raises(WinnowError, match=r"train\.jsonl is not what the run .* was begun with"):
        train(write_mix(train=MATHS), config, uninterrupted.run)


def test_of_two_calls_with_different_configs_one_begins_the_run_and_the_other_is_refused(
    mix: Path, config: TrainConfig, tmp_path: Path
) -> None:
    run = prepare(mix, config, tmp_path)
    with held(run):  # as a call has it that is about to start its process
        other, refused = in_thread(lambda: train(mix, config.model_copy(update={"seed": 1}), tmp_path))
        time.sleep(0.5)
        assert run.read("config.json")["seed"] == 0
        run.write("status.json", {"state": "starting", "pid": os.getpid(), "process_start": process_start(os.getpid())})
    other.join()
    assert "was begun with seed = 0, not 1" in refused[0].message
    assert run.read("config.json")["seed"] == 0


def test_packed_and_unpacked_samples_have_the_same_loss(mix: Path, config: TrainConfig, tmp_path: Path) -> None:
    whole = config.model_copy(update={"max_steps": 1, "batch_size": 60})
    packed = trained_here(mix, whole, tmp_path / "packed")
    unpacked = trained_here(mix, whole.model_copy(update={"packing": "none"}), tmp_path / "unpacked")
    assert packed.train_loss == pytest.approx(unpacked.train_loss, abs=1e-5)
    assert packed.loss_by_source == pytest.approx(unpacked.loss_by_source, abs=1e-5)
    told = next(e for e in events(tmp_path / "packed") if e["type"] == "loaded")
    assert told["packed_rows"] < 40
    assert told["fill"] > 0.8


def test_preferences_train_an_adapter_against_the_base(
    write_mix: WriteMix, config: TrainConfig, tmp_path: Path
) -> None:
    mix = write_mix(train=PAIRS[:24], eval=PAIRS[24:])
    dpo = config.model_copy(
        update={"method": "dpo", "adapter": "lora", "max_steps": 12, "batch_size": 8, "learning_rate": 5e-3}
    )
    done = trained_here(mix, dpo, tmp_path)
    assert done.state == "done"
    assert done.losses[0][1] == pytest.approx(0.693147, abs=1e-5)
    assert done.losses[-1][1] < 0.6
    assert done.held_out[0]["accuracy"] is None
    assert done.held_out[-1]["accuracy"] > 0.8
    assert (tmp_path / "final" / "adapter_config.json").exists()
    judged = evaluate([tmp_path]).runs[0]
    assert judged.preference is not None
    assert judged.preference.trained == done.held_out[-1]["accuracy"]
    assert judged.preference.trained_interval[0] > 0.5
    assert judged.reason == "random: the mix has no random.jsonl"


def test_a_run_is_judged_against_its_base_and_random_samples_of_as_many_tokens(
    mix: Path, config: TrainConfig, uninterrupted: TrainReport
) -> None:
    arm = trained_here(mix, config.model_copy(update={"arm": "random"}), Path(uninterrupted.run) / "random")
    assert abs(arm.tokens - uninterrupted.tokens) < 60
    judged = evaluate([uninterrupted.run]).runs[0]
    assert judged.overall is not None
    assert judged.overall.random is not None
    assert judged.overall.examples == 20
    assert judged.overall.base == pytest.approx(uninterrupted.held_out[0]["loss"], abs=1e-5)
    assert judged.overall.trained == pytest.approx(uninterrupted.held_out[-1]["loss"], abs=1e-5)
    assert judged.overall.random == pytest.approx(arm.held_out[-1]["loss"], abs=1e-5)
    assert [row.source for row in judged.rows] == ["maths", "聊天"]
    assert (judged.tokens, judged.random_tokens) == (uninterrupted.tokens, arm.tokens)
    assert judged.verdict.split(":")[0] in ("better than random", "worse than random", "not proven")
    assert (evaluation(uninterrupted.run) or {})["verdict"] == judged.verdict


def test_without_held_out_rows_the_evaluation_says_so(write_mix: WriteMix, config: TrainConfig, tmp_path: Path) -> None:
    trained_here(write_mix(train=MATHS[:8]), config.model_copy(update={"max_steps": 1}), tmp_path)
    judged = evaluate([tmp_path]).runs[0]
    assert (judged.overall, judged.rows) == (None, [])
    assert judged.verdict == "not measured: the mix has no held-out rows"


def test_a_loss_that_is_no_number_ends_the_run_before_it_spoils_a_checkpoint(
    mix: Path, config: TrainConfig, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    wild = config.model_copy(update={"learning_rate": 1e30, "save_steps": 1, "warmup_ratio": 0.0})
    trained_here(mix, wild, tmp_path)
    ended = status(tmp_path)
    assert ended.state == "failed"
    assert ended.message is not None
    assert ended.message.startswith("Training diverged: ")
    assert ended.fix is not None
    assert ended.fix.startswith("lower the learning rate (it was")
    assert "Traceback" in capfd.readouterr().err
    failed = next(e for e in events(tmp_path) if e["type"] == "failed")
    assert (failed["message"], failed["fix"]) == (ended.message, ended.fix)


@pytest.mark.parametrize(
    "files, change, message",
    [
        ({"train": MATHS}, {"method": "dpo"}, r"dpo takes the formats preference; the mix .* has 'messages'"),
        ({"train": []}, {}, "has no rows to train on"),
        ({}, {}, r"There is no train\.jsonl in"),
        ({"train": [{"a": 1}]}, {}, r"train\.jsonl:1 has the columns a, which no known format has"),
        ({"train": MATHS}, {"arm": "random"}, r"has no random\.jsonl"),
        ({"train": MATHS}, {"base_model": "./no/such/model"}, "There is no base model at ./no/such/model"),
    ],
)
def test_what_can_be_known_at_once_is_told_in_two_lines(
    files: dict[str, Any],
    change: dict[str, Any],
    message: str,
    write_mix: WriteMix,
    config: TrainConfig,
    tmp_path: Path,
) -> None:
    with pytest.raises(WinnowError, match=message) as raised:
        train(write_mix(**files), config.model_copy(update=change), tmp_path / "run")
    assert raised.value.fix
    assert not (tmp_path / "run" / "status.json").exists()


def test_a_base_model_that_is_no_model_is_told_by_the_process(
    mix: Path, config: TrainConfig, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "empty" / name).write_text("{}")
    trained_here(mix, config.model_copy(update={"base_model": str(tmp_path / "empty")}), tmp_path / "run")
    assert status(tmp_path / "run").state == "failed"
    assert "could not be opened" in str(status(tmp_path / "run").message)
    # Nothing was trained: the same folder takes a better config.
    assert prepare(mix, config, tmp_path / "run").read("config.json")["base_model"] == config.base_model


def test_memory_and_disk_that_run_out_are_told_in_two_lines(config: TrainConfig, tmp_path: Path) -> None:
    import torch

    run = RunFolder(tmp_path)
    memory = explained(torch.OutOfMemoryError("CUDA out of memory."), config, run)
    assert memory.message == "Not enough memory with batch_size 2, max_length 128, full."
    assert "use adapter lora" in memory.fix
    assert explained(OSError(errno.ENOSPC, "No space left on device"), config, run).message.startswith(
        "The disk is full"
    )
    assert explained(KeyError("x"), config, run).fix == f"read {tmp_path / 'log.txt'}"


def test_the_learning_rate_is_chosen_with_its_reason_unless_it_is_given(config: TrainConfig) -> None:
    lora = TrainConfig(base_model="m", adapter="lora")
    assert lora.rate(8_000_000_000)[0] == 2e-4
    assert "ten times the full rate" in lora.rate(8_000_000_000)[1]
    assert TrainConfig(base_model="m", adapter="full").rate(8_000_000_000)[0] == 5e-6
    assert TrainConfig(base_model="m", learning_rate=1e-3).rate(1) == (1e-3, "given in the config")


def test_a_config_is_a_file_and_names_the_field_that_is_wrong(config: TrainConfig, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(config.to_json())
    assert TrainConfig.from_file(path) == config
    path.write_text('{"base_model": "m", "epoch": 2}')
    with pytest.raises(WinnowError, match="training config has no parameter 'epoch'"):
        TrainConfig.from_file(path)


def test_every_format_of_a_mix_is_known_by_its_columns(write_mix: WriteMix) -> None:
    assert MixFolder(write_mix(train=PAIRS)).format == "preference"
    assert MixFolder(write_mix(train=MATHS)).format == "messages"
    assert MixFolder(write_mix(train=[{"instruction": "a", "output": "b"}])).format == "alpaca"


def test_the_command_offers_every_method_and_adapter() -> None:
    from typing import get_args

    from studio.commands.tuning import ADAPTERS, METHODS

    assert get_args(TrainConfig.model_fields["method"].annotation) == METHODS
    assert get_args(TrainConfig.model_fields["adapter"].annotation) == ADAPTERS
