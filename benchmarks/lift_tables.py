"""The table of `selection_lift`: held-out losses of every selection beside the random band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from benchmarks.lift_data import OWN, SOURCES
from benchmarks.lift_settings import SETTINGS, unset

RANDOM, BASE = "random", "base model, not tuned"
MEAN = "mean"
"""Of the losses on the sources that are not the pool's own, each source counting the same."""
COLUMNS = (*SOURCES, MEAN, OWN)


@dataclass(frozen=True)
class Band:
    """What random choices reach on one source."""

    low: float
    mean: float
    high: float
    draws: int

    def mark(self, loss: float) -> str:
        """`v` for a loss under the band (better), `^` for one above it, nothing inside."""
        return "v" if loss < self.low else "^" if loss > self.high else ""


@dataclass(frozen=True)
class Line:
    """One selection at one budget; numbers are means over the orders it was trained in."""

    name: str
    trainings: int
    epochs: float
    losses: dict[str, float]


def band(losses: Sequence[float]) -> Band:
    """Of one loss for each random choice."""
    return Band(min(losses), mean(losses), max(losses), len(losses))


def with_mean(losses: dict[str, float]) -> dict[str, float]:
    """The losses, and their mean over the other sources."""
    return losses | {MEAN: mean(losses[source] for source in SOURCES)}


def lines_of(rows: Sequence[dict[str, Any]], percent: float) -> list[Line]:
    """One line for a selection that has been trained at this budget, the lowest mean first; without the random ones."""
    names = dict.fromkeys(row["name"] for row in rows if row["percent"] == percent and row["name"] != RANDOM)
    found = []
    for name in names:
        mine = [row for row in rows if row["name"] == name and row["percent"] == percent]
        losses = [with_mean(row["losses"]) for row in mine]
        means = {column: mean(loss[column] for loss in losses) for column in COLUMNS}
        found.append(Line(name, len(mine), mean(row["epochs"] for row in mine), means))
    return sorted(found, key=lambda line: line.losses[MEAN])


def bands_of(rows: Sequence[dict[str, Any]], percent: float) -> dict[str, Band]:
    """Column -> band of the random choices; empty where none was trained."""
    losses = [with_mean(row["losses"]) for row in rows if row["name"] == RANDOM and row["percent"] == percent]
    return {column: band([loss[column] for loss in losses]) for column in COLUMNS} if losses else {}


def tables(rows: Sequence[dict[str, Any]], percents: Sequence[float]) -> list[str]:
    """One Markdown table for each budget, and what none of them tries."""
    lines = []
    for percent in percents:
        lines += _table(rows, percent)
    tried = {row["name"] for row in rows}
    lines += [f"no setting: {name}" for name in unset()]
    return lines + [f"no result: {setting.name}" for setting in SETTINGS if setting.name not in tried]


def _table(rows: Sequence[dict[str, Any]], percent: float) -> list[str]:
    mine = [row for row in rows if row["percent"] == percent]
    bands = bands_of(rows, percent)
    if not mine or not bands:
        return [f"{percent:g} %: no random choice was trained, so there is no band", ""]
    first = mine[0]
    draws = bands[MEAN].draws
    base = next((row for row in rows if row["name"] == BASE), None)
    stood_in = {setting.name: setting.stands_in for setting in SETTINGS}
    body = [_line(line, bands, stood_in.get(line.name, "")) for line in lines_of(rows, percent)]
    epochs = mean(row["epochs"] for row in mine if row["name"] == RANDOM)
    return [
        f"{percent:g} % ({first['budget']:,} samples, {first['tokens']:,} answer tokens in {first['steps']} steps); "
        "held-out nats per answer token; v below the random band (better), ^ above it",
        "",
        f"| selection | stand-in for its signal | epochs | {' | '.join(COLUMNS)} |",
        f"| --- | --- | ---: |{' ---: |' * len(COLUMNS)}",
        *body,
        _random(f"random, mean of {draws}", epochs, [f"{bands[c].mean:.3f}" for c in COLUMNS]),
        _random("random, band", epochs, [f"{bands[c].low:.3f}-{bands[c].high:.3f}" for c in COLUMNS]),
        *([_line(Line(BASE, 1, 0.0, with_mean(base["losses"])), {}, "")] if base else []),
        "",
    ]


def _random(name: str, epochs: float, cells: Sequence[str]) -> str:
    return f"| **{name}** |  | {epochs:.2f} | {' | '.join(cells)} |"


def _line(line: Line, bands: dict[str, Band], stands_in: str) -> str:
    cells = []
    for column in COLUMNS:
        loss = line.losses[column]
        cells.append(f"{loss:.3f}{bands[column].mark(loss) if bands else ''}")
    repeats = f" ({line.trainings} orders)" if line.trainings > 1 else ""
    return f"| {line.name}{repeats} | {stands_in} | {line.epochs:.2f} | {' | '.join(cells)} |"
