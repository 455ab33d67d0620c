"""Deciding about several samples at once: those that are ticked, or all that meet the filter and the search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from studio import forms
from studio.door import access
from studio.languages import mark, t, tn
from studio.pages import browsing, deciding
from studio.pages.known import known
from studio.pages.prose import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from curation.actions import ActionReport
    from curation.corpus import Corpus

VERBS = {"drop": mark("Drop"), "keep": mark("Keep"), "clear": mark("Neither"), "tag": mark("Tag")}
LABELS: dict[str, tuple[str, str]] = {
    "drop": (mark("Drop {n} sample"), mark("Drop {n:,} samples")),
    "keep": (mark("Keep {n} sample"), mark("Keep {n:,} samples")),
    "clear": (mark("Clear {n} sample"), mark("Clear {n:,} samples")),
    "tag": (mark("Tag {n} sample"), mark("Tag {n:,} samples")),
}
MANY = 1_000
"""Samples above which the reader has to say that they mean it."""
DONE = "deciding_many_done"


def on_ticked(corpus: Corpus, ids: Sequence[str]) -> None:
    """Decide about the samples whose boxes are ticked; after it, a way to take it back."""
    done = st.session_state.get(DONE)
    if not ids and done is None:
        return
    may_not = access.refused()
    off: dict[str, Any] = {"disabled": may_not is not None, "help": may_not}
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        if ids:
            st.caption(tn("{n} ticked on this page:", "{n:,} ticked on this page:", len(ids)), width="content")
            st.button(
                t("Keep them"), key="ticked_keep", icon=":material/check:", on_click=_decide,
                args=(corpus, "keep", list(ids)), **off,
            )  # fmt: skip
            with st.popover(t("Drop"), icon=":material/block:", **off):
                st.selectbox(
                    t("Reason"), deciding.REASONS, key="ticked_reason", accept_new_options=True, format_func=t,
                    help=t("Choose one, or type your own."),
                )  # fmt: skip
                st.button(
                    tn(*LABELS["drop"], len(ids)), key="ticked_drop", type="primary", on_click=_decide,
                    args=(corpus, "drop", list(ids)), **off,
                )  # fmt: skip
            with st.popover(t("Tag"), icon=":material/sell:", **off):
                offered = known(corpus, "tags", lambda: corpus.query(deciding.TAGS)["tag"].to_list())
                name = st.selectbox(t("Tag"), offered, index=None, key="ticked_tag", accept_new_options=True)
                st.button(
                    tn(*LABELS["tag"], len(ids)), key="ticked_give", type="primary", on_click=_decide,
                    args=(corpus, "tag", list(ids)), disabled=not name or may_not is not None, help=may_not,
                )  # fmt: skip
        if done is not None:
            st.caption(done[1], width="content")
            st.button(
                t("Undo"), key="ticked_undo", icon=":material/undo:", on_click=_undo, args=(corpus, done[0]), **off
            )


def _decide(corpus: Corpus, verb: str, ids: list[str]) -> None:
    from curation import deciding as by_hand

    reason, tag = str(st.session_state.get("ticked_reason") or ""), str(st.session_state.get("ticked_tag") or "")
    works: dict[str, Callable[[], ActionReport]] = {
        "keep": lambda: by_hand.keep(corpus, ids=ids, who=access.who()),
        "drop": lambda: by_hand.drop(corpus, ids=ids, reason=reason, who=access.who()),
        "tag": lambda: by_hand.tag(corpus, tag, ids=ids, who=access.who()),
    }
    told = {
        "keep": (mark("{n} sample kept"), mark("{n:,} samples kept")),
        "drop": (mark("{n} sample dropped"), mark("{n:,} samples dropped")),
        "tag": (mark("{n} sample tagged"), mark("{n:,} samples tagged")),
    }[verb]
    browsing.hold()
    report = deciding.tried(works[verb], tn(*told, len(ids)))
    if report is not None and report.changed:
        st.session_state[DONE] = (report.action, tn(*told, report.changed))
        _untick(ids)


def _untick(ids: Sequence[str]) -> None:
    shown: browsing.Shown | None = st.session_state.get(browsing.SHOWN)
    if shown is None:
        return
    if shown.table is not None and shown.table in st.session_state:
        cells = list(st.session_state[shown.table]["selection"].get("cells", []))
        st.session_state[shown.table] = {"selection": {"rows": [], "columns": [], "cells": cells}}
    for sample_id in ids:
        if (key := f"tick-{shown.view}-{sample_id}") in st.session_state:
            st.session_state[key] = False


def _undo(corpus: Corpus, action: str) -> None:
    from curation.actions import undo

    browsing.hold()
    deciding.tried(lambda: undo(corpus, action, who=access.who()), t("Taken back."))
    st.session_state.pop(DONE, None)


def on_working_set(corpus: Corpus, where: str | None, matching: int) -> None:
    """One action on all samples that meet the filter and the search, with its command."""
    told = t("Decide on all {n:,}", n=matching)
    hint = t("All that meet the filter and the search, on every page")
    with st.popover(told, icon=":material/done_all:", help=hint, key="bulk", on_change="rerun") as asked:
        if asked.open is False:  # nothing is asked for what nobody sees
            return
        verb = str(
            st.segmented_control(
                t("Action"), list(VERBS), default="drop", required=True, key="bulk_verb",
                format_func=lambda v: t(VERBS[v]),
            )
        )  # fmt: skip
        argv, missing = [verb, str(corpus.path)], None
        if verb == "tag":
            name = st.text_input(t("Tag"), key="bulk_tag").strip()
            argv, missing = [*argv, name or "TAG"], None if name else t("Name the tag first.")
        else:
            option = "--reason" if verb == "drop" else "--note"
            said = st.text_input(t("Reason") if verb == "drop" else t("Note"), key="bulk_reason").strip()
            argv += [option, said] if said else []
            missing = t("Say why first.") if verb == "drop" and not said else None
        argv += ["--where", where or "true"]
        if matching > MANY and not st.checkbox(t("Yes, change {n:,} samples", n=matching), key=f"bulk_sure_{verb}"):
            missing = missing or t("Tick the box above first: these are many samples.")
        forms.command_box(
            corpus, argv, key="bulk", label=tn(*LABELS[verb], matching), disabled_reason=missing or access.refused()
        )
        st.caption(t("Nothing is deleted: every action can be taken back here or under History."))
        _undo_latest(corpus)


def _undo_latest(corpus: Corpus) -> None:
    """A button that names the latest action, so that nobody takes back another one than they mean."""
    found, told = deciding.latest_action(corpus), deciding.latest_told(corpus)
    if found is None or told is None:
        return
    st.button(
        told, key="bulk_undo", icon=":material/undo:", on_click=_undo, args=(corpus, found["action"]),
        disabled=access.refused() is not None, help=forms.plain(visible(f"{found['who']}: {found['note']}"[:200])),
    )  # fmt: skip
