"""What is left when samples that mean the same are removed."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from curation.operators import Pool, Selection, Selector
from curation.subsets.candidates import has_direction, others, unit, unscored, vectors_for
from curation.subsets.k_means import k_means
from curation.subsets.ranking import best_first, chosen, enough, numbers
from curation.subsets.repr_filter import ROUNDING, ROWS, Kept, nearest, repr_filter

PER_CLUSTER = 1000
"""Samples per cluster where no number of clusters is given; LAION-440M in 50,000 clusters has 8,800."""


class SemDeDup(Selector):
    """Samples that are left when of those with nearly the same meaning only the best stay, the best of all first.

    Source: Abbas et al. 2023, SemDeDup, arXiv:2303.09540: spherical k-means, then within every cluster a sample is
    removed where its cosine to an earlier one is above 1 - epsilon, those far from the centroid ("hard") first.

    Differs from the source: a sample is only removed for one that stays (`greedy`), so that of a chain of alike ones
    every other one stays; `non-greedy` is the source's rule, where those that were removed remove others too. The kept
    one may be the best by a score. What is left is put in the same order, to fill a budget.
    """

    name: ClassVar[str] = "semdedup"

    quality: str | None = Field(
        None, description="Score whose highest is kept; null keeps the farthest from its centroid, as the source does"
    )
    threshold: float = Field(0.95, gt=-1, le=1, description="Cosine above which two samples mean the same")
    rule: Literal["greedy", "non-greedy"] = Field(
        "greedy", description="`greedy` compares with kept samples; `non-greedy`, as the source, with all earlier ones"
    )
    clusters: int | None = Field(None, ge=1, description="Clusters of k-means; null makes one per 1,000 samples")
    seed: int = Field(1234, ge=0, description="Of k-means")

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.quality,) if self.quality else ()

    @property
    def needs_vectors(self) -> bool:
        return True

    def select(self, pool: Pool, budget: int) -> Selection:
        vectors = vectors_for(self, pool)
        values = numbers(pool.frame, self.quality) if self.quality else np.zeros(len(pool))
        without = unscored(values, self.quality or "")
        without |= dict.fromkeys(np.flatnonzero(~has_direction(vectors)).tolist(), "its vector is zero")
        among = others(len(pool), without)
        kept, like, order = self._kept(vectors, among, values)
        survive = f"are left when those above a cosine of {self.threshold:g} are removed"
        enough(self.name, len(kept), budget, pool, survive, "raise the threshold: --set threshold=VALUE")
        rows, ids = [i for i in order.tolist() if i in kept], pool.frame["id"]
        place = {row: number for number, row in enumerate(rows, 1)}
        left = without | {
            row: f"alike: its cosine to {ids[other]} is {cosine:.4f}, above {self.threshold:g}"
            for row, (other, cosine) in like.items()
        }
        return chosen(pool, rows[:budget], lambda i: f"place {place[i]:,} of the {len(rows):,} that are left", left)

    def _kept(
        self, vectors: np.ndarray, among: np.ndarray, values: np.ndarray
    ) -> tuple[set[int], dict[int, tuple[int, float]], np.ndarray]:
        """Rows that stay, what each other one is like, and all in order."""
        if not len(among):
            return set(), {}, among
        clusters = min(len(among), self.clusters or -(-len(among) // PER_CLUSTER))
        labels, near = k_means(vectors[among], clusters, seed=self.seed, spherical=True)
        keys = values.copy()
        if not self.quality:
            keys[among] = -near.astype(np.float64)
        by_cluster = best_first(keys[among])  # places within `among`
        by_cluster = by_cluster[np.argsort(labels[by_cluster], kind="stable")]
        parts = np.split(among[by_cluster], np.cumsum(np.bincount(labels, minlength=clusters))[:-1])
        go_through = repr_filter if self.rule == "greedy" else unlike_all_before
        found = [go_through(vectors, part, self.threshold) for part in parts]
        like = {row: other for part in found for row, other in part.like.items()}
        return {row for part in found for row in part.rows}, like, best_first(keys, among)


def unlike_all_before(vectors: np.ndarray, order: np.ndarray, threshold: float) -> Kept:
    """As `repr_filter`, but a row is compared with all rows before it, those that are dropped too."""
    found, every = Kept(), unit(vectors[order])
    for start in range(0, len(order), ROWS):
        block = every[start : start + ROWS]
        near, at = nearest(block, every[:start])
        inside = np.tril(block @ block.T, -1) + np.triu(np.full((len(block), len(block)), -np.inf, np.float32))
        best = inside.argmax(axis=1)
        mine = inside[np.arange(len(block)), best]
        at, near = np.where(mine > near, start + best, at), np.maximum(mine, near)
        for place, row in enumerate(order[start : start + ROWS].tolist()):
            if near[place] > threshold + ROUNDING:
                found.like[row] = int(order[at[place]]), min(float(near[place]), 1.0)
            else:
                found.rows.append(row)
    return found
