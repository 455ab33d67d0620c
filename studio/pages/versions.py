"""What an edit changed, and how a chosen answer differs from the rejected one: word by word, Chinese by character."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from curation.sample import Message
from studio import forms
from studio.components import marked_text
from studio.components.marked_text import Passage
from studio.languages import mark, t, tn
from studio.pages import differences
from studio.pages.conversations import COLOURS, LONGEST, ROLES
from studio.pages.known import known
from studio.pages.prose import visible

if TYPE_CHECKING:
    from curation.corpus import Corpus

SAID = {"added": mark("added"), "removed": mark("removed")}


class Change(NamedTuple):
    """What became of one text of a sample."""

    role: str
    passages: list[Passage]
    """Empty where the text stayed as it was."""


_ANY_REWRITTEN = "SELECT count(*) > 0 AS n FROM (SELECT 1 FROM states WHERE replaced_by IS NOT NULL LIMIT 1)"


def earlier(corpus: Corpus, sample_id: str) -> list[str]:
    """The samples whose place this version took, the one that was edited last first."""
    if not known(corpus, "rewritten", lambda: corpus.query(_ANY_REWRITTEN).item()):
        return []
    found = corpus.query(
        """SELECT s.id FROM states s LEFT JOIN changes c ON c.id = s.id LEFT JOIN actions a USING (action)
        WHERE s.replaced_by = ? GROUP BY s.id ORDER BY max(a."number") DESC, s.id LIMIT 20""",
        sample_id,
    )
    return found["id"].to_list()


def changes(old: Sequence[Message], new: Sequence[Message]) -> list[Change]:
    """Turn by turn: what stayed, went and came."""
    found = []
    for before, after in zip_longest(old, new):
        for part in ("content", "reasoning", "tool_calls"):
            was, now = (getattr(m, part) or "" if m else "" for m in (before, after))
            if part == "content" or was != now:
                found.append(Change((after or before).role, difference(was, now) if was != now else []))
    return found


def difference(old: str, new: str, around: int = differences.AROUND) -> list[Passage]:
    """The new text with what was taken out of the old one in it, both marked; long unchanged stretches are cut."""
    old, new = old[: 4 * LONGEST], new[: 4 * LONGEST]
    pieces = differences.shortened(differences.marked(old, new), around)
    return [Passage(seen(p.text, p.change != "same"), () if p.change == "same" else (p.change,)) for p in pieces]


def seen(text: str, changed: bool) -> str:
    """The text with a sign for a changed space or line end, which would not be seen."""
    text = visible(text)
    if not changed:
        return text
    text = text.replace("\t", "⇥").replace("\n", "⏎\n")
    return text if text.strip(" ") else "·" * len(text)


def sides(chosen: str, rejected: str) -> tuple[list[Passage], list[Passage]]:
    """Both answers in full, each with the words marked that the other has not."""
    pieces = differences.marked(rejected[:LONGEST], chosen[:LONGEST])
    better = [
        Passage(visible(p.text), ("added",) if p.change == "added" else ()) for p in pieces if p.change != "removed"
    ]
    worse = [
        Passage(visible(p.text), ("removed",) if p.change == "removed" else ()) for p in pieces if p.change != "added"
    ]
    return better, worse


def draw(corpus: Corpus, before: str, messages: Sequence[Message], *, key: str) -> None:
    """Draw what an edit changed, with a link to the version before."""
    old = corpus.sample(before)
    said = {name: t(told) for name, told in SAID.items()}
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        marked_text.legend({"removed": t("removed"), "added": t("added")}, key=f"legend-{key}")
        forms.link("browse", t("Read the earlier version"), icon=":material/history:", query={"sample": before})
    same = 0
    for number, change in enumerate(changes(old.messages, messages)):
        if not change.passages:
            same += 1
            continue
        with st.container(border=True, gap="xsmall"):
            role = t(ROLES[change.role]) if change.role in ROLES else change.role
            st.badge(forms.plain(role), color=COLOURS.get(change.role, "gray"))  # type: ignore[arg-type]
            marked_text.draw(change.passages, key=f"change-{key}-{number}", said=said)
    if same:
        st.caption(tn("{n} turn is as it was.", "{n:,} turns are as they were.", same))


def draw_sides(chosen: Sequence[Message], rejected: Sequence[Message], *, key: str) -> None:
    """Draw a chosen and a rejected answer side by side, with what differs marked."""
    said = {"added": t("only in the chosen answer"), "removed": t("only in the rejected answer")}
    marked_text.legend(said, key=f"legend-{key}")
    text = ["\n\n".join(m.content for m in turns) for turns in (chosen, rejected)]
    for place, (column, passages) in enumerate(zip(st.columns(2), sides(*text), strict=True)):
        with column, st.container(border=True, gap="xsmall"):
            answer_badge(chosen=place == 0)
            marked_text.draw(passages, key=f"side-{key}-{place}", said=said)


def answer_badge(*, chosen: bool) -> None:
    """Name one of the two answers of a preference sample."""
    if chosen:
        st.badge(t("chosen answer"), color="green", icon=":material/thumb_up:")
    else:
        st.badge(t("rejected answer"), color="red", icon=":material/thumb_down:")
