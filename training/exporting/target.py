"""The folder that an export is written to: what lies there is only replaced where an export has written all of it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from curation.errors import WinnowError

MARK = ".winnow-export"
"""File of an export that names its files; it is not uploaded."""


def check_target(out: Path, run: Path) -> None:
    """See that nothing would be lost by writing an export of `run` to `out`; both are absolute.

    Raises:
        WinnowError: `out` is the run's folder, inside or above it, no folder, or holds what no export has written.
    """
    if out == run or run in out.parents or out in run.parents:
        raise WinnowError(
            f"{out} and the folder of the run, {run}, hold each other.", fix="name a folder beside that of the run"
        )
    if out.exists() and (foreign := _foreign(out)) is not None:
        raise WinnowError(f"{out} holds something else: {foreign}.", fix="name a folder that does not exist yet")


def _foreign(out: Path) -> str | None:
    """The first thing in `out` that no export has written; null where there is none."""
    if not out.is_dir() or out.is_symlink():
        return "it is no folder"
    try:
        written = {MARK, *json.loads((out / MARK).read_text(encoding="utf-8"))["files"]}
    except (OSError, ValueError, TypeError, KeyError):
        written = set()
    found = (str(path.relative_to(out)) for path in sorted(out.rglob("*")) if path.is_symlink() or not path.is_dir())
    return next((name for name in found if name not in written), None)


def marked(draft: Path) -> None:
    """Mark a folder as an export that has written all that lies in it."""
    names = sorted(str(path.relative_to(draft)) for path in draft.rglob("*") if path.is_file())
    (draft / MARK).write_text(json.dumps({"files": names}, ensure_ascii=False, indent=2), encoding="utf-8")


def put_in_place(draft: Path, out: Path) -> None:
    """Let `draft` become `out`; an export that was there is deleted only when the new one is in its place."""
    before = out.parent / f".{out.name}.{os.getpid()}.before"
    if out.exists():
        out.rename(before)
    try:
        draft.replace(out)
    except OSError:
        if before.exists():
            before.rename(out)
        raise
    shutil.rmtree(before, ignore_errors=True)
