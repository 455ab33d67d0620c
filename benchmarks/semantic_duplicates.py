"""Semantic duplicates against the searches of faiss, on vectors with planted pairs."""

from __future__ import annotations

from typing import Any

from benchmarks.measuring import in_turn, missing, table

ROWS, DIMENSIONS = 52_002, 384
THRESHOLD = 0.9


def run() -> None:
    """52,002 x 384 float32, a tenth of them planted at a cosine of about 0.97: random, and with a common part."""
    try:
        import faiss
    except ImportError:
        missing("faiss is not installed")
        return
    import numpy as np
    import polars as pl

    from curation.scorers import SemanticDuplicate

    for decay, name in ((0.0, "random vectors"), (0.5, "vectors whose first dimensions weigh more, as real ones")):
        vectors, sources, copies = planted(decay)
        batch = pl.DataFrame({"id": np.arange(ROWS).astype(str), "instruction": "", "response": ""}).with_columns(
            label=pl.lit(None, pl.Boolean),
            rejected=pl.lit(None, pl.List(pl.Struct({"content": pl.String}))),
            vector=pl.Series(vectors, dtype=pl.Array(pl.Float32, DIMENSIONS)),
        )
        kept: dict[str, Any] = {}

        def flat(vectors: Any = vectors) -> None:
            index = faiss.IndexFlatIP(DIMENSIONS)
            index.add(vectors)
            index.range_search(vectors, THRESHOLD)

        def score(search: str, batch: pl.DataFrame = batch, kept: dict[str, Any] = kept) -> None:
            scorer = SemanticDuplicate(search=search, keep="first", threshold=THRESHOLD)  # type: ignore[arg-type]
            kept[search] = scorer.score(batch)["semantic_duplicate"].to_numpy()

        bound = "faiss: flat index, range search alone"
        sides = {
            bound: flat,
            "semantic-duplicate, exact": lambda score=score: score("exact"),
            "semantic-duplicate, faiss (cells)": lambda score=score: score("faiss"),
        }
        print(f"  {name}")
        table(in_turn(sides, 1), bound)
        for search, dropped in kept.items():
            found = (dropped[sources] | dropped[copies]).sum()
            print(f"  {search}: {found:,} of {len(copies):,} planted pairs found, {dropped.sum():,} rows dropped")


def planted(decay: float) -> tuple[Any, Any, Any]:
    """Unit vectors, and the rows of each planted pair: the source and its copy.

    Args:
        decay: dimension d is scaled by d^-decay; 0 gives vectors without structure, the worst case of any index.
    """
    import numpy as np

    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(ROWS, DIMENSIONS)) * np.arange(1, DIMENSIONS + 1) ** -decay
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    order = generator.permutation(ROWS)
    copies, sources = order[: ROWS // 10], order[ROWS // 10 : 2 * (ROWS // 10)]
    step = generator.normal(size=(len(copies), DIMENSIONS))
    vectors[copies] = vectors[sources] + 0.25 * step / np.linalg.norm(step, axis=1, keepdims=True)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32), sources, copies
