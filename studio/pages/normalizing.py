"""Normalizing, for the Clean page: choose a normalizer, see what it would change, and run it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import streamlit as st

from studio import forms
from studio.languages import t, tn
from studio.pages import differences

if TYPE_CHECKING:
    from collections.abc import Iterator

    from curation.corpus import Corpus
    from curation.operators import Normalizer
    from curation.sample import Message, Sample

LOOKED_AT = 2_000
"""Samples of the working set that a preview reads."""
SHOWN = 10
"""Changed samples that a preview shows."""


class Preview(NamedTuple):
    """What a normalizer would change."""

    looked_at: int
    changed: int
    examples: list[tuple[Sample, Sample]]
    """The first changed samples, as they are and as they would be."""


def draw(corpus: Corpus) -> None:
    """Draw the form, the command, and the preview where one was asked for."""
    from curation.normalizers import NORMALIZERS

    st.caption(
        t(
            "Normalizers rewrite samples. Every changed one becomes a new version; the old one is kept, and undo "
            "brings it back."
        )
    )
    where = forms.working_set(corpus)
    form, command = st.columns([3, 2], gap="large")
    with form:
        kind, options = forms.operator_form(NORMALIZERS, key="normalizer")
        normalizer = _built(kind, options)
        asked = st.button(
            t("Preview"), key="normalizer-preview", icon=":material/visibility:", disabled=normalizer is None
        )
    with command:
        argv = ["normalize", str(corpus.path), kind.name, *options, *(["--where", where] if where else [])]
        reason = t("Correct the form first.") if normalizer is None else None
        forms.command_box(
            corpus,
            argv,
            key="normalize",
            label=t("Normalize"),
            disabled_reason=reason,
            rows=corpus.count(_working(where)),
        )
    if normalizer is not None:
        _previewed(corpus, normalizer, where, asked=asked)


def _built(kind: type[Normalizer], options: list[str]) -> Normalizer | None:
    """The normalizer of the form; where it can't be, the page says why."""
    from curation.errors import WinnowError
    from curation.normalizers import NORMALIZERS
    from curation.operators import build
    from studio.commands.performing import pairs

    try:
        return build("normalizer", NORMALIZERS, kind.name, pairs(options[1::2], "--set"))
    except WinnowError as error:
        forms.show_error(error)
        return None


def _working(where: str | None) -> str:
    from curation.storage.sql import working

    return working(where)


def preview(corpus: Corpus, normalizer: Normalizer, where: str | None) -> Preview:
    """What the normalizer would change among the first `LOOKED_AT` samples of the working set; nothing is written."""
    from curation.corpus import SAMPLE_COLUMNS
    from curation.normalizing import rewritten
    from curation.sample import from_row

    frame = corpus.frame(SAMPLE_COLUMNS, where=_working(where), limit=LOOKED_AT)
    examples: list[tuple[Sample, Sample]] = []
    changed = 0
    for row in frame.iter_rows(named=True):
        old = from_row(row)
        new = rewritten(normalizer, old)
        if (new.messages, new.rejected) != (old.messages, old.rejected):
            changed += 1
            if len(examples) < SHOWN:
                examples.append((old, new))
    return Preview(frame.height, changed, examples)


def _previewed(corpus: Corpus, normalizer: Normalizer, where: str | None, *, asked: bool) -> None:
    # A preview stays in view until the form or the filter asks for something else, or samples were decided about.
    actions = corpus.query("SELECT count(*) AS n FROM actions").item()
    wanted = (str(corpus.path), normalizer.spec_json(), where, actions)
    kept = st.session_state.get("normalizer_previewed")
    if asked:
        kept = (wanted, preview(corpus, normalizer, where))
        st.session_state["normalizer_previewed"] = kept
    if kept is None or kept[0] != wanted:
        return
    found: Preview = kept[1]
    st.subheader(t("Preview"))
    told = (
        t("**{n:,}** of {looked_at:,} would change, looking at the working set.")
        if found.looked_at < LOOKED_AT
        else t("**{n:,}** of {looked_at:,} would change, looking at the first samples.")
    )
    st.markdown(told.format(n=found.changed, looked_at=found.looked_at))
    for place, (old, new) in enumerate(found.examples):
        with st.expander(forms.plain(_title(old)), expanded=place < 3):
            _changes(old, new)
    if found.changed > len(found.examples):
        st.caption(tn("{n} more", "{n:,} more", found.changed - len(found.examples)))


def _title(sample: Sample) -> str:
    text = " ".join(sample.instruction.split()) or sample.id
    return text if len(text) <= 80 else f"{text[:79]}…"


def _changes(old: Sample, new: Sample) -> None:
    for label, before, after in _turns(old, new):
        for part, was, becomes in (
            ("{turn}", before.content, after.content),
            (t("{turn}, reasoning"), before.reasoning, after.reasoning),
            (t("{turn}, tool calls"), before.tool_calls, after.tool_calls),
        ):
            if (was or "") != (becomes or ""):
                st.caption(forms.plain(part.format(turn=label)))
                differences.show(was or "", becomes or "")


def _turns(old: Sample, new: Sample) -> Iterator[tuple[str, Message, Message]]:
    for place, (before, after) in enumerate(zip(old.messages, new.messages, strict=True)):
        yield t("Turn {n}, {role}", n=place + 1, role=before.role), before, after
    for place, (before, after) in enumerate(zip(old.rejected or (), new.rejected or (), strict=True)):
        yield t("Rejected turn {n}, {role}", n=place + 1, role=before.role), before, after
