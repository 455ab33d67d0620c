"""How a verb tells how far it is, without knowing who listens."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int | None, str], None]
"""Called with (done, total or None, what is being done)."""


def silent(done: int, total: int | None, message: str) -> None:
    """Listen to nothing."""
