"""Parameters with several values."""

from __future__ import annotations

from typing import Any


def parted(value: Any) -> Any:
    """The values of a list that was written with commas, as `--set` gives it; anything else as it is."""
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
