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
        for section in ("server", "browser", "client", "runner")
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
        Place("map", mark("Map"), "scatter_plot"),
        Place("annotate", mark("Label"), "rate_review"),
    ),
    mark("Curate"): (
        Place("score", mark("Score"), "speed"),
        Place("concepts", mark("Concepts"), "school"),
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

LANGUAGE_WRITTEN = "language_written"
"""Where the session keeps the language that it wrote into the address last."""


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


def titles() -> dict[str, str]:
    """Address of a page -> its title in English, which `t` translates."""
    return {place.address: place.title for places in SECTIONS.values() for place in places}


def run() -> None:
    """Draw the page that the address names; what fails is told in its place."""
    import streamlit as st
    from streamlit.errors import FragmentHandledException

    from studio import filtering, forms, mishaps, running
    from studio.components import log_out, page_language
    from studio.door import application as door

    st.set_page_config("Winnow", page_icon=str(HERE / "static" / "icon.png"), layout="wide")
    st.logo(str(HERE / "static" / "logo.svg"), size="large", icon_image=str(HERE / "static" / "icon.png"))
    _take_language()
    sections = pages()
    named = {
        place.address: page
        for places, drawn in zip(SECTIONS.values(), sections.values(), strict=True)
        for place, page in zip(places, drawn, strict=False)  # the hidden one is the last
    }
    st.session_state[forms.PAGES_KEY] = named
    chosen = st.navigation(sections, position="hidden")
    st.session_state[forms.DRAWN_KEY] = next((n for n, p in named.items() if p.url_path == chosen.url_path), FIRST)
    st.session_state.setdefault(forms.SEEN_KEY, set()).add(st.session_state[forms.DRAWN_KEY])
    with st.sidebar:
        st.markdown(t(":material/database: **{name}**", name=forms.plain(forms.corpus_path().name)))
        running.in_sidebar(forms.corpus_path())
        _links(sections, chosen)
        _language_switch()
        log_out.draw()
    page_language.draw()
    filtering.open_saved(forms.corpus_path())
    if (warned := door.warning()) is not None:
        st.warning(warned, icon=":material/lock_open:")
    try:
        chosen.run()
    except FragmentHandledException:  # it was told where the fragment stands
        raise
    except Exception as error:  # what ends a run on purpose is no Exception to Streamlit
        mishaps.show(error)


def _links(sections: dict[str, list[Page]], chosen: Page) -> None:
    # Streamlit's own list stands above everything else: what runs would be below the edge of a small screen.
    import streamlit as st

    for title, places in sections.items():
        with st.container(gap="xxsmall"):
            if title:
                st.caption(title)
            for page in places:
                if page.visibility != "hidden":
                    # The first page is marked as the one that is open by either of its addresses.
                    hidden_twin = page in sections[""] and chosen.url_path == FIRST
                    st.page_link(chosen if hidden_twin else page, label=page.title, icon=page.icon)


def _take_language() -> None:
    """The language of a shared link counts, then what was chosen in this session, then the browser's."""
    import streamlit as st

    asked = st.query_params.get(LANGUAGE)
    if asked not in LANGUAGES:
        asked = None
    kept = st.session_state.get(LANGUAGE)
    # An address that was changed by hand, or by the browser's way back, is new; one that was written here is not.
    if asked is not None and asked != st.session_state.get(LANGUAGE_WRITTEN):
        st.session_state[LANGUAGE] = asked
    elif kept not in LANGUAGES:
        st.session_state[LANGUAGE] = language()


def _language_switch() -> None:
    import streamlit as st

    chosen = st.segmented_control(
        t("Language"), list(LANGUAGES), format_func=LANGUAGES.__getitem__, key=LANGUAGE, required=True,
        label_visibility="collapsed",
    )  # fmt: skip
    # In the address of every page, so that a link that is passed on is read as it was written.
    st.session_state[LANGUAGE_WRITTEN] = str(chosen)
    if st.query_params.get(LANGUAGE) != chosen:
        st.query_params[LANGUAGE] = str(chosen)
