"""Keys that press what is on the page: those that a button's own shortcut can't, such as `?`, and keys for popovers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import streamlit as st

_mounted = st.components.v2.component(
    "winnow_keys", html="<span hidden></span>", js=Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
)


def listen(keys: Mapping[str, str], *, key: str) -> None:
    """Press an element of the page when a key is struck, wherever the focus is but in an input or an open dialog.

    Args:
        keys: key as the browser names it (`t`, `?`, `ArrowRight`) -> Streamlit key of the button or popover.
        key: unique on the page.
    """
    _mounted(data={"keys": {struck: f"st-key-{name}" for struck, name in keys.items()}}, key=key, height=1)


def scroll_to(container: str, *, key: str) -> None:
    """Bring a container into view when it is another one than before.

    Args:
        container: its Streamlit key.
        key: unique on the page.
    """
    _mounted(data={"keys": {}, "into_view": f"st-key-{container}"}, key=key, height=1)
