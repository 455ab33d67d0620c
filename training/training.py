"""Training a mix: start the process, follow it, and say what came of it. Doing it twice does it once."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curation.errors import WinnowError
from curation.progress import Progress, silent
from training.concerns import concerns
from training.config import TrainConfig
from training.data.mix_folder import MixFolder
from training.methods import METHODS, method_named
from training.methods.adapters import check
from training.methods.opening import check_base_model
from training.methods.settings import check_settings
from training.runs.asked import Asked
from training.runs.failures import is_full, less_memory, lost
from training.runs.launching import (
    LAUNCH_FILE,
    POLL_SECONDS,
    START_SECONDS,
    Machines,
    accelerate_config,
    check_launch,
    first_failure,
    held,
    is_launched,
    joined,
    launch_command,
    shown,
    start,
)
from training.runs.run_folder import EventReader, RunFolder, RunStatus, events, status


@dataclass(frozen=True)
class TrainReport:
    """What a run did; plain values, as `dataclasses.asdict` gives them."""

    run: str
    state: str
    """done, or stopped: then the same call goes on from the checkpoint."""
    method: str
    adapter: str
    arm: str
    base_model: str
    manifest_sha256: str | None
    """Of the mix's manifest; null where the mix has none."""
    steps: int
    max_steps: int | None
    rows: int
    """Samples trained on."""
    tokens: int
    """Their tokens after cutting, prompts and template included: one pass."""
    loss_tokens: int
    """Those of them that carry loss."""
    truncated: int
    """Rows that were cut at max_length."""
    dropped: dict[str, int]
    """Reason -> rows that could not be trained on."""
    learning_rate: float | None
    learning_rate_reason: str | None
    train_loss: float | None
    """The last logged one."""
    loss_by_source: dict[str, float] | None
    """The last logged ones; null for dpo, which has no loss by source."""
    losses: list[tuple[int, float]]
    """(step, loss), as logged."""
    held_out: list[dict[str, Any]]
    """step, loss, loss_by_source (for dpo accuracy, margin) before, during and after; empty without held-out rows."""
    seconds: float
    """In training steps, over all resumptions."""
    tokens_per_second: float | None
    """Tokens through the model, without start-up and held-out losses; null before the first log."""
    peak_memory_gib: float | None
    """Of the GPU, or of the process where there is none."""
    device: str | None
    launch: str | None
    """The command that starts the processes; null for a run in one process without a launcher."""
    checkpoint: str | None
    """Folder of the trained model or adapter, or of the checkpoint a stopped run goes on from."""
    best_step: int | None = None
    """Step of the weights in `final`, where patience kept the best ones; null: the last."""
    notes: list[str] = field(default_factory=list)
    """What the user should know: a template that was supplied, a length that was lowered."""
    warnings: list[str] = field(default_factory=list)
    """What looks wrong in the curves, each with what to do about it."""


def train(mix_dir: Path | str, config: TrainConfig, run_dir: Path | str, *, progress: Progress = silent) -> TrainReport:
    """Train on a mix in a process of its own, and follow it to its end.

    A finished run is reported at once; a live one is followed; one that was stopped or killed goes on from its last
    complete checkpoint, with the losses an uninterrupted run has. Interrupting this call (Ctrl-C, SIGTERM) stops the
    run with a checkpoint; killing it leaves the run alone.

    Args:
        mix_dir: holds `train.jsonl`, and `eval.jsonl`, `random.jsonl` and `manifest.json` where there are some.
        config: what and how.
        run_dir: the run's folder, one per mix and config. Where several machines train together (`Machines`), one that
            all of them share.
        progress: called with (step, steps, what is being done).

    Raises:
        WinnowError: the mix does not fit the method, the run's folder belongs to another config or other data, or the
            process failed or died.
    """
    run = RunFolder(Path(run_dir).resolve())
    if Machines.here().rank > 0:
        joined(run)
        with held(run) as lock:
            process = start(run, config, lock) if lock else None
    else:
        asked = _asked(mix_dir, config)
        if asked.is_begun(run) and status(run.path).state == "done":
            return report(run.path)
        # One lock over both: what is started is what was asked for, whoever else asks at the same time.
        with held(run) as lock:
            asked.write(run)
            begins = lock is not None and status(run.path).state != "done"
            process = start(run, TrainConfig.from_file(run.path / "config.json"), lock) if lock and begins else None
    _follow(run, process, progress)
    return report(run.path)


def command_of(mix_dir: Path | str, config: TrainConfig, run_dir: Path | str) -> str:
    """The command that trains, for somebody who starts it otherwise; what it reads is written to the run's folder.

    Raises:
        WinnowError: as `train`.
    """
    run = prepare(mix_dir, config, run_dir)
    config = TrainConfig.from_file(run.path / "config.json")
    machines = Machines.here()
    if is_launched(config):
        run.write(LAUNCH_FILE, accelerate_config(config, machines))
    return shown(launch_command(run.path, config, machines))


def report(run_dir: Path | str) -> TrainReport:
    """What the run in this folder has done so far.

    Raises:
        WinnowError: there is no run in this folder.
    """
    run = RunFolder(Path(run_dir).resolve())
    config = TrainConfig.from_file(run.path / "config.json")
    told = events(run.path)
    now = status(run.path)
    last = {event["type"]: event for event in told}
    data, plan = last.get("data", {}), last.get("plan", {})
    logs = [event for event in told if event["type"] == "log"]
    seconds, tokens_seen = _effort(run)
    final = run.final if now.state == "done" else run.checkpoint()
    return TrainReport(
        run=str(run.path),
        state=now.state,
        method=config.method,
        adapter=config.adapter,
        arm=config.arm,
        base_model=config.base_model,
        manifest_sha256=run.read("data.json").get("manifest_sha256"),
        steps=now.step,
        max_steps=now.max_steps,
        rows=data.get("rows", 0),
        tokens=data.get("tokens", 0),
        loss_tokens=data.get("loss_tokens", 0),
        truncated=data.get("truncated", 0),
        dropped=data.get("dropped", {}),
        learning_rate=plan.get("learning_rate"),
        learning_rate_reason=plan.get("reason"),
        train_loss=logs[-1]["loss"] if logs else None,
        loss_by_source=logs[-1].get("loss_by_source") if logs else None,
        losses=[(event["step"], event["loss"]) for event in logs],
        held_out=[_bare(event) for event in told if event["type"] == "held_out"],
        seconds=round(seconds, 3),
        tokens_per_second=round(tokens_seen / seconds, 1) if seconds else None,
        peak_memory_gib=last.get("memory", {}).get("peak_memory_gib"),
        device=last.get("loaded", {}).get("device"),
        launch=shown(launch_command(run.path, config, Machines())) if is_launched(config) else None,
        checkpoint=str(final) if final else None,
        best_step=last.get("best", {}).get("step") if config.patience else None,
        warnings=[f"{concern.text} Fix: {concern.fix}." for concern in concerns(told, config)],
        notes=list(dict.fromkeys(event["text"] for event in told if event["type"] == "note")),
    )


def _located(config: TrainConfig) -> TrainConfig:
    """The config with a model folder as an absolute path: a run can be resumed from any directory."""
    base = config.base_model.removeprefix("hf:")
    path = Path(base).expanduser()
    return config.model_copy(update={"base_model": str(path.resolve()) if path.exists() else base})


def _check(mix: MixFolder, config: TrainConfig) -> None:
    """What can be known without loading anything."""
    method = method_named(config.method)
    if mix.format not in method.formats:
        takers = [other.name for other in METHODS if mix.format in other.formats]
        raise WinnowError(
            f"{method.name} takes the formats {', '.join(method.formats)}; the mix {mix.path} has {mix.format!r}.",
            fix=f"export it in another format, or train with method {' or '.join(takers) or 'of another trainer'}",
        )
    if config.arm == "random" and not mix.has("random"):
        raise WinnowError(f"The mix {mix.path} has no random.jsonl to train on.", fix="export the mix again")
    check(config)
    check_settings(config)
    check_launch(config)
    check_base_model(config.base_model)


def _asked(mix_dir: Path | str, config: TrainConfig) -> Asked:
    mix, config = MixFolder(Path(mix_dir).resolve()), _located(config)
    _check(mix, config)
    names = ("train", "eval", "random") if config.arm == "random" else ("train", "eval")
    data = {"mix": str(mix.path), "manifest_sha256": mix.manifest_sha256(), "sha256": mix.hashes(names)}
    return Asked(mix, config, data)


def prepare(mix_dir: Path | str, config: TrainConfig, run_dir: Path | str) -> RunFolder:
    """Write what the training process reads, or check that the folder holds this run and not another.

    Raises:
        WinnowError: the mix does not fit the method, or the run's folder belongs to another config or other data.
    """
    run, asked = RunFolder(Path(run_dir).resolve()), _asked(mix_dir, config)
    if not asked.is_begun(run):
        with held(run):
            asked.write(run)
    return run


def _follow(run: RunFolder, process: subprocess.Popen[bytes] | None, progress: Progress) -> None:
    """Wait until the process has ended; pass on what it says."""
    reader = EventReader(run)
    reader.new()
    with _interrupt_on_sigterm():
        try:
            _wait(run, process, reader, progress)
        except KeyboardInterrupt:
            _terminate(run)
            _wait(run, process, reader, progress)
    ended = _settled(run, process)
    if ended.state == "failed" and (told := _lost_one(run)):
        run.write("status.json", {**run.read("status.json"), "message": told.message, "fix": told.fix})
        raise told
    if ended.state == "failed":
        raise WinnowError(ended.message or "Training failed.", fix=ended.fix or f"read {run.path / 'log.txt'}")
    if ended.state not in ("done", "stopped"):
        raise _died(run, ended, process)


def _lost_one(run: RunFolder) -> WinnowError | None:
    """The first process only sees that another one has gone; which one and how, its launcher knows."""
    if not run.read("status.json").get("lost"):
        return None
    config = TrainConfig.from_file(run.path / "config.json")
    found = first_failure(run)
    return lost(run, *found, config) if found else None


def _settled(run: RunFolder, process: subprocess.Popen[bytes] | None) -> RunStatus:
    """How it ended; those that were launched may outlive their launcher, or be still writing on another machine."""
    deadline = time.monotonic() + START_SECONDS
    while process is not None and time.monotonic() < deadline:
        elsewhere = Machines.here().rank > 0 and process.returncode == 0
        unwritten = elsewhere and run.read("status.json").get("state") in ("starting", "running")
        if not (unwritten or status(run.path).live):
            break
        time.sleep(POLL_SECONDS)
    return status(run.path)


def _wait(run: RunFolder, process: subprocess.Popen[bytes] | None, reader: EventReader, progress: Progress) -> None:
    progress(status(run.path).step, None, "starting")
    while True:
        # Asked before the events are read: what a process wrote before its end is passed on.
        over = process is not None and process.poll() is not None
        now = status(run.path)
        for event in reader.new():
            _pass_on(event, now, progress)
        if over or (process is None and not now.live):
            return
        time.sleep(POLL_SECONDS)


def _pass_on(event: dict[str, Any], now: RunStatus, progress: Progress) -> None:
    if event["type"] == "log":
        progress(event["step"], now.max_steps, f"loss {event['loss']:.3f}")
    elif event["type"] == "held_out":
        name = "loss" if event.get("loss") is not None else "reward"
        if event.get(name) is not None:
            progress(event["step"], now.max_steps, f"held-out {name} {event[name]:.3f}")
    elif event["type"] == "data":
        progress(now.step, now.max_steps, f"{event['rows']} rows, {event['tokens']} tokens")
    elif event["type"] == "note":
        progress(now.step, now.max_steps, event["text"])


def _terminate(run: RunFolder) -> None:
    now = status(run.path)
    if now.live and now.pid:
        with suppress(ProcessLookupError):  # it ended a moment before
            os.kill(now.pid, signal.SIGTERM)


def _died(run: RunFolder, ended: RunStatus, process: subprocess.Popen[bytes] | None) -> WinnowError:
    config = TrainConfig.from_file(run.path / "config.json")
    if is_full(run):
        return WinnowError(
            f"The disk is full: {run.path} could not be written.", fix="free some space and run the same command again"
        )
    if failures := run.failures():
        return WinnowError(failures[0]["message"], fix=failures[0]["fix"])
    if is_launched(config):
        rank, code = first_failure(run) or (None, None)
        return lost(run, rank, code, config)
    code = process.returncode if process else None
    how = f"was killed by signal {-code}" if code is not None and code < 0 else "ended without a word"
    at = run.checkpoint()
    again = f"run the same command again, it {f'goes on from {at.name}' if at else 'begins again'}"
    return WinnowError(
        f"The training process {how} at step {ended.step}.",
        fix=f"{again}; {less_memory(config)} if memory ran out (output: {run.path / 'log.txt'})",
    )


@contextmanager
def _interrupt_on_sigterm() -> Iterator[None]:
    """Let a SIGTERM end the wait as Ctrl-C does; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _effort(run: RunFolder) -> tuple[float, int]:
    """Seconds and tokens in training steps, summed over the processes that worked on the run."""
    seconds, tokens, last = 0.0, 0, (0.0, 0)
    for event in EventReader(run).new():
        if event["type"] == "log":
            last = (event["seconds"], event["tokens_seen"])
        elif event["type"] == "train_begin":
            seconds, tokens, last = seconds + last[0], tokens + last[1], (0.0, 0)
    return seconds + last[0], tokens + last[1]


def _bare(event: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key not in ("seq", "ts", "type")}
