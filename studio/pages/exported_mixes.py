"""Exported mixes: what is in the files, where it came from, and the rows as a trainer reads them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import WinnowError
from curation.sample import Message
from studio import forms
from studio.door.transfers import download_link
from studio.languages import t, told_text
from studio.pages import outcomes, treemap
from studio.pages.conversations import conversation
from studio.pages.corpus_state import corpus_state

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus

PREVIEW = 5
LARGEST_SOURCES = 7
"""Sources that are told apart: with the others as one there is a colour for each."""


def section(corpus: Corpus) -> None:
    """The part of the page that shows exported mixes."""
    st.subheader(t("Exported mixes"))
    mixes = corpus.mixes()
    if not mixes:
        st.caption(t("Nothing is exported yet. Files, manifest and a preview of the rows appear here."))
        return
    names = list(mixes)[::-1]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        name = st.selectbox(t("Exported mix"), names, key=f"mix_{len(names)}_{names[0]}", width=360)
        manifest, folder = mixes[name], corpus.path / "mixes" / name
        if (folder / "train.jsonl").is_file():
            forms.link("train", t("Train on the mix"), icon=":material/model_training:", query={"mix": name})
    _numbers(manifest)
    for note in manifest.get("notes", ()):
        st.caption(forms.plain(told_text(note)))
    contents, preview, files = st.tabs([t("Contents"), t("Rows as a trainer reads them"), t("Files and manifest")])
    with contents:
        _contents(corpus, name, manifest)
    with preview:
        _preview(folder)
    with files:
        _files(corpus, folder, manifest)


def _numbers(manifest: dict[str, Any]) -> None:
    files, tokens = manifest["files"], manifest.get("tokens") or {}
    cells = st.columns(5)
    cells[0].metric(t("Training rows"), f"{files['train']['rows']:,}")
    counted = tokens.get("train")
    reason = tokens.get("reason") or tokens.get("by")
    cells[1].metric(
        t("Tokens"),
        t("not counted") if counted is None else f"{counted:,}",
        help=forms.plain(told_text(reason)) if reason else None,
    )
    cells[2].metric(
        t("Evaluation rows"), f"{files['eval']['rows']:,}", help=t("eval.jsonl: none of them is trained on.")
    )
    cells[3].metric(
        t("Random rows"), f"{files['random']['rows']:,}", help=t("random.jsonl: the baseline, from the same pool.")
    )
    cells[4].metric(t("Format"), manifest["format"])


def _contents(corpus: Corpus, name: str, manifest: dict[str, Any]) -> None:
    # One below the other: half a page is too narrow for bars with their names and a legend.
    chart, parts = st.container(), st.container()
    with chart:
        st.markdown(f"**{t('Sources by rows and by tokens')}**")
        _composition(corpus, name)
    with parts:
        st.markdown(f"**{t('Parts')}**")
        st.dataframe(
            parts_table(manifest),
            hide_index=True,
            placeholder="–",
            column_config={
                "part": t("Part"),
                "rows": st.column_config.NumberColumn(t("Rows"), format="localized"),
                "available": st.column_config.NumberColumn(t("Available"), format="localized"),
                "times": st.column_config.NumberColumn(t("Times"), format="localized"),
                "stage": t("Stage"),
                "method": t("Method"),
                "parameters": t("Parameters"),
                "working_set": t("Filter"),
            },
            alt=t("Parts of the mix with their selectors and parameters"),
        )
        skipped = manifest.get("skipped") or {}
        if skipped:
            told = "; ".join(f"{told_text(why)} ({n:,})" for why, n in skipped.items())
            st.caption(forms.plain(t("Left out by the format: {told}", told=told)))


def _composition(corpus: Corpus, name: str) -> None:
    parts = _measured(corpus_state(corpus), corpus, name)
    stages = {"mix": name, "corpus": t("whole corpus")}
    named = [{**part, "stage": stages[part["stage"]], "name": part["name"] or t("other sources")} for part in parts]
    treemap.composition(named, key="mix_composition", name=f"{name}_composition")
    if all(part["tokens"] is None for part in parts):
        st.caption(t("Tokens are shown once the scorer length has run."))


@st.cache_data(max_entries=50, show_spinner=False)
def _measured(state: str, _corpus: Corpus, name: str) -> list[dict[str, Any]]:
    """Rows and tokens by source, of the mix and of the whole corpus; sources beyond the largest as one, unnamed."""
    tokens = "sum(length_tokens)::BIGINT" if "length_tokens" in _corpus.score_columns() else "NULL::BIGINT"
    largest = f"SELECT source FROM everything GROUP BY source ORDER BY count(*) DESC, source LIMIT {LARGEST_SOURCES}"
    found = []
    for stage, where, values in (
        ("mix", "WHERE id IN (SELECT id FROM mixed WHERE name = ?)", (name,)),
        ("corpus", "", ()),
    ):
        rows = _corpus.query(
            f"SELECT CASE WHEN source IN ({largest}) THEN source END AS name, count(*) AS rows, {tokens} AS tokens "
            f"FROM everything {where} GROUP BY 1 ORDER BY rows DESC, name",
            *values,
        )
        found += [{"stage": stage, **row} for row in rows.to_dicts()]
    return found


def parts_table(manifest: dict[str, Any]) -> pl.DataFrame:
    """One row per part: where it came from, with the selector and its parameters."""
    import polars as pl

    rows = []
    repeated = any(part.get("times", 1) > 1 for part in manifest["parts"])
    recipes = (manifest.get("mix") or {}).get("parts") or [{}] * len(manifest["parts"])
    staged = any(recipe.get("stage") for recipe in recipes)
    for part, recipe in zip(manifest["parts"], recipes, strict=True):
        operator = part.get("operator") or {"name": None, "parameters": {}}
        shown = {k: v for k, v in operator["parameters"].items() if v is not None}
        rows.append(
            {
                "part": part.get("selection") or part.get("where"),
                "rows": part["rows"],
                "available": part["available"],
                **({"times": part.get("times", 1)} if repeated else {}),
                **({"stage": recipe.get("stage")} if staged else {}),
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
        st.caption(
            forms.plain(
                t("The files of this mix are not in {folder}: it was exported to another folder.", folder=str(folder))
            )
        )
        return
    number = st.pagination(len(shown), key=f"preview_{folder.name}") if len(shown) > 1 else 1
    example = shown[number - 1]
    told = t("Row {number} · {id} · source: {source}", number=number, id=example.id, source=example.source)
    st.caption(forms.plain(told))
    if example.rejected is None:
        conversation(turns(example.messages))
        return
    conversation(turns(example.messages[: example.answers_from]))
    chosen, rejected = st.columns(2, gap="large")
    with chosen:
        st.markdown(f"**{t('Chosen')}**")
        conversation(turns(example.messages[example.answers_from :]))
    with rejected:
        st.markdown(f"**{t('Rejected')}**")
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


def _files(corpus: Corpus, folder: Path, manifest: dict[str, Any]) -> None:
    table = [{"file": f"{file}.jsonl", **facts} for file, facts in manifest["files"].items()]
    st.dataframe(
        table,
        hide_index=True,
        column_order=["file", "rows", "characters", "sha256"],
        column_config={
            "file": t("File"),
            "rows": st.column_config.NumberColumn(t("Rows"), format="localized"),
            "characters": st.column_config.NumberColumn(t("Characters"), format="localized"),
            "sha256": st.column_config.TextColumn("SHA-256", width="large"),
        },
        alt=t("Files of the mix with rows, characters and SHA-256"),
    )
    st.code(str(folder), language=None)
    _download(corpus, folder / "train.jsonl")
    with st.expander(t("Manifest")):
        st.json(manifest, expanded=1)


def _download(corpus: Corpus, path: Path) -> None:
    if path.is_file():
        size = outcomes.size(path.stat().st_size)
        download_link(corpus.path, path, t("Download train.jsonl ({size})", size=size))
