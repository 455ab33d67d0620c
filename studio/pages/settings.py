"""The Settings page: which corpus is open and by whom, what models are used unless named, and what is installed."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from curation.errors import WinnowError
from studio import forms

if TYPE_CHECKING:
    from curation.corpus import Corpus

PACKAGES = {
    "core": ("duckdb", "polars", "pyarrow", "pydantic", "scikit-learn", "openai", "streamlit"),
    "models": ("torch", "transformers", "sentence-transformers"),
    "train": ("trl", "peft", "accelerate", "datasets"),
}
"""Extra of the distribution -> what it brings."""
NEEDED_FOR = {
    "core": "ingest, browse, score, select, synthesize, mix",
    "models": "the scorer ifd, sentence-transformers embeddings, the warm-up model",
    "train": "training and evaluation",
}


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    st.title("Settings")
    left, right = st.columns(2, gap="large")
    with left:
        _corpus(corpus)
    with right:
        _installed()
    _models(corpus)


def _corpus(corpus: Corpus) -> None:
    from curation.storage.database import owner_of

    st.subheader("Corpus")
    st.code(str(corpus.path), language=None, wrap_lines=True)
    owner = owner_of(corpus.path)
    if owner is not None and owner.pid == os.getpid():
        st.caption(
            f"This studio (process {owner.pid}) has its database open; commands in a terminal reach it over loopback, "
            f"port {owner.port}."
        )
    with st.form("settings_corpus", border=False):
        typed = st.text_input("Open another corpus", placeholder="a folder on this machine", key="settings_path")
        create = st.checkbox("Make an empty corpus where there is none", key="settings_create")
        if st.form_submit_button("Open") and typed.strip():
            _open(typed.strip(), create)


def _open(typed: str, create: bool) -> None:
    from curation.corpus import Corpus

    try:
        opened = (Corpus.create if create else Corpus)(typed)
    except WinnowError as error:
        forms.show_error(error)
        return
    forms.set_filter("")
    st.session_state["corpus_path"] = str(opened.path)
    st.rerun()


def _models(corpus: Corpus) -> None:
    from studio.pages.score import has_warm_up

    st.subheader("Models used unless another is named")
    key = "set" if os.environ.get("OPENAI_API_KEY") else "not set"
    rows = [
        {"for": "vectors", "model": "lexical", "state": "built in", "better": "sentence-transformers:BAAI/bge-m3"},
        {
            "for": "difficulty (ifd) and a base model to try",
            "model": "the corpus' warm-up model",
            "state": "trained" if has_warm_up(corpus) else "not trained yet",
            "better": "hf:Qwen/Qwen3-0.6B",
        },
        {
            "for": "synthesis",
            "model": "demo (replayed answers)",
            "state": "built in",
            "better": "http://host:8000/v1#MODEL",
        },
    ]
    config = {"for": "For", "model": "Default", "state": "State", "better": "Better, if you have it"}
    st.dataframe(rows, hide_index=True, column_config=config, alt="Default models and better choices")
    st.caption(f"OPENAI\\_API\\_KEY is {key} in the studio's environment.")


def _installed() -> None:
    st.subheader("Installed")
    st.caption(f"Python {sys.version.split()[0]} in {forms.plain(str(Path(sys.prefix)))}")
    rows = [
        {"package": package, "version": version(package) or "not installed", "extra": extra}
        for extra, packages in PACKAGES.items()
        for package in packages
    ]
    st.dataframe(
        rows,
        hide_index=True,
        height=300,
        column_config={"extra": "Extra", "package": "Package", "version": "Version"},
        alt="Packages that are installed, by extra",
    )
    st.caption(" · ".join(f"**{extra}**: {what}" for extra, what in NEEDED_FOR.items()))
    missing = sorted({row["extra"] for row in rows if row["version"] == "not installed"})
    if missing:
        st.caption("To install what is missing:")
        st.code(f"pip install 'winnow-studio[{','.join(missing)}]'", language="bash")


def version(package: str) -> str | None:
    """The installed version of a distribution; null where there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
