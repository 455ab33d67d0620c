"""The studio: its pages, in the order in which data flows, and how Streamlit is started on it."""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from studio.languages import KEY as LANGUAGE
from studio.languages import LANGUAGES, language, mark, t

if TYPE_CHECKING:
    from streamlit.navigation.page import Page

HERE = Path(__file__).parent
MAIN_SCRIPT = HERE / "web" / "app.py"
"""What `streamlit run` is given."""


def streamlit_flags() -> list[str]:
    """The settings but for the theme as `--section.name=value`: flags win over the user's own environment."""
    settings = tomllib.loads((MAIN_SCRIPT.parent / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    return [
        f"--{section}.{name}={str(value).lower() if isinstance(value, bool) else value}"
        for section in ("server", "browser", "client")
        for name, value in settings[section].items()
    ]


@dataclass(frozen=True)
class Place:
    """A page of the sidebar."""

    address: str
    """In the URL, and the name other pages link to it by; its module in `studio.pages`, too."""
    title: str
    icon: str


SECTIONS: dict[str, tuple[Place, ...]] = {
    "": (Place("overview", mark("Overview"), "dashboard"),),
    mark("Data"): (
        Place("ingest", mark("Ingest"), "upload_file"),
        Place("browse", mark("Browse"), "table_rows"),
    ),
    mark("Curate"): (
        Place("score", mark("Score"), "speed"),
        Place("clean", mark("Clean"), "cleaning_services"),
        Place("select", mark("Select"), "filter_alt"),
    ),
    mark("Create"): (Place("synthesize", mark("Synthesize"), "auto_awesome"),),
    mark("Ship"): (
        Place("mix", mark("Mix"), "blender"),
        Place("train", mark("Train"), "model_training"),
        Place("evaluate", mark("Evaluate"), "balance"),
        Place("compare_runs", mark("Compare runs"), "compare_arrows"),
        Place("chat", mark("Chat"), "forum"),
    ),
    mark("Workspace"): (
        Place("jobs", mark("Jobs"), "pending_actions"),
        Place("history", mark("History"), "history"),
        Place("settings", mark("Settings"), "settings"),
    ),
}
"""Section of the sidebar -> its pages, in the order of the work."""

FIRST = "overview"
"""The page of the bare address."""


def pages() -> dict[str, list[Page]]:
    """Section of the sidebar -> its pages, in the reader's language."""
    import streamlit as st

    drawn = {
        t(section) if section else "": [
            st.Page(
                _drawing(place.address),
                title=t(place.title),
                icon=f":material/{place.icon}:",
                # The first page has no address of its own, but one of this name is taken all the same.
                url_path=place.address if place.address != FIRST else "start",
                default=place.address == FIRST,
            )
            for place in places
        ]
        for section, places in SECTIONS.items()
    }
    # One who types the first page's address should find it.
    drawn[""].append(st.Page(_drawing(FIRST), title=t("Overview"), url_path=FIRST, visibility="hidden"))
    return drawn


def _drawing(name: str) -> Callable[[], None]:
    def draw() -> None:
        importlib.import_module(f"studio.pages.{name}").page()

    draw.__name__ = name
    return draw


def run() -> None:
    """Draw the page that the address names."""
    import streamlit as st

    from studio import forms

    st.set_page_config("Winnow", page_icon=str(HERE / "static" / "icon.png"), layout="wide")
    st.logo(str(HERE / "static" / "logo.svg"), size="large", icon_image=str(HERE / "static" / "icon.png"))
    _take_language()
    sections = pages()
    st.session_state[forms.PAGES_KEY] = {
        place.address: page
        for places, drawn in zip(SECTIONS.values(), sections.values(), strict=True)
        for place, page in zip(places, drawn, strict=False)  # the hidden one is the last
    }
    chosen = st.navigation(sections, expanded=True)
    with st.sidebar:
        st.caption(t("Corpus"))
        st.markdown(f"**{forms.plain(forms.corpus_path().name)}**")
        _language_switch()
    chosen.run()


def _take_language() -> None:
    import streamlit as st

    asked = st.query_params.get(LANGUAGE)
    if LANGUAGE not in st.session_state:
        st.session_state[LANGUAGE] = asked if asked in LANGUAGES else language()


def _language_switch() -> None:
    import streamlit as st

    chosen = st.segmented_control(
        t("Language"), list(LANGUAGES), format_func=LANGUAGES.__getitem__, key=LANGUAGE, required=True,
        label_visibility="collapsed",
    )  # fmt: skip
    st.query_params[LANGUAGE] = str(chosen)
