"""The Repr filter in blocks against the loop over the rows that defines it."""

from __future__ import annotations

from typing import Any

from benchmarks.measuring import in_turn, table

ROWS, DIMENSIONS = 52_002, 384
LOOPED = 8000
"""Rows that the loop is given: its time grows with the square, so that all of them take 42 times as long."""
THRESHOLD = 0.9


def run() -> None:
    """52,002 x 384 float32: nothing is dropped (the worst case), and half of it; the loop on the first 8,000."""
    import numpy as np

    from curation.subsets.repr_filter import repr_filter

    for name, vectors in {"nothing alike": _vectors(alike=False), "half alike": _vectors(alike=True)}.items():
        some, order = vectors[:LOOPED], np.arange(LOOPED)
        kept: dict[str, list[int]] = {}
        loop, blocks = f"row loop, {LOOPED:,} rows", f"in blocks, {LOOPED:,} rows"
        sides = {
            loop: lambda some=some, kept=kept: kept.update(loop=row_loop(some)),
            blocks: lambda some=some, order=order, kept=kept: kept.update(
                blocks=repr_filter(some, order, THRESHOLD).rows
            ),
        }
        print(f"  {name}")
        seconds = in_turn(sides, 1)
        table(seconds, blocks)
        print(f"  equal: {kept['loop'] == kept['blocks']}, {len(kept['blocks']):,} kept")
        all_rows = np.arange(ROWS)
        whole = in_turn({"in blocks": lambda v=vectors, o=all_rows: repr_filter(v, o, THRESHOLD)}, 1)["in blocks"]
        scaled = seconds[loop] * (ROWS / LOOPED) ** 2
        print(f"  in blocks, all {ROWS:,} rows: {whole:.3f} s; the loop, scaled by the square: {scaled:.0f} s", end="")
        print(f", {scaled / whole:.0f} x")


def row_loop(vectors: Any) -> list[int]:
    """As the reference does it: for each row the kept vectors are gathered, made unit length and multiplied."""
    import numpy as np

    kept = [0]
    for row in range(1, len(vectors)):
        before = vectors[kept]
        before /= np.linalg.norm(before, axis=1, keepdims=True)
        one = vectors[row] / np.linalg.norm(vectors[row])
        if not (before @ one > THRESHOLD).any():
            kept.append(row)
    return kept


def _vectors(alike: bool) -> Any:
    import numpy as np

    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(ROWS, DIMENSIONS)).astype(np.float32)
    if alike:
        copies = rng.permutation(ROWS)[: ROWS // 2]
        vectors[copies] = vectors[rng.integers(0, ROWS, len(copies))] + 0.3 * vectors[copies]
    return vectors
