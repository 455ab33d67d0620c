"""Training runs: where each stands, its losses as they come in, and how to stop it or go on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from curation.errors import WinnowError
from studio import forms, jobs, running
from studio.door import access
from studio.languages import mark, t
from studio.pages import run_about, run_charts, run_next, run_numbers, run_samples
from studio.pages.run_data import RunData, run_data

if TYPE_CHECKING:
    from curation.corpus import Corpus
    from training.runs.run_folder import RunStatus

BADGES = {
    "done": ("green", ":material/check:"),
    "running": ("blue", ":material/play_arrow:"),
    "starting": ("blue", ":material/hourglass_top:"),
    "stopped": ("orange", ":material/pause:"),
    "failed": ("red", ":material/error:"),
    "died": ("red", ":material/error:"),
}
STATES = {
    "done": mark("done"),
    "running": mark("running"),
    "starting": mark("starting"),
    "stopped": mark("stopped"),
    "failed": mark("failed"),
    "died": mark("died"),
    "none": mark("not started"),
}
PREPARING = ("starting", "running")
LONG = 5_000_000
"""Bytes of events that take about a second to read."""
RESUMABLE = ("stopped", "died", "failed")
SAID = {
    "died": mark("The process is gone without a word. Resume goes on from the last checkpoint."),
    "stopped": mark("Stopped with a checkpoint. Resume goes on from there."),
}


def run_folders(corpus: Corpus) -> list[Path]:
    """Folders of the training runs, the latest first."""
    found = (corpus.path / "runs").glob("*/config.json")
    return [p.parent for p in sorted(found, key=lambda p: -p.stat().st_mtime)]


def section(corpus: Corpus) -> None:
    """The part of the page that shows runs."""
    st.subheader(t("Runs so far"))
    names = [folder.name for folder in run_folders(corpus)]
    if starting(corpus, names):
        st.fragment(_wait_for_folder, run_every=1)(corpus, names)
    if not names:
        st.caption(t("No run yet. Its loss curve, speed and state appear here while it trains."))
        return
    asked = st.query_params.get("run")
    place = names.index(asked) if asked in names else 0
    name = st.selectbox(t("Training run"), names, index=place, key=f"run_{len(names)}_{names[0]}", width=480)
    if name != names[0] or asked:
        st.query_params["run"] = name
    follow(corpus, corpus.path / "runs" / name)


def any_live(corpus: Corpus) -> bool:
    """Whether a run trains, or is about to."""
    from training.runs.run_folder import status

    trains = any(job.argv[0] == "train" for job in running.live(corpus.path))
    return trains or any(status(folder).live for folder in run_folders(corpus))


def follow(corpus: Corpus, folder: Path) -> None:
    """Draw a run; while it is live, again every two seconds, or less often where there is much to read."""
    live = is_live(corpus, folder)
    told = folder / "events.jsonl"
    every = 2 if not told.exists() or told.stat().st_size < LONG else 10
    st.fragment(_run, run_every=every if live else None)(corpus, folder, live)


def starting(corpus: Corpus, names: list[str]) -> bool:
    """Whether a job trains a run whose folder is not among these yet."""
    return any(job.argv[0] == "train" and run_name(job) not in (None, *names) for job in running.live(corpus.path))


def _wait_for_folder(corpus: Corpus, names: list[str]) -> None:
    if not starting(corpus, names) or len(run_folders(corpus)) != len(names):
        st.rerun()
    st.caption(t("A run is starting; it appears here in a moment."))


def is_live(corpus: Corpus, folder: Path) -> bool:
    """Whether a process works on the run, or a job is about to start one."""
    from training.runs.run_folder import status

    return status(folder).live or any(run_name(job) == folder.name for job in running.live(corpus.path))


def _run(corpus: Corpus, folder: Path, was_live: bool) -> None:
    from training.runs.run_folder import status

    live = is_live(corpus, folder)
    if was_live and not live:
        st.rerun()
    now = status(folder)
    try:
        data = run_data(folder)
    except WinnowError as error:
        forms.show_error(error)
        return
    _state(corpus, folder, now, live, data)
    run_numbers.warnings(data)
    run_numbers.numbers(data, live=live)
    st.fragment(run_charts.losses)(data)
    run_charts.small_multiples(data)
    run_charts.diagnostics(data)
    st.fragment(run_samples.samples)(data)
    run_about.about(data)


def _state(corpus: Corpus, folder: Path, now: RunStatus, live: bool, data: RunData) -> None:
    state = "starting" if live and now.state in RESUMABLE else now.state
    colour, icon = BADGES.get(state, ("gray", None))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(t(STATES.get(state, state)), icon=icon, color=colour)  # type: ignore[arg-type]
        share = now.step / now.max_steps if now.max_steps else 0.0
        st.progress(1.0 if state == "done" else min(1.0, share), text=so_far(now, state, data))
        if now.live:
            _cancel_button(corpus, folder)
        elif state in RESUMABLE:
            _resume_button(corpus, folder)
    if state == "failed" and now.message:
        fix = now.fix or t("read {path}", path=folder / "log.txt")
        forms.show_error(WinnowError(now.message, fix=fix))
    elif state in SAID:
        st.caption(t(SAID[state]))
    if state == "done":
        _ended(corpus, folder, data)


def _ended(corpus: Corpus, folder: Path, data: RunData) -> None:
    if data.early_stop:
        st.caption(
            t(
                "Ended early: {waited} held-out losses in a row were no better than that of step {best:,}, whose "
                "weights are kept.",
                waited=data.early_stop["patience"],
                best=data.early_stop["best_step"],
            )
        )
    elif data.report.best_step:
        st.caption(
            t(
                "The weights kept are those of step {step:,}, which had the best held-out loss.",
                step=data.report.best_step,
            )
        )
    with st.container(horizontal=True, vertical_alignment="center"):
        run_next.evaluate_button(corpus, folder)
        if data.config.get("method") != "reward":
            forms.link("chat", t("Ask the model yourself"), icon=":material/forum:", query={"run": folder.name})
        forms.link("compare_runs", t("Compare runs"), icon=":material/compare_arrows:", query={"run": folder.name})


def so_far(now: RunStatus, state: str, data: RunData) -> str:
    """Where the run is, in words."""
    if not now.max_steps:
        return t("loading libraries, the model and the mix") if state in PREPARING else t("no step yet")
    epoch = data.last("epoch")
    if epoch is None:
        return t("step {step:,} of {steps:,}", step=now.step, steps=now.max_steps)
    return t("step {step:,} of {steps:,} · epoch {epoch:.2f}", step=now.step, steps=now.max_steps, epoch=epoch)


def _cancel_button(corpus: Corpus, folder: Path) -> None:
    may = access.may_edit()
    st.button(
        t("Stop"),
        icon=":material/stop:",
        key=f"cancel_{folder.name}",
        disabled=not may,
        help=t("Saves a checkpoint first; Resume goes on.") if may else run_next.viewer(),
        on_click=_stop,
        args=(corpus, folder),
    )


def _stop(corpus: Corpus, folder: Path) -> None:
    access.require_editor()
    cancel(corpus, folder)
    st.toast(t("The run saves a checkpoint and stops."))


def _resume_button(corpus: Corpus, folder: Path) -> None:
    may = access.may_edit()
    if st.button(
        t("Resume"),
        icon=":material/play_arrow:",
        key=f"resume_{folder.name}",
        disabled=not may,
        help=t("Goes on from the last checkpoint.") if may else run_next.viewer(),
    ):
        _resume(corpus, folder)


def job_of(corpus: Corpus, folder: Path) -> jobs.Job | None:
    """The latest job that trains into this folder."""
    return next((job for job in jobs.jobs(corpus.path) if run_name(job) == folder.name), None)


def run_name(job: jobs.Job) -> str | None:
    """The run that a job trains, where its command names one."""
    words = job.argv
    if words[0] != "train" or "--run" not in words[:-1]:
        return None
    return words[words.index("--run") + 1]


def cancel(corpus: Corpus, folder: Path) -> None:
    """Stop a live run with a checkpoint, through its job where it has one."""
    from training.runs.run_folder import stop

    job = job_of(corpus, folder)
    if job is not None and job.state == "running":
        jobs.cancel(job)
    else:
        stop(folder)


def _resume(corpus: Corpus, folder: Path) -> None:
    job = job_of(corpus, folder)
    try:
        access.require_editor()
        if job is not None:
            jobs.resume(job)
        else:
            jobs.start(corpus.path, resume_command(folder))
    except WinnowError as error:
        forms.show_error(error)
        return
    st.toast(t("The run goes on from its last checkpoint."))
    st.rerun()


def resume_command(folder: Path) -> list[str]:
    """The command that goes on with a run that no job of this corpus began."""
    from training.config import TrainConfig
    from training.runs.run_folder import RunFolder

    config = TrainConfig.from_file(folder / "config.json")
    mix = RunFolder(folder).read("data.json").get("mix", "MIX")
    words = ["train", mix, "--base-model", config.base_model, "--method", config.method, "--adapter", config.adapter]
    own = {"base_model", "method", "adapter"}
    changed = config.model_dump(mode="json", exclude_defaults=True, exclude=own)
    return [*words, "--run", folder.name, *(w for k, v in changed.items() for w in ("--set", f"{k}={_written(v)}"))]


def _written(value: object) -> str:
    """As `--set` takes it: nothing for null, words with commas between them."""
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)
