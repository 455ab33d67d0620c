"""The Settings page: which corpus is open, who may do what, what models are used unless named, what is installed."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from curation.errors import WinnowError
from studio import forms
from studio.door import access, sessions, transfers, workspace
from studio.door import application as door
from studio.languages import mark, t
from studio.owner import READ_SECONDS

if TYPE_CHECKING:
    from curation.corpus import Corpus

PACKAGES = {
    "core": ("duckdb", "polars", "pyarrow", "pydantic", "scikit-learn", "openai", "streamlit"),
    "models": ("torch", "transformers", "sentence-transformers"),
    "train": ("trl", "peft", "accelerate", "datasets"),
}
"""Extra of the distribution -> what it brings."""
_MOST = transfers.MOST.replace("_", "\\_")
NEEDED_FOR = {
    "core": mark("**core**: ingest, browse, score, select, synthesize, mix"),
    "models": mark("**models**: the scorer ifd, sentence-transformers embeddings, the warm-up model"),
    "train": mark("**train**: training and evaluation"),
}


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    st.title(t("Settings"))
    left, right = st.columns(2, gap="large")
    with left:
        _corpus(corpus)
        _people()
        _limits()
    with right:
        _installed()
    _models(corpus)


def _corpus(corpus: Corpus) -> None:
    from curation.storage.database import owner_of

    st.subheader(t("Corpus"))
    st.code(str(corpus.path), language=None, wrap_lines=True)
    owner = owner_of(corpus.path)
    if owner is not None and owner.pid == os.getpid():
        st.caption(
            t(
                "This studio (process {pid}) has its database open; commands in a terminal reach it over loopback, "
                "port {port}.",
                pid=owner.pid,
                port=owner.port,
            )
        )
    allowed = access.may_edit()
    with st.form("settings_corpus", border=False):
        typed = st.text_input(
            t("Open another corpus"),
            placeholder=t("a folder in the workspace"),
            key="settings_path",
            disabled=not allowed,
        )
        create = st.checkbox(t("Make an empty corpus where there is none"), key="settings_create", disabled=not allowed)
        why = None if allowed else t(access.ONLY_LOOK)
        if st.form_submit_button(t("Open"), disabled=not allowed, help=why) and typed.strip():
            _open(typed.strip(), create)


def _open(typed: str, create: bool) -> None:
    from curation.corpus import Corpus

    try:
        access.require_editor()
        folder = workspace.inside(workspace.folder() / Path(typed).expanduser())
        opened = (Corpus.create if create else Corpus)(folder)
    except (RuntimeError, WinnowError) as error:
        forms.show_error(error if isinstance(error, WinnowError) else _no_home(typed))
        return
    forms.set_filter("")
    st.session_state["corpus_path"] = str(opened.path)
    st.rerun()


def _no_home(typed: str) -> WinnowError:
    return WinnowError(f"There is no folder {typed[:200]}.", fix="name a folder in the workspace")


def _people() -> None:
    st.subheader(t("Who may do what"))
    rules, person = sessions.current().rules, access.reader()
    warned = door.warning()
    if warned:
        st.warning(warned, icon=":material/lock_open:")
    if person is None:
        st.markdown(
            t("Nobody has to log in. Whoever opens this address may change everything.")
            if warned
            else t("Nobody has to log in: only this machine reaches the studio.")
        )
        st.caption(
            t(
                "To share it, start it with WINNOW_PASSWORD (editors), WINNOW_VIEWER_PASSWORD (viewers) or Streamlit's "
                "login for an organisation, and with --address 0.0.0.0."
            )
        )
        return
    if person.name:
        who = t("You are logged in as {name}.", name=forms.plain(person.name))
    else:
        who = t("You are logged in with a password.")
    may = t("You may change everything.") if access.may_edit() else t("You may look and download, but change nothing.")
    st.markdown(who)
    st.markdown(may)
    rows = [
        {"way": t("Password for editors"), "set": bool(rules.password)},
        {"way": t("Password for viewers"), "set": bool(rules.viewer_password)},
        {"way": t("Account of an organisation (OIDC)"), "set": rules.provider},
    ]
    st.dataframe(
        rows,
        hide_index=True,
        column_config={
            "way": st.column_config.TextColumn(t("Way to log in"), width="large"),
            "set": st.column_config.CheckboxColumn(t("Set"), width="small"),
        },
        alt=t("Ways to log in, and whether they are set"),
    )
    if rules.provider:
        editors = ", ".join(sorted(rules.editors)) or t("nobody yet: list addresses in WINNOW_EDITORS")
        st.caption(t("Editors with an account: {editors}", editors=forms.plain(editors)))


def _limits() -> None:
    st.subheader(t("Bounds"))
    st.caption(t("Workspace: the folder whose files this page may have read and written, besides the corpus."))
    st.code(str(workspace.folder()), language=None, wrap_lines=True)
    rows = [
        {"bound": t("An uploaded file"), "value": transfers.most_told()},
        {"bound": t("A filter"), "value": t("{n:,} seconds", n=int(READ_SECONDS))},
        {"bound": t("A login"), "value": t("{n:,} days", n=sessions.LASTS_SECONDS // 86400)},
        {"bound": t("Wrong passwords in a row"), "value": f"{sessions.MOST_FAILURES:,}"},
    ]
    st.dataframe(
        rows,
        hide_index=True,
        column_config={
            "bound": st.column_config.TextColumn(t("Bound")),
            "value": st.column_config.TextColumn(t("At most"), alignment="right"),
        },
        alt=t("What is bounded, and by how much"),
    )
    st.caption(t("{variable} in the studio's environment sets how large an upload may be.", variable=_MOST))


def _models(corpus: Corpus) -> None:
    from studio.pages.score import has_warm_up

    st.subheader(t("Models used unless another is named"))
    built_in = t("built in")
    rows = [
        {"for": t("Vectors"), "model": "lexical", "state": built_in, "better": "sentence-transformers:BAAI/bge-m3"},
        {
            "for": t("Difficulty (ifd), and a base model to try"),
            "model": t("the corpus' warm-up model"),
            "state": t("trained") if has_warm_up(corpus) else t("not trained yet"),
            "better": "hf:Qwen/Qwen3-0.6B",
        },
        {
            "for": t("Synthesis"),
            "model": t("demo (replayed answers)"),
            "state": built_in,
            "better": "http://host:8000/v1#MODEL",
        },
    ]
    config = {"for": t("For"), "model": t("Default"), "state": t("State"), "better": t("Better, if you have it")}
    st.dataframe(rows, hide_index=True, column_config=config, alt=t("Default models and better choices"))
    st.caption(
        t("OPENAI\\_API\\_KEY is set in the studio's environment.")
        if os.environ.get("OPENAI_API_KEY")
        else t("OPENAI\\_API\\_KEY is not set in the studio's environment.")
    )


def _installed() -> None:
    st.subheader(t("Installed"))
    place = forms.plain(str(Path(sys.prefix)))
    st.caption(t("Python {version} in {place}", version=sys.version.split()[0], place=place))
    rows = [
        {"package": package, "version": version(package), "extra": extra}
        for extra, packages in PACKAGES.items()
        for package in packages
    ]
    shown = [{**row, "version": row["version"] or t("not installed")} for row in rows]
    st.dataframe(
        shown,
        hide_index=True,
        height=300,
        column_config={"package": t("Package"), "version": t("Version"), "extra": t("Extra")},
        alt=t("Packages that are installed, by extra"),
    )
    for needed in NEEDED_FOR.values():
        st.caption(t(needed))
    missing = sorted({str(row["extra"]) for row in rows if row["version"] is None})
    if missing:
        st.caption(t("To install what is missing:"))
        st.code(f"pip install 'winnow-studio[{','.join(missing)}]'", language=None)


def version(package: str) -> str | None:
    """The installed version of a distribution; null where there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
