"""Deciding by hand where samples are read: one sample at a time, or everything that meets the filter."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import WinnowError
from studio import forms

if TYPE_CHECKING:
    from curation.actions import ActionReport
    from curation.corpus import Corpus
    from curation.sample import Sample

PROBLEM = "deciding_problem"
REASONS = ("wrong answer", "low quality", "off topic", "unsafe", "repeats another sample")
"""Offered when a sample is dropped; any other can be typed."""


def on_sample(corpus: Corpus, sample: Sample) -> None:
    """Buttons that keep, drop, tag or rewrite the sample that is being read, and take the last action back."""
    problem = st.session_state.pop(PROBLEM, None)
    if problem is not None:
        forms.show_error(problem)
    key = sample.id
    with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
        st.button("Keep", key=f"keep-{key}", icon=":material/check:", on_click=_do, args=("keep", corpus, key))
        with st.popover("Drop", icon=":material/block:"):
            st.selectbox(
                "Reason", REASONS, key=f"reason-{key}", accept_new_options=True, help="Choose one, or type your own."
            )
            st.button("Drop it", key=f"drop-{key}", type="primary", on_click=_do, args=("drop", corpus, key))
        with st.popover("Tag", icon=":material/sell:"):
            known = corpus.query("SELECT DISTINCT tag FROM tags ORDER BY tag LIMIT 200")["tag"].to_list()
            name = st.selectbox("Tag", known, index=None, key=f"tag-{key}", accept_new_options=True)
            st.button(
                "Give it", key=f"give-{key}", type="primary", disabled=not name, on_click=_do,
                args=("tag", corpus, key),
            )  # fmt: skip
            for tag in sample.tags:
                st.button(
                    forms.plain(f"Take {tag} away"), key=f"take-{key}-{tag}", on_click=_do,
                    args=("untag", corpus, key, tag),
                )  # fmt: skip
        with st.popover("Edit", icon=":material/edit:"):
            _editor(corpus, sample)
        told = "Take back the latest action, whatever it was"
        st.button("Undo", key=f"undo-{key}", icon=":material/undo:", help=told, on_click=_undo, args=(corpus, key))


def _editor(corpus: Corpus, sample: Sample) -> None:
    questions = [m for m in sample.messages if m.role == "user"]
    if len(questions) == 1:
        st.text_area("Instruction", questions[0].content, key=f"asked-{sample.id}", height=120, width=560)
    st.text_area("Response", sample.response, key=f"answer-{sample.id}", height=240, width=560)
    st.text_input("Why", key=f"note-{sample.id}", placeholder="optional")
    st.caption("The new text becomes the current version; this one stays on record.")
    st.button(
        "Save as a new version", key=f"save-{sample.id}", type="primary", on_click=_edit,
        args=(corpus, sample),
    )  # fmt: skip


def on_working_set(corpus: Corpus, where: str | None, matching: int) -> None:
    """One action on all samples that meet the filter and the search, with its command."""
    with st.popover(f"Decide on all {matching:,}", icon=":material/done_all:"):
        verb = st.segmented_control(
            "Action", ["drop", "keep", "clear", "tag"], default="drop", required=True, key="bulk_verb",
            format_func=lambda v: {"clear": "Neither"}.get(v, v.capitalize()),
        )  # fmt: skip
        argv, missing = [str(verb), str(corpus.path)], None
        if verb == "tag":
            name = st.text_input("Tag", key="bulk_tag").strip()
            argv, missing = [*argv, name or "TAG"], None if name else "Name the tag first."
        else:
            option = "--reason" if verb == "drop" else "--note"
            told = st.text_input("Reason" if verb == "drop" else "Note", key="bulk_reason").strip()
            argv += [option, told] if told else []
            missing = "Say why first." if verb == "drop" and not told else None
        argv += ["--where", where or "true"]
        forms.command_box(
            corpus, argv, key="bulk", label=f"{str(verb).capitalize()} {matching:,} samples", disabled_reason=missing
        )
        st.caption("Nothing is deleted; the History page takes it back.")


def _do(verb: str, corpus: Corpus, sample_id: str, tag: str = "") -> None:
    from curation import deciding

    # What was typed last: when the button was drawn, it may not have been there yet.
    reason = str(st.session_state.get(f"reason-{sample_id}") or "")
    tag = tag or str(st.session_state.get(f"tag-{sample_id}") or "")
    works: dict[str, Callable[[], ActionReport]] = {
        "keep": lambda: deciding.keep(corpus, ids=[sample_id]),
        "drop": lambda: deciding.drop(corpus, ids=[sample_id], reason=reason),
        "tag": lambda: deciding.tag(corpus, tag, ids=[sample_id]),
        "untag": lambda: deciding.untag(corpus, tag, ids=[sample_id]),
    }
    _tried(works[verb], {"keep": "Kept.", "drop": "Dropped.", "tag": "Tagged.", "untag": "Tag taken away."}[verb])


def _edit(corpus: Corpus, sample: Sample) -> None:
    from curation import deciding

    asked, answer, note = (st.session_state.get(f"{name}-{sample.id}") for name in ("asked", "answer", "note"))
    changes: dict[str, Any] = {"instruction": asked} if asked is not None else {}
    if sample.response or answer:
        changes["response"] = answer

    def work() -> ActionReport:
        report = deciding.edit(corpus, sample.id, note=note or "", **changes)
        new = corpus.query("SELECT replaced_by FROM states WHERE id = ?", sample.id)
        if report.changed and new.height:
            st.query_params["sample"] = new.item()
        return report

    _tried(work, "Saved as a new version.")


def _undo(corpus: Corpus, shown: str) -> None:
    from curation.actions import undo

    def work() -> ActionReport:
        report = undo(corpus)
        before = corpus.query(
            "SELECT id FROM changes WHERE action = ? AND was.replaced_by = ? LIMIT 1", report.action, shown
        )
        if before.height:  # what is shown was taken back: go on with what it was made of
            st.query_params["sample"] = before.item()
        return report

    _tried(work, "Taken back.")


def _tried(work: Callable[[], ActionReport], told: str) -> None:
    try:
        report = work()
    except WinnowError as error:
        st.session_state[PROBLEM] = error
        return
    st.toast(told if report.changed else "It is so already.")
