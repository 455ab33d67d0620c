"""What the form of `hybrid` asks beside its plain fields: several scores with weights, the second step's parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from curation.operators import Selector
from studio import forms
from studio.fields import setting
from studio.languages import t

FIELDS = ("scores", "settings")
"""Fields that have widgets here."""
IN_A_ROW = 4


def options(selector: type[Selector], given: Sequence[str], choices: Mapping[str, Sequence[str]]) -> list[str]:
    """Widgets for `FIELDS`, and the `--set` words of what was filled in; nothing for a selector without them.

    Args:
        selector: whose form it is.
        given: `--set` words of the other fields.
        choices: field -> values to offer.
    """
    if not set(FIELDS) <= selector.model_fields.keys():
        return []
    words = _scores(selector, choices.get("scores", ()))
    then = next((word.removeprefix("then=") for word in given if word.startswith("then=")), None)
    return words + _settings(selector, then or selector.model_fields["then"].get_default(), choices)


def _scores(selector: type[Selector], columns: Sequence[str]) -> list[str]:
    of = selector.model_fields["scores"]
    chosen = st.multiselect(
        t("Scores"),
        columns,
        placeholder=t("choose or type"),
        help=t(of.description) if of.description else None,
        accept_new_options=True,
        key=f"selector-{selector.name}_scores",
    )
    weights: list[str] = []
    for start in range(0, len(chosen), IN_A_ROW):
        cells = st.columns(IN_A_ROW)
        for cell, column in zip(cells, chosen[start : start + IN_A_ROW], strict=False):
            if "=" in column:  # typed with its weight
                weights.append(column)
                continue
            weight = cell.number_input(
                forms.plain(t("Weight of {column}", column=column)),
                value=1.0,
                step=0.5,
                format="%g",
                help=t("A negative weight prefers low values."),
                key=f"selector-{selector.name}_weight_{column}",
            )
            weights.append(column if weight == 1 else f"{column}={weight:g}")
    return ["--set", f"scores={','.join(weights)}"] if weights else []


def _settings(selector: type[Selector], then: str, choices: Mapping[str, Sequence[str]]) -> list[str]:
    """The parameters of the second selector, by its own form; those that are required and empty are left out."""
    from curation.selectors import SELECTORS
    from curation.selectors.hybrid import RANK

    second = next((of for of in SELECTORS if of.name == then and of is not selector), None)
    if second is None or not second.model_fields:
        return []
    offered = {name: [*values, RANK] if name in ("score", "quality") else values for name, values in choices.items()}
    written: list[str] = []
    with st.container(border=True):
        st.caption(t("Parameters of `{name}`: {summary}", name=then, summary=forms.plain(t(second.summary()))))
        cells = st.columns(2)
        for place, field in enumerate(second.model_fields):
            with cells[place % 2]:
                key = f"selector-{selector.name}-{then}"
                written += setting(second, field, key=key, choices=offered.get(field))[1:]
    return ["--set", f"settings={','.join(written)}"] if written else []


def unfilled(settings: str, then: str) -> list[str]:
    """Required parameters of the second selector that `settings` (such as `quality=length,clusters=20`) lacks."""
    from curation.selectors import SELECTORS

    named = {part.partition("=")[0].strip() for part in settings.split(",")}
    second = next((of for of in SELECTORS if of.name == then), None)
    fields = second.model_fields if second else {}
    return [name for name, of in fields.items() if of.is_required() and name not in named]
