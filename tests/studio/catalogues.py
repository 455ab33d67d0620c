"""What the studio says, found in its code, and what its catalogues make of it.

`python -m tests.studio.catalogues` lists what still stands in English: texts without t(), and texts without a
translation. With `--sort` it files every translation under the page that asks for it.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.studio import templates

STUDIO = Path(__file__).resolve().parents[2] / "studio"
TELLING = ("t", "tn", "mark")
SAYS = {
    "title", "header", "subheader", "caption", "markdown", "button", "download_button", "text_input", "text_area",
    "number_input", "selectbox", "multiselect", "segmented_control", "slider", "select_slider", "toggle", "checkbox",
    "radio", "pills", "expander", "popover", "metric", "info", "warning", "error", "success", "toast", "badge",
    "file_uploader", "form_submit_button", "spinner", "link_button", "page_link", "progress", "chat_input", "Column",
    "TextColumn", "NumberColumn", "ProgressColumn", "ListColumn", "DatetimeColumn", "CheckboxColumn", "LinkColumn",
    "empty_state", "command_box", "link", "status", "feedback", "Page", "Tooltip", "Color", "X", "Y",
}  # fmt: skip
"""Functions whose first text, or texts by the names below, a reader sees."""
SAID = {"help", "placeholder", "label", "title", "text", "body", "alt", "disabled_reason", "why"}
WORD = re.compile(r"[A-Za-z]{2,}")
NO_WORDS = re.compile(
    r"^(:material/\w+:|[a-z_]+(:[QNOT])?|[A-Z]+|winnow.*|https?:.*|%.*|[^A-Za-z]*|[\w.:/#-]*[0-9/:#][\w.:/#-]*)$"
)
"""Icons, columns, commands, addresses, formats and names such as gpt-4.1-mini."""


class Asked(NamedTuple):
    """A text that somebody asks for."""

    files: tuple[str, ...]
    """Who asks, from the repository's root."""
    plural: str | None = None


@cache
def asked() -> dict[str, Asked]:
    """Text -> who asks for it: pages by t(), tn() and mark(), and what is made below them."""
    found: dict[str, Asked] = {}

    def add(text: str, file: str, plural: str | None = None) -> None:
        known = found.get(text, Asked((), plural))
        found[text] = Asked(tuple(dict.fromkeys((*known.files, file))), known.plural or plural)

    for path in sorted(STUDIO.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
            if isinstance(node, ast.Call) and node.args and name in TELLING:
                plural = "".join(_literals(node.args[1])) if name == "tn" and len(node.args) > 1 else None
                for text in _literals(node.args[0]):
                    add(text, str(path.relative_to(STUDIO.parent)), plural)
    for texts in (templates.operators(), templates.errors(), templates.progress(), templates.verdicts()):
        for text, file in texts.items():
            add(text, file)
    return found


def keys() -> dict[str, str]:
    """Text that needs a translation -> file that asks; of plurals the form for one."""
    return {text: who.files[0] for text, who in asked().items() if templates.demanded(text)}


def untold() -> Iterator[str]:
    """Places (`file:line text`) where a reader is told something that t() does not know."""
    for path in sorted(STUDIO.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            # The command line speaks English; only pages are read in the browser.
            first = node.args[:1] if name in SAYS else []
            for value in (*first, *(k.value for k in node.keywords if k.arg in SAID and name in SAYS)):
                for text in _literals(value):
                    if WORD.search(text) and not NO_WORDS.match(text):
                        yield f"{path.relative_to(STUDIO)}:{value.lineno} {text[:60]!r}"


def _literals(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(v.value) for v in node.values if isinstance(v, ast.Constant))
    elif isinstance(node, ast.IfExp):
        yield from _literals(node.body)
        yield from _literals(node.orelse)
    elif isinstance(node, ast.BinOp):
        yield from _literals(node.left)
        yield from _literals(node.right)
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from _literals(value)


if __name__ == "__main__":
    from studio.languages import catalogue
    from tests.studio.filing import file_all

    if "--sort" in sys.argv:
        file_all()
    known = catalogue("zh")
    for place in untold():
        print("without t():", place)  # noqa: T201
    for key, file in keys().items():
        if key not in known:
            print("not in zh:", file, repr(key))  # noqa: T201
