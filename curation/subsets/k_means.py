"""k-means by faiss, seeded."""

from __future__ import annotations

import numpy as np

from curation.subsets.candidates import ROWS, unit

ROUNDS = 20
TRAINED_ON = 256
"""Rows per cluster that the centroids are found with, as faiss has it; the others are only put to the nearest one."""


def k_means(vectors: np.ndarray, clusters: int, *, seed: int, spherical: bool) -> tuple[np.ndarray, np.ndarray]:
    """The cluster of each row (int64, 0 to `clusters` - 1), and how near its centroid is.

    Args:
        vectors: float32 (rows, dimensions), at least as many rows as clusters.
        clusters: how many.
        seed: of the rows that are drawn and of the first centroids.
        spherical: by cosine, and near is the cosine (-1..1); else by distance, and near is minus its square.
    """
    import faiss

    def rows(of: np.ndarray) -> np.ndarray:
        return unit(of) if spherical else np.ascontiguousarray(of, np.float32)

    drawn = np.random.default_rng(seed).permutation(len(vectors))[: clusters * TRAINED_ON]
    trained = faiss.Kmeans(
        vectors.shape[1], clusters, niter=ROUNDS, seed=seed, spherical=spherical,
        min_points_per_centroid=1, max_points_per_centroid=TRAINED_ON,
    )  # fmt: skip
    trained.train(rows(vectors[np.sort(drawn)]))
    labels, near = np.empty(len(vectors), np.int64), np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), ROWS):
        part = slice(start, start + ROWS)
        answer, at = trained.index.search(rows(vectors[part]), 1)
        labels[part], near[part] = at[:, 0], answer[:, 0]
    return labels, near if spherical else -near
