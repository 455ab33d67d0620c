"""What every page shows in the same way: plain text, errors, links to other pages, a chosen row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import streamlit as st

from studio.languages import t, told

if TYPE_CHECKING:
    from streamlit.navigation.page import Page

    from curation.errors import WinnowError

PAGES_KEY = "pages"
"""Where the session keeps the pages by name, so that one page can link to another."""

DRAWN_KEY = "page_drawn"
"""Where the session keeps the name of the page that is drawn."""

SEEN_KEY = "pages_seen"
"""Where the session keeps the names of the pages that were opened."""

SPECIAL = re.compile(r"([\\`*_{}\[\]()#+\-.!|~$<>:&])")


def plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    # Streamlit puts an icon where it finds its name, escaped or not.
    return SPECIAL.sub(r"\\\1", " ".join(text.split("\n"))).replace("\\:material/", "&#58;material/")


def show_error(error: WinnowError) -> None:
    """What failed, and what to do about it."""
    message, fix = told(error)
    st.error(plain(message), icon=":material/error:")
    st.caption(t("What to do"))
    st.code(fix, language=None, wrap_lines=True)


def page_named(name: str) -> Page | None:
    """The page of this name; null outside the studio (one page alone, in a test)."""
    found: Page | None = st.session_state.get(PAGES_KEY, {}).get(name)
    return found


def link(name: str, label: str, *, icon: str | None = None, query: Mapping[str, str] | None = None) -> None:
    """A link to the page of this name; outside the studio (one page alone, in a test) only its label."""
    page = page_named(name)
    if page is None:
        st.caption(plain(label))
    else:
        st.page_link(page, label=plain(label), icon=icon, query_params=dict(query) if query else None)


def button_to(name: str, label: str, *, key: str, primary: bool = True, query: Mapping[str, str] | None = None) -> None:
    """A button that opens the page of this name: the one thing to do next."""
    kind: Any = "primary" if primary else "secondary"
    if st.button(label, key=key, type=kind, icon=":material/arrow_forward:", icon_position="right"):
        page = page_named(name)
        if page is not None:
            st.switch_page(page, query_params=dict(query or {}))


def chosen_row(state: Any, rows: int) -> int | None:
    """The row of a table whose cell (or whose row) was clicked; null where none is, or the table has fewer rows now."""
    selection = state["selection"]
    found = [row for row, _ in selection.get("cells", ())] or list(selection["rows"])
    return found[0] if found and found[0] < rows else None
