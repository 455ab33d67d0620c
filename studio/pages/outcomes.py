"""What a finished command is said to have done: the numbers a person wants, not the whole report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

TOLD: dict[str, dict[str, str]] = {
    "ingest": {"added": "added", "duplicates": "duplicates", "rejected": "rejected rows"},
    "score": {
        "scorer": "scorer", "scored": "samples scored", "already": "scored before", "unscored": "not measured",
    },
    "embed": {
        "name": "embedding", "embedded": "samples embedded", "already": "embedded before", "dimensions": "dimensions",
    },
    "warm-up": {
        "parameters": "parameters", "tokens": "tokens", "held_out_loss_before": "held-out loss before",
        "held_out_loss_after": "after",
    },
    "hold-out": {"added": "newly held out", "held_out": "held out in all"},
    "select": {"name": "selection", "ids": "samples", "pool": "chosen from"},
    "synthesize": {
        "seeds": "seed samples", "accepted": "accepted", "duplicates": "known already", "rejected": "rejected",
        "failed": "failed", "first_failure": "first failure", "calls": "calls", "cached_calls": "answered before",
        "cost_usd": "cost in US dollars", "cost_reason": "cost unknown", "spent_usd": "spent in all",
        "stopped": "stopped",
    },
    "export": {
        "name": "mix", "rows": "training rows", "eval_rows": "evaluation rows", "random_rows": "random rows",
        "skipped": "left out", "notes": "note",
    },
    "train": {
        "steps": "steps", "rows": "rows", "tokens": "tokens", "truncated": "rows cut",
        "dropped": "rows left out", "train_loss": "training loss", "seconds": "training time",
    },
    "normalize": {"looked_at": "samples looked at", "changed": "rewritten"},
    "snapshot": {"name": "snapshot", "samples": "samples", "dropped": "dropped"},
    **{
        verb: {"changed": f"samples {done}", "unchanged": "so already"}
        for verb, done in (("drop", "dropped"), ("keep", "kept"), ("clear", "cleared"), ("tag", "tagged"))
    },
}  # fmt: skip
"""Verb -> what is told of its report, in order, and what to call it. Folders, hashes and ids are not news."""


def summary(report: Mapping[str, Any], verb: str | None = None) -> str:
    """The numbers and names of a report in one line; long lists and tables as their size.

    Args:
        report: as the command wrote it.
        verb: whose report it is; a verb that is not known tells everything.
    """
    if verb == "evaluate":
        judged = [run for run in report.get("runs", ()) if isinstance(run, dict)]
        return " · ".join(f"{PurePath(run['run']).name}: {run['verdict']}" for run in judged)
    labels = TOLD.get(verb or "") or {name: name.replace("_", " ") for name in report}
    found = {label: report.get(name) for name, label in labels.items()}
    known = {label: value for label, value in found.items() if value is not None and value not in ({}, [], "")}
    return " · ".join(
        f"{label}: {duration(value) if 'time' in label else _shown(value)}" for label, value in known.items()
    )


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
    if isinstance(value, dict):
        small = len(value) <= 4 and all(isinstance(v, int | float | str) for v in value.values())
        return ", ".join(f"{k} {_shown(v)}" for k, v in value.items()) if small and value else f"{len(value):,}"
    if isinstance(value, list | tuple):
        few = len(value) <= 4 and all(isinstance(v, str) for v in value)
        return ", ".join(value) if few and value else f"{len(value):,}"
    return str(value) if len(str(value)) <= 80 else str(value)[:77] + "…"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def size(count: int) -> str:
    """Bytes as a person says them."""
    return f"{count / 2**20:,.1f} MiB" if count >= 2**20 else f"{max(1, round(count / 2**10)):,} KiB"


def cut(text: str, width: int) -> str:
    """A text on one line, cut to a width in columns: a Chinese character is as wide as two Latin letters."""
    import unicodedata

    line, used = " ".join(text.split()), 0
    for place, letter in enumerate(line):
        used += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if used > width:
            return line[:place] + "…"
    return line
