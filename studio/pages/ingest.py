"""The Ingest page: name a file or upload it, see how its rows will be read, and take it in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from curation.errors import IngestError, WinnowError
from curation.files.fetching import FOLDER, is_remote, located
from studio import forms
from studio.door import access, workspace
from studio.door.transfers import SUFFIXES
from studio.languages import mark, t
from studio.pages.file_preview import LOOKED_AT as LOOKED_AT
from studio.pages.file_preview import look
from studio.pages.file_preview import preview as preview

if TYPE_CHECKING:
    from curation.corpus import Corpus

WAYS = {"path": mark("A file on this machine"), "upload": mark("Upload")}


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    st.title(t("Ingest"))
    st.caption(
        t(
            "Bring files into the corpus. What could not be read is kept with its reason; text that is known adds "
            "nothing."
        )
    )
    left, right = st.columns([3, 2], gap="large")
    with left:
        files = _files(corpus)
        cells = st.columns([3, 1])
        with cells[0]:
            source = st.text_input(
                t("Source"),
                placeholder=t("the file's name"),
                key="ingest_source",
                help=t("What to call where these samples come from."),
            ).strip()
        with cells[1]:
            encoding = st.text_input(
                t("Encoding"),
                placeholder="UTF-8",
                key="ingest_encoding",
                help=t("Of text files that are not UTF-8, such as gb18030. UTF-16 says so itself."),
            ).strip()
        local = _here(corpus, files[0]) if files else None
        options, unread = look(local, source, encoding or None) if local else ([], None)
    with right:
        argv = ["ingest", str(corpus.path), *(map(str, files) if files else ["FILE"])]
        argv += ["--source", source] if source else []
        argv += ["--encoding", encoding] if encoding else []
        argv += options
        reason = unread if files or not access.may_edit() else t("Name a file or upload one first.")
        forms.command_box(corpus, argv, key="ingest", label=t("Ingest"), disabled_reason=reason)
        if st.session_state.get("ingest_way") != "upload":  # there the place to drop them says so
            st.caption(t("JSON, JSONL, CSV, Parquet and plain text (.txt, .md); as they are, .gz or .zst."))
    _batches(corpus)


def _files(corpus: Corpus) -> list[Path | str]:
    way = st.segmented_control(
        t("From"), list(WAYS), default="path", required=True, key="ingest_way", label_visibility="collapsed",
        format_func=lambda w: t(WAYS[w]),
    )  # fmt: skip
    if way == "upload":
        from studio.components import file_uploads

        return [*file_uploads.draw(corpus.path, key="ingest_upload")]
    allowed = access.may_edit()
    typed = st.text_input(
        t("File, folder, pattern or address"),
        key="ingest_path",
        placeholder=t("alpaca.json, data/*.jsonl.gz, https://... or hf://datasets/OWNER/NAME/FILE"),
        help=t("A path starts in the workspace {folder}.", folder=forms.plain(str(workspace.folder()))),
        disabled=not allowed,
    ).strip()
    if not allowed:  # who may look at the corpus is shown no other file of the machine
        st.caption(t(access.ONLY_LOOK))
        return []
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
        t("Files"), found, default=found[:1], format_func=lambda p: forms.plain(p.name), key=f"ingest_files_{typed}"
    )
    return [*chosen]


def _here(corpus: Corpus, file: Path | str) -> Path | None:
    """The file on this machine; what lies elsewhere is fetched for a look only when the user asks."""
    if isinstance(file, Path):
        return file
    fetched: dict[str, Path] = st.session_state.setdefault("ingest_fetched", {})
    if file not in fetched:
        st.caption(t("The command fetches it into the corpus' folder. To see its rows first, fetch it now."))
        allowed = access.may_edit()
        why = None if allowed else t(access.ONLY_LOOK)
        if st.button(
            t("Fetch for a look"), key="ingest_fetch", icon=":material/download:", disabled=not allowed, help=why
        ):
            try:
                access.require_editor()
                with st.spinner(t("Fetching")):
                    fetched[file] = located(file, corpus.path / FOLDER)[0].path
            except WinnowError as error:
                forms.show_error(error)
    return fetched.get(file)


def matching(typed: str) -> list[Path]:
    """The files of the workspace that a path, a folder or a pattern names, in order of their names.

    Raises:
        IngestError: there is none.
        WinnowError: it leads out of the workspace.
    """
    path = workspace.folder() / Path(typed).expanduser()
    workspace.checked_pattern(str(path))
    try:
        if path.is_file():
            return [path.resolve()]
        if path.is_dir():
            found = [p for p in path.iterdir() if p.is_file() and p.suffix.lower() in SUFFIXES]
        else:
            found = [p for p in Path(path.anchor).glob(str(path.relative_to(path.anchor))) if p.is_file()]
    except (OSError, ValueError):  # a name that no file can have
        found = []
    # A link inside may lead outside.
    found = [p.resolve() for p in found if workspace.is_inside(p)]
    if not found:
        raise IngestError(
            f"There is no file {typed[:200]}.", fix="check the name, or give a pattern such as data/*.jsonl"
        )
    return sorted(found)


def _batches(corpus: Corpus) -> None:
    st.subheader(t("Ingested so far"))
    batches = corpus.batches().select("file", "shape", "added", "duplicates", "rejected", "added_at").reverse()
    if batches.is_empty():
        st.caption(t("Nothing yet: each file, with what it added and what could not be read."))
        return
    numbers = {
        name: st.column_config.NumberColumn(label, format="localized", width=95)
        for name, label in (
            ("added", t("Added")), ("duplicates", t("Duplicates")), ("rejected", t("Unreadable")),
        )
    }  # fmt: skip
    st.dataframe(
        batches,
        hide_index=True,
        height="content" if batches.height <= 8 else 300,
        column_config={
            "file": st.column_config.TextColumn(t("File"), width=300),
            "shape": st.column_config.TextColumn(t("Shape"), width=140),
            "added_at": st.column_config.DatetimeColumn(t("When"), width=130, format="YYYY-MM-DD HH:mm"),
            **numbers,
        },
        alt=t("Files that were ingested, with rows added, duplicates and rows that could not be read"),
    )
    if int(batches["rejected"].sum()):
        forms.link(
            "browse", t("See the rows that could not be read"), icon=":material/arrow_forward:",
            query={"view": "rejected"},
        )  # fmt: skip
