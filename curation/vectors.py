"""Stored embeddings, and how they are read.

embeddings/NAME/vectors.npy   float32 (samples, dimensions), unit length unless the user's own are not
embeddings/NAME/ids.npy       the sample of each row
embeddings/NAME/about.json    model, text, dimensions
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curation.corpus import Corpus
from curation.errors import CorpusError, unknown

ROWS_AT_ONCE = 65_536


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
    ids, matrix = stored(corpus.path / "embeddings" / name)
    assert matrix is not None
    return Vectors(name, known[name]["model"], ids, matrix)


def about_of(folder: Path) -> dict[str, Any] | None:
    """What an embedding's folder says of itself; null where there is none."""
    path = folder / "about.json"
    return json.loads(path.read_text()) if path.exists() else None


def stored(folder: Path) -> tuple[list[str], np.ndarray | None]:
    """The ids and the memory-mapped vectors of an embedding; nothing where there is none."""
    about = about_of(folder)
    if about is None:
        return [], None
    number = about["number"]
    return np.load(folder / f"ids-{number}.npy").tolist(), np.load(folder / f"vectors-{number}.npy", mmap_mode="r")


def store(folder: Path, ids: Sequence[str], matrices: Sequence[np.ndarray], about: dict[str, Any]) -> None:
    """Write an embedding as a whole: the rows of the matrices one below the other, row i of `ids[i]`."""
    number = ((about_of(folder) or {}).get("number") or 0) + 1
    shape = (len(ids), int(matrices[0].shape[1]))
    # Written, not mapped: where a mapped file outgrows the disk, the process is killed without a word.
    with (folder / f"vectors-{number}.npy").open("wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for matrix in matrices:
            for start in range(0, len(matrix), ROWS_AT_ONCE):
                file.write(np.ascontiguousarray(matrix[start : start + ROWS_AT_ONCE], dtype=np.float32).data)
    np.save(folder / f"ids-{number}.npy", np.array(ids))
    partial = folder / ".about.json"
    partial.write_text(json.dumps({**about, "dimensions": shape[1], "samples": shape[0], "number": number}))
    partial.replace(folder / "about.json")
    for path in (*folder.glob("vectors-*.npy"), *folder.glob("ids-*.npy")):
        if not path.stem.endswith(f"-{number}"):
            path.unlink()
