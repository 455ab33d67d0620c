"""A button that copies the address of the page, with filter, sort, page and sample as they are."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from studio.languages import t

_mounted = st.components.v2.component(
    "winnow_copy_link",
    html='<button type="button"></button>',
    css=Path(__file__).with_name("quiet_button.css").read_text(encoding="utf-8"),
    js=Path(__file__).with_suffix(".js").read_text(encoding="utf-8"),
)


def draw(*, key: str) -> None:
    """Draw the button."""
    _mounted(data={"label": t("Copy the link"), "copied": t("Copied")}, key=key, width="content")
