"""What the pages know of a training run: read from its folder alone, and read again only when that has changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

if TYPE_CHECKING:
    from training.concerns import Concern
    from training.training import TrainReport

FILES = ("events.jsonl", "status.json", "config.json", "data.json")
FAR_ENOUGH = 0.6
"""Share of the run from which its curves are drawn on the whole width."""
TYPICAL = 20
"""Logs of which the pace that is shown is the mean."""


@dataclass(frozen=True)
class RunData:
    """A run as its files tell it."""

    folder: Path
    report: TrainReport
    config: dict[str, Any]
    """The run's own, not the form's."""
    logs: list[dict[str, Any]]
    held_out: list[dict[str, Any]]
    samples: list[dict[str, Any]]
    """The `samples` events: a step and its answers."""
    concerns: list[Concern]
    early_stop: dict[str, Any] | None
    reached: int
    """The last step that something is told of."""

    @property
    def steps(self) -> int:
        """The right end of every curve: the run's last step, or a little further than it has come."""
        whole = max(1, self.report.max_steps or 0, self.reached)
        return whole if self.reached >= FAR_ENOUGH * whole else min(whole, max(10, int(1.3 * self.reached)))

    @property
    def sources(self) -> list[str]:
        """Sources with a loss, those with the most tokens first."""
        tokens: dict[str, int] = {}
        for event in self.logs:
            for source, count in event.get("tokens_by_source", {}).items():
                tokens[source] = tokens.get(source, 0) + count
        for event in self.held_out:
            for source in event.get("loss_by_source", {}):
                tokens.setdefault(source, 0)
        return sorted(tokens, key=lambda source: (-tokens[source], source))

    def recent(self, key: str) -> float | None:
        """The mean of a number over the last logs; null where it is not logged."""
        values = [event[key] for event in self.logs[-TYPICAL:] if event.get(key) is not None]
        return sum(values) / len(values) if values else None

    def last(self, key: str) -> Any:
        """A field of the last log; null where there is none."""
        return self.logs[-1].get(key) if self.logs else None


def run_data(folder: Path) -> RunData:
    """The run in this folder.

    Raises:
        WinnowError: there is no run in it, or its config can't be read.
    """
    return _read(str(folder), tuple(_stamp(folder / name) for name in FILES))


def _stamp(path: Path) -> tuple[int, int]:
    try:
        told = path.stat()
    except OSError:
        return (0, 0)
    return (told.st_mtime_ns, told.st_size)


@st.cache_data(max_entries=8, show_spinner=False)
def _read(folder: str, stamps: tuple[tuple[int, int], ...]) -> RunData:
    from training.concerns import concerns
    from training.config import TrainConfig
    from training.runs.run_folder import RunFolder, events
    from training.training import report

    told = report(folder)
    every = events(folder)
    logs = [event for event in every if event["type"] == "log"]
    held_out = [event for event in every if event["type"] == "held_out"]
    return RunData(
        Path(folder),
        told,
        RunFolder(Path(folder)).read("config.json"),
        logs,
        held_out,
        [event for event in every if event["type"] == "samples"],
        concerns(every, TrainConfig.from_file(Path(folder) / "config.json")),
        next((event for event in reversed(every) if event["type"] == "early_stop"), None),
        max([0, told.steps, *(event["step"] for event in (*logs, *held_out))]),
    )
