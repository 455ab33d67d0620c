"""How the benchmarks measure: in turn, so that a busy machine slows both sides, and by the median."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

RUNS = 3


def in_turn(sides: dict[str, Callable[[], object]], runs: int = RUNS) -> dict[str, float]:
    """Median seconds of each side, over runs that alternate between them."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(runs):
        for name, side in sides.items():
            begun = time.perf_counter()
            side()
            seconds[name].append(time.perf_counter() - begun)
    return {name: statistics.median(times) for name, times in seconds.items()}


def table(seconds: dict[str, float], bound: str) -> None:
    """Seconds of each side and its ratio to the bound."""
    for name, value in seconds.items():
        print(f"  {name:<44} {value:9.3f} s   {value / seconds[bound]:6.2f} x", flush=True)


def alpaca() -> Path | None:
    """The 52,002 rows of Alpaca: `ALPACA` in the environment, or beside the repository; null where they are not."""
    given = os.environ.get("ALPACA")
    path = Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data" / "alpaca_data.json"
    return path if path.exists() else None


def missing(what: str) -> None:
    """Say that a benchmark did not run, and why."""
    print(f"  not measured: {what}", flush=True)
