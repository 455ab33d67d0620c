"""The way from a raw file to a trained model: which stages are done, which one comes now, and the button for it."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from curation.errors import CorpusError
from studio import forms, jobs
from studio.door import access
from studio.languages import mark, t, tn
from studio.running import live

if TYPE_CHECKING:
    from curation.corpus import Corpus

HIDDEN = "guide_hidden"
"""Where the session keeps whether the steps are hidden, for one who may not write it into the corpus."""
KEPT = "guide.json"
"""The file of a corpus that keeps it."""


@dataclass(frozen=True)
class Stage:
    """A stage of the work, done on the page of its name."""

    page: str
    title: str
    button: str
    why: str
    done: str | None
    """What there is of it, in the reader's words; null where it is still to do."""


WORDS = {
    "ingest": (
        mark("Ingest"), mark("Ingest a file"), mark("Bring instruction, chat or preference files into this corpus.")
    ),
    "browse": (
        mark("Read"), mark("Read some samples"), mark("Look at a few samples before you measure them.")
    ),
    "score": (
        mark("Score"), mark("Score the samples"), mark("Length and quality signals take seconds and need no model.")
    ),
    "select": (
        mark("Select"), mark("Select samples"),
        mark("Choose the samples worth training on, and compare ways to choose them."),
    ),
    "mix": (
        mark("Mix"), mark("Make a mix"), mark("Put selections together and write the files that training reads.")
    ),
    "train": (
        mark("Train"), mark("Train on a mix"), mark("Fine-tune a base model on the mix with one click.")
    ),
    "evaluate": (
        mark("Evaluate"), mark("Evaluate the run"), mark("See whether the mix was better than random samples.")
    ),
}  # fmt: skip
"""Page of a stage -> its title, its button, and why one does it; in the order of the work."""


def stages(corpus: Corpus) -> list[Stage]:
    """The stages and what there is of each."""
    samples, scored = corpus.count(), {run.scorer for run in corpus.score_runs()}
    chosen, mixes = corpus.selections(), list(corpus.mixes())
    runs = list((corpus.path / "runs").glob("*/config.json"))
    judged = sum(run.with_name("evaluation.json").exists() for run in runs)
    read = scored or "browse" in st.session_state.get(forms.SEEN_KEY, ())
    done = {
        "ingest": tn("{n} sample", "{n:,} samples", samples) if samples else None,
        "browse": t("Looked at") if samples and read else None,
        "score": tn("{n} scorer", "{n:,} scorers", len(scored)) if scored else None,
        "select": tn("{n} selection", "{n:,} selections", len(chosen)) if chosen else None,
        "mix": tn("{n} mix", "{n:,} mixes", len(mixes)) if mixes else None,
        "train": tn("{n} run", "{n:,} runs", len(runs)) if runs else None,
        "evaluate": tn("{n} run judged", "{n:,} runs judged", judged) if judged else None,
    }
    return [Stage(page, *words, done=done[page]) for page, words in WORDS.items()]


def current(found: list[Stage]) -> Stage:
    """The first stage that is not done; when all are, new samples are made and the loop begins again."""
    for stage in found:
        # Who went on without reading, or trains on a mix made elsewhere, is not sent back.
        later = found[found.index(stage) + 1 :]
        if stage.done is None and not (stage.page == "browse" and any(s.done for s in later)):
            return stage
    return Stage(
        "synthesize",
        mark("Synthesize"),
        mark("Synthesize new samples"),
        mark("The loop is closed: make new samples from the best, and go again."),
        None,
    )


def draw(corpus: Corpus) -> None:
    """The checklist, its current stage with the one button; once hidden only the button and a way back."""
    found = stages(corpus)
    now = current(found)
    hidden = _is_hidden(corpus.path)
    hidden = all(stage.done for stage in found) if hidden is None else hidden
    with st.container(border=True):
        if not hidden:
            _checklist(found, now)
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(t("**Next:** {why}", why=t(now.why)), width="stretch")
            if not found[0].done:
                _demo(corpus)
            forms.button_to(now.page, t(now.button), key="next_step")
            st.button(
                t("Show the steps") if hidden else t("Hide the steps"),
                key="guide_toggle",
                type="tertiary",
                on_click=_hide,
                args=(corpus.path, not hidden),
            )
        if not found[0].done:
            _demo_problem(corpus)


def _checklist(found: list[Stage], now: Stage) -> None:
    for cell, stage in zip(st.columns(len(found), gap="small"), found, strict=True):
        with cell.container(gap="xxsmall"):
            icon = "check_circle" if stage.done else "arrow_circle_right" if stage == now else "circle"
            forms.link(stage.page, t(stage.title), icon=f":material/{icon}:")
            if stage == now:
                st.badge(t("Now"), color="blue")
            else:
                st.caption(stage.done or t("To do"))


def _is_hidden(folder: Path) -> bool | None:
    """What was chosen in this session, or else in this corpus; null where nobody has."""
    chosen: bool | None = st.session_state.get(HIDDEN)
    if chosen is None:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return bool(json.loads((folder / KEPT).read_text(encoding="utf-8"))["hidden"])
    return chosen


def _hide(folder: Path, hidden: bool) -> None:
    st.session_state[HIDDEN] = hidden
    if access.may_edit():
        with contextlib.suppress(OSError):  # it then lasts as long as the session
            (folder / KEPT).write_text(json.dumps({"hidden": hidden}), encoding="utf-8")


def _demo(corpus: Corpus) -> None:
    runs = any(job.argv[0] == "demo" for job in live(corpus.path))
    st.button(
        t("Try it with the demo data"),
        key="try_demo",
        icon=":material/science:",
        disabled=runs or not access.may_edit(),
        help=access.refused()
        or t("313 samples in English and Chinese, written for this studio, come into this corpus."),
        on_click=_start_demo,
        args=(corpus,),
    )


def _start_demo(corpus: Corpus) -> None:
    access.require_editor()
    with contextlib.suppress(CorpusError):  # it runs already
        jobs.start(corpus.path, ["demo", str(corpus.path)])


def _demo_problem(corpus: Corpus) -> None:
    failed = [j for j in jobs.jobs(corpus.path) if j.argv[0] == "demo" and j.state not in ("running", "done")]
    if failed:
        forms.show_job(failed[0])
