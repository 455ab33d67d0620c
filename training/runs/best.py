"""Which held-out loss is the best so far, when to stop waiting for a better one, and the weights it had."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.runs.run_folder import MARK_OF_COMPLETE

_ONLY_TO_RESUME = ("optimizer*", "scheduler*", "rng_state*", "trainer_state.json", "global_step*", MARK_OF_COMPLETE)


def to_fall(event: dict[str, Any]) -> tuple[float | None, str]:
    """What is to fall in a held-out measurement, and its name: the method's objective, its errors, or the loss."""
    for name in ("objective", "accuracy", "loss"):
        value = event.get(name)
        if value is not None:
            return (1 - value, "share of pairs got wrong") if name == "accuracy" else (value, name)
    return None, "nothing that could fall is measured"


@dataclass(slots=True)
class Best:
    """The best measurement of a run so far. What was measured before training does not count: it has no checkpoint."""

    patience: int | None
    """Measurements without a better one after which the run ends; null: never."""
    step: int | None = None
    value: float | None = None
    by: str = "loss"
    waited: int = 0
    """Measurements since the best one."""

    @classmethod
    def resumed(cls, patience: int | None, history: Iterable[dict[str, Any]], step: int) -> Best:
        """As it stood at a step, from the run's events."""
        best = cls(patience)
        for event in history:
            if event.get("type") == "held_out" and event["step"] <= step:
                best.add(event["step"], event)
        return best

    def add(self, step: int, event: dict[str, Any]) -> bool:
        """Take a measurement in; True when it is the best so far."""
        value, by = to_fall(event)
        if step == 0 or value is None:
            return False
        if self.value is None or value < self.value:
            self.step, self.value, self.by, self.waited = step, value, by, 0
            return True
        self.waited += 1
        return False

    @property
    def over(self) -> bool:
        """Whether it has been waited long enough."""
        return self.patience is not None and self.waited >= self.patience


def copy_weights(checkpoint: Path, target: Path) -> None:
    """What a checkpoint has of the model, without what only a resumed run needs."""
    shutil.copytree(checkpoint, target, ignore=shutil.ignore_patterns(*_ONLY_TO_RESUME))
