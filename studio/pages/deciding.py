"""Deciding by hand about the sample that is read: keep, drop, tag, rewrite, undo; by button or by key."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import WinnowError
from studio import forms, jobs
from studio.components import keys
from studio.door import access
from studio.languages import mark, t, tn
from studio.pages import browsing
from studio.pages.known import known
from studio.pages.prose import visible

if TYPE_CHECKING:
    from curation.actions import ActionReport
    from curation.corpus import Corpus
    from curation.sample import Sample

PROBLEM = "deciding_problem"
REASONS = (
    mark("wrong answer"), mark("low quality"), mark("off topic"), mark("unsafe"), mark("repeats another sample"),
)  # fmt: skip
"""Offered when a sample is dropped; any other can be typed."""
KEPT: dict[str, Any] = {"persist_state": "session"}
"""Of inputs in a popover: what was typed is there again when it is opened again, as what is closed is not drawn."""
EDITING = "deciding-edit-open"
"""Key of the popover in which a sample is rewritten."""
REASON = "deciding_reason"
"""Where the session keeps the reason that was given last."""
SHOWN = 16
"""Characters of a reason that its button shows."""
EDITABLE = 50_000
"""Characters up to which a text is put into an input of the browser."""
KEYS = (
    ("N", mark("next sample")), ("P", mark("previous sample")), ("K", mark("keep, and go on")),
    ("X", mark("drop for the reason shown, and go on")), ("T", mark("tag")), ("E", mark("edit")),
    ("U", mark("undo the latest action")), ("?", mark("this list")),
)  # fmt: skip
TOLD = {
    "keep": mark("Kept."), "drop": mark("Dropped: {reason}"), "tag": mark("Tagged: {tag}"),
    "untag": mark("Tag taken away."),
}  # fmt: skip


def on_sample(corpus: Corpus, sample: Sample, *, moving: bool = False) -> None:
    """Buttons that keep, drop, tag or rewrite the sample that is being read, and take the last action back.

    Args:
        corpus: whose sample.
        sample: a current one.
        moving: on the page that shows one sample after the other: keys work, and a decision goes on to the next.
    """
    problem = st.session_state.pop(PROBLEM, None)
    if problem is not None:
        forms.show_error(problem)
    key, may_not = sample.id, access.refused()
    with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
        if moving:
            _steps()
        st.button(
            t("Keep"), key=f"keep-{key}", icon=":material/check:", shortcut="K" if moving else None,
            disabled=may_not is not None, help=may_not, on_click=_do, args=("keep", corpus, key),
        )  # fmt: skip
        reason = _drop_button(corpus, key, moving=moving, may_not=may_not)
        with st.container(key="deciding-reason" if moving else None, width="content"):
            _reason(key, reason)
        with st.container(key="deciding-tag" if moving else None, width="content"):
            _tags(corpus, sample, may_not)
        with st.container(key="deciding-edit" if moving else None, width="content"):
            off: dict[str, Any] = {"disabled": may_not is not None, "help": may_not}
            box = st.popover(t("Edit"), icon=":material/edit:", **off, **_drawn_once(EDITING))
        if box.open:
            with box:
                _editor(corpus, sample)
        st.button(
            t("Undo"), key=f"undo-{key}", icon=":material/undo:", shortcut="U" if moving else None,
            help=may_not or latest_told(corpus) or t("There is nothing to take back."), disabled=may_not is not None,
            on_click=_undo, args=(corpus, key),
        )  # fmt: skip
        if moving:
            _help(corpus, sample.id, reason)


def _drawn_once(key: str) -> dict[str, Any]:
    # What a popover holds is sent when it is opened: it would be half of what a page with a sample is made of.
    return {"key": key, "on_change": "rerun"}


def listen() -> None:
    """Listen for the keys that no button has as its own; anywhere on a page with the buttons of `on_sample`."""
    keys.listen({"t": "deciding-tag", "e": "deciding-edit", "?": "deciding-help"}, key="deciding_keys")


def latest_action(corpus: Corpus) -> dict[str, Any] | None:
    """The latest action that can be taken back; null where there is none."""
    from curation.actions import latest

    return known(corpus, "latest action", lambda: latest(corpus))


def latest_told(corpus: Corpus) -> str | None:
    """What the latest action was, for the button that takes it back; null where there is none."""
    from studio.pages.history import KINDS

    found = latest_action(corpus)
    if found is None:
        return None
    kind = forms.plain(t(KINDS.get(found["kind"], found["kind"])))
    return tn("Undo: {kind}, {n} sample", "Undo: {kind}, {n:,} samples", found["changed"], kind=kind)


def _steps() -> None:
    for label, struck, icon, by in (
        (t("Previous"), "P", "chevron_left", -1), (t("Next"), "N", "chevron_right", 1),
    ):  # fmt: skip
        st.button(
            label, key=f"deciding-step-{by}", icon=f":material/{icon}:", shortcut=struck, on_click=browsing.step,
            args=(by,),
        )  # fmt: skip


def _drop_button(corpus: Corpus, key: str, *, moving: bool, may_not: str | None) -> str:
    reason = str(st.session_state.get(REASON) or REASONS[0])
    st.button(
        t("Drop"), key=f"drop-{key}", icon=":material/block:", shortcut="X" if moving else None,
        disabled=may_not is not None, on_click=_do, args=("drop", corpus, key),
        help=may_not or forms.plain(t("Leave it out: {reason}", reason=_said(reason))),
    )  # fmt: skip
    return reason


def _said(reason: str) -> str:
    """A reason in the reader's language, if it is one of those that are offered."""
    return t(reason) if reason in REASONS else visible(reason)


def _reason(key: str, reason: str) -> None:
    said = _said(reason)
    said = said if len(said) <= SHOWN else f"{said[: SHOWN - 1].rstrip()}…"
    label, hint = t("Reason: {reason}", reason=forms.plain(said)), t("The reason for dropping")
    with st.popover(label, help=hint, **_drawn_once("deciding-reason-open")) as box:
        if not box.open:
            return
        offered = REASONS if reason in REASONS else (reason, *REASONS)
        st.selectbox(
            t("Reason"), offered, index=offered.index(reason), key=f"reason-{key}", accept_new_options=True,
            help=t("Choose one, or type your own. It stays for the next sample."), format_func=_said,
            on_change=_keep_reason, args=(key,),
        )  # fmt: skip


def _keep_reason(key: str) -> None:
    st.session_state[REASON] = str(st.session_state[f"reason-{key}"])


def _tags(corpus: Corpus, sample: Sample, may_not: str | None) -> None:
    key = sample.id
    off: dict[str, Any] = {"disabled": may_not is not None, "help": may_not}
    with st.popover(t("Tag"), icon=":material/sell:", **off, **_drawn_once("deciding-tag-open")) as box:
        if not box.open:
            return
        offered = known(corpus, "tags", lambda: corpus.query(TAGS)["tag"].to_list())
        name = st.selectbox(t("Tag"), offered, index=None, key=f"tag-{key}", accept_new_options=True)
        st.button(
            t("Give it"), key=f"give-{key}", type="primary", on_click=_do, args=("tag", corpus, key),
            disabled=not name or may_not is not None, help=may_not,
        )  # fmt: skip
        for tag in sample.tags:
            st.button(
                forms.plain(t("Take {tag} away", tag=visible(tag[:80]))), key=f"take-{key}-{tag}", on_click=_do,
                args=("untag", corpus, key, tag), **off,
            )  # fmt: skip


TAGS = "SELECT DISTINCT tag FROM tags ORDER BY tag LIMIT 200"


def _help(corpus: Corpus, sample_id: str, reason: str) -> None:
    with (
        st.container(key="deciding-help", width="content"),
        st.popover(t("Keys"), **_drawn_once("deciding-help-open")) as box,
    ):
        if not box.open:
            return
        for struck, told in KEYS:
            with st.container(horizontal=True, gap="small", vertical_alignment="center", width=320):
                st.badge(struck, color="gray", width=32)
                st.text(t(told))
        st.caption(t("Keys work in the table and on the cards, but not while you type."))
        st.caption(t("In a terminal:"))
        path, about = str(corpus.path), ["--id", sample_id]
        lines = (
            ["keep", path, *about], ["drop", path, *about, "--reason", reason], ["tag", path, "TAG", *about],
            ["edit", path, sample_id, "--response", "TEXT"], ["undo", path],
        )  # fmt: skip
        st.code("\n".join(map(jobs.command_line, lines)), language=None, wrap_lines=True)


def _editor(corpus: Corpus, sample: Sample) -> None:
    questions = [m for m in sample.messages if m.role == "user"]
    if max(len(m.content) for m in sample.messages) > EDITABLE:
        st.caption(t("Texts of more than {n:,} characters can't be edited in the browser.", n=EDITABLE))
        return
    if len(questions) == 1:
        st.text_area(t("Instruction"), questions[0].content, key=f"asked-{sample.id}", height=120, width=560, **KEPT)
    st.text_area(t("Response"), sample.response, key=f"answer-{sample.id}", height=240, width=560, **KEPT)
    st.text_input(t("Why"), key=f"note-{sample.id}", placeholder=t("optional"), **KEPT)
    st.caption(t("The new text becomes the current version; this one stays on record."))
    st.button(
        t("Save as a new version"), key=f"save-{sample.id}", type="primary", on_click=_edit, args=(corpus, sample),
        disabled=access.refused() is not None, help=access.refused(),
    )  # fmt: skip


def _do(verb: str, corpus: Corpus, sample_id: str, tag: str = "") -> None:
    from curation import deciding

    # What was typed last: when the button was drawn, it may not have been there yet.
    given = st.session_state.get(f"reason-{sample_id}") or st.session_state.get(REASON) or REASONS[0]
    reason, tag = str(given), tag or str(st.session_state.get(f"tag-{sample_id}") or "")
    works: dict[str, Callable[[], ActionReport]] = {
        "keep": lambda: deciding.keep(corpus, ids=[sample_id], who=access.who()),
        "drop": lambda: deciding.drop(corpus, ids=[sample_id], reason=reason, who=access.who()),
        "tag": lambda: deciding.tag(corpus, tag, ids=[sample_id], who=access.who()),
        "untag": lambda: deciding.untag(corpus, tag, ids=[sample_id], who=access.who()),
    }
    st.session_state[REASON] = reason
    browsing.hold()
    done = tried(works[verb], t(TOLD[verb], reason=_said(reason), tag=tag))
    if done and verb in ("keep", "drop"):
        browsing.step(1)


def _edit(corpus: Corpus, sample: Sample) -> None:
    from curation import deciding

    asked, answer, note = (st.session_state.get(f"{name}-{sample.id}") for name in ("asked", "answer", "note"))
    changes: dict[str, Any] = {"instruction": asked} if asked is not None else {}
    if sample.response or answer:
        changes["response"] = answer

    def work() -> ActionReport:
        report = deciding.edit(corpus, sample.id, note=note or "", who=access.who(), **changes)
        new = corpus.query("SELECT replaced_by FROM states WHERE id = ?", sample.id)
        if report.changed and new.height:
            _go_on_with(sample.id, new.item())
        return report

    browsing.hold()
    if tried(work, t("Saved as a new version.")):
        st.session_state[EDITING] = False


def _undo(corpus: Corpus, shown: str) -> None:
    from curation.actions import undo

    def work() -> ActionReport:
        report = undo(corpus, who=access.who())
        before = corpus.query(
            "SELECT id FROM changes WHERE action = ? AND was.replaced_by = ? LIMIT 1", report.action, shown
        )
        if before.height:  # what is shown was taken back: go on with what it was made of
            _go_on_with(shown, before.item())
        else:
            _back_to(corpus, report.action)
        return report

    browsing.hold()
    tried(work, t("Taken back."))


def _go_on_with(old: str, new: str) -> None:
    browsing.replaced(old, new)
    st.query_params["sample"] = new


def _back_to(corpus: Corpus, action: str) -> None:
    """Read the sample again that an action was about, if it was about one."""
    about = corpus.query(
        "SELECT DISTINCT id FROM (SELECT id FROM changes WHERE action = ? UNION ALL "
        "SELECT id FROM tag_changes WHERE action = ?) LIMIT 2",
        action,
        action,
    )
    if about.height == 1:
        browsing.read(about.item())


def tried(work: Callable[[], ActionReport], told: str) -> ActionReport | None:
    """Do it and say so; what went wrong is shown when the page is drawn, and null returned."""
    try:
        access.require_editor()
        report = work()
    except WinnowError as error:
        st.session_state[PROBLEM] = error
        return None
    st.toast(forms.plain(told if report.changed else t("It is so already.")))
    return report
