"""The workspace: the one folder, besides the corpus, whose files a browser may have read and written.

A page is drawn on the machine that serves it, so a path that is typed into it means a file there. Who may open the
studio in a browser may not read the whole machine with it: every path that comes from a page is followed to where it
really leads, and must end in the workspace. The command line knows no such bounds: who has it has the machine already.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from curation.errors import WinnowError

VARIABLE = "WINNOW_WORKSPACE"

NO_PATHS = frozenset({"where", "order", "target_where", "reason", "note", "source", "fields", "encoding", "name"})
"""Parameters of commands whose values are conditions, words or columns, whatever they look like."""

GLOB = re.compile(r"[*?\[]")

ADDRESS = re.compile(r"(?:https?://|hf://datasets/)[^\s,;]*", re.IGNORECASE)
"""What lies elsewhere and is fetched, or asked; with `..` in it, it may be a path all the same."""

OF_STUDIO = frozenset({"owner.json", "sessions.json"})
"""Files of a corpus' folder that open it to whoever reads them."""


def folder() -> Path:
    """The workspace: what the studio was started with, or the folder it was started in."""
    return Path(os.environ.get(VARIABLE) or Path.cwd()).expanduser().resolve()


def roots() -> tuple[Path, ...]:
    """Every folder whose files a browser may have read and written."""
    from studio.door.sessions import corpus_folder

    return folder(), corpus_folder()


def is_inside(path: Path | str, *more: Path) -> bool:
    """Whether a path leads, links followed, to a place in the workspace, in the corpus, or in one of these folders."""
    return _leads_inside(path, *more) and not _is_kept_back(_followed(path), more)


def _followed(path: Path | str) -> Path:
    # Two slashes at the start are one to the system, and a root of its own to Path.
    return Path(re.sub("^/+", "/", str(path))).expanduser().resolve()


def _is_kept_back(real: Path, more: Sequence[Path]) -> bool:
    """Whether a file in the workspace is hidden (keys, settings), or what the studio keeps its own secrets in."""
    if real.name in OF_STUDIO and (real.parent / "corpus.duckdb").exists():
        return True
    rests = [real.relative_to(root).parts for root in (*roots(), *more) if real.is_relative_to(root)]
    return all(any(part.startswith(".") for part in rest) for rest in rests)


def inside(path: Path | str, *more: Path) -> Path:
    """The path, links followed, if it lies in the workspace.

    Raises:
        WinnowError: it leads out of it, or to a hidden file.
    """
    if not is_inside(path, *more):
        shown = str(path) if len(str(path)) <= 200 else f"{str(path)[:200]}…"
        if _leads_inside(path, *more):
            raise WinnowError(
                f"{shown} is a hidden file, or one of the studio's own.", fix="choose another file, or use a terminal"
            )
        raise WinnowError(
            f"{shown} lies outside the workspace {folder()}.",
            fix="choose a file inside, or start the studio with: winnow studio CORPUS --workspace FOLDER",
        )
    return _followed(path)


def _leads_inside(path: Path | str, *more: Path) -> bool:
    try:
        return any(_followed(path).is_relative_to(root) for root in (*roots(), *more))
    except (OSError, RuntimeError, ValueError):  # a ring of links, an unknown user, a name no file can have
        return False


def checked_pattern(pattern: str) -> str:
    """A path or pattern (`data/*.jsonl`), if what it names can only lie in the workspace.

    Raises:
        WinnowError: it leads out of it.
    """
    parts = Path(pattern).expanduser().parts
    fixed = next((n for n, part in enumerate(parts) if GLOB.search(part)), len(parts))
    if ".." in parts[fixed:]:
        raise WinnowError(f"The pattern {pattern[:200]} goes up again.", fix="write the pattern without ..")
    inside(Path(*parts[:fixed]) if fixed else Path())
    return pattern


def check_command(argv: Sequence[str], *more: Path) -> None:
    """Refuse a command, as a page starts it, that reads or writes files outside the workspace.

    Args:
        argv: without the leading `winnow`.
        more: folders that count as inside, too.

    Raises:
        WinnowError: one of its words leads out of the workspace.
    """
    for kind, value in _values(argv):
        if kind == "path":
            if not _is_address(value):
                inside(value, *more)
        else:
            check_text(value, *more)


def check_text(value: str, *more: Path) -> None:
    """Refuse a text, such as the spec of a model (`hf:/models/base`), that names a file outside the workspace.

    Raises:
        WinnowError: a path in it leads out of the workspace.
    """
    for part in _paths_in(value):
        if _looks_like_path(part) or _exists(part):
            inside(part, *more)


def _values(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(`path` or `text`, value) of every word of a command that may name a file."""
    import click

    from studio.cli import winnow

    command = winnow.commands.get(argv[0]) if argv else None
    if command is None:
        yield from (("text", word) for word in argv)
        return
    context = command.make_context(argv[0], list(argv[1:]), resilient_parsing=True)
    for parameter in command.params:
        given = context.params.get(parameter.name or "")
        if given is None or isinstance(given, bool) or parameter.name in NO_PATHS:
            continue
        if context.get_parameter_source(parameter.name or "") is click.core.ParameterSource.DEFAULT:
            continue
        kind = "path" if isinstance(parameter.type, click.Path | click.File) else "text"
        for value in _flat(given):
            if not (parameter.name == "parts" and value.startswith("where:")):
                yield kind, value


def _flat(given: Any) -> Iterator[str]:
    if isinstance(given, list | tuple):
        for value in given:
            yield from _flat(value)
    elif isinstance(given, str | Path):
        yield str(given)


def _paths_in(value: str) -> Iterator[str]:
    """What in a text may be a path: all of it, and what follows each `=` and `:` (`--set target=FILE`, `hf:FOLDER`)."""
    seen = set()
    for line in value.splitlines():
        # The name that a model has where it is asked (`http://host/v1#/models/a`) belongs to the address.
        left = ADDRESS.sub(lambda found: found[0] if ".." in found[0] else "", line)
        seen |= {left, *re.split(r"[,;]", left)}
    for text in list(seen):
        seen.update(text[at.end() :] for at in re.finditer(r"[=:]", text))
    for part in sorted(seen):
        for path in {part, part.split("#", 1)[0]}:
            path = path.strip().strip("\"'[]{}()").strip()
            if path:
                yield path


def _looks_like_path(part: str) -> bool:
    # One leading slash alone begins many a prompt (`/no_think`); a file has a folder.
    absolute = part.startswith("/") and part.count("/") > 1 and " " not in part
    return absolute or re.match(r"~[\w.-]*(/|$)", part) is not None or ".." in Path(part).parts


def _exists(part: str) -> bool:
    try:
        return Path(part).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False


def _is_address(text: str) -> bool:
    return ADDRESS.fullmatch(text) is not None and ".." not in text


def in_reach(argv: Sequence[str], corpus: Path) -> None:
    """`check_command` where a page starts the command; a terminal may do as it likes.

    Raises:
        WinnowError: one of its words leads out of the workspace.
    """
    from studio.door.access import in_page

    if "streamlit" in sys.modules and in_page():
        check_command(argv, corpus)
