"""The Browse page: a table of samples with search, filter and sort, and one sample read beside it."""

from __future__ import annotations

import functools
import hashlib
import json
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import WinnowError
from curation.storage.sql import quoted
from studio import forms
from studio.pages import deciding, reading

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus

ROWS = 50
"""Rows of a page: only these leave the database."""
TEXT = 240
"""Characters of a text in the table; the whole one is in the reading pane."""
HEIGHT = 630
"""Of the table and of the reading pane, in pixels: both end above the fold of a laptop's screen."""
SCORES = 2
"""Score columns that are shown unless the user chooses others."""
AS_INGESTED = "as ingested"
VIEWS = {"samples": "Samples", "rejected": "Rejected rows"}


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    _take_link()
    rejected = corpus.query("SELECT count(*) AS n FROM rejected").item()
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.title("Browse", width="content")
        view = st.segmented_control(
            "View",
            list(VIEWS),
            format_func=lambda v: VIEWS[v] + (f" ({rejected:,})" if v == "rejected" else ""),
            key="browse_view",
            required=True,
            label_visibility="collapsed",
        )
    if view == "rejected":
        _rejected_rows(corpus, rejected)
    elif not corpus.count():
        forms.empty_state("Samples appear here", "There are none yet.", ["ingest", str(corpus.path), "FILE"])
    else:
        _samples(corpus)


def _take_link() -> None:
    # A link names what to show once; afterwards the widgets decide.
    asked = st.query_params.get("view")
    if asked in VIEWS:
        st.session_state["browse_view"] = asked
        del st.query_params["view"]
    st.session_state.setdefault("browse_view", "samples")


def search_condition(text: str) -> str:
    """The condition that instruction or response holds this text, in any case."""
    cases = _cases()
    if not any(letter in cases for letter in text):
        wanted = forms.literal(text)
        return f"(contains(instruction, {wanted}) OR contains(response, {wanted}))"
    # Twice as fast as ILIKE, which writes both texts in small letters first; it finds the same.
    pattern = forms.literal("".join(f"[{cases[c]}]" if c in cases else _itself(c) for c in text))
    return f"(regexp_matches(instruction, {pattern}) OR regexp_matches(response, {pattern}))"


def _itself(character: str) -> str:
    return character if character.isalnum() else f"\\x{{{ord(character):x}}}"


@functools.cache
def _cases() -> dict[str, str]:
    """Letter -> all letters that are the same in small, for those that have more than one case."""
    same: dict[str, str] = {}
    for code in range(0x1E944):  # the last alphabet with cases ends here
        letter = chr(code)
        small = letter.lower()[:1]  # of the Turkish I with a dot, Python makes two characters
        if small != letter:
            same[small] = same.get(small, small) + letter
    return {letter: letters for letters in same.values() for letter in letters}


def both(*parts: str | None) -> str | None:
    """Conditions as one; null where there are none."""
    given = [part for part in parts if part]
    return given[0] if len(given) == 1 else " AND ".join(f"({part})" for part in given) or None


def order_by(column: str, descending: bool) -> str | None:
    """The SQL order of a column; samples without a value come last."""
    return None if column == AS_INGESTED else f"{quoted(column)} {'DESC' if descending else 'ASC'} NULLS LAST"


def page_of(corpus: Corpus, scores: list[str], where: str | None, order: str | None, number: int) -> pl.DataFrame:
    """One page of the table, in order: the short columns first, then the texts of those samples only."""
    import polars as pl

    short = ["id", "position", "source", "turns", "script", "tags", "decision", *scores]
    rows = corpus.frame(short, where=where, order=order, limit=ROWS, offset=(number - 1) * ROWS)
    if rows.is_empty():
        return rows
    texts = corpus.run(
        f"SELECT id, left(instruction, {TEXT}) AS instruction, left(response, {TEXT}) AS response "
        "FROM samples SEMI JOIN page_frame USING (position)",
        frames={"page_frame": rows.select("position")},
    )
    squeezed = pl.col("instruction", "response").str.replace_all(r"\s+", " ")
    return rows.join(texts, on="id", how="left", maintain_order="left").with_columns(
        squeezed, pl.col("tags").fill_null([])
    )


def _samples(corpus: Corpus) -> None:
    where = forms.working_set(corpus)
    found, order, scores = _controls(corpus)
    wanted, quick = both(where, found), both(where, corpus.found(found))
    try:
        matching = corpus.count(quick)
    except WinnowError as error:
        forms.show_error(error)
        return
    if not matching:
        with st.container(border=True, width=560):
            st.subheader("No sample matches")
            st.caption("Nothing in the corpus meets the filter and the search together.")
            st.button("Clear filter and search", type="primary", on_click=_clear)
        return
    left, right = st.columns([11, 9], gap="small")
    with left:
        # The caption stands above: the toolbar of a table with a chosen cell covers what is there.
        caption, table, pages = st.container(), st.container(), st.container()
        with pages:
            number = _page_number(matching, f"{wanted}|{order}")
        frame = page_of(corpus, scores, quick, order, number)
        view = hashlib.sha256(f"{wanted}|{order}|{number}|{scores}".encode()).hexdigest()[:10]
        with table:
            chosen = _table(corpus, frame, scores, view)
        first = (number - 1) * ROWS
        with caption.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            told = f"Rows {first + 1:,} to {first + frame.height:,} of {matching:,}. Click a row to read it."
            st.caption(told, width="content")
            deciding.on_working_set(corpus, wanted, matching)
    with right, st.container(height=HEIGHT, border=True):
        _read(corpus, _shown(chosen, frame, view))


def _clear() -> None:
    st.session_state["browse_search"] = ""
    forms.set_filter("")


def _controls(corpus: Corpus) -> tuple[str | None, str | None, list[str]]:
    """Search condition, order, score columns to show."""
    columns = corpus.columns()
    measured = list(corpus.score_columns())
    search, sort, way, show = st.columns([4, 2, 2, 3], vertical_alignment="bottom")
    text = search.text_input(
        "Search",
        key="browse_search",
        type="search",
        persist_state="session",
        placeholder="text in instruction or response",
    )
    sortable = [name for name, kind in columns.items() if kind[-1:] not in ("]", ")")]
    column = sort.selectbox("Sort by", [AS_INGESTED, *sortable], key="browse_sort", persist_state="session")
    descending = way.segmented_control(
        "Order",
        [True, False],
        format_func=lambda down: "High first" if down else "Low first",
        default=True,
        required=True,
        key="browse_descending",
        disabled=column == AS_INGESTED,
    )
    default = [run.columns[0] for run in corpus.score_runs()[::-1]][:SCORES]
    scores = show.multiselect(
        "Scores",
        measured,
        default=[name for name in default if name in measured],
        key=f"browse_scores_{len(measured)}",
        placeholder="none" if measured else "none yet",
        disabled=not measured,
    )
    if column in measured and column not in scores:
        scores = [*scores, column]
    return search_condition(text) if text else None, order_by(column, bool(descending)), scores


def _page_number(matching: int, view: str) -> int:
    pages = -(-matching // ROWS)
    if pages == 1:
        return 1
    key = f"browse_page_{hashlib.sha256(view.encode()).hexdigest()[:10]}"
    return min(pages, st.pagination(pages, key=key, persist_state="session"))


def _table(corpus: Corpus, frame: pl.DataFrame, scores: list[str], view: str) -> int | None:
    kinds = corpus.score_columns()
    numbers = {name: st.column_config.NumberColumn(name, format=_format(kinds[name]), width=66) for name in scores}
    few = [name for name in ("turns", "tags") if _differs(frame, name)]
    decided = ["decision"] if frame["decision"].null_count() < frame.height else []
    # The selection is kept by position, so a table with other rows must be another table.
    state = st.dataframe(
        frame,
        hide_index=True,
        height=HEIGHT - 90 if frame.height > 13 else "content",
        row_height=36,
        on_select="rerun",
        selection_mode="single-cell",  # a click anywhere in a row reads it, and the arrow keys go on
        key=f"browse_table_{view}",
        placeholder="–",
        column_order=[*decided, "instruction", "response", *scores, "source", *few],
        column_config={
            "instruction": st.column_config.TextColumn("Instruction", width=168),
            "response": st.column_config.TextColumn("Response", width=100),
            "source": st.column_config.TextColumn("Source", width=92),
            "decision": st.column_config.TextColumn("Decision", width=66),
            "turns": st.column_config.NumberColumn("Turns", width=48),
            "tags": st.column_config.ListColumn("Tags", width=110),
            **{
                n: config
                for n, config in numbers.items()
                if kinds[n] not in ("BOOLEAN", "VARCHAR") and "[]" not in kinds[n]
            },
            **{n: st.column_config.ListColumn(n, width=110) for n in scores if "[]" in kinds[n]},
        },
        alt="Samples of this page",
    )
    return forms.chosen_row(state, frame.height)


def _differs(frame: pl.DataFrame, column: str) -> bool:
    """Whether a column tells the rows of this page apart."""
    return frame[column].n_unique() > 1


def _format(kind: str) -> str:
    return "localized" if "INT" in kind else "%.4g"


def _shown(chosen: int | None, frame: pl.DataFrame, view: str) -> str:
    """The sample to read: the one a link names until something else is chosen, the chosen row, or the first one."""
    state, asked = st.session_state, st.query_params.get("sample")
    here = (view, chosen)
    if asked and asked != state.get("browse_shown"):
        state["browse_linked"] = (asked, here)
    linked = state.get("browse_linked")
    if linked is not None and linked[1] == here:
        shown = str(linked[0])
    else:
        state.pop("browse_linked", None)
        shown = str(frame["id"][chosen or 0])
    state["browse_shown"] = shown
    if chosen is not None or linked is not None:
        st.query_params["sample"] = shown
    elif "sample" in st.query_params:
        del st.query_params["sample"]
    return shown


def _read(corpus: Corpus, sample_id: str) -> None:
    try:
        sample = corpus.sample(sample_id)
    except WinnowError as error:
        forms.show_error(error)
        return
    reading.pane(corpus, sample)


def _rejected_rows(corpus: Corpus, total: int) -> None:
    if not total:
        forms.empty_state("No row was rejected", "Rows that can't be read appear here with file, line and reason.")
        return
    st.caption(f"**{total:,}** rows could not be read. They stay out of the corpus; mend the file and ingest it again.")
    number = _page_number(total, "rejected")
    rows = corpus.query(
        f'SELECT "file", line, reason, "text" FROM rejected ORDER BY "file", line LIMIT {ROWS} OFFSET ?',
        (number - 1) * ROWS,
    )
    state = st.dataframe(
        rows,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-cell",
        height="content" if rows.height <= 12 else 430,
        key=f"browse_rejected_{total}_{number}",
        column_config={
            "file": st.column_config.TextColumn("File", width="medium"),
            "line": st.column_config.NumberColumn("Line", format="localized", width="small"),
            "reason": st.column_config.TextColumn("Reason", width="large"),
            "text": st.column_config.TextColumn("Text", width="large"),
        },
        alt="Rows that could not be read: file, line, reason and text",
    )
    row: dict[str, Any] = rows.row(forms.chosen_row(state, rows.height) or 0, named=True)
    st.subheader(forms.plain(f"Line {row['line']:,}: {row['reason']}"))
    st.caption(forms.plain(row["file"]))
    st.code(_indented(row["text"] or ""), language=None, wrap_lines=True, height=240)


def _indented(text: str) -> str:
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except ValueError:
        return text
