"""Greedy maximisation of the information that a choice brings to the tags: the arithmetic of MIG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

CHUNK = 1024
"""Rows that are looked at in every step; all others are looked at again only where they may have become the best."""


@dataclass(frozen=True)
class Information:
    """A concave function of the information that each tag has: phi(u) = (u + epsilon) ** power."""

    gain: Literal["gradient", "exact"] = "gradient"
    power: float = 0.8
    epsilon: float = 1e-6

    def phi(self, total: np.ndarray) -> np.ndarray:
        """The function at each."""
        return np.power(total + self.epsilon, self.power)

    def weights(self, total: np.ndarray) -> np.ndarray:
        """What gains are computed from, tag by tag: the slope of the function for `gradient`, its value for `exact`."""
        return (
            self.power * np.power(total + self.epsilon, self.power - 1) if self.gain == "gradient" else self.phi(total)
        )

    def gains(self, spread: csr_matrix, scores: np.ndarray, total: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """What each row would bring now.

        Args:
            spread: (rows, tags), how a score of 1 spreads over the tags.
            scores: one per row.
            total: the information that each tag has.
            weights: of that.
        """
        if self.gain == "gradient":
            first_order: np.ndarray = scores * (spread @ weights)
            return first_order
        rows = np.repeat(np.arange(len(scores)), np.diff(spread.indptr))
        more = self.phi(total[spread.indices] + scores[rows] * spread.data) - weights[spread.indices]
        # Not a difference of running sums, which would depend on the rows before.
        return np.bincount(rows, weights=more, minlength=len(scores))


@dataclass(frozen=True)
class Choice:
    """What was chosen, and why the rest was not."""

    rows: list[int]
    """In the order chosen."""
    brought: list[float]
    """What each of them brought when it was chosen."""
    left: np.ndarray
    """float64 per row: what it would bring after all of them."""


def spreading(similarity: csr_matrix, propagation: float) -> csr_matrix:
    """How information spreads from tag to tag: other tags' similarities weighted, then every column brought to sum 1.

    Args:
        similarity: (tags, tags), 1 on the diagonal, 0 where two tags have nothing in common.
        propagation: weight of everything off the diagonal.
    """
    from scipy.sparse import csr_matrix, diags

    cells = similarity.tocoo()
    values = np.where(cells.row == cells.col, cells.data, cells.data * propagation)
    weighted = csr_matrix((values, (cells.row, cells.col)), shape=similarity.shape)
    weighted.eliminate_zeros()
    return (weighted @ diags(1 / np.asarray(weighted.sum(axis=0)).ravel())).tocsr()


def most_information(
    tags: csr_matrix,
    scores: np.ndarray,
    similarity: csr_matrix,
    budget: int,
    *,
    propagation: float = 1.0,
    norm: bool = False,
    information: Information | None = None,
) -> Choice:
    """Choose rows one by one, each the one that brings the most; of equal ones the first.

    Args:
        tags: (rows, tags), 1 where a row has a tag.
        scores: float64 per row, 0 or more.
        similarity: (tags, tags); see `spreading`.
        budget: rows to choose; those without tags come only when no other is left, in their order.
        propagation: weight of other tags' similarities.
        norm: divide what a row brings by the number of its tags.
        information: what is maximised, and how.
    """
    information = information or Information()
    spread = _multiplied(tags, norm) @ spreading(similarity, propagation)
    spread.sort_indices()
    bare = np.diff(tags.indptr) == 0
    choosing = _Choosing(spread, _grouped(tags, scores, bare), scores, information)
    order = choosing.run(min(budget, int((~bare).sum())))
    rest = np.flatnonzero(bare)[: budget - len(order)]
    left = information.gains(spread, scores, choosing.total, choosing.weights)
    return Choice([*order, *(int(i) for i in rest)], [*choosing.brought, *([0.0] * len(rest))], left)


def _multiplied(tags: csr_matrix, norm: bool) -> csr_matrix:
    if not norm:
        return tags
    from scipy.sparse import diags

    return diags(1 / np.maximum(1, np.diff(tags.indptr))) @ tags


def objective(
    tags: csr_matrix,
    scores: np.ndarray,
    similarity: csr_matrix,
    rows: list[int],
    *,
    propagation: float = 1.0,
    norm: bool = False,
    information: Information | None = None,
) -> float:
    """The information of a choice: phi of each tag's total, summed; see `most_information`."""
    spread = _multiplied(tags, norm)[rows] @ spreading(similarity, propagation)
    total = np.asarray(spread.T @ scores[rows]).ravel()
    return float((information or Information()).phi(total).sum())


@dataclass(frozen=True)
class _Groups:
    """Rows with the same tags, in the order in which they can be chosen: highest score first, then by row.

    Of rows with the same tags the one with the highest score brings the most, so only the first left of each group can
    be next. Where there are few tags, a million rows become a few groups.
    """

    rows: np.ndarray
    """int64: one group after the other."""
    starts: np.ndarray
    """int64 (groups + 1): where each begins in `rows`."""


def _grouped(tags: csr_matrix, scores: np.ndarray, bare: np.ndarray) -> _Groups:
    # Two random numbers per tag stand for it: equal sums, equal tags (but for a chance of one in 2 ** 80 in a million
    # rows). The sums run over, and do so in the same way for the same tags.
    marks = np.random.default_rng(0).integers(0, 1 << 62, (2, tags.shape[1]), dtype=np.int64)
    running = np.zeros((2, tags.nnz + 1), np.int64)
    np.cumsum(marks[:, tags.indices], axis=1, out=running[:, 1:])
    keys = running[:, tags.indptr[1:]] - running[:, tags.indptr[:-1]]
    order = np.lexsort((-scores, keys[1], keys[0]))
    order = order[~bare[order]]
    new = np.any(np.diff(keys[:, order], axis=1) != 0, axis=0)
    starts = np.concatenate([[0], np.flatnonzero(new) + 1, [len(order)]]) if len(order) else np.zeros(1)
    return _Groups(order, starts.astype(np.int64))


class _Choosing:
    """Greedy choice among groups of rows.

    What a row brings never grows as others are chosen. So it is enough to watch the best few thousand groups: as long
    as one of them brings more than the best outside did when all were last looked at, it is the next.
    """

    def __init__(self, spread: csr_matrix, groups: _Groups, scores: np.ndarray, information: Information) -> None:
        self.groups = groups
        self.information = information
        self.scores = scores
        self.places = groups.starts[:-1].copy()
        self.heads = groups.rows[self.places]
        self.spread = spread[self.heads]
        self.total = np.zeros(spread.shape[1])
        """The information that each tag has."""
        self.weights = information.weights(self.total)
        self.brought: list[float] = []
        self.used_up = np.zeros(len(self.heads), bool)

    def run(self, budget: int) -> list[int]:
        """`budget` rows in the order chosen."""
        order: list[int] = []
        while len(order) < budget:
            watched, edge, first_outside = self._watched()
            part = self.spread[watched]
            while len(order) < budget:
                gains = self._gains(part, watched)
                best = float(gains.max())
                tied = watched[gains == best]
                group = int(tied[np.argmin(self.heads[tied])]) if len(tied) > 1 else int(tied[0])
                if best < edge or (best == edge and self.heads[group] > first_outside):
                    break
                order.append(int(self.heads[group]))
                self.brought.append(best)
                self._take(group)
        return order

    def _gains(self, spread: csr_matrix, groups: np.ndarray) -> np.ndarray:
        gains = self.information.gains(spread, self.scores[self.heads[groups]], self.total, self.weights)
        gains[self.used_up[groups]] = -np.inf
        return gains

    def _watched(self) -> tuple[np.ndarray, float, float]:
        """The best groups; what the least of them brings; and the first row outside that brings as much."""
        every = np.arange(len(self.heads))
        gains = self._gains(self.spread, every)
        if len(gains) <= CHUNK:
            return every, -np.inf, np.inf
        edge = float(-np.partition(-gains, CHUNK - 1)[CHUNK - 1])
        above, tied = np.flatnonzero(gains > edge), np.flatnonzero(gains == edge)
        tied = tied[np.argsort(self.heads[tied])]
        inside = CHUNK - len(above)
        first_outside = float(self.heads[tied[inside]]) if inside < len(tied) else np.inf
        return np.concatenate([above, tied[:inside]]), edge, first_outside

    def _take(self, group: int) -> None:
        inside = slice(self.spread.indptr[group], self.spread.indptr[group + 1])
        tags = self.spread.indices[inside]
        self.total[tags] += self.scores[self.heads[group]] * self.spread.data[inside]
        self.weights[tags] = self.information.weights(self.total[tags])
        self.places[group] += 1
        if self.places[group] == self.groups.starts[group + 1]:
            self.used_up[group] = True
        else:
            self.heads[group] = self.groups.rows[self.places[group]]
