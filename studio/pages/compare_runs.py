"""The Compare runs page: runs side by side, what a run answers badly, and searches for a better mix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import WinnowError
from studio import forms, jobs
from studio.commands.comparing_runs import data_rows
from studio.commands.mix_searching import FOLDER
from studio.languages import mark, t, tn, told_text
from studio.pages import bad_cases, compared_answers, compared_curves, mix_search
from studio.pages.runs import STATES, run_folders

if TYPE_CHECKING:
    from curation.corpus import Corpus
    from training.comparing_runs import RunComparison

VIEWS = {"runs": mark("Runs side by side"), "cases": mark("Bad cases"), "search": mark("Mix search")}
MOST = 8
"""Runs that are compared at once: as many as there are colours."""
READ = ("config.json", "data.json", "events.jsonl", "status.json", "answers.jsonl", "answer_scores.jsonl",
        "held_out_losses.jsonl", "held_out_facts.jsonl")  # fmt: skip
"""Files of a run that the comparison reads."""
READ_OF_MIX = ("train.jsonl", "random.jsonl", "eval.jsonl", "manifest.json")


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    st.title(t("Compare runs"))
    st.caption(t("See which run is better and where, what it still answers badly, and which data would help."))
    folders = own_first(run_folders(corpus))
    view = _view()
    if view == "search":
        mix_search.section(corpus)
    elif not folders:
        forms.empty_state(
            t("Comparisons appear here"),
            t("Training runs are compared here, and there is none yet: train a mix on the Train page."),
            "train",
        )
    elif view == "cases":
        bad_cases.section(corpus, folders)
    elif len(folders) == 1:
        forms.empty_state(
            t("One run cannot be compared"),
            t(
                "There is one run so far, {run}. Train a second one on the Train page, on another mix or with other "
                "settings, and both appear here side by side.",
                run=folders[0].name,
            ),
            "train",
        )
    else:
        _runs(corpus, folders)


def _view() -> str:
    """Which part is shown; it stands in the address, so that it can be shared."""
    asked = st.query_params.get("view")
    if "runs_view" not in st.session_state:
        st.session_state["runs_view"] = asked if asked in VIEWS else "runs"
    view = st.segmented_control(
        t("View"),
        list(VIEWS),
        format_func=lambda v: t(VIEWS[v]),
        required=True,
        key="runs_view",
        label_visibility="collapsed",
    )
    if view != (asked or "runs"):
        st.query_params["view"] = str(view)
    return str(view)


def own_first(folders: list[Path]) -> list[Path]:
    """Runs that somebody began before those that a search made."""
    from training.runs.run_folder import RunFolder

    def of_search(folder: Path) -> bool:
        mix = Path(RunFolder(folder).read("data.json").get("mix", ""))
        return FOLDER in mix.parts[-4:-1]

    return sorted(folders, key=of_search)


def _runs(corpus: Corpus, folders: list[Path]) -> None:
    chosen_cell, against_cell = st.columns([4, 1])
    asked = [folder for folder in folders if folder.name == st.query_params.get("run")]
    default = [*asked, *(folder for folder in folders if folder not in asked)][:3]
    chosen = chosen_cell.multiselect(
        t("Runs"),
        folders,
        default=default,
        format_func=lambda p: p.name,
        max_selections=MOST,
        key=f"compared_{len(folders)}_{default[0].name}",
        placeholder=t("Choose runs"),
    )
    if len(chosen) < 2:
        st.caption(t("Choose two runs or more."))
        return
    sides = ["base", *(folder.name for folder in chosen)]
    against = against_cell.selectbox(
        t("Against"),
        sides,
        format_func=lambda side: t("base") if side == "base" else side,
        key=f"against_{'|'.join(sides)}",
        help=t("What the table of rises and falls compares with."),
    )
    try:
        compared = _compared(tuple(map(str, chosen)), against, _state(chosen))
    except WinnowError as error:
        forms.show_error(error)
        return
    _table(compared)
    words = ["compare-runs", *map(str, chosen), *(["--against", against] if against != "base" else [])]
    st.code(jobs.command_line(words), language=None, wrap_lines=True)
    for note in compared.notes:
        st.caption(forms.plain(t("{sentence}.", sentence=told_text(note))))
    compared_curves.section(compared)
    compared_answers.seesaw_section(compared)
    _settings(compared)
    _data(compared)
    compared_answers.section(compared)


def _state(folders: list[Path]) -> str:
    """Changes when something that is read does: a file of a run or its mix, or whether its process lives."""
    from training.runs.run_folder import RunFolder, status

    mixes = [Path(RunFolder(folder).read("data.json").get("mix", "")) for folder in folders]
    files = [folder / name for folder in folders for name in READ]
    files += [mix / name for mix in mixes for name in READ_OF_MIX]
    stamps = [(f.stat().st_mtime_ns, f.stat().st_size) if f.exists() else None for f in files]
    return repr([stamps, [status(folder).state for folder in folders]])


def _compared(runs: tuple[str, ...], against: str, state: str) -> RunComparison:
    """Read once for a state of the folders: the page is drawn anew at every click."""
    with st.spinner(t("Reading the runs")):
        return _read(runs, against, state)


@st.cache_resource(show_spinner=False, max_entries=16)
def _read(runs: tuple[str, ...], against: str, state: str) -> RunComparison:
    from training.comparing_runs import compare_runs

    return compare_runs(runs, against=against)


def _table(compared: RunComparison) -> None:
    import polars as pl

    rows = [
        {
            "run": side.name,
            "state": t(STATES.get(side.state, side.state)),
            "steps": side.steps,
            "rows": side.rows,
            "tokens": side.tokens,
            "seconds": side.seconds,
            "train": side.train_loss,
            "before": side.held_out_before,
            "after": side.held_out,
        }
        for side in compared.runs
    ]
    number = st.column_config.NumberColumn
    st.dataframe(
        pl.DataFrame(rows, infer_schema_length=None),
        hide_index=True,
        height="content",
        column_config={
            "run": st.column_config.TextColumn(t("Training run"), width="medium"),
            "state": t("State"),
            "steps": number(t("Steps"), format="localized"),
            "rows": number(t("Rows"), format="localized"),
            "tokens": number(t("Tokens"), format="localized", help=t("Once through.")),
            "seconds": number(t("Seconds"), format="%.1f", help=t("In training steps, over all resumptions.")),
            "train": number(t("Training loss"), format="%.4f", help=t("The last one, nats per token.")),
            "before": number(t("Held out before"), format="%.4f"),
            "after": number(t("Held out after"), format="%.4f", help=t("The last one, nats per answer token.")),
        },
        placeholder="–",
        alt=t("The runs, with their losses before and after"),
    )


def _settings(compared: RunComparison) -> None:
    import polars as pl

    st.subheader(t("Settings that differ"))
    if not compared.settings:
        st.caption(t("None: all settings are the same."))
        return
    first = t("Setting")
    rows = [{first: s.name, **{run: _shown(value) for run, value in s.values.items()}} for s in compared.settings]
    st.dataframe(
        pl.DataFrame(rows, infer_schema_length=None),
        hide_index=True,
        height="content",
        placeholder="–",
        column_config={first: st.column_config.TextColumn(first, pinned=True)},
        alt=t("Settings of each run"),
    )


def _shown(value: Any) -> str | None:
    """A setting as it is typed, a folder by its name."""
    if value is None:
        return None
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return Path(text).name if text.startswith("/") else text


def _data(compared: RunComparison) -> None:
    from dataclasses import asdict

    import polars as pl

    st.subheader(t("Data that differ"))
    rows = data_rows(asdict(compared))
    st.dataframe(
        pl.DataFrame(rows, infer_schema_length=None),
        hide_index=True,
        height="content",
        placeholder="–",
        column_config={
            "run": st.column_config.TextColumn(t("Training run"), pinned=True),
            "rows": st.column_config.NumberColumn(t("Rows"), format="localized"),
            "only here": st.column_config.NumberColumn(t("Only here"), format="localized"),
            "by source": st.column_config.TextColumn(t("By source"), width="large"),
            **{
                name: st.column_config.NumberColumn(t("Also in {run}", run=name.removeprefix("also in ")))
                for row in rows[:1]
                for name in row
                if name.startswith("also in ")
            },
        },
        alt=t("Rows of each run, those that only it has, and those it shares with each other"),
    )
    for side in compared.data:
        if side.only_here:
            counted = ", ".join(f"{source} {n:,}" for source, n in side.only_by_source.items())
            title = tn(
                "Only in {run}: {n} row ({counted})",
                "Only in {run}: {n:,} rows ({counted})",
                side.only_here,
                run=side.run,
                counted=counted,
            )
            with st.expander(forms.plain(title)):
                shown = [{t("Source"): row["source"], t("Question"): row["question"]} for row in side.examples]
                st.dataframe(pl.DataFrame(shown), hide_index=True, alt=t("Some rows that only {run} has", run=side.run))
