"""Small corpora whose content is visible in the test."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from curation.corpus import Corpus
from curation.sample import Message, Sample, to_frame


def pair(question: str, answer: str, **more: Any) -> Sample:
    """One question, one answer."""
    return Sample((Message("user", question), Message("assistant", answer)), **more)


def corpus_of(folder: Path, samples: Iterable[Sample]) -> Corpus:
    """A corpus with these samples."""
    corpus = Corpus.create(folder)
    corpus.add(to_frame(list(samples)))
    return corpus
