"""The Compare runs page: runs side by side, what a run answers badly, and searches for a better mix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import WinnowError
from studio import forms, jobs
from studio.comparing_runs import data_rows
from studio.mix_searching import FOLDER
from studio.pages import bad_cases, compared_answers, compared_curves, mix_search
from studio.pages.runs import run_folders

if TYPE_CHECKING:
    from curation.corpus import Corpus
    from training.comparing_runs import RunComparison

VIEWS = {"runs": "Runs side by side", "cases": "Bad cases", "search": "Mix search"}
MOST = 8
"""Runs that are compared at once: as many as there are colours."""
READ = ("config.json", "data.json", "events.jsonl", "status.json", "answers.jsonl", "answer_scores.jsonl",
        "held_out_losses.jsonl", "held_out_facts.jsonl")  # fmt: skip
"""Files of a run that the comparison reads."""
READ_OF_MIX = ("train.jsonl", "random.jsonl", "eval.jsonl", "manifest.json")


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    st.title("Compare runs")
    st.caption("See which run is better and where, what it still answers badly, and which data would help.")
    folders = own_first(run_folders(corpus))
    view = st.segmented_control(
        "View", list(VIEWS), format_func=lambda v: VIEWS[v], default="runs", required=True, key="runs_view",
        label_visibility="collapsed",
    )  # fmt: skip
    if view == "search":
        mix_search.section(corpus)
    elif not folders:
        forms.empty_state(
            "Comparisons appear here",
            "Training runs are compared here, and there is none yet: train a mix on the Train page.",
            "train",
        )
    elif view == "cases":
        bad_cases.section(corpus, folders)
    else:
        _runs(corpus, folders)


def own_first(folders: list[Path]) -> list[Path]:
    """Runs that somebody began before those that a search made."""
    from training.runs.run_folder import RunFolder

    def of_search(folder: Path) -> bool:
        mix = Path(RunFolder(folder).read("data.json").get("mix", ""))
        return FOLDER in mix.parts[-4:-1]

    return sorted(folders, key=of_search)


def _runs(corpus: Corpus, folders: list[Path]) -> None:
    chosen_cell, against_cell = st.columns([4, 1])
    chosen = chosen_cell.multiselect(
        "Runs",
        folders,
        default=folders[:3],
        format_func=lambda p: p.name,
        max_selections=MOST,
        key=f"compared_{len(folders)}_{folders[0].name}",
    )
    if len(chosen) < 2:
        st.caption("Choose two runs or more.")
        return
    sides = ["base", *(folder.name for folder in chosen)]
    against = against_cell.selectbox(
        "Against", sides, key=f"against_{'|'.join(sides)}", help="What the table of rises and falls compares with."
    )
    try:
        compared = _compared(tuple(map(str, chosen)), against, _state(chosen))
    except WinnowError as error:
        forms.show_error(error)
        return
    _table(compared)
    words = ["compare-runs", *map(str, chosen), *(["--against", against] if against != "base" else [])]
    st.code(jobs.command_line(words), language="bash", wrap_lines=True)
    for note in compared.notes:
        st.caption(forms.plain(note))
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


@st.cache_data(show_spinner="Reading the runs", max_entries=16)
def _compared(runs: tuple[str, ...], against: str, state: str) -> RunComparison:
    """Read once for a state of the folders: the page is drawn anew at every click."""
    from training.comparing_runs import compare_runs

    return compare_runs(runs, against=against)


def _table(compared: RunComparison) -> None:
    import polars as pl

    rows = [
        {
            "run": side.name,
            "state": side.state,
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
            "run": st.column_config.TextColumn("Run", width="medium"),
            "state": "State",
            "steps": number("Steps", format="localized"),
            "rows": number("Rows", format="localized"),
            "tokens": number("Tokens", format="localized", help="Once through."),
            "seconds": number("Seconds", format="%.1f", help="In training steps, over all resumptions."),
            "train": number("Training loss", format="%.4f", help="The last one, nats per token."),
            "before": number("Held out before", format="%.4f"),
            "after": number("Held out after", format="%.4f", help="The last one, nats per answer token."),
        },
        placeholder="–",
        alt="The runs, with their losses before and after",
    )


def _settings(compared: RunComparison) -> None:
    import polars as pl

    st.subheader("Settings that differ")
    if not compared.settings:
        st.caption("None: all settings are the same.")
        return
    rows = [{"Setting": s.name, **{run: _shown(value) for run, value in s.values.items()}} for s in compared.settings]
    st.dataframe(pl.DataFrame(rows), hide_index=True, height="content", placeholder="–", alt="Settings of each run")


def _shown(value: Any) -> str | None:
    """A setting as it is typed, a folder by its name."""
    if value is None:
        return None
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return Path(text).name if text.startswith("/") else text


def _data(compared: RunComparison) -> None:
    from dataclasses import asdict

    import polars as pl

    st.subheader("Data that differ")
    told = asdict(compared)
    st.dataframe(
        pl.DataFrame(data_rows(told), infer_schema_length=None),
        hide_index=True,
        height="content",
        placeholder="–",
        column_config={
            "run": st.column_config.TextColumn("Run", pinned=True),
            "rows": st.column_config.NumberColumn("Rows", format="localized"),
            "only here": st.column_config.NumberColumn("Only here", format="localized"),
            "by source": st.column_config.TextColumn("By source", width="large"),
        },
        alt="Rows of each run, those that only it has, and those it shares with each other",
    )
    for side in compared.data:
        if side.only_here:
            counted = ", ".join(f"{source} {n:,}" for source, n in side.only_by_source.items())
            with st.expander(forms.plain(f"Only in {side.run}: {side.only_here:,} rows ({counted})")):
                rows = [{"Source": row["source"], "Question": row["question"]} for row in side.examples]
                st.dataframe(pl.DataFrame(rows), hide_index=True, alt=f"Some rows that only {side.run} has")
