"""A conversation as a reader sees it: one labelled block per turn, its text exactly as it is stored."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import streamlit as st

from curation.sample import Message
from studio import forms

COLOURS = {"system": "gray", "user": "blue", "assistant": "green", "tool": "orange"}
LONGEST = 6_000
"""Characters of a turn that are shown."""
FENCED = re.compile(r"^[ \t]*```[ \t]*([\w+#-]*)[^\n`]*\n.*?(?:^[ \t]*```[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
"""A code block of Markdown with its fences; one that was never closed goes on to the end."""


def conversation(messages: Iterable[Message]) -> None:
    """Draw the turns; texts are never read as Markdown or HTML."""
    for message in messages:
        with st.container(border=True, gap="xsmall"):
            st.badge(forms.plain(message.role), color=COLOURS.get(message.role, "gray"))  # type: ignore[arg-type]
            if message.reasoning:
                with st.expander("Reasoning"):
                    st.text(message.reasoning[:LONGEST])
            if message.content:
                _content(message.content[:LONGEST])
            if len(message.content) > LONGEST:
                st.caption(f"{len(message.content) - LONGEST:,} more characters")
            if message.tool_calls:
                st.code(message.tool_calls[:LONGEST], language="json", wrap_lines=True)


def _content(text: str) -> None:
    for part, language in passages(text):
        if language is None:
            st.text(part)
        else:
            st.code(part, language=language or None, wrap_lines=True)


def passages(text: str) -> Iterator[tuple[str, str | None]]:
    """Prose and code blocks of a text, in order and with nothing left out but empty lines between them.

    Yields:
        The passage as it stands in the text, fences included, and the language its fence names: null for prose, empty
        for a fence that names none.
    """
    start = 0
    for block in FENCED.finditer(text):
        if prose := text[start : block.start()].strip("\n"):
            yield prose, None
        yield block.group(), block.group(1).lower()
        start = block.end()
    if rest := text[start:].strip("\n") if start else text:
        yield rest, None
