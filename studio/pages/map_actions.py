"""What can be done with the samples inside a lasso: keep, drop, tag, save as a selection; each with its command.

The command does what the button does, but for one thing: what the button saves keeps the line and the layout too.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.errors import WinnowError
from curation.storage.sql import literal
from studio import forms, jobs
from studio.door import access
from studio.languages import mark, t, tn
from studio.pages.deciding import PROBLEM

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import numpy as np

    from curation.corpus import Corpus
    from studio.pages.map_ground import Ground

NAME = "lasso"
"""What the selection is called that Browse shows."""
FOLDER, KEPT = "lassos", 20
"""Of the corpus: ids that somebody drew around, a file each, the latest ones."""
WRITTEN_OUT = 3
"""Ids that stand in the command itself."""
TOASTS, GO = "map_toasts", "map_go"
ACTIONS = {
    "keep": (mark("Keep"), ":material/check:", mark("Note"), mark("Keep {n} sample"), mark("Keep {n:,} samples")),
    "drop": (mark("Drop"), ":material/block:", mark("Reason"), mark("Drop {n} sample"), mark("Drop {n:,} samples")),
    "tag": (mark("Tag"), ":material/sell:", mark("Tag"), mark("Tag {n} sample"), mark("Tag {n:,} samples")),
    "choose": (
        mark("Save"), ":material/bookmark_add:", mark("Name of the selection"), mark("Save {n} sample as a selection"),
        mark("Save {n:,} samples as a selection"),
    ),
}  # fmt: skip
"""Verb of the command line -> its button, its icon, what it asks for, and what it says before it is done."""
NEEDED = {"drop": mark("Say why first."), "tag": mark("Name the tag first."), "choose": mark("Name it first.")}
STANDS_FOR = {"drop": "REASON", "tag": "TAG", "choose": "NAME"}


def draw(corpus: Corpus, positions: np.ndarray, polygon: list[list[float]], ground: Ground) -> None:
    """The buttons; what a button asks, and the command that does the same, are made when it is pressed."""
    may_not = access.refused()
    with st.container(horizontal=True, gap="xsmall", vertical_alignment="center"):
        for verb, (label, icon, *_) in ACTIONS.items():
            opened = st.popover(
                t(label), icon=icon, disabled=may_not is not None, help=may_not, key=f"map_{verb}_open",
                on_change="rerun",
            )  # fmt: skip
            with opened:
                if opened.open is not False:
                    _asked(verb, corpus, positions, polygon, ground, may_not)
        st.button(
            t("Open in Browse"), key="map_browse", icon=":material/table_rows:", on_click=_do, disabled=bool(may_not),
            help=may_not, args=("browse", corpus, positions, polygon, ground),
        )  # fmt: skip


def _asked(
    verb: str, corpus: Corpus, positions: np.ndarray, polygon: list[list[float]], ground: Ground, may_not: str | None
) -> None:
    _, icon, asks, one, many = ACTIONS[verb]
    said = str(st.text_input(t(asks), key=f"map_{verb}_said", persist_state="session") or "").strip()
    st.code(
        jobs.command_line(command(verb, corpus.path, _ids(corpus, positions), said)), language=None, wrap_lines=True
    )
    if verb == "choose":
        st.caption(t("The button also keeps the line and the layout with the selection; the command does not."))
    missing = None if said or verb not in NEEDED else t(NEEDED[verb])
    st.button(
        tn(one, many, len(positions)), key=f"map_{verb}", icon=icon, type="primary", on_click=_do,
        args=(verb, corpus, positions, polygon, ground), disabled=bool(may_not or missing), help=may_not or missing,
    )  # fmt: skip


def command(verb: str, folder: Path, ids: Sequence[str], said: str) -> list[str]:
    """The command that does the same: with the ids, or with a file of them where they are many.

    Args:
        verb: one of `ACTIONS`.
        folder: of the corpus; the file is written there.
        ids: of the samples.
        said: note, reason, tag or name; a word for it stands in its place as long as it is empty.
    """
    said = said or STANDS_FOR.get(verb, "")
    option = {"keep": ["--note", said] if said else [], "drop": ["--reason", said], "choose": ["--name", said]}
    argv = [verb, str(folder), *([said] if verb == "tag" else []), *option.get(verb, [])]
    if len(ids) <= WRITTEN_OUT:
        return argv + [word for i in ids for word in ("--id", i)]
    return [*argv, "--ids", str(written(folder / FOLDER, ids))]


def written(folder: Path, ids: Sequence[str]) -> Path:
    """A file with an id in each line; those that were not asked for the longest are removed."""
    text = "".join(f"{i}\n" for i in ids)
    file = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.txt"
    folder.mkdir(exist_ok=True)
    if file.exists():
        file.touch()  # it is shown again: among the latest
    else:
        file.write_text(text, encoding="utf-8")
        for old in sorted(folder.glob("*.txt"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
            old.unlink(missing_ok=True)
    return file


def _ids(corpus: Corpus, positions: np.ndarray) -> list[str]:
    import polars as pl

    found = corpus.run(
        "SELECT id FROM everything SEMI JOIN drawn_frame USING (position) ORDER BY position",
        frames={"drawn_frame": pl.DataFrame({"position": positions}, schema={"position": pl.Int64})},
    )
    return found["id"].to_list()


def _do(verb: str, corpus: Corpus, positions: np.ndarray, polygon: list[list[float]], ground: Ground) -> None:
    from curation import deciding
    from curation.by_hand import select_by_hand

    state = st.session_state
    said = str(state.get(f"map_{verb}_said") or "").strip()
    try:
        access.require_editor()
        ids = _ids(corpus, positions)
        if verb in ("choose", "browse"):
            name = said if verb == "choose" else NAME
            how = {"drawn_on": ground.drawn.embedding, "layout": ground.drawn.spec.method, "polygon": _short(polygon)}
            report = select_by_hand(corpus, ids, name=name, how=how)
            _told(verb, name, len(report.ids), len(report.rejected))
        else:
            works: dict[str, Callable[[], Any]] = {
                "keep": lambda: deciding.keep(corpus, ids=ids, note=said, who=access.who()),
                "drop": lambda: deciding.drop(corpus, ids=ids, reason=said, who=access.who()),
                "tag": lambda: deciding.tag(corpus, said, ids=ids, who=access.who()),
            }
            state[TOASTS] = [tn("{n} sample changed.", "{n:,} samples changed.", works[verb]().changed)]
        state[f"map_{verb}_open"] = False
        state[f"map_{verb}_said"] = ""
    except WinnowError as error:
        state[PROBLEM] = error


def _told(verb: str, name: str, chosen: int, left: int) -> None:
    state = st.session_state
    if verb == "browse":
        forms.set_filter(f"id IN (SELECT id FROM selected WHERE name = {literal(name)})")
        state[GO] = True
        return
    told = tn(
        "Saved {n} sample as the selection {name}.", "Saved {n:,} samples as the selection {name}.", chosen, name=name
    )
    state[TOASTS] = [forms.plain(told)]
    if left:
        state[TOASTS].append(
            tn("{n} stays out: dropped, held out or like a held-out sample.",
               "{n:,} stay out: dropped, held out or like a held-out sample.", left)
        )  # fmt: skip


def finish() -> None:
    """After something was changed: draw the whole page anew, as counts, colours and lists changed, and say what was."""
    if st.session_state.pop(GO, False):
        _go_to_browse()
    told = st.session_state.get(TOASTS)
    if told and not st.session_state.get(f"{TOASTS}_anew"):
        st.session_state[f"{TOASTS}_anew"] = True
        st.rerun(scope="app")
    st.session_state.pop(f"{TOASTS}_anew", None)
    for text in st.session_state.pop(TOASTS, ()):
        st.toast(text)


def _go_to_browse() -> None:
    target = st.session_state.get(forms.PAGES_KEY, {}).get("browse")
    if target is not None:
        st.switch_page(target)


def _short(polygon: list[list[float]]) -> list[list[float]]:
    return [[round(float(x), 4), round(float(y), 4)] for x, y in polygon]
