"""What a page was drawn with, for the parts of it that are drawn by themselves later."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from studio import running

if TYPE_CHECKING:
    from curation.corpus import Corpus


@dataclass
class DrawnWith:
    """What a page was drawn with: a part that is drawn by itself later asks whether that still holds."""

    where: str | None
    writes: int | None
    whole: bool = False
    """All of the page stands. Until then nothing is begun anew, or what writes without a pause would let none end."""

    @classmethod
    def now(cls, corpus: Corpus, where: str | None) -> DrawnWith:
        """The filter, and what is written so far."""
        narrow = corpus.database.narrow
        return cls(where, None if narrow is None else narrow.writes)

    def is_old(self, corpus: Corpus, where: str | None) -> bool:
        """Whether the filter is another one by now, or something was written."""
        now = self.now(corpus, where)
        return self.whole and (now.where, now.writes) != (self.where, self.writes)


def up_to_date(corpus: Corpus, drawn: DrawnWith) -> None:
    """Draw the whole page anew where the filter or the corpus is otherwise than what it shows, or a job was started."""
    if drawn.is_old(corpus, st.session_state.get("kept_where")) or running.was_started():
        st.rerun()
