"""The Jobs page: every command that ran on the corpus, how far it is, and how to stop it or go on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from curation.errors import WinnowError
from studio import forms
from studio import jobs as background
from studio.door import access
from studio.languages import mark, t

if TYPE_CHECKING:
    from studio.jobs import Job

SHOWN = 15
BADGES = {
    "running": ("blue", ":material/play_arrow:", mark("running")),
    "done": ("green", ":material/check:", mark("done")),
    "failed": ("red", ":material/error:", mark("failed")),
    "cancelled": ("orange", ":material/stop:", mark("cancelled")),
    "died": ("red", ":material/error:", mark("ended without a word")),
}


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    st.title(t("Jobs"))
    st.caption(t("Commands run in the background: they go on when this page, the browser or the studio is closed."))
    found = background.jobs(corpus.path)
    if not found:
        first = ["score", str(corpus.path), "length"] if corpus.count() and not corpus.score_runs() else None
        told = (
            t("Every button of the studio starts a command, and commands from a terminal are listed too. A first one:")
            if first
            else t("Every button of the studio starts a command, and commands from a terminal are listed too.")
        )
        forms.empty_state(t("Commands appear here"), told, first or ("select" if corpus.count() else "ingest"))
        return
    states = [state for state in BADGES if any(job.state == state for job in found)]
    wanted = st.pills(
        t("State"), states, selection_mode="multi", key="jobs_states", label_visibility="collapsed", format_func=_named
    )
    runs = any(job.state == "running" for job in found)
    st.fragment(_list, run_every=1.0 if runs else None, key="jobs_list")(corpus.path, tuple(wanted or ()), runs)


def _named(state: str) -> str:
    return t(BADGES[state][2])


def _list(folder: Path, wanted: tuple[str, ...], was_running: bool) -> None:
    found = background.jobs(folder)
    if was_running != any(job.state == "running" for job in found):
        st.rerun()
    problem = st.session_state.pop("jobs_problem", None)
    if problem is not None:
        forms.show_error(problem)
    shown = [job for job in found if not wanted or job.state in wanted]
    if len(shown) > SHOWN and not st.toggle(t("All {n:,} jobs", n=len(shown)), key="jobs_all"):
        shown = shown[:SHOWN]
    for job in shown:
        _job(job)


def _job(job: Job) -> None:
    with st.container(border=True):
        head, buttons = st.columns([5, 1], vertical_alignment="center")
        with head.container(horizontal=True, vertical_alignment="center"):
            colour, icon, _ = BADGES.get(job.state, ("gray", None, ""))
            st.badge(_named(job.state), icon=icon, color=colour)  # type: ignore[arg-type]
            st.markdown(f"**{forms.plain(job.argv[0])}**", width="content")
            began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(job.started))
            st.caption(t("{began}, {duration}", began=began, duration=forms.duration(job.seconds)), width="content")
        with buttons.container(horizontal=True, horizontal_alignment="right"):
            _button(job)
        st.code(job.line, language=None, wrap_lines=True)
        if job.state == "done":
            st.caption(forms.plain(forms.summary(job.report or {}, job.argv[0])))
        else:
            forms.show_job(job)
        log = st.expander(t("Log"), key=f"log-{job.id}", on_change="rerun", icon=":material/article:")
        if log.open:
            log.code(background.log(job) or t("Nothing was printed yet."), language=None, wrap_lines=True, height=240)


def _button(job: Job) -> None:
    allowed = access.may_edit()
    why = None if allowed else t(access.ONLY_LOOK)
    if job.state == "running":
        st.button(
            t("Cancel"), key=f"cancel-{job.id}", icon=":material/stop:", help=why or t("What it stored stays."),
            disabled=not allowed, on_click=_cancel, args=(job,),
        )  # fmt: skip
        return
    again = t("Run again") if job.state == "done" else t("Resume")
    st.button(
        again, key=f"resume-{job.id}", icon=":material/replay:", help=why or t("It goes on from what was stored."),
        disabled=not allowed, on_click=_resume, args=(job,),
    )  # fmt: skip


def _cancel(job: Job) -> None:
    try:
        background.cancel(job)
    except WinnowError as error:
        st.session_state["jobs_problem"] = error
        return
    st.toast(t("The job was asked to stop."))


def _resume(job: Job) -> None:
    try:
        background.resume(job)
    except WinnowError as error:
        st.session_state["jobs_problem"] = error
