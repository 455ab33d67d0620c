"""The rows of files that could not be read: where each stands, and why it was refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import streamlit as st

from studio import forms
from studio.languages import t

if TYPE_CHECKING:
    from curation.corpus import Corpus

ROWS = 50
"""Rows of a page."""
LONGEST = 4_000
"""Characters of a row that are shown."""


def draw(corpus: Corpus, total: int) -> None:
    """Draw a page of them, and one of them in full.

    Args:
        corpus: whose rows.
        total: how many there are.
    """
    if not total:
        told = t("Rows that can't be read appear here with file, line and reason.")
        forms.empty_state(t("No row was rejected"), told, "ingest")
        return
    st.caption(
        t("**{n:,}** rows could not be read. They stay out of the corpus; mend the file and ingest it again.", n=total)
    )
    number = st.pagination(-(-total // ROWS), key="browse_rejected_page") if total > ROWS else 1
    rows = corpus.query(
        f'SELECT "file", line, reason, left("text", {LONGEST}) AS "text" FROM rejected '
        f'ORDER BY "file", line LIMIT {ROWS} OFFSET ?',
        (number - 1) * ROWS,
    )
    state = st.dataframe(
        rows,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-cell",
        height="content" if rows.height <= 12 else 430,
        key=f"browse_rejected_{total}_{number}",
        column_config={
            "file": st.column_config.TextColumn(t("File"), width="medium"),
            "line": st.column_config.NumberColumn(t("Line"), format="localized", width="small"),
            "reason": st.column_config.TextColumn(t("Reason"), width="large"),
            "text": st.column_config.TextColumn(t("Text"), width="large"),
        },
        alt=t("Rows that could not be read: file, line, reason and text"),
    )
    row: dict[str, Any] = rows.row(forms.chosen_row(state, rows.height) or 0, named=True)
    st.subheader(forms.plain(t("Line {line:,}: {reason}", line=row["line"], reason=row["reason"])))
    st.caption(forms.plain(row["file"]))
    st.code(_indented(row["text"] or ""), language=None, wrap_lines=True, height=240)


def _indented(text: str) -> str:
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except ValueError:
        return text
