"""A button that saves the chart beside it as a PNG, made in the browser from what is on the screen."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from studio.languages import t

_mounted = st.components.v2.component(
    "winnow_image_button",
    html='<button type="button"></button>',
    css=Path(__file__).with_name("quiet_button.css").read_text(encoding="utf-8"),
    js=Path(__file__).with_suffix(".js").read_text(encoding="utf-8"),
)


def draw(container: str, file: str, *, key: str) -> None:
    """Draw the button.

    Args:
        container: key of the container that holds the chart.
        file: name of the file that is saved.
        key: unique on the page.
    """
    said = {"label": t("Image"), "help": t("Download the chart as an image (PNG)"), "failed": t("No image")}
    _mounted(data={"container": f"st-key-{container}", "file": file, **said}, key=key, width="content")
