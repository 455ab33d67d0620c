"""What a page asks of the corpus on every run, and what changes only when something is written: asked once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from curation.corpus import Corpus

T = TypeVar("T")
KEPT = 256
"""Answers that are kept for one state of a corpus."""
_answers: dict[str, tuple[int, dict[str, object]]] = {}


def known(corpus: Corpus, name: str, ask: Callable[[], T]) -> T:
    """The answer to a question of this name, kept until something is written.

    It is always asked where this process does not own the corpus, as another one may write.
    """
    narrow = corpus.database.narrow
    if narrow is None:
        return ask()
    version, folder = narrow.writes, str(corpus.path)
    kept = _answers.get(folder)
    if kept is None or kept[0] != version or len(kept[1]) >= KEPT:
        kept = _answers[folder] = (version, {})
    if name not in kept[1]:
        kept[1][name] = ask()
    return kept[1][name]  # type: ignore[return-value]
