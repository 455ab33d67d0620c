"""What the form of an operator offers, and what is still missing before it can run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import streamlit as st

from curation.errors import WinnowError
from curation.operators import build
from curation.storage.sql import literal, working
from curation.vectors import embeddings
from studio import forms
from studio.commands.performing import pairs
from studio.languages import t, tn, told
from studio.pages import hybrid_form

if TYPE_CHECKING:
    from curation.corpus import Corpus
    from curation.operators import Scorer, Selector

NUMERIC = ("DOUBLE", "FLOAT", "DECIMAL", "BIGINT", "INTEGER", "SMALLINT", "TINYINT", "HUGEINT", "UBIGINT", "UINTEGER")
SCORES = ("score", "scores", "quality", "complexity", "difficulty", "score_column")
"""Fields that name a column of numbers."""
SOURCES = 12
"""Sources that are offered as targets, the largest."""
UNNAMED = "?"
"""Stands for a column that has yet to be named."""


@dataclass(frozen=True)
class Filled:
    """An operator as far as its form is filled in."""

    operator: Scorer | Selector | None
    """With a stand-in for what has yet to be named; null where the values don't go together."""
    missing: list[str] = field(default_factory=list)
    """Required parameters without a value."""
    problem: str | None = None
    """Why the values don't go together."""


def offered(corpus: Corpus) -> dict[str, list[str]]:
    """Field -> what to offer for it: columns, selections, selectors, targets that the corpus has."""
    from curation.selectors import SELECTORS

    kinds = corpus.columns()
    own = corpus.score_columns()
    numbers = [name for name, kind in own.items() if kind in NUMERIC or kind.startswith("DECIMAL")]
    turns = [name for name, kind in own.items() if kind.endswith("[]") and kind.removesuffix("[]") in NUMERIC]
    labels = [name for name, kind in own.items() if kind in ("VARCHAR", "BOOLEAN") and not name.endswith("_raw")]
    found = dict.fromkeys(SCORES, numbers)
    sources = corpus.query(
        "SELECT source FROM everything WHERE source IS NOT NULL GROUP BY source "
        f"ORDER BY count(*) DESC, source LIMIT {SOURCES}"
    )["source"].to_list()
    return found | {
        "complexity": numbers + turns,
        "quality": numbers + turns,
        "by": [*(name for name in ("source", "shape", "script") if name in kinds), *labels],
        "tags": [name for name, kind in kinds.items() if kind == "VARCHAR[]" and name != "parents"],
        "then": [s.name for s in SELECTORS if "then" not in s.model_fields],
        "after": corpus.selections(),
        "target": [f"source = {literal(source)}" for source in sources],
        "target_source": sources,
        "embedding": [about["name"] for about in embeddings(corpus)],
        "run": sorted(path.name for path in (corpus.path / "runs").glob("*") if path.is_dir()),
    }


def filled(kind: str, operator: type[Scorer] | type[Selector], options: Sequence[str]) -> Filled:
    """The operator that the options make.

    Args:
        kind: scorer or selector, for messages.
        operator: its class.
        options: `--set NAME=VALUE` words.
    """
    given = pairs(options[1::2], "--set")
    missing = [name for name, of in operator.model_fields.items() if of.is_required() and name not in given]
    values = {**given, **dict.fromkeys(missing, UNNAMED)}
    if "settings" in operator.model_fields:
        then = given.get("then") or operator.model_fields["then"].get_default()
        absent = hybrid_form.unfilled(given.get("settings", ""), then)
        stand_ins = [f"{name}={UNNAMED}" for name in absent]
        values |= {"settings": ",".join([*filter(None, [given.get("settings")]), *stand_ins])} if absent else {}
        missing += [f"{name} of {then}" for name in absent]
    try:
        return Filled(build(kind, (operator,), operator.name, values), missing)
    except WinnowError as error:
        return Filled(None, missing, None if missing else told(error)[0])


def waits_for(corpus: Corpus, form: Filled) -> str | None:
    """Shows which columns the operator reads, and says why it can't run yet; null where it can."""
    if form.missing:
        _reads(corpus, form)
        return t("Fill in {names} first.", names=", ".join(form.missing))
    if form.operator is None:
        return form.problem
    absent = _reads(corpus, form)
    if absent:
        return tn(
            "It reads {names}: a column that no scorer wrote.",
            "It reads {names}: columns that no scorer wrote.",
            len(absent),
            names=", ".join(absent),
        )
    return _target_problem(corpus, getattr(form.operator, "target_where", None))


def _reads(corpus: Corpus, form: Filled) -> list[str]:
    """Show the columns that the operator reads, and how to get those that there are not: their names."""
    from curation.columns import unscored_column
    from curation.corpus import OWN_COLUMNS

    known = corpus.columns()
    needs = [name for name in (form.operator.needs if form.operator else ()) if name != UNNAMED]
    absent = [name for name in needs if name not in known]
    # The corpus' own tags are read in place of scores by selectors only.
    own = OWN_COLUMNS if getattr(form.operator, "tags", None) != "tags" else set(OWN_COLUMNS) - {"tags"}
    shown = [f"`{name}`" for name in needs if name not in own]
    if shown:
        st.caption(
            tn(
                "Reads the score column {names}.",
                "Reads the score columns {names}.",
                len(shown),
                names=", ".join(shown),
            )
        )
    for name in absent:
        error = unscored_column(corpus, name)
        with st.container(border=True):
            message, fix = told(error)
            st.caption(forms.plain(message))
            st.code(fix, language=None, wrap_lines=True)
    return absent


def _target_problem(corpus: Corpus, where: str | None) -> str | None:
    if where is None:
        return None
    try:
        targets = corpus.count(working(where))
    except WinnowError as error:
        return told(error)[0]
    if not targets:
        return t("No sample meets the target {where}.", where=where)
    st.caption(
        tn(
            "{n} target sample; it is not chosen itself.",
            "{n:,} target samples; they are not chosen themselves.",
            targets,
        )
    )
    return None
