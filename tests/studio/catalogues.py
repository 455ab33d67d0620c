"""What the studio says, found in its code, and what its catalogues make of it.

`python -m tests.studio.catalogues` lists what still stands in English: texts without t(), and texts without a
translation.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from babel.messages.extract import extract_from_dir

STUDIO = Path(__file__).resolve().parents[2] / "studio"
KEYWORDS = {"t": None, "tn": (1, 2), "mark": None}
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
NO_WORDS = re.compile(r"^(:material/\w+:|[a-z_]+(:[QNOT])?|[A-Z]+|winnow.*|https?:.*|%.*|[^A-Za-z]*)$")


def keys() -> dict[str, str]:
    """Text the code asks for -> file that does; of plurals the form for one."""
    found = {}
    for file, _, message, _, _ in extract_from_dir(str(STUDIO), [("**.py", "python")], keywords=KEYWORDS):
        found[message if isinstance(message, str) else message[0]] = file
    return found


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
        yield "".join(v.value for v in node.values if isinstance(v, ast.Constant))
    elif isinstance(node, ast.IfExp):
        yield from _literals(node.body)
        yield from _literals(node.orelse)
    elif isinstance(node, ast.BinOp):
        yield from _literals(node.left)
        yield from _literals(node.right)


if __name__ == "__main__":
    from studio.languages import catalogue

    known = catalogue("zh")
    for place in untold():
        print("without t():", place)  # noqa: T201
    for key, file in keys().items():
        if key not in known:
            print("not in zh:", file, repr(key))  # noqa: T201
