"""How a corpus shows itself in a notebook: what it holds, as a small table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

SHOWN = 12
"""Names in a row; of more it says how many."""
CELL = "text-align:left;vertical-align:top;padding:2px 12px 2px 0;border:0"


def card_of(corpus: Any) -> str:
    """HTML that says what a corpus (`curation.corpus.Corpus`) holds."""
    by_source = corpus.query("SELECT source, count(*) AS n FROM everything GROUP BY source ORDER BY n DESC, source")
    scored = {column: run.scored for run in reversed(corpus.score_runs()) for column in run.columns[:1]}
    embedded = sorted(path.parent.name for path in (corpus.path / "embeddings").glob("*/about.json"))
    facts = {
        "samples": corpus.count(),
        "sources": {source or "no source": n for source, n in by_source.iter_rows()},
        "scores": scored,
        "embeddings": embedded,
        "selections": corpus.selections(),
        "mixes": list(corpus.mixes()),
    }
    return card("Corpus", str(corpus.path), facts)


def card(title: str, folder: str, facts: Mapping[str, int | Sequence[str] | Mapping[str, int]]) -> str:
    """HTML of a title, a folder, and facts in rows: a number, names, or names with numbers; all of it escaped.

    Args:
        title: of the card.
        folder: shown below it.
        facts: what -> how many, or which.
    """
    rows = "".join(
        f'<tr><th style="{CELL};font-weight:500">{escape(name)}</th><td style="{CELL}">{_told(fact)}</td></tr>'
        for name, fact in facts.items()
    )
    return (
        f'<div style="font-family:system-ui,sans-serif"><strong>{escape(title)}</strong> '
        f'<code>{escape(folder)}</code><table style="margin-top:4px;border-collapse:collapse">{rows}</table></div>'
    )


def _told(fact: int | Sequence[str] | Mapping[str, int]) -> str:
    if isinstance(fact, int):
        return f"{fact:,}"
    if isinstance(fact, Mapping):
        fact = [f"{name} ({n:,})" for name, n in fact.items()]
    names = [escape(name if len(name) <= 60 else name[:59] + "…") for name in fact[:SHOWN]]
    more = [f"and {len(fact) - SHOWN:,} more"] if len(fact) > SHOWN else []
    return (
        ", ".join(f'<bdi style="white-space:nowrap">{name}</bdi>' for name in names) + " ".join(["", *more]) or "none"
    )
