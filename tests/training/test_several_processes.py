from __future__ import annotations

import json
import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from curation.errors import WinnowError
from tests.training.conftest import WriteMix
from tests.training.test_training import CHAT, MATHS, trained_here, wait_for
from training.config import TrainConfig
from training.methods.method import Built
from training.runs.failures import explained
from training.runs.launching import (
    Machines,
    accelerate_config,
    check_launch,
    first_failure,
    is_launched,
    launch_command,
)
from training.runs.run_folder import RunFolder, events, status
from training.training import TrainReport, prepare, report, train
from training.worker import Worker

pytestmark = pytest.mark.usefixtures("alone")


@pytest.fixture(scope="module")
def mix(write_mix: WriteMix) -> Path:
    return write_mix(train=MATHS[:30] + CHAT[:30], eval=MATHS[30:40] + CHAT[30:40])


@pytest.fixture(scope="module")
def config(tiny_model: Path) -> TrainConfig:
    return TrainConfig(
        base_model=str(tiny_model),
        adapter="full",
        max_length=128,
        batch_size=2,
        processes=2,
        max_steps=6,
        save_steps=2,
        eval_steps=None,
        sample_answers=0,
    )


@pytest.fixture(scope="module")
def uninterrupted(mix: Path, config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> TrainReport:
    run = prepare(mix, config, tmp_path_factory.mktemp("two"))
    assert together(run) == [0, 0]
    return report(run.path)


def together(run: RunFolder, asked: Callable[[int, int], bool] = lambda rank, call: False) -> list[int | None]:
    """Two processes of this very program, which has loaded all it needs: a launcher would load it twice more.

    Args:
        run: what they train.
        asked: (number of the process, times it was asked before) -> whether it is to stop.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    fork = multiprocessing.get_context("fork")
    both = [fork.Process(target=_one_of_two, args=(run.path, rank, port, asked)) for rank in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(120)
    return [process.exitcode for process in both]


def _one_of_two(run: Path, rank: int, port: int, asked: Callable[[int, int], bool]) -> None:
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in numbers.items()}, MASTER_ADDR="127.0.0.1")
    calls = iter(range(1000))
    worked = Worker(run, stop_asked=lambda: asked(rank, next(calls))).work()
    os._exit(0 if worked else 1)


def test_two_processes_have_the_losses_of_one_with_twice_the_accumulation(
    mix: Path, config: TrainConfig, uninterrupted: TrainReport, tmp_path: Path
) -> None:
    one = trained_here(mix, config.model_copy(update={"processes": 1, "accumulation": 2}), tmp_path)
    assert uninterrupted.state == "done"
    assert [loss for _, loss in uninterrupted.losses] == pytest.approx([loss for _, loss in one.losses], abs=1e-4)
    assert uninterrupted.loss_by_source == pytest.approx(one.loss_by_source, abs=1e-4)
    assert uninterrupted.held_out[-1]["loss"] == pytest.approx(one.held_out[-1]["loss"], abs=1e-4)
    told = events(uninterrupted.run)
    assert len([e for e in told if e["type"] == "starting"]) == 1
    assert next(e for e in told if e["type"] == "launch")["sequences_per_step"] == 4


def test_a_lost_process_is_told_and_the_run_goes_on_from_the_last_checkpoint_as_if_nothing_had_been(
    mix: Path, config: TrainConfig, uninterrupted: TrainReport, tmp_path: Path
) -> None:
    def dies(rank: int, call: int) -> bool:
        if (rank, call) == (1, 5):
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    run = prepare(mix, config, tmp_path)
    assert together(run, dies) == [1, -signal.SIGKILL]
    ended = status(tmp_path)
    assert ended.state == "failed"
    assert "One of the processes of 2 was lost at step" in str(ended.message)
    assert "run the same command again, it goes on from checkpoint-4" in str(ended.fix)
    assert together(run) == [0, 0]
    assert report(tmp_path).losses == uninterrupted.losses


def test_a_process_that_is_asked_to_stop_stops_them_all_with_a_checkpoint(
    mix: Path, config: TrainConfig, tmp_path: Path
) -> None:
    run = prepare(mix, config, tmp_path)
    assert together(run, lambda rank, call: (rank, call) == (1, 3)) == [0, 0]
    stopped = report(tmp_path)
    assert (stopped.state, stopped.steps) == ("stopped", 3)
    assert str(stopped.checkpoint).endswith("checkpoint-3")


def test_why_another_process_failed_is_what_the_first_one_tells(mix: Path, config: TrainConfig, tmp_path: Path) -> None:
    def no_memory(rank: int, call: int) -> bool:
        if (rank, call) == (1, 3):
            raise MemoryError
        return False

    run = prepare(mix, config, tmp_path)
    assert together(run, no_memory) == [1, 1]
    assert str(status(tmp_path).message).startswith("Not enough memory with batch_size 2, max_length 128, full, strat")
    assert run.checkpoint() == tmp_path / "checkpoints" / "checkpoint-2"


@pytest.mark.launch
def test_the_launcher_says_which_process_was_killed_and_without_it_the_others_stop_with_a_checkpoint(
    mix: Path, config: TrainConfig, uninterrupted: TrainReport, tmp_path: Path
) -> None:
    longer = config.model_copy(update={"max_steps": 400})
    told: list[WinnowError] = []

    def call() -> None:
        with pytest.raises(WinnowError) as raised:
            train(mix, longer, tmp_path)
        told.append(raised.value)

    thread = threading.Thread(target=call)
    thread.start()
    wait_for(lambda: status(tmp_path).step >= 4)
    first = status(tmp_path).pid
    launchers = {pid for pid in _children(os.getpid()) if "accelerate.commands.launch" in _words(pid)}
    (second,) = {*_children(os.getpid())} - launchers - {first}
    os.kill(second, signal.SIGKILL)
    thread.join()
    assert "Process 2 of 2 was killed by signal 9 at step" in told[0].message
    assert status(tmp_path).message == told[0].message
    assert not _children(os.getpid())

    again = threading.Thread(target=train, args=(mix, longer, tmp_path))
    again.start()
    wait_for(lambda: status(tmp_path).state == "running" and status(tmp_path).step > 4)
    (launcher,) = {pid for pid in _children(os.getpid()) if "accelerate.commands.launch" in _words(pid)}
    os.kill(launcher, signal.SIGKILL)
    again.join()
    assert report(tmp_path).state == "stopped"
    assert report(tmp_path).checkpoint is not None


def _children(pid: int) -> list[int]:
    """Training processes below this one, by /proc."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents[int(entry.parent.name)] = int(fields[1])

    def below(child: int) -> bool:
        parent = parents.get(child, 0)
        return parent == pid or (parent > 1 and below(parent))

    return [child for child in parents if below(child) and "training.worker" in _words(child)]


def _words(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
    except OSError:
        return []


@pytest.mark.parametrize("offload", [False, True])
@pytest.mark.parametrize(
    "strategy, kind", [("ddp", "MULTI_GPU"), ("fsdp2", "FSDP"), ("zero2", "DEEPSPEED"), ("zero3", "DEEPSPEED")]
)
def test_what_is_written_for_accelerate_is_what_its_own_parser_reads(
    strategy: str, kind: str, offload: bool, tmp_path: Path
) -> None:
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser

    config = TrainConfig(
        base_model="m", processes=8, strategy=strategy, offload=offload and strategy != "ddp", accumulation=4
    )
    machines = Machines(2, 1, "10.0.0.1", 29500)
    (tmp_path / "accelerate.json").write_text(json.dumps(accelerate_config(config, machines)))
    read = load_config_from_file(str(tmp_path / "accelerate.json"))
    assert read.distributed_type.value == kind

    words = launch_command(tmp_path, config, machines)
    assert words[1:4] == ["-P", "-m", "accelerate.commands.launch"]
    parsed, _, _ = _validate_launch_command(launch_command_parser().parse_args(words[4:]))
    assert (parsed.num_processes, parsed.num_machines, parsed.machine_rank) == (8, 2, 1)
    assert (parsed.main_process_ip, parsed.main_process_port) == ("10.0.0.1", 29500)
    assert (parsed.module, parsed.training_script, parsed.training_script_args) == (
        True,
        "training.worker",
        [str(tmp_path)],
    )
    if strategy == "fsdp2":
        assert (parsed.use_fsdp, parsed.fsdp_version, parsed.fsdp_offload_params) == (True, 2, offload)
    if kind == "DEEPSPEED":
        where = "cpu" if offload else "none"
        assert (parsed.zero_stage, parsed.offload_optimizer_device) == (int(strategy[-1]), where)
        assert parsed.offload_param_device == (where if strategy == "zero3" else "none")
        # The trainer says them: best-fit accumulates more than the config does.
        assert (parsed.gradient_accumulation_steps, parsed.gradient_clipping) == (None, None)


def test_the_sequences_of_a_step_are_those_of_the_trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import TrainingArguments

    monkeypatch.setenv("WORLD_SIZE", "2")
    # Whole groups of eight answers take four times the accumulation that was asked for.
    grpo = TrainConfig(base_model="m", method="grpo", batch_size=1, processes=2, answers_per_prompt=8)
    RunFolder(tmp_path).write("config.json", grpo.model_dump(mode="json"))
    with monkeypatch.context() as alone:
        alone.delenv("WORLD_SIZE")
        arguments = TrainingArguments(
            str(tmp_path), per_device_train_batch_size=1, gradient_accumulation_steps=4, use_cpu=True
        )
    Worker(tmp_path)._tell_launch(Built(SimpleNamespace(args=arguments)))
    assert next(e for e in events(tmp_path) if e["type"] == "launch")["sequences_per_step"] == 8


def test_weights_that_are_spread_go_through_the_launcher_also_with_one_process() -> None:
    assert not is_launched(TrainConfig(base_model="m"))
    assert is_launched(TrainConfig(base_model="m", strategy="zero3", offload=True))
    assert launch_command(Path("/run"), TrainConfig(base_model="m"))[1:] == ["-P", "-m", "training.worker", "/run"]


@pytest.mark.parametrize(
    "change, message, fix",
    [
        ({"offload": True}, "Nothing can be offloaded with strategy ddp", "take strategy fsdp2, zero2 or zero3"),
        ({"strategy": "zero3"}, "Strategy zero3 needs DeepSpeed, which is not installed", "pip install deepspeed"),
    ],
)
def test_a_strategy_that_cannot_be_is_told_before_anything_starts(
    change: dict[str, object], message: str, fix: str
) -> None:
    with pytest.raises(WinnowError, match=message) as raised:
        check_launch(TrainConfig(base_model="m", processes=2).model_copy(update=change))
    assert raised.value.fix.startswith(fix)


def test_machines_that_do_not_know_each_other_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_MACHINES", "2")
    with pytest.raises(WinnowError, match="2 machines train together") as raised:
        Machines.here()
    assert "WINNOW_MAIN_ADDRESS=HOST:PORT" in raised.value.fix
    monkeypatch.setenv("WINNOW_MAIN_ADDRESS", "node0:29500")
    monkeypatch.setenv("WINNOW_MACHINE_RANK", "1")
    assert Machines.here() == Machines(2, 1, "node0", 29500)
    with pytest.raises(WinnowError, match="3 processes can't be spread evenly over 2 machines"):
        check_launch(TrainConfig(base_model="m", processes=3))


def test_spread_weights_need_gpus(mix: Path, config: TrainConfig, tmp_path: Path) -> None:
    done = trained_here(mix, config.model_copy(update={"strategy": "fsdp2", "processes": 1}), tmp_path)
    assert done.state == "failed"
    assert str(status(tmp_path).message).startswith("Strategy fsdp2 spreads a model over GPUs, and there is none here")


def test_the_launcher_names_the_process_that_ended_first(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(
        "Root Cause (first observed failure):\n[0]:\n  time      : 2026-11-21_18:00:00\n  host      : here\n"
        "  rank      : 3 (local_rank: 1)\n  exitcode  : -9 (pid: 17)\n"
    )
    assert first_failure(RunFolder(tmp_path)) == (3, -9)
    (tmp_path / "log.txt").write_text("nothing of it")
    assert first_failure(RunFolder(tmp_path)) is None


def test_a_broken_connection_means_a_lost_process_only_where_there_are_several(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = RuntimeError("[../pair.cc:537] Connection closed by peer [127.0.0.1]:2")
    assert explained(broken, config, RunFolder(tmp_path)).message.startswith("Training failed")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert explained(broken, config, RunFolder(tmp_path)).message.startswith("One of the processes of 2 was lost")
