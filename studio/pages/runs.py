"""Training runs: where each stands, its losses as they come in, and how to stop it or go on."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import WinnowError
from studio import forms, jobs

if TYPE_CHECKING:
    import altair as alt

    from curation.corpus import Corpus
    from training.runs.run_folder import RunStatus
    from training.training import TrainReport

POINTS = 600
"""Points of a loss curve that are drawn."""
BADGES = {
    "done": ("green", ":material/check:"),
    "running": ("blue", ":material/play_arrow:"),
    "starting": ("blue", ":material/hourglass_top:"),
    "stopped": ("orange", ":material/pause:"),
    "failed": ("red", ":material/error:"),
    "died": ("red", ":material/error:"),
}
RESUMABLE = ("stopped", "died", "failed")
SAID = {
    "died": "The process is gone without a word. Resume goes on from the last checkpoint.",
    "stopped": "Stopped with a checkpoint. Resume goes on from there.",
}


def run_folders(corpus: Corpus) -> list[Path]:
    """Folders of the training runs, the latest first."""
    found = (corpus.path / "runs").glob("*/config.json")
    return [p.parent for p in sorted(found, key=lambda p: -p.stat().st_mtime)]


def section(corpus: Corpus) -> None:
    """The part of the page that shows runs."""
    st.subheader("Runs")
    names = [folder.name for folder in run_folders(corpus)]
    if starting(corpus, names):
        st.fragment(_wait_for_folder, run_every=1)(corpus, names)
    if not names:
        st.caption("No run yet. Its loss curve, speed and state appear here while it trains.")
        return
    name = st.selectbox("Run", names, key=f"run_{len(names)}_{names[0]}", width=360)
    follow(corpus, corpus.path / "runs" / name)


def follow(corpus: Corpus, folder: Path) -> None:
    """Draw a run; while it is live, again every two seconds."""
    live = is_live(corpus, folder)
    st.fragment(_run, run_every=2 if live else None)(corpus, folder, live)


def starting(corpus: Corpus, names: list[str]) -> bool:
    """Whether a job trains a run whose folder is not among these yet."""
    return any(
        job.state == "running" and job.argv[0] == "train" and run_name(job) not in (None, *names)
        for job in jobs.jobs(corpus.path)
    )


def _wait_for_folder(corpus: Corpus, names: list[str]) -> None:
    if not starting(corpus, names) or len(run_folders(corpus)) != len(names):
        st.rerun()
    st.caption("A run is starting; it appears here in a moment.")


def is_live(corpus: Corpus, folder: Path) -> bool:
    """Whether a process works on the run, or a job is about to start one."""
    from training.runs.run_folder import status

    job = job_of(corpus, folder)
    return status(folder).live or (job is not None and job.state == "running")


def _run(corpus: Corpus, folder: Path, was_live: bool) -> None:
    from training.runs.run_folder import status
    from training.training import report

    live = is_live(corpus, folder)
    if was_live and not live:
        st.rerun()
    now = status(folder)
    try:
        told = report(folder)
    except WinnowError as error:
        forms.show_error(error)
        return
    _state(corpus, folder, now, live)
    _numbers(told, now)
    left, right = st.columns(2, gap="large")
    with left:
        _train_loss(told)
    with right:
        _held_out(told)
    _notes(folder, told)


def _state(corpus: Corpus, folder: Path, now: RunStatus, live: bool) -> None:
    state = "starting" if live and now.state in RESUMABLE else now.state
    colour, icon = BADGES.get(state, ("gray", None))
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(state, icon=icon, color=colour)  # type: ignore[arg-type]
        share = now.step / now.max_steps if now.max_steps else 0.0
        st.progress(min(1.0, share), text=f"step {now.step:,} of {now.max_steps:,}" if now.max_steps else "preparing")
        if now.live:
            _cancel_button(corpus, folder)
        elif state in RESUMABLE:
            _resume_button(corpus, folder)
    if state == "failed" and now.message:
        forms.show_error(WinnowError(now.message, fix=now.fix or f"read {folder / 'log.txt'}"))
    elif state in SAID:
        st.caption(SAID[state])


def _cancel_button(corpus: Corpus, folder: Path) -> None:
    if st.button("Cancel", icon=":material/stop:", key=f"cancel_{folder.name}", help="Saves a checkpoint first."):
        cancel(corpus, folder)
        st.toast("The run saves a checkpoint and stops.")


def _resume_button(corpus: Corpus, folder: Path) -> None:
    if st.button("Resume", icon=":material/play_arrow:", key=f"resume_{folder.name}"):
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
        if job is not None:
            jobs.resume(job)
        else:
            jobs.start(corpus.path, resume_command(folder))
    except WinnowError as error:
        forms.show_error(error)
        return
    st.toast("The run goes on from its last checkpoint.")
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
    return [*words, "--run", folder.name, *(w for k, v in changed.items() for w in ("--set", f"{k}={v}"))]


def _numbers(told: TrainReport, now: RunStatus) -> None:
    losses = [event["loss"] for event in told.held_out]
    cells = st.columns(5)
    cells[0].metric(
        "Training loss", "none yet" if told.train_loss is None else f"{told.train_loss:.3f}", help="nats per token"
    )
    change = f"{losses[-1] - losses[0]:+.3f}" if len(losses) > 1 else None
    cells[1].metric(
        "Held-out loss",
        f"{losses[-1]:.3f}" if losses else "none",
        change,
        delta_color="inverse",
        help="On eval.jsonl, with its change since before training; none without held-out rows.",
    )
    speed = told.tokens_per_second
    cells[2].metric("Tokens per second", "none yet" if speed is None else f"{speed:,.0f}")
    cells[3].metric("Training time", forms.duration(told.seconds), help="In training steps, over all resumptions.")
    cells[4].metric(
        "Rows", f"{told.rows:,}", help=f"{told.tokens:,} tokens, {told.truncated:,} rows cut, once through."
    )


def _train_loss(told: TrainReport) -> None:
    import altair as alt
    import polars as pl

    st.markdown("**Training loss**")
    if not told.losses:
        st.caption("The first step is still to come.")
        return
    rows = [{"step": step, "loss": loss} for step, loss in thinned(told.losses)]
    x, y = _axes(told)
    chart = alt.Chart(pl.DataFrame(rows)).mark_line(strokeWidth=1.5, point=len(rows) < 30)
    st.altair_chart(
        chart.encode(x=x, y=y, tooltip=["step:Q", alt.Tooltip("loss:Q", format=".4f")]).properties(height=320),
        alt=f"Training loss over {told.steps} steps, the last {told.losses[-1][1]:.3f}",
    )


def thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Every n-th point and the last one, so that a long run stays light to draw."""
    every = max(1, len(points) // POINTS)
    kept = points[::every]
    return kept if not points or kept[-1] == points[-1] else [*kept, points[-1]]


def _axes(told: TrainReport) -> tuple[alt.X, alt.Y]:
    import altair as alt

    return (
        alt.X(
            "step:Q",
            title="step",
            axis=alt.Axis(format="~s", tickMinStep=1),
            scale=alt.Scale(
                domain=[0, told.max_steps or max(1, told.steps, *(step for step, _ in told.losses))], nice=False
            ),
        ),
        alt.Y("loss:Q", title="nats per token", axis=alt.Axis(format=".3~f"), scale=alt.Scale(zero=False)),
    )


def _held_out(told: TrainReport) -> None:
    import altair as alt
    import polars as pl

    st.markdown("**Held-out loss by source**")
    rows = held_out_points(told.held_out)
    if not rows:
        st.caption("The mix has no held-out rows, or they are not measured yet.")
        return
    x, y = _axes(told)
    chart = (
        alt.Chart(pl.DataFrame(rows))
        .mark_line(strokeWidth=1.5, point=True)
        .encode(
            x=x,
            y=y,
            color=alt.Color("source:N", title=None, legend=alt.Legend(orient="bottom", columns=3, labelLimit=160)),
            strokeWidth=alt.condition("datum.source == 'all'", alt.value(3), alt.value(1.5)),
            tooltip=["source:N", "step:Q", alt.Tooltip("loss:Q", format=".4f")],
        )
    )
    height = 290 + 26 * math.ceil(len({row["source"] for row in rows}) / 3)
    st.altair_chart(chart.properties(height=height), alt="Held-out loss of every source over the steps")


def held_out_points(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """step, source, loss of every held-out measurement; `all` is all sources together."""
    points = []
    for event in events:
        points.append({"step": event["step"], "source": "all", "loss": event["loss"]})
        points += [{"step": event["step"], "source": s, "loss": x} for s, x in event.get("loss_by_source", {}).items()]
    return points


def _notes(folder: Path, told: TrainReport) -> None:
    for note in told.notes:
        st.caption(forms.plain(note))
    if told.learning_rate is not None:
        st.caption(forms.plain(f"Learning rate {told.learning_rate:g}: {told.learning_rate_reason}."))
    if told.dropped:
        st.caption(forms.plain("Rows left out: " + "; ".join(f"{why} ({n:,})" for why, n in told.dropped.items())))
    with st.expander("Folder and log"):
        st.code(str(folder), language=None)
        log = folder / "log.txt"
        if log.is_file():
            st.code(log.read_text(encoding="utf-8", errors="replace")[-6_000:], language=None, height=260)
