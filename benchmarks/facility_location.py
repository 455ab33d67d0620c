"""Facility location over nearest neighbours against the dense one: its objective and its time."""

from __future__ import annotations

from typing import Any

from benchmarks.measuring import in_turn, table

ROWS, DIMENSIONS, BUDGET = 2000, 384, 200


def run() -> None:
    """2,000 x 384: the share of the dense greedy's objective that is reached, from 10 to 200 choices; then 52,002."""
    import numpy as np

    from curation.subsets.facility import Coverage, lazy_greedy

    rng = np.random.default_rng(0)
    centers = rng.normal(size=(50, DIMENSIONS))
    kinds = {
        "no structure": rng.normal(size=(ROWS, DIMENSIONS)),
        "50 clusters": centers[rng.integers(0, 50, ROWS)] + rng.normal(size=(ROWS, DIMENSIONS)),
        "first dimensions weigh more": rng.normal(size=(ROWS, DIMENSIONS)) * np.arange(1, DIMENSIONS + 1) ** -0.5,
    }

    def sparse(vectors: Any, budget: int) -> list[int]:
        coverage = Coverage(vectors, 64)
        rows = np.arange(len(vectors))
        return lazy_greedy(coverage.gains(), rows, lambda row, _: coverage.gain(row), coverage.add, budget)

    for name, matrix in kinds.items():
        vectors = (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)
        similarity = np.clip(vectors @ vectors.T, 0, None)
        orders: dict[str, list[int]] = {}
        sides = {
            "dense greedy": lambda s=similarity, o=orders: o.update(dense=dense_greedy(s, BUDGET)),
            "64 neighbours": lambda v=vectors, o=orders: o.update(sparse=sparse(v, BUDGET)),
        }
        print(f"  {name}")
        table(in_turn(sides, 1), "64 neighbours")
        reached = [
            similarity[:, orders["sparse"][:b]].max(axis=1).sum() / similarity[:, orders["dense"][:b]].max(axis=1).sum()
            for b in (10, 20, 50, 100, 200)
        ]
        print("  of the dense objective at 10, 20, 50, 100, 200:", ", ".join(f"{share:.3f}" for share in reached))
    many = rng.normal(size=(52_002, DIMENSIONS)).astype(np.float32)
    seconds = in_turn({"5 %": lambda: sparse(many, 2600)}, 1)["5 %"]
    print(f"  2,600 of 52,002: {seconds:.1f} s")


def dense_greedy(similarity: Any, budget: int) -> list[int]:
    """Every gain anew for every choice."""
    import numpy as np

    best, order = np.zeros(len(similarity), similarity.dtype), list[int]()
    for _ in range(budget):
        gains = np.maximum(similarity - best[:, None], 0).sum(axis=0)
        gains[order] = -1
        order.append(int(gains.argmax()))
        np.maximum(best, similarity[:, order[-1]], out=best)
    return order
