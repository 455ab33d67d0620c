"""What a finished command is said to have done: the numbers a person wants, not the whole report."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from studio.languages import mark, t, told_text

TOLD: dict[str, dict[str, str]] = {
    "ingest": {"added": mark("added"), "duplicates": mark("duplicates"), "rejected": mark("rejected rows")},
    "score": {
        "scorer": mark("scorer"),
        "scored": mark("samples scored"),
        "already": mark("scored before"),
        "unscored": mark("not measured"),
    },
    "embed": {
        "name": mark("embedding"),
        "embedded": mark("samples embedded"),
        "already": mark("embedded before"),
        "dimensions": mark("dimensions"),
    },
    "warm-up": {
        "parameters": mark("parameters"),
        "tokens": mark("tokens"),
        "held_out_loss_before": mark("held-out loss before"),
        "held_out_loss_after": mark("after"),
    },
    "hold-out": {"added": mark("newly held out"), "held_out": mark("held out in all")},
    "select": {"name": mark("selection"), "ids": mark("samples"), "pool": mark("chosen from")},
    "synthesize": {
        "seeds": mark("seed samples"),
        "accepted": mark("accepted"),
        "duplicates": mark("known already"),
        "rejected": mark("rejected"),
        "failed": mark("failed"),
        "first_failure": mark("first failure"),
        "calls": mark("calls"),
        "cached_calls": mark("answered before"),
        "cost_usd": mark("cost in US dollars"),
        "cost_reason": mark("cost unknown"),
        "spent_usd": mark("spent in all"),
        "stopped": mark("stopped"),
    },
    "export": {
        "name": mark("mix"),
        "rows": mark("training rows"),
        "eval_rows": mark("evaluation rows"),
        "random_rows": mark("random rows"),
        "skipped": mark("left out"),
        "notes": mark("note"),
    },
    "train": {
        "steps": mark("steps"),
        "rows": mark("rows"),
        "tokens": mark("tokens"),
        "truncated": mark("rows cut"),
        "dropped": mark("rows left out"),
        "train_loss": mark("training loss"),
        "seconds": mark("training time"),
    },
    "bad-cases": {
        "bad_answers": mark("answers that break a rule"),
        "answers": mark("answers"),
        "samples": mark("samples stored"),
    },
    "export-model": {"kind": mark("kind"), "size_gib": mark("size in GiB")},
    "mix-search": {"trials": mark("runs")},
    "normalize": {"looked_at": mark("samples looked at"), "changed": mark("rewritten")},
    "snapshot": {"name": mark("snapshot"), "samples": mark("samples"), "dropped": mark("dropped")},
    "drop": {"changed": mark("samples dropped"), "unchanged": mark("so already")},
    "keep": {"changed": mark("samples kept"), "unchanged": mark("so already")},
    "clear": {"changed": mark("samples cleared"), "unchanged": mark("so already")},
    "tag": {"changed": mark("samples tagged"), "unchanged": mark("so already")},
    "edit": {"changed": mark("samples rewritten")},
    "undo": {"kind": mark("what was taken back"), "changed": mark("samples changed")},
    "annotate": {
        "question": mark("question"),
        "answer": mark("answer"),
        "who": mark("answered by"),
        "changed": mark("samples answered"),
        "unchanged": mark("so already"),
    },
    "teach": {"concept": mark("concept"), "answered": mark("answers"), "yes": mark("yes"), "no": mark("no")},
    "map": {"embedding": mark("embedding"), "samples": mark("samples on the map"), "added": mark("added")},
    "demo": {"samples": mark("samples"), "held_out": mark("held out in all"), "selections": mark("selections")},
}
"""Verb -> what is told of its report, in order, and what to call it. Folders, hashes and ids are not news."""


def summary(report: Mapping[str, Any], verb: str | None = None) -> str:
    """The numbers and names of a report in one line; long lists and tables as their size.

    Args:
        report: as the command wrote it.
        verb: whose report it is; a verb that is not known tells everything.
    """
    if verb == "evaluate":
        judged = [run for run in report.get("runs", ()) if isinstance(run, dict)]
        return " · ".join(f"{PurePath(run['run']).name}: {told_text(run['verdict'])}" for run in judged)
    labels = TOLD.get(verb or "") or {name: name.replace("_", " ") for name in report}
    found = {label: report.get(name) for name, label in labels.items()}
    known = {label: value for label, value in found.items() if value is not None and value not in ({}, [], "")}
    return " · ".join(
        t("{label}: {value}", label=t(label), value=duration(value) if "time" in label else _shown(value))
        for label, value in known.items()
    )


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return t("yes") if value else t("no")
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
        return t("{seconds} s", seconds=f"{seconds:.1f}" if seconds < 10 else f"{seconds:.0f}")
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return t("{minutes} min {seconds} s", minutes=minutes, seconds=rest)
    return t("{hours} h {minutes} min", hours=minutes // 60, minutes=minutes % 60)


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
