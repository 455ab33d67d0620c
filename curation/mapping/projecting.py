"""From vectors to two coordinates: principal components at once, t-SNE in minutes."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from curation.progress import Progress, silent

FIT = 50
"""Principal components that neighbours and clusters are found in: what is beyond them is mostly noise, and slow."""
FITTED_ON = 100_000
"""Samples that a map is laid out with; of more so many are drawn, and the others are put among their neighbours."""
PLACED_BY = 5
"""Neighbours that say where a sample comes to lie that was not there when the map was laid out."""
ROWS = 16_384
PERPLEXITY = 30.0
"""Neighbours that a sample is drawn to, as it were (van der Maaten & Hinton 2008 advise 5 to 50)."""
STEPS, FIRST_STEPS, TOLD_EVERY = 750, 250, 10
"""Of the layout; those in which neighbours attract more strongly than they should, so that groups form; and after how
many a listener is told."""
FEWEST = 30
"""Fewer samples have no neighbourhoods to speak of."""
ONE_THREAD_UP_TO = 50_000
"""Of fewer samples a step is so short that threads cost more than they bring, most of all on a busy machine."""
EXACT_UP_TO = 20_000
"""Rows among which neighbours are looked for one by one; of more only in the cells nearby."""


def components(vectors: np.ndarray, most: int = FIT) -> tuple[np.ndarray, np.ndarray]:
    """The mean (dimensions) and the first principal directions (dimensions, at most `most`), float32.

    The sign of each direction is such that its largest number is positive, as the sign is arbitrary otherwise.
    """
    dimensions = vectors.shape[1]
    total, squares = np.zeros(dimensions), np.zeros((dimensions, dimensions))
    for start in range(0, len(vectors), ROWS):
        rows = np.asarray(vectors[start : start + ROWS], np.float64)
        total += rows.sum(0)
        squares += rows.T @ rows
    mean = total / max(len(vectors), 1)
    _, found = np.linalg.eigh(squares / max(len(vectors), 1) - np.outer(mean, mean))
    directions = found[:, ::-1][:, :most]
    largest = directions[np.abs(directions).argmax(0), np.arange(directions.shape[1])]
    return mean.astype(np.float32), (directions * np.where(largest < 0, -1, 1)).astype(np.float32)


def fit_space(vectors: np.ndarray, mean: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """The vectors in the space of the components: float32 (rows, components), at least two columns."""
    parts = [
        (np.asarray(vectors[start : start + ROWS], np.float32) - mean) @ directions
        for start in range(0, len(vectors), ROWS)
    ]
    found = np.concatenate(parts) if parts else np.zeros((0, directions.shape[1]), np.float32)
    return found if found.shape[1] > 1 else np.pad(found, ((0, 0), (0, 1)))


def _pca(fitted: np.ndarray, seed: int, progress: Progress) -> np.ndarray:
    return fitted[:, :2].copy()


def _tsne(fitted: np.ndarray, seed: int, progress: Progress) -> np.ndarray:
    """t-SNE by openTSNE, with neighbours found by faiss and the principal components as the beginning."""
    from openTSNE import TSNE
    from openTSNE.affinity import PerplexityBasedNN
    from openTSNE.nearest_neighbors import PrecomputedNeighbors

    progress(0, STEPS, "finding neighbours")
    perplexity = min(PERPLEXITY, (len(fitted) - 1) / 3)
    squared, others = neighbours(fitted, int(3 * perplexity))
    near = PrecomputedNeighbors(others, np.sqrt(np.maximum(squared, 0)))
    threads = 1 if len(fitted) <= ONE_THREAD_UP_TO else -1
    affinities = PerplexityBasedNN(perplexity=perplexity, knn_index=near, n_jobs=threads)
    steps = itertools.count(TOLD_EVERY, TOLD_EVERY)

    def told(of_phase: int, error: float, places: np.ndarray) -> None:
        # A job that was cancelled leaves from here, by what progress raises.
        progress(next(steps), STEPS, "laying out")

    layout = TSNE(
        early_exaggeration_iter=FIRST_STEPS, n_iter=STEPS - FIRST_STEPS, negative_gradient_method="auto",
        random_state=seed, n_jobs=threads, callbacks=told, callbacks_every_iters=TOLD_EVERY,
    )  # fmt: skip
    places = layout.fit(affinities=affinities, initialization=_beginning(fitted, seed))
    return np.asarray(places, np.float32)


def _beginning(fitted: np.ndarray, seed: int) -> np.ndarray:
    """The first two components, as small as t-SNE wants them; equal vectors get places a hair apart."""
    spread = max(float(fitted[:, 0].std()), 1e-12)
    hair = np.random.default_rng(seed).normal(0, 1e-6, (len(fitted), 2))
    return np.asarray((fitted[:, :2] - fitted[:, :2].mean(0)) / spread * 1e-4 + hair, np.float64)


METHODS: dict[str, Callable[[np.ndarray, int, Progress], np.ndarray]] = {"tsne": _tsne, "pca": _pca}
"""Name -> what lays out the rows of the fit space."""


def neighbours(vectors: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Squared distances and row numbers of each row's nearest others, the nearest first, (rows, count) each.

    Exact up to `EXACT_UP_TO` rows; beyond, only the nearest cells are looked into.
    """
    rows = len(vectors)
    distances, places = _index(vectors, 12).search(vectors, count + 1)
    lacking = np.flatnonzero((places < 0).any(1))
    if len(lacking):  # the cells looked into hold too few
        distances[lacking], places[lacking] = _flat(vectors).search(vectors[lacking], count + 1)
    # Itself is first, but among equal vectors it may stand further back, or not be there at all.
    mine = places == np.arange(rows)[:, None]
    mine[~mine.any(1), -1] = True
    return distances[~mine].reshape(rows, count), places[~mine].reshape(rows, count)


def _flat(vectors: np.ndarray) -> Any:
    import faiss

    index = faiss.IndexFlatL2(vectors.shape[1])
    index.add(vectors)
    return index


def _index(vectors: np.ndarray, cells: int) -> Any:
    import faiss

    if len(vectors) <= EXACT_UP_TO:
        return _flat(vectors)
    size = vectors.shape[1]
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(size), size, int(2 * len(vectors) ** 0.5), faiss.METRIC_L2)
    index.nprobe = cells
    index.cp.seed = 0
    index.train(vectors)
    index.add(vectors)
    return index


def laid_out(fitted: np.ndarray, method: str, *, seed: int = 0, progress: Progress = silent) -> np.ndarray:
    """Coordinates of every row, float32 (rows, 2); of a few rows the principal components, whatever the method.

    Equal rows, seed and versions of the packages give equal bytes on one machine. On another kind of processor, or
    with another number of them, sums may be rounded otherwise, which t-SNE's many steps make
    visible: the neighbours stay, but the map may be arranged in another way.

    Args:
        fitted: float32 (rows, components), the most important one first.
        method: one of `METHODS`.
        seed: of what is drawn.
        progress: told the steps.
    """
    rows = len(fitted)
    if method == "pca" or rows < FEWEST:
        return _pca(fitted, seed, progress)
    if rows <= FITTED_ON:
        return METHODS[method](fitted, seed, progress)
    drawn = np.sort(np.random.default_rng(seed).permutation(rows)[:FITTED_ON])
    places = np.empty((rows, 2), np.float32)
    places[drawn] = METHODS[method](np.ascontiguousarray(fitted[drawn]), seed, progress)
    rest = np.setdiff1d(np.arange(rows), drawn, assume_unique=True)
    progress(FITTED_ON, rows, "placing the other samples among their neighbours")
    places[rest] = placed(fitted[rest], fitted[drawn], places[drawn])
    return places


def placed(fresh: np.ndarray, known: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Where samples lie that came after the map was laid out: amid their nearest neighbours, float32 (rows, 2).

    Args:
        fresh: float32 (rows, components), their vectors in the fit space.
        known: float32 (samples, components), of those on the map.
        places: float32 (samples, 2), where these lie.
    """
    index = _index(known, 8)
    found = np.empty((len(fresh), 2), np.float32)
    for start in range(0, len(fresh), ROWS):
        apart, rows = index.search(np.ascontiguousarray(fresh[start : start + ROWS]), min(PLACED_BY, len(known)))
        near = np.where(rows >= 0, 1 / (np.maximum(apart, 0) + 1e-6), 0)
        near /= near.sum(1, keepdims=True)
        found[start : start + ROWS] = (places[rows] * near[..., None]).sum(1)
    return found
