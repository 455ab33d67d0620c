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
        # The reasons that libraries give may have more lines.
        message = " ".join(line.strip() for line in message.splitlines() if line.strip())
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


class BudgetError(WinnowError):
    """What may be spent is spent; what was paid for is kept."""


class CorpusError(WinnowError):
    """The corpus does not hold what was asked of it, or can't be opened."""


DISK = (
    "No space left", "Disk quota", "File too large", "Read-only file system", "Permission denied", "Input/output error",
    "Operation not permitted", "requested and", "Could not write file", "offload data block", "max_temp_directory_size",
)  # fmt: skip
"""What an error says, whatever its class and library, when the disk would not take what was written."""


def of_disk(error: BaseException) -> WinnowError | None:
    """The two lines for an error that is the disk's fault: it is full, or may not be written to; null for any other.

    DuckDB, polars, numpy and Python each raise a class of their own, and not all of them keep the number of the error.
    """
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    reason = " ".join(said.split("\n")[0].split()).rstrip(".").split("Error: ", 1)[-1]
    if isinstance(error, WinnowError) or not any(words in reason for words in DISK):
        return None
    if "requested and" in reason:  # numpy's words for it
        reason = "a file could not be written to its end"
    where = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
    return CorpusError(
        f"The disk refused: {where}{reason}.",
        fix="free disk space, or check that you may write there; the same command goes on from what was stored",
    )


def unknown(kind: str, name: str, known: Iterable[str], error: type[WinnowError] = OperatorError) -> WinnowError:
    """The error for a name that does not exist, with the nearest names that do."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1)
    choices = ", ".join(known) or "none yet"
    hint = f"did you mean {near[0]!r}? " if near else ""
    return error(f"Unknown {kind} {name!r}.", fix=f"{hint}choose one of: {choices}")
