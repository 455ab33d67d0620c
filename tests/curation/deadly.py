"""Work that kills the process it is done in: as often as the folder has no grave for it yet. Imports nothing slow."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from curation.errors import ModelError


@dataclass(frozen=True)
class Halving:
    """Halves numbers, and dies `deaths` times of the number 13."""

    graves: Path
    deaths: int

    def __call__(self, number: int) -> float:
        if number == 13:
            die(self.graves, self.deaths)
        return number / 2


def die(graves: Path, deaths: int) -> None:
    """Kill this process as the system does when memory runs out, unless it was done `deaths` times."""
    dug = len(list(graves.iterdir()))
    if dug < deaths:
        (graves / str(dug)).touch()
        os.kill(os.getpid(), signal.SIGKILL)


def threads(number: int) -> str | None:
    """How many threads libraries are told to take."""
    return os.environ.get("OMP_NUM_THREADS")


def refusing(number: int) -> int:
    """Raise an error that a user can mend."""
    raise ModelError(f"{number} is too much.", fix="give less")


def broken(number: int) -> int:
    """Raise one that a user can't."""
    return number // 0
