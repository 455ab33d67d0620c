"""Names that users give and that become folders, columns of a table, or words of a command."""

from __future__ import annotations

from curation.errors import CorpusError

LONGEST = 200
"""Bytes: what every file system takes as a file name, with room for an ending."""


def checked_name(kind: str, name: str) -> str:
    """The name, if it can stand for a file inside one folder.

    Args:
        kind: what is named, such as "selection".
        name: as the user wrote it.

    Raises:
        CorpusError: it is empty, points elsewhere, is hidden, too long, or has characters that can't be printed.
    """
    wrong = _wrong(name)
    if wrong is None:
        return name
    raise CorpusError(
        f"No {kind} can be called {name!r}: the name {wrong}.", fix="choose a name of letters, digits, - and _"
    )


def _wrong(name: str) -> str | None:
    if not name.strip():
        return "is empty"
    if "/" in name or "\\" in name:
        return "has a path separator"
    if name.startswith("."):
        return "begins with a dot"
    if any(c != " " and not c.isprintable() for c in name):
        return "has characters that can't be printed"
    return "is too long" if len(name.encode()) > LONGEST else None
