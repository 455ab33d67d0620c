"""Boxes that run commands: the exact line, a button, how far it is, and where to go when it has ended."""

from __future__ import annotations

import contextlib
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

import streamlit as st

from curation.errors import CorpusError, WinnowError
from studio import jobs
from studio.door import access
from studio.languages import mark, t, told_text
from studio.pages.outcomes import duration, summary
from studio.shown import button_to, link, plain, show_error

if TYPE_CHECKING:
    from curation.corpus import Corpus

AFTER: dict[str, tuple[tuple[str, str], ...]] = {
    "ingest": (("score", mark("Score the samples")), ("browse", mark("Browse the samples"))),
    "score": (("select", mark("Select samples")), ("browse", mark("Browse the samples"))),
    "embed": (("map", mark("See the map")), ("select", mark("Select samples"))),
    "select": (("mix", mark("Put selections together in a mix")),),
    "normalize": (("select", mark("Select samples")),),
    "synthesize": (("mix", mark("Put selections together in a mix")), ("browse", mark("Browse the samples"))),
    "export": (("train", mark("Train on the mix")),),
    "train": (("evaluate", mark("Evaluate the run")), ("chat", mark("Ask the model yourself"))),
    "evaluate": (("chat", mark("Ask the model yourself")), ("compare_runs", mark("Compare runs"))),
}
"""Verb -> the pages that go on from what it made, the likeliest first, and what to call the way there."""

STARTED = "job_started"
"""Where the session keeps that a job was started, until the sidebar is drawn."""
POLLED = 2.0
"""Seconds between two looks at what runs, in the sidebar."""


def command_box(
    corpus: Corpus,
    argv: list[str],
    *,
    key: str,
    label: str | None = None,
    disabled_reason: str | None = None,
    rows: int | None = None,
    primary: bool = True,
) -> None:
    """The exact command, a button that runs it in the background, and how far it is until it has ended.

    Args:
        corpus: whose jobs folder it runs in.
        argv: the command without `winnow`.
        key: unique on the page.
        label: of the button.
        disabled_reason: why it can't run now.
        rows: how many samples it will look at.
        primary: whether it is what one comes to this page for; once it is done, the way on takes its place.
    """
    job = _job_of(corpus, argv, key)
    runs, done = job is not None and job.state == "running", job is not None and job.state == "done"
    forbidden = access.refused()
    reason = forbidden or disabled_reason or (t("It runs already.") if runs else None)
    with st.container(border=True):
        st.code(jobs.command_line(argv), language=None, wrap_lines=True)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(
                label or t("Run"),
                key=f"{key}-run",
                type="primary" if primary and not done else "secondary",
                icon=":material/play_arrow:",
                disabled=reason is not None,
                help=reason,
                on_click=start,
                args=(corpus.path, argv, key),
            )
            if rows is not None:
                st.caption(t("on {rows:,} samples", rows=rows), width="content")
        if disabled_reason:
            st.caption(plain(disabled_reason))
        problem = st.session_state.pop(f"{key}-problem", None)
        if problem is not None:
            show_error(problem)
        if job is not None:
            follow(corpus.path, job, key=key)


def _job_of(corpus: Corpus, argv: list[str], key: str) -> jobs.Job | None:
    # What was started here stays in view while it runs; what has ended belongs to its own command.
    started = st.session_state.get(f"{key}-job")
    for name in (started, jobs.job_id(argv)):
        with contextlib.suppress(CorpusError):
            job = jobs.job(corpus.path, name) if name is not None else None
            if job is not None and (job.state == "running" or job.argv == argv):
                return job
    return None


def start(folder: Path, argv: list[str], key: str) -> None:
    """Run a command in the background, as the button of the box with this key does; from a callback."""
    try:
        access.require_editor()
        st.session_state[f"{key}-job"] = jobs.start(folder, argv).id
        st.session_state[STARTED] = True
    except WinnowError as error:
        st.session_state[f"{key}-problem"] = error


def _cancel(job: jobs.Job) -> None:
    access.require_editor()
    jobs.cancel(job)


def follow(folder: Path, job: jobs.Job, *, key: str) -> None:
    """Show a job, every second while it runs; the page is drawn anew when it has ended."""
    runs = job.state == "running"
    st.fragment(_follow, run_every=1.0 if runs else None, key=f"{key}-follow")(folder, job.id, key, runs)


def _follow(folder: Path, name: str, key: str, runs: bool) -> None:
    job = jobs.job(folder, name)
    if runs and job.state != "running":
        st.rerun()
    show_job(job, key=key)
    if job.state == "running":
        st.button(
            t("Cancel"),
            key=f"{key}-cancel",
            icon=":material/stop:",
            disabled=not access.may_edit(),
            help=access.refused(),
            on_click=_cancel,
            args=(job,),
        )


def show_job(job: jobs.Job, *, key: str | None = None) -> None:
    """How far a job is, or how it ended; with the key of its box also where to go from there."""
    if job.state == "running":
        share = min(1.0, job.done / job.total) if job.total else 0.0
        st.progress(share, text=plain(so_far(job)))
    elif job.state == "done":
        st.success(t("Done in {time}", time=duration(job.seconds)), icon=":material/check_circle:")
        if job.report:
            st.caption(plain(summary(job.report, job.argv[0])))
        _go_on(job, key)
    elif job.error:
        show_error(WinnowError(job.error, fix=job.fix or "read the job's log on the Jobs page"))
    elif job.state == "cancelled":
        st.info(
            t("Cancelled. What was stored stays; the same command goes on from there."),
            icon=":material/stop_circle:",
        )
    else:
        st.error(t("Its process ended without a word."), icon=":material/error:")
        st.caption(t("Run it again: it goes on from what was stored. The Jobs page has its log."))


def _go_on(job: jobs.Job, key: str | None) -> None:
    ways = AFTER.get(job.argv[0], ())
    if not ways:
        return
    query = made_by(job)
    with st.container(horizontal=True, vertical_alignment="center"):
        for place, (name, label) in enumerate(ways):
            if place == 0 and key is not None:
                button_to(name, t(label), key=f"{key}-next", query=query.get(name))
            else:
                link(name, t(label), icon=":material/arrow_forward:", query=query.get(name))


def made_by(job: jobs.Job) -> dict[str, dict[str, str]]:
    """Page -> what its address should name, so that it opens on what the job made."""
    report, verb = job.report or {}, job.argv[0]
    if verb == "export" and report.get("name"):
        return {"train": {"mix": str(report["name"])}}
    if verb == "train" and report.get("run"):
        name = {"run": PurePath(str(report["run"])).name}
        return {"evaluate": name, "chat": name}
    return {}


def so_far(job: jobs.Job) -> str:
    """How far a running job is, and how long it still takes, in one line."""
    counted = (
        t("{done:,} of {total:,}", done=job.done, total=job.total)
        if job.total
        else f"{job.done:,}"
        if job.done
        else t("Starting")
    )
    # Most verbs name the count in their message already.
    message = told_text(job.message)
    said = message if job.done and f"{job.done:,}" in message else " · ".join(filter(None, [counted, message]))
    left = seconds_left(job)
    return said if left is None else t("{said} · about {time} left", said=said, time=duration(left))


def seconds_left(job: jobs.Job) -> float | None:
    """How long a running job still takes, by its pace so far; null while that says little."""
    # The first steps bear the whole start.
    if not job.total or job.done < max(2, 0.05 * job.total) or job.seconds < 3:
        return None
    return job.seconds / job.done * (job.total - job.done)


# -------------------------------------------------------------------- in the sidebar


def live(folder: Path) -> list[jobs.Job]:
    """The jobs of a corpus that run now, the one started last first."""
    found = []
    for stored in (folder / "jobs").glob("*/job.json"):
        if not (stored.parent / "exit_code").exists():  # most have ended, and are not read at all
            with contextlib.suppress(CorpusError):
                found.append(jobs.job(folder, stored.parent.name))
    return sorted((job for job in found if job.state == "running"), key=lambda job: -job.started)


def was_started() -> bool:
    """Whether a job was started since this was asked: what is a part of a page has the whole drawn then, once."""
    return bool(st.session_state.pop(STARTED, False))


def in_sidebar(folder: Path) -> None:
    """What runs now, on every page: looked at again every two seconds while something does."""
    st.session_state.pop(STARTED, None)
    running = [job.id for job in live(folder)]
    st.fragment(_sidebar, run_every=POLLED if running else None, key="sidebar-jobs")(folder, running)


def _sidebar(folder: Path, known: list[str]) -> None:
    running = live(folder)
    if known and not running:
        st.rerun()
    for job in running:
        share = min(1.0, job.done / job.total) if job.total else 0.0
        st.progress(share, text=plain(_in_short(job, share)))
    if running:
        link("jobs", t("See the jobs"), icon=":material/pending_actions:")


def _in_short(job: jobs.Job, share: float) -> str:
    left = seconds_left(job)
    what = " ".join(job.argv[:1] + [PurePath(word).name for word in job.argv[2:3] if not word.startswith("-")])
    if not job.total:
        return t("{what}: {time} so far", what=what, time=duration(job.seconds))
    if left is None:
        return t("{what}: {share:.0%}", what=what, share=share)
    return t("{what}: {share:.0%}, {time} left", what=what, share=share, time=duration(left))
