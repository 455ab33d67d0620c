"""A pool with everything a selector may read."""

from __future__ import annotations

import numpy as np
import polars as pl

from curation.operators import Pool

TOPICS = [f"topic {i}" for i in range(40)]


def pool(n: int = 200, seed: int = 0) -> Pool:
    """`n` samples in eight loose clusters; every fiftieth has no quality, every fortieth no tags."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(8, 8))
    vectors = centers[rng.integers(0, 8, n)] + 0.4 * rng.normal(size=(n, 8))
    tags = [[TOPICS[j] for j in rng.choice(40, rng.integers(1, 6), replace=False)] for _ in range(n)]
    frame = pl.DataFrame(
        {
            "id": [f"{i:04d}" for i in range(n)],
            "source": ["big" if i % 4 else "small" for i in range(n)],
            "quality": [None if i % 50 == 7 else float(i % 17) for i in range(n)],
            "difficulty": rng.random(n),
            "response_chars": rng.integers(0, 100, n),
            "instag": [None if i % 40 == 3 else tags[i] for i in range(n)],
        },
        schema_overrides={"instag": pl.List(pl.String)},
    )
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return Pool(frame, unit, targets=unit[5:9], given=np.array([2, 1, 0]))
