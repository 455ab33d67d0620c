"""Diversity beside random draws: the slow part of a comparison, measured on demand while the page stays alive."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from curation.errors import WinnowError
from studio import forms
from studio.languages import t, told_text
from studio.pages import diversity_charts
from studio.pages.corpus_state import corpus_state

if TYPE_CHECKING:
    from curation.comparing import Comparison
    from curation.corpus import Corpus

KEPT = 16
"""Comparisons whose diversity is remembered, the latest."""
POLLED = 1.0
"""Seconds between two looks at how far it is."""


@dataclass
class Measuring:
    """One comparison, and how far it is."""

    found: Future[Comparison] | None = None
    done: int = 0
    total: int = 0
    message: str = ""

    def told(self, done: int, total: int | None, message: str) -> None:
        """Take note of a step, as `Progress`."""
        self.done, self.total, self.message = done, total or 0, message

    @property
    def runs(self) -> bool:
        """Whether there is no outcome yet."""
        return self.found is not None and not self.found.done()


def section(corpus: Corpus, names: list[str]) -> None:
    """The part of a comparison about diversity: a button, how far it is, and then the chart."""
    st.markdown(f"**{t('Diversity')}**")
    work = works().get((corpus_state(corpus), tuple(names)))
    if work is None:
        st.caption(
            t(
                "How varied each selection is beside random draws of the same size. On a large corpus this takes a "
                "while; the page can be used meanwhile."
            )
        )
        st.button(
            t("Measure diversity"), key="measure_diversity", icon=":material/play_arrow:", on_click=_start,
            args=(corpus, tuple(names)),
        )  # fmt: skip
        return
    st.fragment(_follow, run_every=POLLED if work.runs else None, key="diversity-follow")(work, work.runs)


def _start(corpus: Corpus, names: tuple[str, ...]) -> None:
    """Measure in a thread of its own, one comparison after the other; what is measured or runs already stays."""
    from curation.comparing import compare

    every, key = works(), (corpus_state(corpus), names)
    if key not in every:
        work = every[key] = Measuring()
        work.found = _thread().submit(compare, corpus, names, progress=work.told)
        for old in [k for k, w in every.items() if not w.runs and k != key][: max(0, len(every) - KEPT)]:
            every.pop(old, None)


@st.cache_resource(show_spinner=False)
def works() -> dict[tuple[str, tuple[str, ...]], Measuring]:
    """State of the corpus and names of the selections -> their comparison, for every reader of this studio."""
    return {}


@st.cache_resource(show_spinner=False)
def _thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, "diversity")


def _follow(work: Measuring, runs: bool) -> None:
    if runs and not work.runs:
        st.rerun()
    if work.runs or work.found is None:
        share = min(1.0, work.done / work.total) if work.total else 0.0
        st.progress(share, text=forms.plain(told_text(work.message) if work.message else t("Starting")))
        return
    try:
        compared = work.found.result()
    except WinnowError as error:
        forms.show_error(error)
        return
    diversity_charts.section(compared)
