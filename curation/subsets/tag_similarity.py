"""How alike tags are: the cosine of their vectors, kept only where it is high."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from curation.language_models.encoders import open_encoder

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

LEXICAL = "lexical"
NONE = "none"
_NGRAMS = (2, 4)
"""Lengths of the character n-grams of a tag, ends of words included."""
_CHUNK = 1024


def tag_vectors(tags: Sequence[str], model: str = LEXICAL) -> Any:
    """Unit vectors of tags: float32 (tags, dimensions), sparse for `lexical`.

    The lexical encoder of samples is fitted on long texts and reduced to a few dimensions; a tag has a few letters, so
    its n-grams are compared as they are.

    Args:
        tags: texts.
        model: `lexical` or the spec of an encoder, such as `sentence-transformers:PATH`.

    Raises:
        ModelError: unknown spec, or the model can't be loaded.
    """
    if model != LEXICAL:
        return open_encoder(model).encode(tags)
    from sklearn.feature_extraction.text import TfidfVectorizer

    ends_marked = [f" {' '.join(tag.lower().split())} " for tag in tags]
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=_NGRAMS, lowercase=False, dtype=np.float32)
    return vectorizer.fit_transform(ends_marked).tocsr()


def encoder_digest(model: str) -> str:
    """Hash of every file of an encoder's folder; empty for one that is no folder: a name stands for its weights."""
    folder = Path(model.partition(":")[2]).expanduser()
    if not model.partition(":")[2] or not folder.is_dir():
        return ""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            digest.update(f"{path.relative_to(folder)} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()[:16]


def similarity(tags: Sequence[str], model: str = LEXICAL, threshold: float = 0.9) -> csr_matrix:
    """Cosines of at least `threshold`, 0 elsewhere, 1 on the diagonal: float64 (tags, tags), symmetric.

    Args:
        tags: texts, each different.
        model: see `tag_vectors`; `none` leaves every tag by itself.
        threshold: above 0; from 1 on every tag is by itself.
    """
    from scipy.sparse import eye

    if model == NONE or threshold >= 1 or len(tags) < 2:
        return eye(len(tags), format="csr")
    return cosines_from(tag_vectors(tags, model), threshold)


def cosines_from(vectors: Any, threshold: float) -> csr_matrix:
    """As `similarity`, of unit vectors; no more than a thousand rows of cosines are held at a time."""
    from scipy.sparse import coo_matrix

    size = vectors.shape[0]
    rows, columns, values = [np.arange(size)], [np.arange(size)], [np.ones(size)]
    for first in range(0, size, _CHUNK):
        found = cosines(vectors[first : first + _CHUNK], vectors)
        row, column = np.nonzero(found >= threshold)
        other = row + first < column  # each pair once: both halves are then the same to the last bit
        row, column = row[other], column[other]
        pairs = np.minimum(found[row, column].astype(np.float64), 1.0)
        rows += [row + first, column]
        columns += [column, row + first]
        values += [pairs, pairs]
    cells = (np.concatenate(rows), np.concatenate(columns))
    return coo_matrix((np.concatenate(values), cells), shape=(size, size)).tocsr()


def cosines(some: Any, others: Any) -> np.ndarray:
    """float32 (some, others), of dense or sparse unit vectors."""
    found = some @ others.T
    dense: np.ndarray = found if isinstance(found, np.ndarray) else found.toarray()
    return dense
