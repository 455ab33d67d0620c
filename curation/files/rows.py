"""Rows as they were read from a file: numbered, and either values by column or what could not be parsed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """A row that could not be parsed."""

    text: str
    reason: str


Numbered = tuple[int, "dict[str, Any] | BrokenRow"]
"""(line of a text file or row of a table, counted from 1; what stands there)."""


def shown(value: Any) -> str:
    """A row as JSON for people to look at; half characters are written as escapes."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str)
    except (RecursionError, ValueError, TypeError):
        return f"{{{', '.join(map(str, value))}: ...}}" if isinstance(value, dict) else f"{type(value).__name__}: ..."
    return printable(text)


def printable(text: str) -> str:
    """The text with half characters (lone surrogates) written as escapes, so that it can be stored and shown."""
    return text.encode("utf-8", "backslashreplace").decode()
