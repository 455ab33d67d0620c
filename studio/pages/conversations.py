"""A conversation as a reader sees it: one labelled block per turn, formatted or exactly as it is stored."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from curation.sample import Message
from studio import forms
from studio.components import marked_text
from studio.languages import mark, t, tn
from studio.pages.prose import safe_markdown, visible
from studio.pages.spans import MEANING, Highlight
from studio.pages.spans import passages as marked_passages

COLOURS = {"system": "gray", "user": "blue", "assistant": "green", "tool": "orange"}
ROLES = {"system": mark("system"), "user": mark("user"), "assistant": mark("assistant"), "tool": mark("tool")}
LONGEST = 6_000
"""Characters of a turn that are shown at first."""
MOST = 200_000
"""Characters of a turn that are ever sent to the browser; the rest can be downloaded."""
TURNS = 24
"""Turns that are drawn at first."""
FENCED = re.compile(r"^[ \t]*```[ \t]*([\w+#-]*)[^\n`]*\n.*?(?:^[ \t]*```[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
"""A code block of Markdown with its fences; one that was never closed goes on to the end."""
_FENCE = re.compile(r"\A[^\n]*\n|\n?[ \t]*```[ \t]*\Z")


@dataclass(frozen=True)
class Look:
    """How a conversation is shown."""

    stored: bool = False
    """Exactly as it is stored rather than formatted."""
    highlights: Sequence[Highlight] = ()
    key: str | None = None
    """Unique on the page; without one, long texts are cut and can't be opened."""
    longest: int = LONGEST
    boxed: bool = True
    """With a frame around each turn."""


def conversation(messages: Iterable[Message], look: Look | None = None, *, place: str = "") -> None:
    """Draw the turns; a text can format itself, but never run, link or fetch anything.

    Args:
        messages: the turns.
        look: formatted where null.
        place: tells the conversations of one sample apart.
    """
    look, turns = look or Look(), list(messages)
    shown = _opened(f"turns-{look.key}-{place}", TURNS, len(turns)) if look.key else len(turns)
    for number, message in enumerate(turns[:shown]):
        _turn(message, look, f"{look.key}-{place}-{number}" if look.key else None)
    if shown < len(turns):
        left = len(turns) - shown
        told = tn("Show {n} more turn", "Show {n:,} more turns", left)
        _more(f"turns-{look.key}-{place}", told, min(len(turns), shown + 4 * TURNS))


def _turn(message: Message, look: Look, key: str | None) -> None:
    # A frame is an element more to send, so that cards go without.
    with st.container(border=True, gap="xsmall") if look.boxed else contextlib.nullcontext():
        role = t(ROLES[message.role]) if message.role in ROLES else message.role
        st.badge(forms.plain(visible(role)), color=COLOURS.get(message.role, "gray"))  # type: ignore[arg-type]
        if message.reasoning:
            with st.expander(t("Reasoning"), icon=":material/psychology:"):
                body(message.reasoning, look, f"{key}-reasoning" if key else None)
        if message.role == "tool" and not look.stored and (found := _structured(message.content)) is not None:
            st.code(visible(found[: look.longest]), language=None, wrap_lines=True)
        elif message.content:
            body(message.content, look, f"{key}-content" if key else None)
        if message.tool_calls:
            _calls(message.tool_calls, look)


def body(text: str, look: Look, key: str | None) -> None:
    """Draw one text: its beginning, and a way to the rest of it."""
    shown = _opened(key, look.longest, min(len(text), MOST)) if key else min(len(text), look.longest)
    part = text[:shown]
    spans = [span for each in look.highlights for span in each.find(part)]
    if spans and key:
        said = {name: t(told) for name, told in MEANING.items()}
        marked_text.draw(marked_passages(part, spans), key=f"marked-{key}", said=said)
    elif look.stored:
        st.text(visible(part))
    else:
        formatted(part)
    if shown < len(text):
        _rest(text, shown, key)


def _rest(text: str, shown: int, key: str | None) -> None:
    told = tn("{n} more character", "{n:,} more characters", len(text) - shown)
    if key is None:
        st.caption(told)
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(told, width="content")
        if shown < MOST:
            _more(key, t("Show more"), min(MOST, shown * 4))
        # The whole text is made only when it is asked for.
        st.download_button(
            t("Download"), lambda: text.encode(), file_name="text.txt", mime="text/plain", key=f"whole-{key}",
            icon=":material/download:", type="tertiary", on_click="ignore", help=t("The whole text as a file"),
        )  # fmt: skip


def _opened(key: str | None, at_first: int, most: int) -> int:
    return min(most, max(at_first, int(st.session_state.get(f"opened-{key}", 0))))


def _more(key: str, label: str, size: int) -> None:
    def opened() -> None:
        st.session_state[f"opened-{key}"] = size

    st.button(label, key=f"more-{key}", type="tertiary", icon=":material/expand_more:", on_click=opened)


def formatted(text: str) -> None:
    """Draw a text with its Markdown, its code and its formulas; plain prose keeps every space of it."""
    for part, language in passages(text):
        if language is not None:
            st.code(visible(_FENCE.sub("", part)), language=language or None, wrap_lines=True)
        elif (markdown := safe_markdown(part)) is None:
            st.text(visible(part))
        else:
            st.markdown(markdown)


def _calls(tool_calls: str, look: Look) -> None:
    calls = None if look.stored else tool_call_lines(tool_calls)
    if calls is None:
        st.code(visible(tool_calls[: look.longest]), language=None, wrap_lines=True)
    for name, arguments in calls or ():
        st.badge(forms.plain(visible(name[:200])), icon=":material/build:", color="orange", help=t("Tool call"))
        if arguments:
            st.code(visible(arguments[: look.longest]), language=None, wrap_lines=True)


def tool_call_lines(tool_calls: str) -> list[tuple[str, str]] | None:
    """Name and arguments (indented JSON) of each call; null where they are not written in a known way."""
    try:
        calls = json.loads(tool_calls)
    except (ValueError, RecursionError):
        return None
    calls = calls if isinstance(calls, list) else [calls]
    found = []
    for call in calls:
        call = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            return None
        found.append((call["name"], _arguments(call.get("arguments", call.get("parameters")))))
    return found


def _arguments(given: Any) -> str:
    if isinstance(given, str):
        return _structured(given) or given
    return "" if given in (None, {}) else json.dumps(given, ensure_ascii=False, indent=2)


def _structured(text: str) -> str | None:
    """JSON of objects or lists, indented; null for any other text."""
    if text.lstrip()[:1] not in ("{", "[") or len(text) > MOST:
        return None
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return None


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
