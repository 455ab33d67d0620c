"""The Repr filter of DEITA: of samples in an order, those that are not too like one that was kept before them.

It gives what a loop over the rows gives, for any size of the blocks: every row is compared with the kept rows only. The
kept rows before a block meet it in one product of matrices; within the block the rows are taken one after another.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from curation.subsets.candidates import unit

ROWS, COLUMNS = 256, 8192
"""Rows and kept rows of a block of cosines: 8 MiB."""

ROUNDING = 1e-6
"""What a cosine of float32 vectors may lie above the threshold and still count as equal to it."""

DOUBTFUL = 1e-5
"""From the threshold: closer than this a float32 product doesn't settle it, so that it is done again in float64."""


@dataclass(frozen=True)
class Kept:
    """Rows by number: what was kept, and what a dropped row is like."""

    rows: list[int] = field(default_factory=list)
    """In the order in which they came."""
    like: dict[int, tuple[int, float]] = field(default_factory=dict)
    """Dropped row -> the kept row that it is most like, and their cosine."""


def repr_filter(vectors: np.ndarray, order: np.ndarray, threshold: float, most: int | None = None) -> Kept:
    """Keep each row unless its cosine to a kept one is above the threshold.

    Args:
        vectors: (rows, dimensions) of any length but 0; copied block by block, so that no second matrix arises.
        order: the rows to go through, best first.
        threshold: cosine; a row at the threshold is kept.
        most: stop when so many are kept; the rows after that are neither kept nor dropped.
    """
    most = len(order) if most is None else most
    found, store = Kept(), np.empty((min(most, COLUMNS), vectors.shape[1]), np.float32)
    for start in range(0, len(order), ROWS):
        if len(found.rows) == most:
            break
        rows = order[start : start + ROWS]
        block, before = unit(vectors[rows]), len(found.rows)
        taken = _through(block, rows, store[:before], found, threshold + ROUNDING, most)
        store = _with_room(store, before, len(taken), most)
        store[before : before + len(taken)] = block[taken]
    return found


def _through(block: np.ndarray, rows: np.ndarray, store: np.ndarray, found: Kept, bound: float, most: int) -> list[int]:
    """Go through the rows of a block; the places within it that were kept."""
    near, at = nearest(block, store)
    inside = block @ block.T
    taken: list[int] = []
    for place, row in enumerate(rows.tolist()):
        cosine, which = float(near[place]), int(at[place])
        if taken:
            mine = inside[place, taken]
            best = int(mine.argmax())
            if mine[best] > cosine:
                cosine, which = float(mine[best]), len(store) + best
        if abs(cosine - bound) < DOUBTFUL:
            cosine, which = _again(block[place], store, block[taken], cosine)
        if cosine > bound:
            found.like[row] = found.rows[which], min(cosine, 1.0)
            continue
        taken.append(place)
        found.rows.append(row)
        if len(found.rows) == most:
            break
    return taken


def nearest(block: np.ndarray, store: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each row of a block the highest product with a row of the store, and that row; -inf and -1 without any."""
    highest, at = np.full(len(block), -np.inf, np.float32), np.full(len(block), -1)
    each = np.arange(len(block))
    room = np.empty(len(block) * min(len(store), COLUMNS), np.float32)
    for start in range(0, len(store), COLUMNS):
        part = store[start : start + COLUMNS]
        cosines = np.dot(block, part.T, out=room[: len(block) * len(part)].reshape(len(block), len(part)))
        place = cosines.argmax(axis=1)
        value = cosines[each, place]
        better = value > highest
        highest[better], at[better] = value[better], start + place[better]
    return highest, at


def _again(row: np.ndarray, store: np.ndarray, taken: np.ndarray, cosine: float) -> tuple[float, int]:
    # Only rows whose float32 product comes as near can have the highest one in float64.
    cosines = np.concatenate([store @ row, taken @ row])
    close = np.flatnonzero(cosines > cosine - DOUBTFUL)
    kept = np.concatenate([store[close[close < len(store)]], taken[close[close >= len(store)] - len(store)]])
    exact = kept.astype(np.float64) @ row.astype(np.float64)
    return float(exact.max()), int(close[exact.argmax()])


def _with_room(store: np.ndarray, used: int, more: int, most: int) -> np.ndarray:
    if used + more <= len(store):
        return store
    larger = np.empty((min(most, max(2 * len(store), used + more)), store.shape[1]), np.float32)
    larger[:used] = store[:used]
    return larger
