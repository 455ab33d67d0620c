"""The Mix page: put selections together, and write them as files any trainer reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from studio import forms
from studio.pages import exported_mixes

if TYPE_CHECKING:
    from curation.corpus import Corpus

AMOUNTS = ("all rows", "weight", "rows")


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    st.title("Mix")
    st.caption(
        "Put stored selections together and export them as JSONL, with a manifest that says where every row is from."
    )
    selections = corpus.selections()
    if not selections and not corpus.mixes() and not corpus.count():
        forms.empty_state("Mixes appear here", "A mix is made of selections, and there are no samples yet.", "ingest")
        return
    if not selections and not corpus.mixes():
        forms.empty_state(
            "Mixes appear here",
            "A mix is made of stored selections, and there are none yet. A first one: a tenth, at random.",
            ["select", str(corpus.path), "random", "10%", "--name", "random-10pct"],
        )
        return
    _export(corpus, selections)
    exported_mixes.section(corpus)


def _export(corpus: Corpus, selections: list[str]) -> None:
    form, command = st.columns([3, 2], gap="large")
    with form:
        default = selections[-1:]
        chosen = st.multiselect("Parts", selections, default=default, key=f"parts_{len(selections)}")
        parts = [_part(corpus, name) for name in chosen]
        format_cell, seed_cell = st.columns(2)
        written_as = format_cell.selectbox("Format", _formats(), key="mix_format", help=_FORMAT_HELP)
        seed = seed_cell.number_input("Random seed", 0, value=0, key="mix_seed", help="Decides the order of the rows.")
        suggested = "-".join(chosen)[:48] or "mix"
        name = (
            st.text_input("Name", placeholder=suggested, key="mix_name", help="Empty: the suggested name.").strip()
            or suggested
        )
    with command:
        argv = ["export", str(corpus.path), name, *(word for part in parts for word in ("--part", part))]
        argv += ["--format", written_as] if written_as != "messages" else []
        argv += ["--seed", str(seed)] if seed else []
        if name in corpus.mixes():
            st.caption(f"A mix {forms.plain(name)} is there already: running this replaces it.")
        if not corpus.count("held_out"):
            st.caption(
                "No sample is held out: eval.jsonl will hold samples that the mix leaves. To judge a model fairly, set "
                "some aside on the Select page before selecting."
            )
        reason = None if parts else "Choose at least one selection."
        forms.command_box(corpus, argv, key="export", label="Export the mix", disabled_reason=reason)


_FORMAT_HELP = (
    "messages and prompt-completion are what TRL trains on; preference keeps chosen and rejected answers for DPO; "
    "alpaca and sharegpt are for other trainers."
)


def _formats() -> list[str]:
    from curation.files.formats import FORMATS

    return list(FORMATS)


def _part(corpus: Corpus, name: str) -> str:
    """One part as the command takes it."""
    size = len(corpus.selection(name).ids)
    label_cell, unit_cell, number_cell = st.columns([2, 2, 1], vertical_alignment="bottom")
    label_cell.markdown(f"**{forms.plain(name)}**  \n{size:,} samples")
    unit = unit_cell.segmented_control(
        f"Amount of {name}",
        AMOUNTS,
        default=AMOUNTS[0],
        required=True,
        key=f"part_unit_{name}",
        label_visibility="collapsed",
    )
    if unit == "weight":
        weight = number_cell.number_input(
            f"Weight of {name}",
            0.01,
            value=1.0,
            step=0.1,
            key=f"part_weight_{name}",
            label_visibility="collapsed",
            help="Relative to the other weights; nothing is repeated.",
        )
        return f"{name}=x{weight:g}"
    if unit == "rows":
        rows = number_cell.number_input(
            f"Rows of {name}",
            1,
            max(1, size),
            min(100, max(1, size)),
            key=f"part_rows_{name}",
            label_visibility="collapsed",
        )
        return f"{name}={rows}"
    return name
