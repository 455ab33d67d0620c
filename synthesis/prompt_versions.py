"""The user's own wording of a prompt, with every earlier one kept.

CORPUS/prompts/NAME.md                         the wording in use; without it the built-in one is
CORPUS/prompts/history/NAME/TIME-HASH.md       every wording that was saved, the latest last
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from synthesis.prompting import built_in, checked

BUILT_IN = "built-in"


@dataclass(frozen=True, slots=True)
class Version:
    """A wording that was in use."""

    saved: str
    """UTC, to the second, like 2026-01-31 12:00:00."""
    hash: str
    """The first 12 hex digits of its SHA-256, as the spec of a run names it."""
    text: str


def wording(folder: Path, name: str) -> str:
    """The text in use, whatever its gaps: the user's where there is one."""
    own = folder / f"{name}.md"
    return own.read_text(encoding="utf-8").strip() if own.is_file() else built_in(name)


def is_own(folder: Path, name: str) -> bool:
    """Whether the user's wording is in use."""
    return (folder / f"{name}.md").is_file()


def save(folder: Path, name: str, text: str) -> str:
    """Use this wording from now on; its hash.

    Raises:
        OperatorError: its gaps are not those of the built-in prompt; nothing was changed.
    """
    text = checked(name, text.replace("\r\n", "\n"))
    if text == built_in(name):
        reset(folder, name)
        return hash_of(text)
    _keep_current(folder, name)
    _write(folder / f"{name}.md", text + "\n")
    _keep(folder, name, text)
    return hash_of(text)


def reset(folder: Path, name: str) -> None:
    """Use the built-in wording again; the user's stays in the history."""
    _keep_current(folder, name)
    (folder / f"{name}.md").unlink(missing_ok=True)


def history(folder: Path, name: str) -> list[Version]:
    """Every wording that was saved, the latest first."""
    found = []
    for path in sorted((folder / "history" / name).glob("*.md"), reverse=True):
        moment, _, digest = path.stem.partition("-")
        saved = datetime.strptime(moment[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
        found.append(Version(f"{saved:%Y-%m-%d %H:%M:%S}", digest, path.read_text(encoding="utf-8").strip()))
    return found


def hash_of(text: str) -> str:
    """What the spec of a run calls a wording."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _keep_current(folder: Path, name: str) -> None:
    """One that was written by an editor or another command is not in the history yet."""
    if is_own(folder, name):
        _keep(folder, name, wording(folder, name))


def _keep(folder: Path, name: str, text: str) -> None:
    known = history(folder, name)
    if known and known[0].text == text:
        return
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
    _write(folder / "history" / name / f"{moment}-{hash_of(text)}.md", text + "\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
