"""Related documents next to each other: a path through their texts that goes from each to a near one.

Source: Shi et al. 2023, In-Context Pretraining, arXiv:2310.10638 (documents are a path of nearest neighbours, each
visited once, which fills the context with related text).
Differs from the source: texts are compared by wording (the lexical encoder), and the path is made inside groups of near
documents, so that time grows with their number and not with its square.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

GROUP = 2_048
"""Documents that are compared each with each: 16 MiB of similarities."""


def related_order(texts: Sequence[str]) -> list[int]:
    """The places of the texts in an order in which neighbours are alike; deterministic.

    Memory: 512 bytes a text (its vector), and 16 MiB. Texts without letters come last, in their order.
    """
    from curation.language_models.encoders import LexicalEncoder

    said = [i for i, text in enumerate(texts) if text.strip()]
    if len(said) < 3:
        return said + [i for i, text in enumerate(texts) if not text.strip()]
    chosen = [texts[i] for i in said]
    path = path_through(LexicalEncoder().fit(chosen).encode(chosen))
    return [said[i] for i in path] + [i for i, text in enumerate(texts) if not text.strip()]


def path_through(vectors: np.ndarray) -> list[int]:
    """Row numbers of unit vectors (float32) as a greedy path: next comes the nearest that is left in the group."""
    import numpy as np

    path: list[int] = []
    for group in _groups(vectors, np.arange(len(vectors))):
        near = vectors[group]
        # Rounded, so that sums in another order can't turn a tie.
        similar = np.round(near @ near.T, 5)
        at = int(np.round(near @ vectors[path[-1]], 5).argmax()) if path else 0
        left = np.ones(len(group), dtype=bool)
        for _ in range(len(group)):
            path.append(int(group[at]))
            left[at] = False
            at = int(np.where(left, similar[at], -2.0).argmax())
    return path


def _groups(vectors: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    """The rows halved by which of two far ones they are nearer to, until no group is larger than `GROUP`."""
    import numpy as np

    if len(rows) <= GROUP:
        return [rows]
    near = vectors[rows]
    one = near[int((near @ near[0]).argmin())]
    other = near[int((near @ one).argmin())]
    halves = np.argsort(np.round(near @ (other - one), 5), kind="stable")
    del near
    middle = len(rows) // 2
    return [group for half in (halves[:middle], halves[middle:]) for group in _groups(vectors, np.sort(rows[half]))]
