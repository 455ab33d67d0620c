"""The one error a user can mend.

WinnowError
├── IngestError      a file or a row could not be read
├── OperatorError    an operator is unknown or a parameter is wrong
├── ModelError       a model, encoder or chat endpoint could not be opened or answered wrongly
└── CorpusError      the corpus folder, its database, a column, a selection or a mix is not as needed

Anything else that is raised is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class WinnowError(Exception):
    """Says what failed and what to do about it; a command prints it as two lines and exits with 2."""

    def __init__(self, message: str, *, fix: str) -> None:
        """Keep both lines.

        Args:
            message: what failed, with the value and where it stands.
            fix: one imperative line, best a command to paste.
        """
        super().__init__(message)
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.message}\n  fix: {self.fix}"


class IngestError(WinnowError):
    """A file could not be read at all; single unreadable rows are rejected, not raised."""


class OperatorError(WinnowError):
    """An operator is unknown, or one of its parameters is wrong."""


class ModelError(WinnowError):
    """A model could not be opened, or it answered something that can't be used."""


class CorpusError(WinnowError):
    """The corpus does not hold what was asked of it, or can't be opened."""


def unknown(kind: str, name: str, known: Iterable[str], error: type[WinnowError] = OperatorError) -> WinnowError:
    """The error for a name that does not exist, with the nearest names that do."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    choices = ", ".join(known) or "none yet"
    hint = f"did you mean {near[0]!r}? " if near else ""
    return error(f"Unknown {kind} {name!r}.", fix=f"{hint}choose one of: {choices}")
