"""The Ingest page: name a file, see how its rows will be read, and take it in."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import IngestError, WinnowError
from curation.files.feedback import RULE, FeedbackRules, rules_from
from curation.files.fetching import FOLDER, is_remote, located
from curation.files.reading import TEXTS, read_chunks
from curation.files.rows import BrokenRow, Numbered
from curation.files.shapes import MAPPABLE, columns_of, to_samples
from curation.files.turns import Unreadable
from studio import fields, forms
from studio.pages import reading

if TYPE_CHECKING:
    from curation.corpus import Corpus
    from curation.sample import Sample

LOOKED_AT = 1_000
"""Rows whose shapes are counted before anything is written."""
SHOWN = 10
SUFFIXES = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".gz", ".zst")
UPLOADED = tuple(suffix[1:] for suffix in (*SUFFIXES, *TEXTS))
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


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    st.title("Ingest")
    st.caption(
        "Bring files into the corpus. What could not be read is kept with its reason; text that is known adds nothing."
    )
    left, right = st.columns([3, 2], gap="large")
    with left:
        files = _files(corpus)
        cells = st.columns([3, 1])
        source = (
            cells[0]
            .text_input(
                "Source",
                placeholder="the file's name",
                key="ingest_source",
                help="What to call where these samples come from.",
            )
            .strip()
        )
        encoding = (
            cells[1]
            .text_input(
                "Encoding",
                placeholder="UTF-8",
                key="ingest_encoding",
                help="Of text files that are not UTF-8, such as gb18030. UTF-16 says so itself.",
            )
            .strip()
        )
        local = _here(corpus, files[0]) if files else None
        options, unread = _look(local, source, encoding or None) if local else ([], None)
    with right:
        argv = ["ingest", str(corpus.path), *(map(str, files) if files else ["FILE"])]
        argv += ["--source", source] if source else []
        argv += ["--encoding", encoding] if encoding else []
        argv += options
        reason = unread if files else "Name a file first."
        forms.command_box(corpus, argv, key="ingest", label="Ingest", disabled_reason=reason)
        st.caption("JSON, JSONL, CSV, Parquet and plain text (.txt, .md); as they are, .gz or .zst.")
    _batches(corpus)


def _files(corpus: Corpus) -> list[Path | str]:
    way = st.segmented_control(
        "From", ["path", "upload"], default="path", required=True, key="ingest_way", label_visibility="collapsed",
        format_func=lambda w: "Path on this machine" if w == "path" else "Upload a small file",
    )  # fmt: skip
    if way == "upload":
        uploads = st.file_uploader("Files", type=UPLOADED, accept_multiple_files=True, key="ingest_upload")
        return [_keep(corpus, upload.name, upload.getvalue()) for upload in uploads or ()]
    typed = st.text_input(
        "File, folder, pattern or address",
        key="ingest_path",
        placeholder="/data/alpaca.json, data/*.jsonl.gz, https://... or hf://datasets/OWNER/NAME/FILE",
    ).strip()
    if not typed or is_remote(typed):
        return [typed] if typed else []
    try:
        found = matching(typed)
    except WinnowError as error:
        forms.show_error(error)
        return []
    if len(found) == 1:
        return [*found]
    chosen = st.multiselect(
        "Files", found, default=found[:1], format_func=lambda p: p.name, key=f"ingest_files_{typed}"
    )
    return [*chosen]


def _here(corpus: Corpus, file: Path | str) -> Path | None:
    """The file on this machine; what lies elsewhere is fetched for a look only when the user asks."""
    if isinstance(file, Path):
        return file
    fetched: dict[str, Path] = st.session_state.setdefault("ingest_fetched", {})
    if file not in fetched:
        st.caption("The command fetches it into the corpus' folder. To see its rows first, fetch it now.")
        if st.button("Fetch for a look", key="ingest_fetch", icon=":material/download:"):
            try:
                with st.spinner("Fetching"):
                    fetched[file] = located(file, corpus.path / FOLDER)[0].path
            except WinnowError as error:
                forms.show_error(error)
    return fetched.get(file)


def matching(typed: str) -> list[Path]:
    """The files that a path, a folder or a pattern names, in order of their names.

    Raises:
        IngestError: there is none.
    """
    path = Path(typed).expanduser()
    if path.is_file():
        return [path.resolve()]
    if path.is_dir():
        found = [p for p in path.iterdir() if p.is_file() and p.suffix.lower() in SUFFIXES]
    else:
        base = Path(path.anchor) if path.is_absolute() else Path()
        parts = path.relative_to(path.anchor) if path.is_absolute() else path
        found = [p for p in base.glob(str(parts)) if p.is_file()]
    if not found:
        raise IngestError(f"There is no file {typed}.", fix="check the name, or give a pattern such as data/*.jsonl")
    return sorted(p.resolve() for p in found)


def _keep(corpus: Corpus, name: str, content: bytes) -> Path:
    """The uploaded file in the corpus' own folder; another file of the same name gets another name."""
    folder = corpus.path / "uploads"
    folder.mkdir(exist_ok=True)
    path = folder / Path(name).name
    if path.exists() and path.read_bytes() != content:
        path = folder / f"{hashlib.sha256(content).hexdigest()[:8]}-{path.name}"
    if not path.exists():
        path.write_bytes(content)
    return path


def _look(path: Path, source: str, encoding: str | None) -> tuple[list[str], str | None]:
    """Show how the rows will be read; the options for what the user chose, and why nothing would be read."""
    try:
        stat = path.stat()
        rows = _first_rows(str(path), stat.st_mtime, stat.st_size, encoding)
    except WinnowError as error:
        forms.show_error(error)
        return [], "The file can't be read."
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
        rows_shown = [{"line": line, "reason": reason} for line, reason in seen.unreadable[:SHOWN]]
        with st.expander(f"Rows that can't be read ({len(seen.unreadable):,})", icon=":material/block:"):
            st.dataframe(
                rows_shown, hide_index=True, column_config={"line": "Line", "reason": "Reason"}, alt="Unreadable rows"
            )
    nothing = "No row can be read yet: say which columns are meant." if seen.columns else "There is no row to read."
    return options, None if seen.samples else nothing


@st.cache_data(show_spinner="Reading the first rows", max_entries=8)
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
    with st.expander("What becomes of conversations with feedback", expanded=True, icon=":material/thumbs_up_down:"):
        changed: list[str] = []
        for name, field in FeedbackRules.model_fields.items():
            cells = st.columns([1, 3], vertical_alignment="center")
            with cells[0]:
                changed += fields.setting(FeedbackRules, name, key=f"ingest_rule_{hash(str(path))}")[1:]
            cells[1].caption(field.description or "")
    return changed


def _made(seen: Preview) -> None:
    with st.container(horizontal=True):
        for rule in FeedbackRules.model_fields:
            if seen.rules[rule]:
                st.metric(rule.capitalize(), f"{seen.rules[rule]:,}", border=True, help="Samples in these rows")


def _map(path: Path, seen: Preview) -> dict[str, str]:
    if not seen.columns:
        return {}
    needed = not seen.shapes
    with st.expander("Say which columns are meant", expanded=needed, icon=":material/swap_horiz:"):
        st.caption(
            "No known shape fits: choose the column of the question and of the answer."
            if needed
            else "Only needed where the columns have unusual names. What is not named stays in metadata."
        )
        mapping: dict[str, str] = {}
        cells = st.columns(4)
        for place, name in enumerate(FIRST_NAMES):
            mapping |= _column_of(name, seen.columns, cells[place % 4], path)
        if st.toggle("More names", key="ingest_more"):
            cells = st.columns(4)
            for place, name in enumerate(n for n in MAPPABLE if n not in FIRST_NAMES):
                mapping |= _column_of(name, seen.columns, cells[place % 4], path)
    return mapping


def _column_of(name: str, columns: list[str], cell: Any, path: Path) -> dict[str, str]:
    chosen = cell.selectbox(
        name.capitalize(),
        columns,
        index=None,
        placeholder="none",
        key=f"ingest_map_{name}_{hash((str(path), *columns))}",
    )
    return {name: chosen} if chosen else {}


def _verdict(path: Path, seen: Preview) -> None:
    read, samples = seen.looked_at - len(seen.unreadable), sum(seen.shapes.values())
    if not seen.columns:
        st.warning(f"{forms.plain(path.name)} has no row that can be read.", icon=":material/help:")
        return
    which = f"the first {seen.looked_at:,} rows" if seen.looked_at == LOOKED_AT else f"all {seen.looked_at:,} rows"
    if not read:
        columns = forms.plain(", ".join(seen.columns))
        st.warning(
            f"The shape of {forms.plain(path.name)} is not recognised. Its columns: {columns}.", icon=":material/help:"
        )
        return
    shapes = ", ".join(f"{shape} ({count:,})" for shape, count in seen.shapes.most_common())
    text = f"Of {which}, {read:,} can be read as {forms.plain(shapes)}."
    text += f" They become {samples:,} samples." if samples != read else ""
    (st.success if read == seen.looked_at else st.warning)(text, icon=":material/fact_check:")


def _samples(seen: Preview, key: str) -> None:
    st.markdown(f"**The first {len(seen.samples)} as samples**: nothing is written yet")
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
        key=f"ingest_preview_{hashlib.sha256(key.encode()).hexdigest()[:8]}",
        column_config={
            "line": st.column_config.NumberColumn("Line", width=50),
            "instruction": st.column_config.TextColumn("Instruction", width="medium"),
            "response": st.column_config.TextColumn("Response", width="medium"),
            "rejected": st.column_config.TextColumn("Rejected", width="medium"),
            "label": st.column_config.CheckboxColumn("Desirable", width=60),
            "rule": st.column_config.TextColumn("Rule", width="small"),
            "turns": st.column_config.NumberColumn("Turns", width=50),
            "metadata": st.column_config.TextColumn("Metadata", width="small"),
        },
        alt="The first rows of the file as samples",
    )
    chosen: list[int] = state["selection"]["rows"]
    place = chosen[0] if chosen and chosen[0] < len(rows) else 0
    with st.expander(f"Read row {seen.samples[place][0]:,} as a conversation", expanded=bool(chosen)):
        reading.turns(seen.samples[place][1])


def _shown(line: int, sample: Sample) -> dict[str, Any]:
    rejected = None if sample.rejected is None else " ".join(m.content for m in sample.rejected)
    return {
        "line": line,
        "rule": sample.metadata.get(RULE),
        "label": sample.label,
        "instruction": " ".join(sample.instruction.split())[:200],
        "response": " ".join(sample.response.split())[:200],
        "rejected": None if rejected is None else " ".join(rejected.split())[:200],
        "turns": len(sample.messages),
        "metadata": json.dumps(sample.metadata, ensure_ascii=False, default=str)[:200],
    }


def _batches(corpus: Corpus) -> None:
    st.subheader("Ingested so far")
    batches = corpus.batches().select("file", "shape", "added", "duplicates", "rejected", "added_at").reverse()
    if batches.is_empty():
        st.caption("Nothing yet: each file, with what it added and what could not be read.")
        return
    numbers = {
        name: st.column_config.NumberColumn(name.capitalize(), format="localized", width="small")
        for name in ("added", "duplicates", "rejected")
    }
    st.dataframe(
        batches,
        hide_index=True,
        height="content" if batches.height <= 8 else 300,
        column_config={
            "file": st.column_config.TextColumn("File", width="large"),
            "shape": st.column_config.TextColumn("Shape", width="small"),
            "added_at": st.column_config.DatetimeColumn("When", width="small", format="distance"),
            **numbers,
        },
        alt="Files that were ingested, with rows added, duplicate and rejected",
    )
    rejected = int(batches["rejected"].sum())
    if rejected:
        forms.link("browse", "See the rejected rows", icon=":material/arrow_forward:", query={"view": "rejected"})
