"""k-center against the bare matrix-vector products it can't do without."""

from __future__ import annotations

from benchmarks.measuring import in_turn, table


def run() -> None:
    """52,002 x 384 float32, 5 %; three runs of each in turn, for both wait for memory."""
    import numpy as np

    from curation.selectors.k_center import farthest_first

    vectors = np.random.default_rng(0).normal(size=(52_002, 384)).astype(np.float32)
    budget = 2600
    out = np.empty(len(vectors), np.float32)

    def bare() -> None:
        for row in range(budget):
            np.dot(vectors, vectors[row], out=out)

    sides = {"2,600 matrix-vector products": bare, "k-center of 2,600": lambda: farthest_first(vectors, budget, 0)}
    table(in_turn(sides), "2,600 matrix-vector products")
