"""Passages of a sample worth marking: shared with its near-duplicate, shared with a benchmark, personal data."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from studio.components.marked_text import Passage
from studio.languages import mark, t

if TYPE_CHECKING:
    from curation.corpus import Corpus

KINDS = {
    "duplicate": mark("Duplicate"),
    "contamination": mark("Contamination"),
    "personal": mark("Personal data"),
}
MEANING = {
    "duplicate": mark("shared with its near-duplicate"),
    "contamination": mark("shared with a benchmark's question"),
    "personal": mark("personal data"),
}
SCORER = {"duplicate": "near-duplicate", "contamination": "contamination"}
"""Kind -> the scorer that has to have run; personal data is found as it is read."""
PERSONAL = {
    "email": mark("e-mail address"),
    "card": mark("card or account number"),
    "id": mark("identity number"),
    "phone": mark("telephone number"),
    "ip": mark("IP address"),
}
SHORTEST = 4
"""Words, or Chinese characters, that a shared passage has at least."""
LONGEST = 8_000
"""Characters of a text that are compared; the time grows with the square."""


class Span(NamedTuple):
    """A passage from character `start` up to, without, `end`."""

    start: int
    end: int
    kind: str
    told: str = ""


@dataclass(frozen=True)
class Highlight:
    """How one kind of passage is found in the texts of one sample."""

    kind: str
    find: Callable[[str], list[Span]]
    note: str = ""
    """Where the passages come from, or why there are none."""
    other: str | None = None
    """The sample they are shared with."""
    missing: str | None = None
    """The scorer that would have to run first."""


def nowhere(_: str) -> list[Span]:
    """Finds nothing."""
    return []


def personal(text: str) -> list[Span]:
    """The personal data in a text, by position."""
    from curation.texts.personal_data import spans

    return [Span(found.start, found.end, "personal", found.kind) for found in spans(text[:LONGEST])]


def shared(text: str, others: Sequence[str], kind: str) -> list[Span]:
    """The passages of a text that stand in any of the other texts too, by position; none overlap."""
    from curation.texts.overlap import common_passages

    found = [
        place for other in others for place in common_passages(text[:LONGEST], other[:LONGEST], shortest=SHORTEST)[0]
    ]
    return [Span(start, end, kind) for start, end in _joined(sorted(found))]


def _joined(places: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in places:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def passages(text: str, spans: Sequence[Span]) -> list[Passage]:
    """The text parted at the ends of all spans, each part with the marks of those that lie over it."""
    from studio.pages.prose import visible

    ends = sorted({0, len(text), *(min(p, len(text)) for span in spans for p in (span.start, span.end))})
    parts = []
    for start, end in itertools.pairwise(ends):
        over = [span for span in spans if span.start <= start and end <= span.end]
        told = ", ".join(dict.fromkeys(t(PERSONAL.get(span.told, span.told)) for span in over if span.told))
        parts.append(Passage(visible(text[start:end]), tuple(dict.fromkeys(span.kind for span in over)), told))
    return parts


def highlight(corpus: Corpus, sample_id: str, kind: str) -> Highlight:
    """How passages of a kind are found in the texts of a sample."""
    if kind == "personal":
        return Highlight(kind, personal)
    columns = corpus.columns()
    needed = {"duplicate": "near_duplicate_partner", "contamination": "contamination_text"}[kind]
    if needed not in columns:
        return Highlight(kind, nowhere, missing=SCORER[kind])
    names = {
        "duplicate": "near_duplicate_partner, near_duplicate_similarity",
        "contamination": "contamination_text, contamination_benchmark, contamination_item, contaminated",
    }
    found = corpus.query(f"SELECT {names[kind]} FROM versions WHERE id = ?", sample_id)
    row: dict[str, Any] = found.row(0, named=True) if found.height else {}
    return _of_twin(corpus, row) if kind == "duplicate" else _of_benchmark(row)


def _of_twin(corpus: Corpus, row: dict[str, Any]) -> Highlight:
    twin = row.get("near_duplicate_partner")
    if twin is None:
        return Highlight("duplicate", nowhere, t("It has no near-duplicate."))
    texts = [m.content for m in corpus.sample(twin).messages]
    note = t("Shared with a sample of similarity {share:.0%}", share=row["near_duplicate_similarity"] or 0.0)
    return Highlight("duplicate", lambda text: shared(text, texts, "duplicate"), note, other=twin)


def _of_benchmark(row: dict[str, Any]) -> Highlight:
    text = row.get("contamination_text")
    if text is None:
        return Highlight("contamination", nowhere, t("It shares nothing with the benchmarks that were looked at."))
    note = t(
        "Shared with row {row:,} of {benchmark}",
        row=row["contamination_item"], benchmark=row["contamination_benchmark"],
    )  # fmt: skip
    return Highlight("contamination", lambda own: shared(own, [text], "contamination"), note)
