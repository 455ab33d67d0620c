"""The studio's languages: English stands in the code, every other one in catalogues beside it.

    studio/languages/zh/browse.po   what the page Browse says, in the format of gettext

A page says `t("Rows {first:,} to {last:,}", first=1, last=50)`. The English text is its own key: what a catalogue lacks
is shown in English.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from curation.errors import WinnowError
    from studio.languages.telling import Telling

HERE = Path(__file__).parent
LANGUAGES = {"en": "English", "zh": "中文"}
"""Code -> what those who speak it call it."""
KEY = "language"
"""Where the session keeps the reader's choice; also its name in the address."""


def t(text: str, /, **values: Any) -> str:
    """A text in the reader's language, its `{names}` filled in with the values."""
    said = catalogue(language()).get(text, text)
    return said.format(**values) if values else said


def tn(one: str, many: str, n: int, /, **values: Any) -> str:
    """A text about `n` things, for one or for several; both may name `{n}`."""
    said = catalogue(language()).get(one, one if n == 1 else many)
    return said.format(n=n, **values)


def mark(text: str) -> str:
    """A text that `t` is given later, where it is shown: so that it is found for the catalogues."""
    return text


def told(error: WinnowError) -> tuple[str, str]:
    """What failed and what to do about it, in the reader's language where it has a translation."""
    return told_text(error.message), told_text(error.fix)


def told_text(text: str) -> str:
    """A text made below the pages, with its values in it, in the reader's language; else as it is.

    Such texts are errors, the progress of jobs, advice and verdicts. What is a template in a catalogue has numbered
    holes: `No embedding {0} in {1}.`
    """
    code = language()
    return text if code == "en" or not text else _telling(code).told(text)


@lru_cache
def _telling(code: str) -> Telling:
    from studio.languages.telling import Telling

    return Telling.of(catalogue(code))


def language() -> str:
    """The reader's language: what was chosen, else the browser's if there is a catalogue for it, else English."""
    import streamlit as st
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    if get_script_run_ctx(suppress_warning=True) is None:
        return "en"
    chosen = st.session_state.get(KEY)
    if chosen in LANGUAGES:
        return str(chosen)
    return code if (code := str(st.context.locale or "")[:2]) in LANGUAGES else "en"


@lru_cache
def catalogue(code: str) -> dict[str, str]:
    """English text -> the text in a language; of plurals the first form, the only one that Chinese has."""
    from babel.messages.pofile import read_po

    found: dict[str, str] = {}
    for file in sorted((HERE / code).glob("*.po")):
        with file.open("rb") as opened:
            for message in read_po(opened, locale=code):
                key, said = message.id, message.string
                if key and said:
                    found[key if isinstance(key, str) else key[0]] = said if isinstance(said, str) else said[0]
    return found
