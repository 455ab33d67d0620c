"""Text with marked passages, as it stands: each passage is set as text, so nothing in it is read as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import streamlit as st

_mounted = st.components.v2.component(
    "winnow_marked_text",
    html="<section></section>",
    css=Path(__file__).with_suffix(".css").read_text(encoding="utf-8"),
    js=Path(__file__).with_suffix(".js").read_text(encoding="utf-8"),
)


class Passage(NamedTuple):
    """A stretch of text and how it is marked."""

    text: str
    marks: tuple[str, ...] = ()
    """Of `added`, `removed`, `duplicate`, `contamination`, `personal`: each has its own colour and its own line."""
    told: str = ""
    """Shown when the pointer rests on it."""


def draw(passages: Sequence[Passage], *, key: str, said: Mapping[str, str] | None = None) -> None:
    """Draw the passages one after the other; spaces and line ends stay.

    Args:
        passages: in reading order.
        key: unique on the page.
        said: mark -> what a screen reader says of it.
    """
    _mounted(data={"passages": [list(p) for p in passages], "said": dict(said or {})}, key=key)


def legend(names: Mapping[str, str], *, key: str) -> None:
    """Draw what each mark means (mark -> words), drawn as the mark is."""
    passages = [Passage(said, (mark,)) for mark, said in names.items()]
    _mounted(data={"passages": [list(p) for p in passages], "said": {}, "legend": True}, key=key)
