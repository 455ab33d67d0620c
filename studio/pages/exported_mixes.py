"""Exported mixes: what is in the files, where it came from, and the rows as a trainer reads them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import WinnowError
from curation.sample import Message
from studio import forms
from studio.pages import outcomes
from studio.pages.conversations import conversation

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus

PREVIEW = 5
LARGEST_DOWNLOAD = 50 * 2**20
"""Bytes; a download is held in memory while it is sent."""


def section(corpus: Corpus) -> None:
    """The part of the page that shows exported mixes."""
    st.subheader("Exported mixes")
    mixes = corpus.mixes()
    if not mixes:
        st.caption("Nothing is exported yet. Files, manifest and a preview of the rows appear here.")
        return
    names = list(mixes)[::-1]
    name = st.selectbox("Mix", names, key=f"mix_{len(names)}_{names[0]}", width=360)
    manifest, folder = mixes[name], corpus.path / "mixes" / name
    _numbers(manifest)
    for note in manifest.get("notes", ()):
        st.caption(forms.plain(note))
    contents, preview, files = st.tabs(["Contents", "Rows as a trainer reads them", "Files and manifest"])
    with contents:
        _contents(manifest)
    with preview:
        _preview(folder)
    with files:
        _files(folder, name, manifest)


def _numbers(manifest: dict[str, Any]) -> None:
    files, tokens = manifest["files"], manifest.get("tokens") or {}
    cells = st.columns(5)
    cells[0].metric("Training rows", f"{files['train']['rows']:,}")
    counted = tokens.get("train")
    cells[1].metric(
        "Tokens", "not counted" if counted is None else f"{counted:,}", help=tokens.get("reason") or tokens.get("by")
    )
    cells[2].metric("Evaluation rows", f"{files['eval']['rows']:,}", help="eval.jsonl: none of them is trained on.")
    cells[3].metric(
        "Random rows", f"{files['random']['rows']:,}", help="random.jsonl: the baseline, from the same pool."
    )
    cells[4].metric("Format", manifest["format"])


def _contents(manifest: dict[str, Any]) -> None:
    import altair as alt
    import polars as pl

    chart, parts = st.columns(2, gap="large")
    with chart:
        st.markdown("**Training rows by source**")
        rows = [{"source": source, "rows": n} for source, n in manifest["by_source"].items()]
        base = alt.Chart(pl.DataFrame(rows)).encode(
            y=alt.Y("source:N", sort="-x", title=None, axis=alt.Axis(labelLimit=220)),
            x=alt.X("rows:Q", title=None, axis=None),
        )
        text = base.mark_text(align="left", dx=4, color="#71717A").encode(text=alt.Text("rows:Q", format=","))
        st.altair_chart(
            alt.layer(base.mark_bar(), text).properties(height=24 + 28 * len(rows)), alt="Training rows by source"
        )
    with parts:
        st.markdown("**Parts**")
        st.dataframe(
            parts_table(manifest),
            hide_index=True,
            placeholder="–",
            column_config={
                "part": "Part",
                "rows": st.column_config.NumberColumn("Rows", format="localized"),
                "available": st.column_config.NumberColumn("Available", format="localized"),
                "method": "Method",
                "parameters": "Parameters",
                "working_set": "Filter",
            },
            alt="Parts of the mix with their selectors and parameters",
        )
        skipped = manifest.get("skipped") or {}
        if skipped:
            st.caption(
                forms.plain("Left out by the format: " + "; ".join(f"{why} ({n:,})" for why, n in skipped.items()))
            )


def parts_table(manifest: dict[str, Any]) -> pl.DataFrame:
    """One row per part: where it came from, with the selector and its parameters."""
    import polars as pl

    rows = []
    for part in manifest["parts"]:
        operator = part.get("operator") or {"name": None, "parameters": {}}
        shown = {k: v for k, v in operator["parameters"].items() if v is not None}
        rows.append(
            {
                "part": part.get("selection") or part.get("where"),
                "rows": part["rows"],
                "available": part["available"],
                "method": operator["name"],
                "parameters": ", ".join(f"{k}={v}" for k, v in shown.items()),
                "working_set": part.get("working_set"),
            }
        )
    return pl.DataFrame(rows)


def _preview(folder: Path) -> None:
    from training.data.mix_folder import MixFolder

    try:
        shown = [example for example, _ in zip(MixFolder(folder).examples("train"), range(PREVIEW), strict=False)]
    except WinnowError as error:
        forms.show_error(error)
        return
    if not shown:
        st.caption(f"The files of this mix are not in {folder}: it was exported to another folder.")
        return
    number = st.pagination(len(shown), key=f"preview_{folder.name}") if len(shown) > 1 else 1
    example = shown[number - 1]
    st.caption(forms.plain(f"Row {number} · {example.id} · source: {example.source}"))
    if example.rejected is None:
        conversation(turns(example.messages))
        return
    conversation(turns(example.messages[: example.answers_from]))
    chosen, rejected = st.columns(2, gap="large")
    with chosen:
        st.markdown("**Chosen**")
        conversation(turns(example.messages[example.answers_from :]))
    with rejected:
        st.markdown("**Rejected**")
        conversation(turns(example.rejected))


def turns(messages: Any) -> list[Message]:
    """Chat messages of a training row as the turns of a conversation."""
    import json

    return [
        Message(
            m["role"],
            m.get("content") or "",
            m.get("reasoning_content"),
            json.dumps(m["tool_calls"], ensure_ascii=False, indent=2) if m.get("tool_calls") else None,
        )
        for m in messages
    ]


def _files(folder: Path, name: str, manifest: dict[str, Any]) -> None:
    table = [{"file": f"{file}.jsonl", **facts} for file, facts in manifest["files"].items()]
    st.dataframe(
        table,
        hide_index=True,
        column_order=["file", "rows", "characters", "sha256"],
        column_config={
            "file": "File",
            "rows": st.column_config.NumberColumn("Rows", format="localized"),
            "characters": st.column_config.NumberColumn("Characters", format="localized"),
            "sha256": st.column_config.TextColumn("SHA-256", width="large"),
        },
        alt="Files of the mix with rows, characters and SHA-256",
    )
    st.code(str(folder), language=None)
    _download(folder / "train.jsonl", f"{name}.jsonl")
    with st.expander("Manifest"):
        st.json(manifest, expanded=1)


def _download(path: Path, name: str) -> None:
    if not path.is_file():
        return
    size = path.stat().st_size
    if size > LARGEST_DOWNLOAD:
        st.caption(f"train.jsonl has {outcomes.size(size)}: take it from the folder above.")
        return
    st.download_button(
        f"Download train.jsonl ({outcomes.size(size)})",
        data=path.read_bytes,
        file_name=name,
        mime="application/jsonl",
        icon=":material/download:",
        on_click="ignore",
        key=f"download_{name}",
    )
