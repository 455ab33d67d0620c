"""The prompts of a synthesizer: shown, rewritten in the user's own words, every wording kept, and taken back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from curation.errors import WinnowError
from studio import forms
from studio.door import access
from studio.languages import t
from studio.pages import differences

if TYPE_CHECKING:
    from pathlib import Path

    from curation.corpus import Corpus

PROBLEM = "prompt_problem"


def section(corpus: Corpus, names: Sequence[str]) -> None:
    """An expander with the prompts of these names."""
    from synthesis.prompt_versions import is_own

    if not names:
        return
    folder = corpus.path / "prompts"
    own = sum(is_own(folder, name) for name in names)
    title = t("Prompts ({n:,})", n=len(names))
    if own:
        title = t("Prompts ({n:,}, {own:,} in your own words)", n=len(names), own=own)
    with st.expander(title, icon=":material/edit_note:", key="synthesize_prompts"):
        name = st.selectbox(
            t("Prompt"), names, key="prompt_name",
            format_func=lambda n: t("{name} (yours)", name=n) if is_own(folder, n) else n,
        )  # fmt: skip
        problem = st.session_state.pop(PROBLEM, None)
        if problem is not None:
            forms.show_error(problem)
        _editor(folder, name)


def _editor(folder: Path, name: str) -> None:
    from synthesis.prompt_versions import hash_of, is_own, wording
    from synthesis.prompting import built_in, gaps

    text, original = wording(folder, name), built_in(name)
    key = f"prompt-{name}-{hash_of(text)}"
    edited = st.text_area(t("Wording"), text, height=260, key=key, label_visibility="collapsed")
    told = t("Built-in version, {hash}.", hash=hash_of(text))
    if is_own(folder, name):
        told = t("Your version, {hash}.", hash=hash_of(text))
    if filled := ", ".join(f"{{{{{gap}}}}}" for gap in gaps(original)):
        told += " " + t("Filled in: {gaps}.", gaps=filled)
    st.caption(forms.plain(f"{told} {t('Another wording makes another run.')}"))
    viewer = access.refused()
    with st.container(horizontal=True):
        st.button(
            t("Save the wording"), key=f"{key}-save", icon=":material/save:", on_click=_save,
            args=(folder, name, key), disabled=viewer is not None or not edited.strip(), help=viewer,
        )  # fmt: skip
        st.button(
            t("Reset to the built-in"), key=f"{key}-reset", icon=":material/restart_alt:", on_click=_reset,
            args=(folder, name), disabled=viewer is not None or not is_own(folder, name), help=viewer,
        )  # fmt: skip
    if edited.strip() != original:
        st.markdown(f"**{t('Against the built-in wording')}**")
        differences.show(original, edited.strip())
    _history(folder, name, text)


def _history(folder: Path, name: str, current: str) -> None:
    from synthesis.prompt_versions import history

    versions = history(folder, name)
    if not versions:
        return
    with st.popover(t("History ({n:,})", n=len(versions)), icon=":material/history:"):
        chosen = st.selectbox(
            t("Version"), range(len(versions)), key=f"prompt-{name}-version",
            format_func=lambda n: f"{versions[n].saved} UTC · {versions[n].hash}",
        )  # fmt: skip
        version = versions[chosen]
        if version.text == current:
            st.caption(t("This wording is in use."))
            st.text(version.text)
        else:
            differences.show(current, version.text)
            st.button(
                t("Use this one"), key=f"prompt-{name}-use", on_click=_use, args=(folder, name, version.text),
                disabled=not access.may_edit(), help=access.refused(),
            )  # fmt: skip


def _save(folder: Path, name: str, key: str) -> None:
    _use(folder, name, str(st.session_state[key]))


def _use(folder: Path, name: str, text: str) -> None:
    from synthesis.prompt_versions import save

    try:
        access.require_editor()
        digest = save(folder, name, text)
    except WinnowError as error:
        st.session_state[PROBLEM] = error
        return
    st.toast(t("Saved as version {hash}.", hash=digest))


def _reset(folder: Path, name: str) -> None:
    from synthesis.prompt_versions import reset

    try:
        access.require_editor()
    except WinnowError as error:
        st.session_state[PROBLEM] = error
        return
    reset(folder, name)
    st.toast(t("The built-in wording is in use; yours stays in the history."))
