"""Names that become folders."""

from __future__ import annotations

from curation.errors import CorpusError


def checked_name(kind: str, name: str) -> str:
    """The name, if it can be the name of a folder inside the corpus.

    Raises:
        CorpusError: it is empty, hidden, or leads elsewhere.
    """
    if not name.strip() or name.startswith(".") or any(c in name for c in "/\\\0"):
        raise CorpusError(f"{name!r} can't be the name of a {kind}.", fix="use letters, digits, - and _")
    return name
