"""How fast runs like this one have been on this machine."""

from __future__ import annotations

from pathlib import Path

from training.config import TrainConfig
from training.runs.run_folder import EventReader, RunFolder

_ALIKE = ("base_model", "method", "adapter", "packing", "processes", "activation_checkpointing")
"""Fields of the config that a pace depends on."""
FEWEST_STEPS = 5


def measured_pace(runs: Path, config: TrainConfig) -> tuple[float, str] | None:
    """Tokens per second of the latest run in this folder with the same base model, method and adapter; null for none.

    Args:
        runs: folder of runs.
        config: of the run to come.
    """
    folders = sorted(runs.glob("*/config.json"), key=lambda path: -path.stat().st_mtime)
    for path in folders:
        run = RunFolder(path.parent)
        # Not as a config: one of another version may have what this one does not take.
        other = {name: TrainConfig.model_fields[name].default for name in _ALIKE} | run.read("config.json")
        if all(_same(other[name], getattr(config, name)) for name in _ALIKE):
            pace = _pace(run)
            if pace is not None:
                return pace, f"the run {path.parent.name} had here"
    return None


def _same(a: object, b: object) -> bool:
    if isinstance(a, str) and isinstance(b, str):
        return a.rstrip("/") == b.rstrip("/") or (a.startswith("/") and Path(a) == Path(b).expanduser().resolve())
    return a == b


def _pace(run: RunFolder) -> float | None:
    logs = [event for event in EventReader(run).new() if event["type"] == "log"]
    if len(logs) < FEWEST_STEPS or not logs[-1].get("seconds") or not logs[-1].get("tokens_seen"):
        return None
    return float(logs[-1]["tokens_seen"] / logs[-1]["seconds"])
