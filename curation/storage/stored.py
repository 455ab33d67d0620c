"""What a corpus keeps under a name: scoring runs and selections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ScoreRun:
    """One scorer with its parameters and model, and the columns it wrote."""

    run: str
    scorer: str
    operator: str
    model: str | None
    columns: tuple[str, ...]
    scored: int
    unscored: int


@dataclass(frozen=True)
class SavedSelection:
    """A selection as it is stored."""

    name: str
    operator: dict[str, Any]
    budget: int
    working_set: str | None
    pool: int
    ids: list[str]
