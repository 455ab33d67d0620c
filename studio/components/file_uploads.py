"""A place to drop files on, or to choose them: they go to the disk of the machine that serves, piece by piece."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from studio.door import access, transfers
from studio.languages import t

_mounted = st.components.v2.component(
    "winnow_file_uploads",
    html='<div id="zone"><span id="words"></span><button type="button" id="choose"></button>'
    '<input type="file" id="files" multiple hidden></div><p id="limit"></p><ul id="list" aria-live="polite"></ul>',
    css=Path(__file__).with_suffix(".css").read_text(encoding="utf-8"),
    js=Path(__file__).with_suffix(".js").read_text(encoding="utf-8"),
)


def draw(corpus: Path, *, key: str) -> list[Path]:
    """Draw it; the files that were uploaded, the first one first."""
    allowed = access.may_edit()
    told = _mounted(
        key=key,
        data={
            "address": transfers.UPLOAD,
            "ticket": transfers.upload_ticket(corpus) if allowed else "",
            "allowed": allowed,
            "most": transfers.most_bytes(),
            "accept": ",".join(transfers.TAKEN),
            "words": _words(),
        },
        on_arrived_change=lambda: None,
        default={"arrived": []},
    )
    found = []
    for name in told.get("arrived") or ():
        path = corpus / transfers.FOLDER / Path(str(name)).name
        if path.is_file():
            found.append(path)
    return found


def _words() -> dict[str, str]:
    return {
        "drop": t("Drop files here"),
        "choose": t("Choose files"),
        "limit": t(
            "Up to {size} each: JSON, JSONL, CSV, Parquet or plain text; as they are, .gz or .zst.",
            size=transfers.most_told(),
        ),
        "cancel": t("Cancel"),
        "remove": t("Take off the list"),
        "done": t("Uploaded"),
        "cancelled": t("Cancelled"),
        "progress": t("Progress of the upload"),
        "kind": t("This kind of file can't be read."),
        "size": t("The file is too large: put it on the machine and name its path."),
        "disk": t("The disk of the machine is full."),
        "viewer": t("You may look at this corpus, but not change it."),
        "ticket": t("This page is too old: load it again."),
        "empty": t("The file is empty."),
        "failed": t("The upload broke off: try again."),
    }
