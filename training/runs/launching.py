"""Starting the process that trains, or the launcher of several.

One process is `python -m training.worker RUN`. Several, and weights that are spread or kept in CPU memory, go through
`accelerate launch` with a config that is written into the run's folder (`accelerate.json`): one line that anybody can
type, on every machine.

Several machines share the run's folder, and each runs the same command. Environment variables tell them apart:
`WINNOW_MACHINES` (how many), `WINNOW_MACHINE_RANK` (0 is the one that decides and writes), `WINNOW_MAIN_ADDRESS`
(HOST:PORT of machine 0, which the others can reach).

`batch_size` and `accumulation` are those of each process: a step has batch_size x accumulation x processes sequences.
Twice as many processes with half the accumulation give the same steps.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from curation.errors import WinnowError
from training.config import TrainConfig
from training.runs.ranks import is_first
from training.runs.run_folder import RunFolder, process_start, status

POLL_SECONDS = 0.2
START_SECONDS = 60.0
"""Longest wait for a process that is ending, or is being started by somebody else."""
LAUNCH_FILE = "accelerate.json"
HELD = "WINNOW_HELD"
"""Environment variable: the run whose lock the starter has handed on."""

_FIRST_FAILURE = re.compile(r"rank\s*:\s*(\d+)[^\n]*\n\s*exitcode\s*:\s*(-?\d+)")
"""In what torch's launcher prints when a process of its ends."""


@dataclass(frozen=True, slots=True)
class Machines:
    """Who trains together."""

    count: int = 1
    rank: int = 0
    address: str | None = None
    """HOST of machine 0; null with one machine."""
    port: int = 0
    """0: any free one."""

    @classmethod
    def here(cls) -> Machines:
        """As the environment says.

        Raises:
            WinnowError: it is not complete, or a number is none.
        """
        count, rank = _number("WINNOW_MACHINES", 1), _number("WINNOW_MACHINE_RANK", 0)
        if count == 1:
            return cls()
        host, colon, port = os.environ.get("WINNOW_MAIN_ADDRESS", "").rpartition(":")
        if not colon or not port.isdigit() or not 0 <= rank < count:
            raise WinnowError(
                f"{count} machines train together, but which is which is not said: machine {rank}, "
                f"main address {os.environ.get('WINNOW_MAIN_ADDRESS')!r}.",
                fix="set WINNOW_MAIN_ADDRESS=HOST:PORT of machine 0, and WINNOW_MACHINE_RANK=0, 1, ... on each",
            )
        return cls(count, rank, host, int(port))


def is_launched(config: TrainConfig) -> bool:
    """Whether a launcher starts the run: with several processes, or where DeepSpeed or FSDP holds the weights."""
    return config.processes > 1 or config.strategy != "ddp"


def check_launch(config: TrainConfig) -> None:
    """What can be known of processes and strategy before anything is started.

    Raises:
        WinnowError: the combination can't train, or a package is missing.
    """
    machines = Machines.here()
    if config.offload and config.strategy == "ddp":
        raise WinnowError(
            "Nothing can be offloaded with strategy ddp: every process holds the whole model.",
            fix="take strategy fsdp2, zero2 or zero3, or offload=false",
        )
    if config.strategy in ("zero2", "zero3") and importlib.util.find_spec("deepspeed") is None:
        raise WinnowError(
            f"Strategy {config.strategy} needs DeepSpeed, which is not installed.",
            fix="pip install deepspeed, or take strategy fsdp2",
        )
    if machines.count > 1 and config.processes % machines.count:
        raise WinnowError(
            f"{config.processes} processes can't be spread evenly over {machines.count} machines.",
            fix=f"set processes to a multiple of {machines.count}: it counts those of all machines",
        )


def accelerate_config(config: TrainConfig, machines: Machines) -> dict[str, Any]:
    """What `accelerate launch` reads. Precision is left to the trainer, which knows the GPU."""
    common = {
        "compute_environment": "LOCAL_MACHINE",
        "debug": False,
        "machine_rank": machines.rank,
        "main_process_port": machines.port,
        "main_training_function": "main",
        "mixed_precision": "no",
        "num_machines": machines.count,
        "num_processes": config.processes,
        "rdzv_backend": "static",
        "same_network": True,
        "use_cpu": False,
        **({"main_process_ip": machines.address} if machines.address else {}),
    }
    if config.strategy == "fsdp2":
        return {**common, "distributed_type": "FSDP", "fsdp_config": _fsdp(config)}
    if config.strategy in ("zero2", "zero3"):
        return {**common, "distributed_type": "DEEPSPEED", "deepspeed_config": _deepspeed(config)}
    # Also without a GPU: the trainer then takes gloo.
    return {**common, "distributed_type": "MULTI_GPU"}


def _fsdp(config: TrainConfig) -> dict[str, Any]:
    return {
        "fsdp_version": 2,
        "fsdp_auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
        "fsdp_activation_checkpointing": False,  # the trainer's own switch decides
        # Every process opens the model before it knows the others.
        "fsdp_cpu_ram_efficient_loading": False,
        "fsdp_offload_params": config.offload,
        "fsdp_reshard_after_forward": True,
        "fsdp_state_dict_type": "FULL_STATE_DICT",
    }


def _deepspeed(config: TrainConfig) -> dict[str, Any]:
    third = config.strategy == "zero3"
    where = "cpu" if config.offload else "none"
    return {
        "zero_stage": 3 if third else 2,
        "offload_optimizer_device": where,
        "offload_param_device": where if third else "none",
        "zero3_init_flag": False,
        # Accumulation and clipping are left to the trainer, whose own may differ from the config's: DeepSpeed compares.
        "deepspeed_multinode_launcher": "standard",
        **({"zero3_save_16bit_model": True} if third else {}),
    }


def launch_command(run: Path, config: TrainConfig, machines: Machines | None = None) -> list[str]:
    """What starts the run at `run`: the words of a command line."""
    worker = ["-m", "training.worker", str(run)]
    if not is_launched(config):
        return [sys.executable, "-P", *worker]
    machines = machines or Machines.here()
    where = [
        *("--num_processes", str(config.processes), "--num_machines", str(machines.count)),
        *("--machine_rank", str(machines.rank)),
        *(("--main_process_ip", machines.address) if machines.address else ()),
        *("--main_process_port", str(machines.port)),
    ]
    return [
        *(sys.executable, "-P", "-m", "accelerate.commands.launch"),
        *("--config_file", str(run / LAUNCH_FILE), *where, *worker),
    ]


def shown(command: list[str]) -> str:
    """A command as one types it."""
    return shlex.join(command)


@contextmanager
def held(run: RunFolder) -> Iterator[IO[str] | None]:
    """Hold the lock of a run, so that nobody else begins it; null when a live process has it.

    Raises:
        WinnowError: a process that does not train holds the run.
    """
    rank = Machines.here().rank
    run.path.mkdir(parents=True, exist_ok=True)
    with (run.path / (".lock" if rank == 0 else f".lock-{rank}")).open("w") as lock:
        yield lock if _locked(lock, run) else None


@contextmanager
def held_by_worker(run: RunFolder) -> Iterator[None]:
    """Hold the lock in the process that trains, where whoever started it does not: it was typed, or in a job's script.

    Raises:
        WinnowError: another process trains the run.
    """
    if os.environ.get(HELD) == str(run.path) or not is_first():
        yield
        return
    with held(run) as lock:
        if lock is None:
            raise WinnowError(
                f"Another process trains the run {run.path} already.",
                fix="follow it by the winnow train command that it was begun with",
            )
        _forget(run)
        yield


def start(run: RunFolder, config: TrainConfig, lock: IO[str]) -> subprocess.Popen[bytes]:
    """Start the process, or the launcher; it keeps the lock of the run until it ends, however it ends."""
    machines = Machines.here()
    if machines.rank == 0:
        _forget(run)
    if is_launched(config) and machines.rank == 0:
        run.write(LAUNCH_FILE, accelerate_config(config, machines))
    more = {**_launched(config, machines), HELD: str(run.path)}
    process = _spawn(run, launch_command(run.path, config, machines), lock.fileno(), more)
    if machines.rank == 0:
        step = run.read("status.json").get("step", 0)
        started = process_start(process.pid)
        run.write("status.json", {"state": "starting", "pid": process.pid, "process_start": started, "step": step})
    return process


def _forget(run: RunFolder) -> None:
    """What was asked of the processes before, and why they failed."""
    run.stop_file.unlink(missing_ok=True)
    run.clear_failures()


def joined(run: RunFolder) -> None:
    """On a machine that does not decide: wait until machine 0 has begun the run.

    Raises:
        WinnowError: it has not.
    """
    deadline = time.monotonic() + START_SECONDS
    # Its process can't be seen from here: what its status file says has to do.
    while run.read("status.json").get("state") not in ("starting", "running"):
        if time.monotonic() > deadline:
            raise WinnowError(
                f"Machine 0 has not begun the run {run.path}.",
                fix="start the same command there first; the folder must be one that all machines share",
            )
        time.sleep(POLL_SECONDS)


def first_failure(run: RunFolder) -> tuple[int, int] | None:
    """The process that ended first and its exit code (negative: the signal); null where the launcher does not tell."""
    try:
        tail = (run.path / "log.txt").read_bytes()[-20_000:].decode(errors="replace")
    except OSError:
        return None
    found = _FIRST_FAILURE.findall(tail.rpartition("Root Cause")[2]) if "Root Cause" in tail else []
    return (int(found[0][0]), int(found[0][1])) if found else None


def _launched(config: TrainConfig, machines: Machines) -> dict[str, str]:
    if not is_launched(config):
        return {}
    # Processes on one CPU share its cores; with a GPU each they are idle anyway.
    threads = max(1, (os.cpu_count() or 1) * machines.count // config.processes)
    return {"PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}


def _spawn(run: RunFolder, command: list[str], lock: int, more: dict[str, str]) -> subprocess.Popen[bytes]:
    # Also where the project is not installed, and without the caller's directory: its files could hide packages.
    home = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join(p for p in (home, os.environ.get("PYTHONPATH", "")) if p)
    with (run.path / "log.txt").open("ab") as log:
        # The process inherits the lock and holds it until it ends, however it ends.
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[lock],
            # Threads that wait by spinning made a run on a busy two-core machine five times slower.
            env={
                "OMP_WAIT_POLICY": "PASSIVE",
                **os.environ,
                **more,
                "PYTHONPATH": paths,
                "TOKENIZERS_PARALLELISM": "false",
            },
        )


def _locked(lock: IO[str], run: RunFolder) -> bool:
    """Wait for the lock, which a process that has just ended may still hold; False when a live one has it."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if status(run.path).live:
                return False
            time.sleep(POLL_SECONDS)
        else:
            return True
    raise WinnowError(
        f"Another process holds the run {run.path} without training.",
        fix=f"end it: fuser {run.path / '.lock'} shows which",
    )


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdigit():
        raise WinnowError(f"{name} is {text!r}, which is no number.", fix=f"set {name} to a whole number")
    return int(text)
