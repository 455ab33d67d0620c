"""How the rows of a file will be read, shown before anything is written, and what the user says about them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import WinnowError
from curation.files.feedback import RULE, FeedbackRules, rules_from
from curation.files.reading import read_chunks
from curation.files.rows import BrokenRow, Numbered
from curation.files.shapes import MAPPABLE, columns_of, to_samples
from curation.files.turns import Unreadable
from studio import fields, forms
from studio.languages import mark, t, told_text
from studio.pages import reading

if TYPE_CHECKING:
    from curation.sample import Sample

LOOKED_AT = 1_000
"""Rows whose shapes are counted before anything is written."""
SHOWN = 10
SHOWN_CHARS = 200
FIRST_NAMES = ("instruction", "input", "response", "system", "messages", "chosen", "rejected", "source")
"""What most files need mapped; the other names fold away."""


@dataclass(frozen=True)
class Preview:
    """The first rows of a file as they would be read."""

    columns: list[str]
    """And the paths into those that are nested."""
    shapes: Counter[str]
    """Shape -> samples."""
    rules: Counter[str]
    """Feedback rule -> samples."""
    samples: list[tuple[int, Sample]]
    """(line or row, sample) of the first rows that could be read."""
    unreadable: list[tuple[int, str]]
    """(line or row, reason)."""
    looked_at: int

    @property
    def is_log(self) -> bool:
        """Whether rows are conversations with feedback."""
        return self.shapes["log"] > 0 or any("feedback rule" in reason for _, reason in self.unreadable)


def look(path: Path, source: str, encoding: str | None) -> tuple[list[str], str | None]:
    """Show how the rows will be read; the options for what the user chose, and why nothing would be read."""
    try:
        stat = path.stat()
        with st.spinner(t("Reading the first rows")):
            rows = _first_rows(str(path), stat.st_mtime, stat.st_size, encoding)
    except WinnowError as error:
        forms.show_error(error)
        return [], t("The file can't be read.")
    source = source or path.name.split(".")[0]
    unmapped = preview(rows, source)
    mapping = _map(path, unmapped)
    seen = preview(rows, source, mapping) if mapping else unmapped
    options = [word for name, column in mapping.items() for word in ("--map", f"{name}={column}")]
    if seen.is_log:
        rules = _rules(path)
        seen = preview(rows, source, mapping, rules_from(dict(rule.split("=") for rule in rules)))
        options += [word for rule in rules for word in ("--rules", rule)]
        _made(seen)
    _verdict(path, seen)
    if seen.samples:
        _samples(seen, f"{path}{mapping}")
    if seen.unreadable:
        rows_shown = [{"line": line, "reason": told_text(reason)} for line, reason in seen.unreadable[:SHOWN]]
        told = t("Rows that can't be read ({n:,})", n=len(seen.unreadable))
        with st.expander(told, icon=":material/block:"):
            st.dataframe(
                rows_shown,
                hide_index=True,
                column_config={
                    "line": st.column_config.NumberColumn(t("Line"), width=70),
                    "reason": st.column_config.TextColumn(t("Reason"), width="large"),
                },
                alt=t("Rows that can't be read, with the reasons"),
            )
    nothing = (
        t("No row can be read yet: say which columns are meant.") if seen.columns else t("There is no row to read.")
    )
    return options, None if seen.samples else nothing


@st.cache_data(show_spinner=False, max_entries=8)
def _first_rows(path: str, modified: float, size: int, encoding: str | None) -> list[Numbered]:
    return next(iter(read_chunks(Path(path), encoding)), [])[:LOOKED_AT]


def preview(
    rows: list[Numbered], source: str, mapping: Mapping[str, str] | None = None, rules: FeedbackRules | None = None
) -> Preview:
    """Read rows as ingestion would, without writing anything."""
    shapes: Counter[str] = Counter()
    made_by: Counter[str] = Counter()
    samples: list[tuple[int, Sample]] = []
    unreadable: list[tuple[int, str]] = []
    columns: dict[str, None] = {}
    for number, row in rows:
        if isinstance(row, BrokenRow):
            unreadable.append((number, row.reason))
            continue
        columns.update(dict.fromkeys(columns_of(row)))
        try:
            made = to_samples(row, source, mapping, rules)
        except Unreadable as reason:
            unreadable.append((number, str(reason)))
            continue
        shapes.update(sample.shape for sample in made)
        made_by.update(sample.metadata[RULE] for sample in made if sample.shape == "log")
        samples += [(number, sample) for sample in made[: SHOWN - len(samples)]]
    return Preview(list(columns), shapes, made_by, samples, unreadable, len(rows))


def _rules(path: Path) -> list[str]:
    """The feedback rules that the user changed, as NAME=VALUE."""
    with st.expander(t("What becomes of conversations with feedback"), expanded=True, icon=":material/thumbs_up_down:"):
        changed: list[str] = []
        for name, field in FeedbackRules.model_fields.items():
            cells = st.columns([1, 3], vertical_alignment="center")
            with cells[0]:
                changed += fields.setting(FeedbackRules, name, key=f"ingest_rule_{hash(str(path))}")[1:]
            cells[1].caption(t(field.description) if field.description else "")
    return changed


def _made(seen: Preview) -> None:
    with st.container(horizontal=True):
        for rule in FeedbackRules.model_fields:
            if seen.rules[rule]:
                st.metric(fields.label_of(rule), f"{seen.rules[rule]:,}", border=True, help=t("Samples in these rows"))


def _map(path: Path, seen: Preview) -> dict[str, str]:
    if not seen.columns:
        return {}
    needed = not seen.shapes
    with st.expander(t("Say which columns are meant"), expanded=needed, icon=":material/swap_horiz:"):
        st.caption(
            t("No known shape fits: choose the column of the question and of the answer.")
            if needed
            else t("Only needed where the columns have unusual names. What is not named stays in metadata.")
        )
        mapping: dict[str, str] = {}
        cells = st.columns(4)
        for place, name in enumerate(FIRST_NAMES):
            mapping |= _column_of(name, seen.columns, cells[place % 4], path)
        if st.toggle(t("More names"), key="ingest_more"):
            cells = st.columns(4)
            for place, name in enumerate(n for n in MAPPABLE if n not in FIRST_NAMES):
                mapping |= _column_of(name, seen.columns, cells[place % 4], path)
    return mapping


def _column_of(name: str, columns: list[str], cell: Any, path: Path) -> dict[str, str]:
    chosen = cell.selectbox(
        fields.label_of(name),
        columns,
        index=None,
        placeholder=t("none"),
        key=f"ingest_map_{name}_{hash((str(path), *columns))}",
    )
    return {name: chosen} if chosen else {}


def _verdict(path: Path, seen: Preview) -> None:
    read, samples, name = seen.looked_at - len(seen.unreadable), sum(seen.shapes.values()), forms.plain(path.name)
    if not seen.columns:
        st.warning(t("{name} has no row that can be read.", name=name), icon=":material/help:")
        return
    if not read:
        columns = forms.plain(", ".join(seen.columns)[: 5 * SHOWN_CHARS])
        told = t("The shape of {name} is not recognised. Its columns: {columns}.", name=name, columns=columns)
        st.warning(told, icon=":material/help:")
        return
    shapes = forms.plain(", ".join(f"{shape} ({count:,})" for shape, count in seen.shapes.most_common()))
    which = (
        mark("Of the first {rows:,} rows, {read:,} can be read as {shapes}.")
        if seen.looked_at == LOOKED_AT
        else mark("Of all {rows:,} rows, {read:,} can be read as {shapes}.")
    )
    told = t(which, rows=seen.looked_at, read=read, shapes=shapes)
    (st.success if read == seen.looked_at else st.warning)(told, icon=":material/fact_check:")
    if samples != read:
        st.markdown(t("They become {samples:,} samples.", samples=samples))


def _samples(seen: Preview, key: str) -> None:
    st.markdown(t("**The first {n} as samples**: nothing is written yet", n=len(seen.samples)))
    rows = [_shown(line, sample) for line, sample in seen.samples]
    for name in ("rejected", "label", "rule"):  # only where some sample has one
        if all(row[name] is None for row in rows):
            rows = [{column: value for column, value in row.items() if column != name} for row in rows]
    state = st.dataframe(
        rows,
        hide_index=True,
        height="content",
        on_select="rerun",
        selection_mode="single-row",
        key=f"ingest_preview_{hashlib.sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}",
        column_config={
            "line": st.column_config.NumberColumn(t("Line"), width=60),
            "instruction": st.column_config.TextColumn(t("Instruction"), width="medium"),
            "response": st.column_config.TextColumn(t("Response"), width="medium"),
            "rejected": st.column_config.TextColumn(t("Rejected"), width="medium"),
            "label": st.column_config.CheckboxColumn(t("Desirable"), width=80),
            "rule": st.column_config.TextColumn(t("Rule"), width="small"),
            "turns": st.column_config.NumberColumn(t("Turns"), width=60),
            "metadata": st.column_config.TextColumn(t("Metadata"), width="small"),
        },
        alt=t("The first rows of the file as samples"),
    )
    chosen: list[int] = state["selection"]["rows"]
    place = chosen[0] if chosen and chosen[0] < len(rows) else 0
    with st.expander(t("Read row {line:,} as a conversation", line=seen.samples[place][0]), expanded=bool(chosen)):
        reading.turns(seen.samples[place][1])


def _shown(line: int, sample: Sample) -> dict[str, Any]:
    rejected = None if sample.rejected is None else " ".join(m.content for m in sample.rejected)
    return {
        "line": line,
        "rule": sample.metadata.get(RULE),
        "label": sample.label,
        "instruction": _short(sample.instruction),
        "response": _short(sample.response),
        "rejected": None if rejected is None else _short(rejected),
        "turns": len(sample.messages),
        "metadata": json.dumps(sample.metadata, ensure_ascii=False, default=str)[:SHOWN_CHARS],
    }


def _short(text: str) -> str:
    # A line of ten million letters is not split into words for two hundred of them.
    return " ".join(text[: 4 * SHOWN_CHARS].split())[:SHOWN_CHARS]
