"""What ended a run, as the two lines a user reads."""

from __future__ import annotations

import errno
import shutil

from curation.errors import WinnowError
from training.config import BASE_UNCHANGED, TrainConfig
from training.runs.ranks import processes
from training.runs.run_folder import RunFolder

_NO_MEMORY = ("can't allocate memory", "out of memory", "cublas_status_alloc_failed")
_FULL_DISK = ("No space left on device", "os error 28")
_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "ncclRemoteError", "Socket Timeout")
_LOST_KINDS = ("DistBackendError", "DistNetworkError", "DistStoreError")
PACKED = ("sft", "pretrain")
"""Methods that read `packing`; with best-fit one sequence goes through the model at a time."""
_LITTLE = 2**20
"""Bytes: on a disk with less nothing can be saved."""


def explained(error: Exception, config: TrainConfig, run: RunFolder) -> WinnowError:
    """The failure, and what to change."""
    if isinstance(error, WinnowError):
        return error
    text = str(error).strip()
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or _says_no_memory(text):
        return _no_memory(config)
    if _says_full(error) or is_full(run):
        return WinnowError(
            f"The disk is full: {run.path} could not be written.", fix="free some space and run the same command again"
        )
    if is_lost(error):
        return lost(run, None, None, config)
    first = text.splitlines()[0] if text else "no message"
    return WinnowError(f"Training failed: {type(error).__name__}: {first}", fix=f"read {run.path / 'log.txt'}")


def _says_no_memory(text: str) -> bool:
    return any(said in text.lower() for said in _NO_MEMORY)


def is_full(run: RunFolder) -> bool:
    """Whether the disk of the run has no space left."""
    try:
        return shutil.disk_usage(run.path).free < _LITTLE
    except OSError:
        return False


def _says_full(error: Exception) -> bool:
    # safetensors and torch say so in errors of their own.
    return (isinstance(error, OSError) and error.errno == errno.ENOSPC) or any(t in str(error) for t in _FULL_DISK)


def is_lost(error: Exception) -> bool:
    """Whether another of several processes has gone."""
    told = type(error).__name__ in _LOST_KINDS or any(text in str(error) for text in _LOST)
    return processes() > 1 and told


def lost(run: RunFolder, rank: int | None, code: int | None, config: TrainConfig) -> WinnowError:
    """One of several processes ended without a word.

    Args:
        run: whose.
        rank: its number from 0; null where it isn't known.
        code: its exit code, negative: the signal; null where it isn't known.
        config: says how many there were.
    """
    at = run.checkpoint()
    step = run.read("status.json").get("step", 0)
    who = "One of the processes" if rank is None else f"Process {rank + 1}"
    how = "was lost" if code is None else f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    return WinnowError(
        f"{who} of {config.processes} {how} at step {step}, and the others were ended.",
        fix=f"run the same command again, it {f'goes on from {at.name}' if at else 'begins again'}; "
        f"{less_memory(config)} if memory ran out (output: {run.path / 'log.txt'})",
    )


def less_memory(config: TrainConfig) -> str:
    """What saves most memory, as an order: nothing smaller goes through the model than one sequence."""
    if (config.method in PACKED and config.packing == "best-fit") or config.batch_size == 1:
        return "lower max_length"
    return "halve batch_size and double accumulation"


def _no_memory(config: TrainConfig) -> WinnowError:
    spread = f", strategy {config.strategy}" if config.processes > 1 else ""
    steps = list(dict.fromkeys((less_memory(config), "lower max_length")))
    if config.activation_checkpointing != "on" and config.adapter != "prefix":
        steps.append("set activation_checkpointing on")
    if config.adapter not in BASE_UNCHANGED:
        steps.append("use adapter lora")
    return WinnowError(
        f"Not enough memory with batch_size {config.batch_size}, max_length {config.max_length}, "
        f"{config.adapter}{spread}.",
        fix=f"{', '.join(steps)}; the last checkpoint is kept",
    )
