"""Stored embeddings, and how they are read.

embeddings/NAME/vectors.npy   float32 (samples, dimensions), unit length unless the user's own are not
embeddings/NAME/ids.npy       the sample of each row
embeddings/NAME/about.json    model, text, dimensions
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curation.corpus import Corpus
from curation.errors import CorpusError, unknown


@dataclass(frozen=True)
class Vectors:
    """A stored embedding."""

    name: str
    model: str
    ids: list[str]
    matrix: np.ndarray
    """Memory-mapped float32 (samples, dimensions), row i is of `ids[i]`."""


def embeddings(corpus: Corpus) -> list[dict[str, Any]]:
    """What is in each embedding (name, model, text, dimensions, samples), the latest last."""
    files = sorted((corpus.path / "embeddings").glob("*/about.json"), key=lambda p: p.stat().st_mtime)
    return [json.loads(file.read_text()) for file in files]


def vectors_of(corpus: Corpus, name: str | None = None) -> Vectors:
    """A stored embedding; the latest one when no name is given.

    Raises:
        CorpusError: there is none.
    """
    known = {about["name"]: about for about in embeddings(corpus)}
    if not known:
        raise CorpusError("The corpus has no embedding.", fix=f"winnow embed {corpus.path}")
    name = name or list(known)[-1]
    if name not in known:
        raise unknown("embedding", name, known, CorpusError)
    folder = corpus.path / "embeddings" / name
    return Vectors(name, known[name]["model"], ids_of(folder), np.load(folder / "vectors.npy", mmap_mode="r"))


def ids_of(folder: Path) -> list[str]:
    """The sample of each row; empty where there is no embedding."""
    path = folder / "ids.npy"
    return np.load(path).tolist() if path.exists() else []
