"""Prompts: Markdown files with `{{name}}` where something is filled in, versioned by the hash of their text.

A corpus may hold its own wording of a prompt in `prompts/NAME.md`; it is used instead of the one that comes with
Winnow, and a run with other wording is another run.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path

from curation.errors import OperatorError

FOLDER = Path(__file__).parent / "prompts"
GAP = re.compile(r"\{\{(\w+)\}\}")


class Prompts:
    """Prompts by name: the user's wording where there is one, else the built-in one."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._read: dict[str, str] = {}

    def text(self, name: str) -> str:
        """The prompt, without the blank lines around it; the same as long as this object lives.

        Raises:
            OperatorError: the user's wording lacks a gap of the built-in one, or has another.
        """
        if name not in self._read:
            own = self._folder / f"{name}.md" if self._folder else None
            self._read[name] = (
                checked(name, own.read_text(encoding="utf-8")) if own and own.is_file() else built_in(name)
            )
        return self._read[name]

    def fill(self, name: str, **values: object) -> str:
        """The prompt with its gaps filled, all at once: a `{{name}}` inside a value stays as it is."""
        return GAP.sub(lambda gap: str(values[gap.group(1)]), self.text(name))

    def versions(self, *names: str) -> dict[str, str]:
        """Prompt name -> first 12 hex digits of the SHA-256 of its text."""
        return {name: hashlib.sha256(self.text(name).encode()).hexdigest()[:12] for name in names}


BUILT_IN = Prompts()


@cache
def built_in(name: str) -> str:
    """The text of `prompts/NAME.md` as it comes with Winnow, without the blank lines around it."""
    return (FOLDER / f"{name}.md").read_text(encoding="utf-8").strip()


def gaps(text: str) -> list[str]:
    """Names of what is filled in, each once, in order."""
    return list(dict.fromkeys(GAP.findall(text)))


def checked(name: str, text: str) -> str:
    """A user's wording of a prompt.

    Raises:
        OperatorError: its gaps are not those of the built-in prompt.
    """
    wanted, found = gaps(built_in(name)), gaps(text)
    if set(wanted) != set(found):
        told = ", ".join(f"{{{{{gap}}}}}" for gap in wanted) or "none"
        raise OperatorError(
            f"The prompt {name!r} has other gaps than the built-in one, which has {told}.",
            fix="fill in exactly those, each at least once",
        )
    return text.strip()
