"""The best, and the best of every cluster."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from curation.operators import Pool, Selection, Selector
from curation.subsets.candidates import ROWS, unscored, vectors_for
from curation.subsets.k_means import k_means
from curation.subsets.ranking import best_first, chosen, enough, numbers


class ClusterQuota(Selector):
    """The best samples of every cluster, then the best of all.

    Source: Ge et al. 2024, Clustering and Ranking (CaR), arXiv:2402.18191: PCA that keeps 95 % of the variance, k-means
    with k = sqrt(n / 2), then the n1 best by quality together with the best n2 = 1 of each cluster.

    Differs from the source: the budget is exact. The best of each cluster come first, by quality, then the others, by
    quality: from as many samples as there are quotas on, that is the source's union, with the n1 that fills the budget;
    below, the best of the clusters whose best are best. So the order does not depend on the budget. Clusters have
    numbers; the reference code sorts them as texts.
    """

    name: ClassVar[str] = "cluster-quota"

    quality: str = Field(min_length=1, description="Score column; highest is best")
    quota: int = Field(1, ge=1, description="Samples that every cluster gives (n2 in the source)")
    clusters: int | None = Field(None, ge=1, description="Clusters of k-means; null: sqrt(samples / 2)")
    variance: float | None = Field(0.95, gt=0, le=1, description="Share that PCA keeps before k-means; null: no PCA")
    seed: int = Field(0, ge=0, description="Of k-means")

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.quality,)

    @property
    def needs_vectors(self) -> bool:
        return True

    def select(self, pool: Pool, budget: int) -> Selection:
        vectors, values = vectors_for(self, pool), numbers(pool.frame, self.quality)
        known = np.flatnonzero(np.isfinite(values))
        enough(self.name, len(known), budget, pool, f"have the score {self.quality!r}", "score more samples")
        labels, place = np.full(len(pool), -1), np.zeros(len(pool), np.int64)
        labels[known] = self.cluster(vectors, known)
        order = best_first(values, known)
        together = order[np.argsort(labels[order], kind="stable")]
        sizes = np.bincount(labels[known])
        place[together] = np.arange(len(known)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        first = place[order] < self.quota
        rows = np.concatenate([order[first], order[~first]])
        least, quotas = values[rows[budget - 1]], int(first.sum())
        last = f"the last chosen has {least:.4g}" + (" and is the best of its own" if budget <= quotas else "")

        def reason(i: int) -> str:
            where = f"place {place[i] + 1:,} of {sizes[labels[i]]:,} in cluster {labels[i]}"
            return f"{self.quality} {values[i]:.4g} is {where}; {last}"

        return chosen(pool, rows[:budget], reason, unscored(values, self.quality))

    def cluster(self, vectors: np.ndarray, known: np.ndarray) -> np.ndarray:
        """The cluster of each of the known rows, int64 from 0."""
        part = vectors if len(known) == len(vectors) else vectors[known]
        if self.variance is not None:
            part = leading(part, self.variance)
        count = self.clusters or max(1, round((len(known) / 2) ** 0.5))
        return k_means(part, min(count, len(known)), seed=self.seed, spherical=False)[0]


def leading(vectors: np.ndarray, share: float) -> np.ndarray:
    """The principal components that hold this share of the variance: float32 (rows, as many as it takes)."""
    mean = vectors.mean(axis=0, dtype=np.float64)
    spread = np.zeros((vectors.shape[1], vectors.shape[1]))
    for start in range(0, len(vectors), ROWS):
        rows = vectors[start : start + ROWS] - mean
        spread += rows.T @ rows
    variance, axes = np.linalg.eigh(spread)
    variance = np.maximum(variance[::-1], 0)
    held = np.cumsum(variance) / max(float(variance.sum()), np.finfo(float).tiny)
    count = min(int(np.searchsorted(held, share - 1e-12)) + 1, len(held))
    turned = np.ascontiguousarray(axes[:, ::-1][:, :count], np.float32)
    found = np.empty((len(vectors), count), np.float32)
    for start in range(0, len(vectors), ROWS):
        found[start : start + ROWS] = (vectors[start : start + ROWS] - mean.astype(np.float32)) @ turned
    return found
