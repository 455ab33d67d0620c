"""What a command shows: a table for people, one JSON object for programs, progress on stderr."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

QUIET_SECONDS = 5.0
"""Between two progress lines where stderr is no terminal."""


def as_dict(report: Any) -> dict[str, Any]:
    """A report dataclass as plain values."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(report), default=str))
    return plain


def print_json(content: Mapping[str, Any]) -> None:
    """One object on stdout and nothing else."""
    sys.stdout.write(json.dumps(content, ensure_ascii=False, allow_nan=False, default=str) + "\n")


def print_facts(title: str, facts: Mapping[str, Any]) -> None:
    """A title and aligned name-value lines."""
    sys.stdout.write(f"{from_here(title)}\n")
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        sys.stdout.write(f"  {name:<{width}}  {shown(value)}\n")


def from_here(text: str) -> str:
    """A path below the working folder without that folder; anything else as it is."""
    return text.removeprefix(f"{Path.cwd()}/")


def print_table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> None:
    """Rows as an aligned table; numbers to the right."""
    names = list(columns or (rows[0] if rows else ()))
    cells = [[shown(row.get(name)) for name in names] for row in rows]
    numeric = [all(isinstance(row.get(n), int | float | None) for row in rows) for n in names]
    widths = [max([_width(n), *(_width(row[i]) for row in cells)]) for i, n in enumerate(names)]
    for row in [names, *cells]:
        line = "  ".join(_padded(cell, w, right) for cell, w, right in zip(row, widths, numeric, strict=True))
        sys.stdout.write(line.rstrip() + "\n")


def shown(value: Any) -> str:
    """A value as people read it: thousands separated, four digits, a dash for nothing."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1e5 else f"{value:,.0f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {shown(v)}" for k, v in value.items()) or "-"
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ", ".join(shown(v) for v in value) or "-"
    return str(value)


def shortened(text: str, width: int) -> str:
    """One line of at most so many columns."""
    line = " ".join(text.split())
    if _width(line) <= width:
        return line
    while line and _width(line) > width - 1:
        line = line[:-1]
    return line + "…"


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _padded(text: str, width: int, right: bool) -> str:
    space = " " * (width - _width(text))
    return space + text if right else text + space


class ProgressLine:
    """Progress on stderr: one line that rewrites itself on a terminal, a line now and then elsewhere."""

    def __init__(self, *, silent: bool = False) -> None:
        self._silent = silent
        self._terminal = sys.stderr.isatty()
        self._last = 0.0

    def __call__(self, done: int, total: int | None, message: str) -> None:
        """Show a step."""
        now = time.monotonic()
        pause = 0.1 if self._terminal else QUIET_SECONDS
        if self._silent or (now - self._last < pause and done != total):
            return
        self._last = now
        share = f"{100 * done / total:3.0f}% " if total else ""
        end = "\033[K\r" if self._terminal else "\n"
        sys.stderr.write(f"{share}{shortened(message, 100)}{end}")
        sys.stderr.flush()

    def close(self) -> None:
        """Leave the line."""
        if self._terminal and not self._silent and self._last:
            sys.stderr.write("\033[K")
