"""Prompts: Markdown files with `{{name}}` where something is filled in, versioned by the hash of their text."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path

FOLDER = Path(__file__).parent / "prompts"


@cache
def prompt(name: str) -> str:
    """The text of `prompts/NAME.md`, without the blank lines around it."""
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8").strip()


def fill(name: str, **values: object) -> str:
    """The prompt with its gaps filled, all at once: a `{{name}}` inside a value stays as it is."""
    return re.sub(r"\{\{(\w+)\}\}", lambda gap: str(values[gap.group(1)]), prompt(name))


def versions(*names: str) -> dict[str, str]:
    """Prompt name -> first 12 hex digits of the SHA-256 of its text."""
    return {name: hashlib.sha256(prompt(name).encode()).hexdigest()[:12] for name in names}
