"""A conversation as a reader sees it: one labelled block per turn, its text exactly as it is stored."""

from __future__ import annotations

from collections.abc import Iterable

import streamlit as st

from curation.sample import Message
from studio import forms

COLOURS = {"system": "gray", "user": "blue", "assistant": "green", "tool": "orange"}
LONGEST = 6_000
"""Characters of a turn that are shown."""


def conversation(messages: Iterable[Message]) -> None:
    """Draw the turns; texts are never read as Markdown or HTML."""
    for message in messages:
        with st.container(border=True, gap="xsmall"):
            st.badge(forms.plain(message.role), color=COLOURS.get(message.role, "gray"))  # type: ignore[arg-type]
            if message.reasoning:
                with st.expander("Reasoning"):
                    st.text(message.reasoning[:LONGEST])
            if message.content:
                st.text(message.content[:LONGEST])
            if len(message.content) > LONGEST:
                st.caption(f"{len(message.content) - LONGEST:,} more characters")
            if message.tool_calls:
                st.code(message.tool_calls[:LONGEST], language="json", wrap_lines=True)
