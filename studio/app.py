"""The studio: its pages, in the order in which data flows, and how Streamlit is started on it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

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


def pages() -> dict[str, list[Page]]:
    """Section of the sidebar -> its pages."""
    import streamlit as st

    from studio.pages import (
        browse,
        chat,
        clean,
        compare_runs,
        evaluate,
        history,
        ingest,
        jobs,
        mix,
        overview,
        score,
        select,
        settings,
        synthesize,
        train,
    )

    return {
        "": [
            st.Page(overview.page, title="Overview", icon=":material/dashboard:", default=True),
            # The first page has no address of its own: one who types it should find it all the same.
            st.Page(_overview, title="Overview again", url_path="overview", visibility="hidden"),
        ],
        "Data": [
            st.Page(ingest.page, title="Ingest", icon=":material/upload_file:", url_path="ingest"),
            st.Page(browse.page, title="Browse", icon=":material/table_rows:", url_path="browse"),
        ],
        "Curate": [
            st.Page(score.page, title="Score", icon=":material/speed:", url_path="score"),
            st.Page(clean.page, title="Clean", icon=":material/cleaning_services:", url_path="clean"),
            st.Page(select.page, title="Select", icon=":material/filter_alt:", url_path="select"),
        ],
        "Create": [st.Page(synthesize.page, title="Synthesize", icon=":material/auto_awesome:", url_path="synthesize")],
        "Ship": [
            st.Page(mix.page, title="Mix", icon=":material/blender:", url_path="mix"),
            st.Page(train.page, title="Train", icon=":material/model_training:", url_path="train"),
            st.Page(evaluate.page, title="Evaluate", icon=":material/balance:", url_path="evaluate"),
            st.Page(compare_runs.page, title="Compare runs", icon=":material/compare_arrows:", url_path="compare_runs"),
            st.Page(chat.page, title="Chat", icon=":material/forum:", url_path="chat"),
        ],
        "Workspace": [
            st.Page(history.page, title="History", icon=":material/history:", url_path="history"),
            st.Page(jobs.page, title="Jobs", icon=":material/pending_actions:", url_path="jobs"),
            st.Page(settings.page, title="Settings", icon=":material/settings:", url_path="settings"),
        ],
    }


def _overview() -> None:
    from studio.pages import overview

    overview.page()


def run() -> None:
    """Draw the page that the address names."""
    import streamlit as st

    from studio import forms

    st.set_page_config("Winnow", page_icon=str(HERE / "static" / "icon.png"), layout="wide")
    st.logo(str(HERE / "static" / "logo.svg"), size="large", icon_image=str(HERE / "static" / "icon.png"))
    sections = pages()
    st.session_state[forms.PAGES_KEY] = {
        page.title.lower(): page for in_section in sections.values() for page in in_section
    }
    chosen = st.navigation(sections, expanded=True)
    with st.sidebar:
        st.caption("Corpus")
        st.markdown(f"**{forms.plain(forms.corpus_path().name)}**")
    chosen.run()
