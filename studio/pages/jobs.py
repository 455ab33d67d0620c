"""The Jobs page: every command that ran on the corpus, how far it is, and how to stop it or go on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from curation.errors import WinnowError
from studio import forms
from studio import jobs as background

if TYPE_CHECKING:
    from studio.jobs import Job

SHOWN = 15
BADGES = {
    "running": ("blue", ":material/play_arrow:"),
    "done": ("green", ":material/check:"),
    "failed": ("red", ":material/error:"),
    "cancelled": ("orange", ":material/stop:"),
    "died": ("red", ":material/error:"),
}


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    st.title("Jobs")
    st.caption("Commands run in the background: they go on when this page, the browser or the studio is closed.")
    found = background.jobs(corpus.path)
    if not found:
        told = "Every button of the studio starts a command, and commands from a terminal are listed too."
        first = ["score", str(corpus.path), "length"] if corpus.count() and not corpus.score_runs() else None
        forms.empty_state(
            "Commands appear here",
            f"{told} A first one:" if first else told,
            first or ("select" if corpus.count() else "ingest"),
        )
        return
    states = [state for state in BADGES if any(job.state == state for job in found)]
    wanted = st.pills("State", states, selection_mode="multi", key="jobs_states", label_visibility="collapsed")
    runs = any(job.state == "running" for job in found)
    st.fragment(_list, run_every=1.0 if runs else None, key="jobs_list")(corpus.path, tuple(wanted or ()), runs)


def _list(folder: Path, wanted: tuple[str, ...], was_running: bool) -> None:
    found = background.jobs(folder)
    if was_running and not any(job.state == "running" for job in found):
        st.rerun()
    shown = [job for job in found if not wanted or job.state in wanted]
    if len(shown) > SHOWN and not st.toggle(f"All {len(shown):,} jobs", key="jobs_all"):
        shown = shown[:SHOWN]
    for job in shown:
        _job(job)


def _job(job: Job) -> None:
    with st.container(border=True):
        head, buttons = st.columns([5, 1], vertical_alignment="center")
        with head.container(horizontal=True, vertical_alignment="center"):
            colour, icon = BADGES.get(job.state, ("gray", None))
            st.badge(job.state, icon=icon, color=colour)  # type: ignore[arg-type]
            st.markdown(f"**{forms.plain(job.argv[0])}**", width="content")
            began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(job.started))
            st.caption(f"{began}, {forms.duration(job.seconds)}", width="content")
        with buttons.container(horizontal=True, horizontal_alignment="right"):
            _button(job)
        st.code(job.line, language="bash", wrap_lines=True)
        if job.state == "done":
            st.caption(forms.plain(forms.summary(job.report or {}, job.argv[0])))
        else:
            forms.show_job(job)
        log = st.expander("Log", key=f"log-{job.id}", on_change="rerun", icon=":material/article:")
        if log.open:
            log.code(background.log(job) or "Nothing was printed yet.", language=None, wrap_lines=True, height=240)


def _button(job: Job) -> None:
    if job.state == "running":
        if st.button("Cancel", key=f"cancel-{job.id}", icon=":material/stop:", help="What it stored stays."):
            background.cancel(job)
            st.toast("The job was asked to stop.")
            st.rerun()
    else:
        again = "Run again" if job.state == "done" else "Resume"
        if st.button(again, key=f"resume-{job.id}", icon=":material/replay:", help="It goes on from what was stored."):
            try:
                background.resume(job)
            except WinnowError as error:
                forms.show_error(error)
                return
            st.rerun()
