"""Samples as cards: several in full flow, with less around them; one of them is being read, and keys act on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import WinnowError
from studio import forms
from studio.components import keys
from studio.languages import t
from studio.pages import browsing, deciding, reading
from studio.pages.conversations import Look
from studio.pages.prose import visible

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus
    from studio.pages.browsing import Shown

CARDS = 10
"""Cards of a page."""
LONGEST = 1_200
"""Characters of a turn that a card shows at first."""
HEIGHT = 640
"""Of the cards together, in pixels: what decides about them stays in sight above."""


def ticked(shown: Shown) -> list[str]:
    """The samples whose boxes are ticked."""
    return [sample_id for sample_id in shown.ids if st.session_state.get(_tick(shown, sample_id))]


def _tick(shown: Shown, sample_id: str) -> str:
    return f"tick-{shown.view}-{sample_id}"


def draw(corpus: Corpus, frame: pl.DataFrame, scores: list[str], chosen: str, shown: Shown) -> None:
    """Draw a page of cards, and above them what decides about the one that is read."""
    try:
        there = reading.read_all(corpus, shown.ids)
        now = there.get(chosen) or reading.read(corpus, chosen)
    except WinnowError as error:
        forms.show_error(error)
        return
    look = reading.controls(now.sample, versions=False)
    if now.is_current:
        deciding.on_sample(corpus, now.sample, moving=True)
    with st.container(height=HEIGHT, border=False, key="browse_cards"):
        for row in frame.iter_rows(named=True):
            _card(corpus, row, there[row["id"]], scores, look, shown, chosen=row["id"] == chosen)
    deciding.listen()
    keys.scroll_to(f"card-{chosen}", key="browse_scroll")


def _card(
    corpus: Corpus, row: dict[str, Any], read: reading.Read, scores: list[str], look: reading.Reading, shown: Shown, *,
    chosen: bool,
) -> None:  # fmt: skip
    with st.container(border=True, gap="small", key=f"card-{row['id']}"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.checkbox(t("Tick"), key=_tick(shown, row["id"]), width="content")
            st.markdown(_line(read, row, scores), width="stretch")
            if chosen:
                st.badge(t("being read"), color="primary", icon=":material/arrow_right:")
            else:
                st.button(
                    t("Read this one"), key=f"read-{row['id']}", type="tertiary", icon=":material/arrow_right:",
                    on_click=browsing.read, args=(row["id"],),
                )  # fmt: skip
        own = Look(
            stored=look.stored,
            highlights=look.of(corpus, row["id"]),
            key=f"card-{row['id']}",
            longest=LONGEST,
            boxed=False,
        )
        reading.turns(read.sample, own)


def _line(read: reading.Read, row: dict[str, Any], scores: list[str]) -> str:
    """What tells a card at a glance, as one line of badges: an element for each would be slow."""
    facts = read.facts
    told = [("gray", facts["source"])]
    if facts["decision"]:
        told.append(("green" if facts["decision"] == "keep" else "red", reading.decision(facts)))
    told += [("violet", tag) for tag in read.sample.tags[:10]]
    told += [("blue", f"{name}: {reading.number(row[name])}") for name in scores if row[name] is not None]
    return " ".join(f":{colour}-badge[{forms.plain(visible(str(text)[:120]))}]" for colour, text in told if text)
