"""The points that curves of a run are drawn from: plain functions over its events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

POINTS = 600
"""Points of a curve that are drawn."""
ALL = "all"
"""All sources together."""


def thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Every n-th point and the last one, so that a long run stays light to draw."""
    every = max(1, len(points) // POINTS)
    kept = points[::every]
    return kept if not points or kept[-1] == points[-1] else [*kept, points[-1]]


def smoothed(points: Sequence[tuple[int, float]], weight: float) -> list[tuple[int, float]]:
    """An exponential mean that begins at the first value.

    Args:
        points: (step, value).
        weight: of what was before, 0 to below 1; 0 changes nothing.
    """
    result, total, mass = [], 0.0, 0.0
    for step, value in points:
        total, mass = weight * total + (1 - weight) * value, weight * mass + (1 - weight)
        result.append((step, total / mass))
    return result


def series(events: Sequence[dict[str, Any]], key: str) -> list[tuple[int, float]]:
    """(step, value) of the events that have a number under this key."""
    return [(event["step"], event[key]) for event in events if isinstance(event.get(key), int | float)]


def source_series(events: Sequence[dict[str, Any]], source: str) -> list[tuple[int, float]]:
    """(step, loss) of one source."""
    return [(e["step"], e["loss_by_source"][source]) for e in events if source in (e.get("loss_by_source") or {})]


def training_points(logs: Sequence[dict[str, Any]], sources: Sequence[str], smoothing: float) -> list[dict[str, Any]]:
    """step, source, loss, raw (before smoothing) of the training loss: of these sources, or of all where none are."""
    named = {source: source_series(logs, source) for source in sources} if sources else {ALL: series(logs, "loss")}
    rows = []
    for source, points in named.items():
        raw = dict(points)
        rows += [
            {"step": step, "source": source, "loss": value, "raw": raw[step]}
            for step, value in thinned(smoothed(points, smoothing))
        ]
    return rows


def held_out_points(events: Sequence[dict[str, Any]], *, change: bool = False) -> list[dict[str, Any]]:
    """step, source, loss of every held-out measurement; `all` is all sources together.

    Args:
        events: `held_out` events.
        change: give the difference to the first measurement of each source instead.
    """
    points: list[dict[str, Any]] = []
    first: dict[str, float] = {}
    for event in events:
        losses = {ALL: event.get("loss"), **(event.get("loss_by_source") or {})}
        for source, loss in losses.items():
            if loss is not None:
                start = first.setdefault(source, loss)
                points.append({"step": event["step"], "source": source, "loss": loss - start if change else loss})
    return points


def named_points(events: Sequence[dict[str, Any]], keys: dict[str, str]) -> list[dict[str, Any]]:
    """step, name, value of several numbers of the events.

    Args:
        events: `log` or `held_out` events.
        keys: key -> what the curve is called.
    """
    return [
        {"step": step, "name": name, "value": value}
        for key, name in keys.items()
        for step, value in thinned(series(events, key))
    ]
