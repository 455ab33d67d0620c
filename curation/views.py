"""Named views: a page with its filter, order and chosen sample, kept under a name that opens it again.

    views/NAME.json    {"page": "browse", "query": {"where": "turns > 1", "sort": "length"}}

A file each: two that are saved at the same time never lose one another.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from curation.errors import CorpusError, unknown
from curation.names import checked_name

FOLDER = "views"
LONGEST = 100
"""Characters of a name: it stands in a list and in addresses."""


@dataclass(frozen=True)
class View:
    """What a name opens."""

    name: str
    page: str
    """Of the studio, by its address."""
    query: Mapping[str, str] = field(default_factory=dict)
    """What stands in the address after the page: `where`, `sort` and so on."""


def views(corpus: Path) -> list[View]:
    """The views of a corpus by name; a file that is none is passed over."""
    found = (_read(path) for path in sorted((corpus / FOLDER).glob("*.json")))
    return [view for view in found if view is not None]


def view_named(corpus: Path, name: str) -> View:
    """The view of this name.

    Raises:
        CorpusError: there is none.
    """
    known = {view.name: view for view in views(corpus)}
    if name not in known:
        raise unknown("view", name, list(known), CorpusError)
    return known[name]


def save_view(corpus: Path, view: View) -> View:
    """Keep a view; one of the same name is replaced.

    Raises:
        CorpusError: the name can't be one of a file, or is too long.
    """
    name = checked_name("view", view.name.strip())
    if len(name) > LONGEST:
        raise CorpusError(
            f"The name of the view has {len(name)} characters.", fix=f"choose one of at most {LONGEST} characters"
        )
    path = corpus / FOLDER / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    partial = path.with_name(f".{os.getpid()}-{id(view)}")
    partial.write_text(json.dumps({"page": view.page, "query": dict(view.query)}, ensure_ascii=False), encoding="utf-8")
    partial.replace(path)
    return View(name, view.page, view.query)


def remove_view(corpus: Path, name: str) -> None:
    """Forget a view.

    Raises:
        CorpusError: there is none of this name.
    """
    found = view_named(corpus, name)
    with contextlib.suppress(FileNotFoundError):  # somebody else forgot it just now
        (corpus / FOLDER / f"{found.name}.json").unlink()


def _read(path: Path) -> View | None:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        query = {str(name): str(value) for name, value in stored["query"].items()}
        return View(path.name.removesuffix(".json"), str(stored["page"]), query)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
