"""The Mix page: put selections together, and write them as files any trainer reads."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import streamlit as st

from studio import forms
from studio.languages import mark, t, tn
from studio.pages import exported_mixes

if TYPE_CHECKING:
    from curation.corpus import Corpus

AMOUNTS = {"all rows": mark("all rows"), "weight": mark("by weight"), "rows": mark("by count")}
FORMATS = {
    "messages": mark("messages: conversations, for TRL and most trainers"),
    "prompt-completion": mark("prompt-completion: question and answer, for TRL"),
    "preference": mark("preference: chosen and rejected answers, for DPO"),
    "alpaca": mark("alpaca: instruction, input, output, for other trainers"),
    "sharegpt": mark("sharegpt: conversations, for other trainers"),
    "unpaired-preference": mark("unpaired-preference: answers marked good or bad, for KTO"),
    "text": mark("text: plain text, to go on with pretraining"),
}
STAGE = re.compile(r"\w[\w-]*")


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    st.title(t("Mix"))
    st.caption(
        t("Put stored selections together and export them as JSONL, with a manifest that says where every row is from.")
    )
    selections, mixes = corpus.selections(), corpus.mixes()
    if not selections and not mixes and not corpus.count():
        forms.empty_state(
            t("Mixes appear here"), t("A mix is made of selections, and there are no samples yet."), "ingest"
        )
        return
    if not selections and corpus.count():
        forms.empty_state(
            t("Mixes appear here"),
            t("A mix is made of stored selections, and there are none yet. A first one: a tenth, at random."),
            ["select", str(corpus.path), "random", "10%", "--name", "random-10pct"],
        )
        forms.link("select", t("Choose better than at random"), icon=":material/arrow_forward:")
    elif selections:
        _export(corpus, selections, list(mixes))
    if selections or mixes:
        exported_mixes.section(corpus)


def _export(corpus: Corpus, selections: list[str], mixes: list[str]) -> None:
    form, command = st.columns([3, 2], gap="large")
    with form:
        asked = [name for name in st.query_params.get_all("part") if name in selections]
        chosen = st.multiselect(
            t("Parts"),
            selections,
            default=asked or selections[-1:],
            key=f"parts_{len(selections)}",
            placeholder=t("choose selections"),
            help=t("Selections, the latest one first proposed. A sample that two of them have comes once."),
        )
        staged = len(chosen) > 1 and st.toggle(
            t("Train in stages"), key="mix_staged", help=t("One stage after the other, in the order of the parts.")
        )
        parts = [_part(corpus, name, place if staged else None) for place, name in enumerate(chosen)]
        format_cell, seed_cell = st.columns([2, 1])
        written_as = format_cell.selectbox(
            t("Format"), list(FORMATS), key="mix_format", format_func=lambda name: t(FORMATS[name])
        )
        seed = seed_cell.number_input(
            t("Random seed"), 0, value=0, key="mix_seed", help=t("Decides the order of the rows.")
        )
        suggested = "-".join(chosen)[:48] or "mix"
        typed = st.text_input(t("Name"), placeholder=suggested, key="mix_name", help=t("Empty: the suggested name."))
        name = typed.strip() or suggested
    with command:
        argv = ["export", str(corpus.path), name, *(word for part in parts if part for word in ("--part", part))]
        argv += ["--format", written_as] if written_as != "messages" else []
        argv += ["--seed", str(seed)] if seed else []
        reason = None if parts else t("Choose at least one selection.")
        if None in parts:
            reason = t("Name every stage by a word: letters, digits, - and _.")
        forms.command_box(corpus, argv, key="export", label=t("Export the mix"), disabled_reason=reason)
        if name in mixes:
            st.caption(t("A mix {name} is there already: running this replaces it.", name=forms.plain(name)))
        if not corpus.count("held_out"):
            st.caption(
                t(
                    "No sample is held out: eval.jsonl will hold samples that the mix leaves. To judge a model fairly, "
                    "set some aside on the Select page before selecting."
                )
            )


def _part(corpus: Corpus, name: str, place: int | None) -> str | None:
    """One part as the command takes it; null where its stage has yet to be named. With a place it has a stage."""
    size = len(corpus.selection(name).ids)
    with st.container(border=True, gap="small"):
        st.markdown(
            tn(
                "**{name}** · {n} sample",
                "**{name}** · {n:,} samples",
                size,
                name=forms.plain(name),
            )
        )
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            amount = _amount(name, size)
            times = st.number_input(
                t("Times"), 1, 100, 1, key=f"part_times_{name}", width=110,
                help=t("How often each of its samples comes in the mix."),
            )  # fmt: skip
            stage = _stage(name, place) if place is not None else ""
    if place is not None and not STAGE.fullmatch(stage):
        return None
    return f"{name}{amount}{f'*{times}' if times > 1 else ''}{f'@{stage}' if stage else ''}"


def _stage(name: str, place: int) -> str:
    default = f"stage-{place + 1}"
    typed = st.text_input(t("Stage"), placeholder=default, key=f"part_stage_{name}", width=150)
    return typed.strip() or default


def _amount(name: str, size: int) -> str:
    unit = st.segmented_control(
        t("Take"),
        list(AMOUNTS),
        default="all rows",
        required=True,
        key=f"part_unit_{name}",
        format_func=lambda code: t(AMOUNTS[code]),
    )
    if unit == "weight":
        weight = st.number_input(
            t("Weight"), 0.01, value=1.0, step=0.1, key=f"part_weight_{name}", width=130,
            help=t("Relative to the other weights; nothing is repeated."),
        )  # fmt: skip
        return f"=x{weight:g}"
    if unit == "rows":
        most = max(1, size)
        rows = st.number_input(t("Rows"), 1, most, min(100, most), key=f"part_rows_{name}", width=130)
        return f"={rows}"
    return ""
