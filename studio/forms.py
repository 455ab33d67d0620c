"""What the pages share: the corpus, the working set, forms made from operators, and boxes that run commands."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import CorpusError, WinnowError
from curation.storage.sql import literal as literal
from studio import jobs
from studio.fields import setting, takes_several
from studio.pages.outcomes import duration as duration
from studio.pages.outcomes import summary as summary

if TYPE_CHECKING:
    from curation.corpus import Corpus
    from curation.operators import AnyOperator

CORPUS_VARIABLE = "WINNOW_CORPUS"
PAGES_KEY = "pages"
"""Where the session keeps the pages by name, so that one page can link to another."""

PAGE_OF = {
    "ingest": "ingest", "inspect": "browse", "score": "score", "embed": "score", "warm-up": "score", "select": "select",
    "hold-out": "select", "compare": "select", "synthesize": "synthesize", "export": "mix", "train": "train",
    "evaluate": "evaluate", "jobs": "jobs", "normalize": "clean", "drop": "browse", "keep": "browse", "tag": "browse",
    "serve-model": "chat", "export-model": "chat",
    "snapshot": "history", "undo": "history", "history": "history", "diff": "history",
}  # fmt: skip
"""Verb -> the page that has its form."""

AFTER = {
    "ingest": ("browse", "Browse the samples"),
    "select": ("mix", "Put selections together in a mix"),
    "export": ("train", "Train on the mix"),
    "train": ("evaluate", "Evaluate the run"),
    "evaluate": ("chat", "Ask the model yourself"),
}
"""Verb -> the page that goes on from what it made, and what to call the way there."""

PLACEHOLDER = re.compile(r"[A-Z][A-Z_]+(\.\.\.)?")
SPECIAL = re.compile(r"([\\`*_{}\[\]()#+\-.!|~$<>:&])")


def plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return SPECIAL.sub(r"\\\1", " ".join(text.split("\n")))


def corpus_path() -> Path:
    """The corpus the studio was started on: `streamlit run app.py -- CORPUS`, WINNOW_CORPUS, or the folder `demo`."""
    chosen = st.session_state.get("corpus_path")
    given = sys.argv[1] if len(sys.argv) == 2 and not sys.argv[1].startswith("-") else None
    return Path(chosen or os.environ.get(CORPUS_VARIABLE) or given or "demo").expanduser()


def current_corpus() -> Corpus:
    """The corpus, open in this process; where it can't be opened the page says why and ends."""
    from studio.owner import serve

    try:
        return serve(corpus_path())
    except WinnowError as error:
        st.title("Open a corpus")
        show_error(error)
        _choose_corpus()
        st.stop()


def _choose_corpus() -> None:
    from curation.corpus import Corpus

    with st.form("choose_corpus", width=640):
        typed = st.text_input("Corpus folder", placeholder="a folder on this machine, such as ~/corpora/chat")
        create = st.checkbox("Make an empty corpus where there is none")
        if st.form_submit_button("Open", type="primary") and typed.strip():
            try:
                (Corpus.create if create else Corpus)(typed.strip())
            except WinnowError as error:
                show_error(error)
                return
            st.session_state["corpus_path"] = typed.strip()
            st.rerun()


def show_error(error: WinnowError) -> None:
    """What failed, and what to do about it."""
    st.error(plain(error.message), icon=":material/error:")
    st.caption("Fix")
    st.code(error.fix, language=None, wrap_lines=True)


def link(name: str, label: str, *, icon: str | None = None, query: dict[str, str] | None = None) -> None:
    """A link to the page of this name; outside the studio (one page alone, in a test) only its label."""
    page = st.session_state.get(PAGES_KEY, {}).get(name)
    if page is None:
        st.caption(plain(label))
    else:
        st.page_link(page, label=plain(label), icon=icon, query_params=query)


def chosen_row(state: Any, rows: int) -> int | None:
    """The row of a table whose cell (or whose row) was clicked; null where none is, or the table has fewer rows now."""
    selection = state["selection"]
    found = [row for row, _ in selection.get("cells", ())] or list(selection["rows"])
    return found[0] if found and found[0] < rows else None


def empty_state(title: str, text: str, action: Sequence[str] | str | None = None) -> None:
    """What will be here, and one action: a command, or the name of a page.

    A command with something left to fill in (FILE, MIX) leads to the page that has its form.
    """
    with st.container(border=True, width=760):
        st.subheader(title)
        st.markdown(plain(text))
        if isinstance(action, str):
            link(action, f"Go to {action.capitalize()}", icon=":material/arrow_forward:")
        elif action and any(PLACEHOLDER.fullmatch(Path(word).name) for word in action):
            st.code(jobs.command_line(action), language="bash", wrap_lines=True)
            name = PAGE_OF.get(action[0], "overview")
            link(name, f"Go to {name.capitalize()}", icon=":material/arrow_forward:")
        elif action:
            command_box(current_corpus(), list(action), key=f"empty-{title}", label=f"Run {action[0]}")


# -------------------------------------------------------------------- the working set


def working_set(corpus: Corpus) -> str | None:
    """The filter that page and command share: an input, its conditions as chips, and how many samples meet it.

    It stands in the URL (`?where=...`) and is the same on every page. A filter that does not work ends the page.
    """
    _restore_filter()
    box, columns = st.columns([6, 1], vertical_alignment="bottom")
    typed = box.text_input(
        "Filter (SQL)",
        key="where",
        placeholder="a condition such as: source = 'alpaca' AND length_tokens > 50",
        icon=":material/filter_alt:",
        label_visibility="collapsed",
    )
    with columns.popover("Columns", icon=":material/view_column:", width="stretch", help="What a filter can name"):
        _column_list(corpus)
    where = (typed or "").strip() or None
    _keep_filter(where)
    total, dropped = corpus.count(), corpus.count("decision = 'drop'")
    try:
        matching = corpus.count(where)
    except WinnowError as error:
        show_error(error)
        st.stop()
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        told = f"**{matching:,}** of {total:,} samples" if where else f"**{total:,}** samples"
        st.caption(told + (f", {dropped:,} dropped" if dropped else ""), width="content")
        for place, part in enumerate(conditions(where or "")):
            st.button(
                plain(part if len(part) < 60 else part[:57] + "…"),
                key=f"chip-{place}-{part}",
                icon=":material/close:",
                help="Remove this condition",
                on_click=_drop_condition,
                args=(place,),
            )
    return where


def _restore_filter() -> None:
    state, asked = st.session_state, st.query_params.get("where")
    if asked is not None and asked != state.get("kept_where"):
        state["where"] = asked
    elif "where" not in state:
        state["where"] = state.get("kept_where") or ""


def _keep_filter(where: str | None) -> None:
    st.session_state["kept_where"] = where
    if where:
        st.query_params["where"] = where
    elif "where" in st.query_params:
        del st.query_params["where"]


def _drop_condition(place: int) -> None:
    rest = conditions(st.session_state["where"])
    del rest[place]
    set_filter(" AND ".join(rest))


def set_filter(where: str) -> None:
    """Replace the filter; from a callback, before the input is drawn."""
    st.session_state["where"] = st.session_state["kept_where"] = where
    if where:
        st.query_params["where"] = where
    elif "where" in st.query_params:
        del st.query_params["where"]


def _column_list(corpus: Corpus) -> None:
    rows = [{"column": name, "type": kind if len(kind) < 24 else "list"} for name, kind in corpus.columns().items()]
    st.dataframe(rows, hide_index=True, height=360, width=320, alt="Columns that a filter can name, and their types")


def conditions(where: str) -> list[str]:
    """The parts of a condition that stand side by side with AND; one that can't be parted is a single part."""
    parts, start, between = [], 0, False
    for word, at in _outer_words(where):
        if word == "or":
            return [where.strip()]
        if word == "and" and not between:
            parts.append(where[start:at].strip())
            start = at + len("and")
        between = word == "between" or (between and word != "and")
    return [part for part in (*parts, where[start:].strip()) if part]


def _outer_words(where: str) -> Iterator[tuple[str, int]]:
    # Quoted text and what stands in parentheses is passed over.
    depth = 0
    for found in re.finditer(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|[()]|\w+", where):
        token = found.group()
        depth += (token == "(") - (token == ")")
        if depth == 0 and token[0].isalpha():
            yield token.lower(), found.start()


# -------------------------------------------------------------------- forms


def operator_form(
    operators: Sequence[type[AnyOperator]],
    *,
    key: str,
    exclude: Sequence[str] = (),
    choices: Mapping[str, Sequence[str]] | None = None,
) -> tuple[type[AnyOperator], list[str]]:
    """Choose an operator and set its parameters: its class, and `--set` options for the values that were changed.

    Args:
        operators: to choose from.
        key: unique on the page; also the label.
        exclude: fields that have widgets elsewhere.
        choices: field -> values to offer, where the corpus knows them.
    """
    by_name = {operator.name: operator for operator in operators}
    name = st.selectbox(key.capitalize(), list(by_name), key=f"{key}-operator")
    operator = by_name[name]
    st.caption(plain(operator.summary()))
    fields = [field for field in operator.model_fields if field not in exclude]
    cells = st.columns(2) if len(fields) > 1 else [st.container()]
    options: list[str] = []
    # What takes several values needs the whole width: half of it shows two.
    wide = [field for field in fields if takes_several(operator, field)]
    for place, field in enumerate(field for field in fields if field not in wide):
        with cells[place % len(cells)]:
            options += setting(operator, field, key=f"{key}-{name}", choices=(choices or {}).get(field))
    for field in wide:
        options += setting(operator, field, key=f"{key}-{name}", choices=(choices or {}).get(field))
    return operator, options


# -------------------------------------------------------------------- commands


def command_box(
    corpus: Corpus,
    argv: list[str],
    *,
    key: str,
    label: str = "Run",
    disabled_reason: str | None = None,
    rows: int | None = None,
) -> None:
    """The exact command, a button that runs it in the background, and how far it is until it has ended.

    Args:
        corpus: whose jobs folder it runs in.
        argv: the command without `winnow`.
        key: unique on the page.
        label: of the button.
        disabled_reason: why it can't run now.
        rows: how many samples it will look at.
    """
    job = _job_of(corpus, argv, key)
    runs = job is not None and job.state == "running"
    reason = disabled_reason or ("It runs already." if runs else None)
    with st.container(border=True):
        st.code(jobs.command_line(argv), language="bash", wrap_lines=True)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button(
                label,
                key=f"{key}-run",
                type="primary",
                icon=":material/play_arrow:",
                disabled=reason is not None,
                help=reason,
                on_click=_start,
                args=(corpus.path, argv, key),
            )
            if rows is not None:
                st.caption(f"on {rows:,} samples", width="content")
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


def _start(folder: Path, argv: list[str], key: str) -> None:
    try:
        st.session_state[f"{key}-job"] = jobs.start(folder, argv).id
    except WinnowError as error:
        st.session_state[f"{key}-problem"] = error


def follow(folder: Path, job: jobs.Job, *, key: str) -> None:
    """Show a job, every second while it runs; the page is drawn anew when it has ended."""
    runs = job.state == "running"
    st.fragment(_follow, run_every=1.0 if runs else None, key=f"{key}-follow")(folder, job.id, key, runs)


def _follow(folder: Path, name: str, key: str, runs: bool) -> None:
    job = jobs.job(folder, name)
    if runs and job.state != "running":
        st.rerun()
    show_job(job)
    if job.state == "running":
        st.button("Cancel", key=f"{key}-cancel", icon=":material/stop:", on_click=jobs.cancel, args=(job,))


def show_job(job: jobs.Job) -> None:
    """How far a job is, or how it ended."""
    if job.state == "running":
        share = min(1.0, job.done / job.total) if job.total else 0.0
        st.progress(share, text=plain(_so_far(job)))
    elif job.state == "done":
        st.success(f"Done in {duration(job.seconds)}", icon=":material/check_circle:")
        if job.report:
            st.caption(plain(summary(job.report, job.argv[0])))
        if job.argv[0] in AFTER:
            link(*AFTER[job.argv[0]], icon=":material/arrow_forward:")
    elif job.error:
        show_error(WinnowError(job.error, fix=job.fix or "read the job's log on the Jobs page"))
    elif job.state == "cancelled":
        st.info("Cancelled. What was stored stays; the same command goes on from there.", icon=":material/stop_circle:")
    else:
        st.error("Its process ended without a word.", icon=":material/error:")
        st.caption("Run it again: it goes on from what was stored. The Jobs page has its log.")


def _so_far(job: jobs.Job) -> str:
    so_far = f"{job.done:,} of {job.total:,}" if job.total else f"{job.done:,}" if job.done else "Starting"
    # Most verbs name the count in their message already.
    told = job.message if f"{job.done:,}" in job.message else " · ".join(filter(None, [so_far, job.message]))
    # The first steps bear the whole start, so their pace says little.
    if not job.total or job.done < max(2, 0.05 * job.total) or job.seconds < 3:
        return told
    return f"{told} · about {duration(job.seconds / job.done * (job.total - job.done))} left"
