"""Nearest to a target set, every target in turn."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from curation.errors import OperatorError
from curation.operators import Pool, Selection, Selector
from curation.subsets.ranking import chosen

LISTED = 2**24
"""Candidates that are listed at a time, over all targets: 128 MiB of row numbers and cosines."""
AT_ONCE = 2**25
"""Cosines (samples x targets) that are computed at a time: 128 MiB."""
STEPS = 2**20
"""Cosines are compared in steps of about 1e-6, so that equal vectors tie wherever they lie in a block."""


class RDS(Selector):
    """Samples like those of a target set: each target sample in turn takes the nearest one that is left.

    Use it with the hidden states of the model that is to be tuned (`winnow embed CORPUS --model hf-weighted:PATH`).
    The target samples themselves are never chosen.

    Source: RDS+, Ivison et al. 2025, arXiv:2503.01807, section 3 (cosine to each query, round-robin over the queries);
    code: hamishivi/automated-instruction-selection.

    Differs from the source: it works on any embedding; the best candidates of each target are listed in blocks and
    listed again where a list is used up, so that samples x targets never stand in memory.
    """

    name: ClassVar[str] = "rds"

    target: str = Field(min_length=1, description="SQL condition that names the target samples: source = 'exam'")
    max_targets: int | None = Field(None, ge=1, description="Of more target samples, so many are drawn")
    seed: int = Field(0, description="Of that draw")

    @property
    def needs_vectors(self) -> bool:
        return True

    @property
    def target_where(self) -> str:
        return self.target

    def select(self, pool: Pool, budget: int) -> Selection:
        if pool.vectors is None or pool.targets is None:
            raise OperatorError("rds needs vectors.", fix="winnow embed CORPUS --model hf-weighted:PATH")
        near = Nearness(pool.vectors, self._drawn(pool.targets))
        order, last = _in_turns(near, budget)

        no_turn = f"had no turn, as {budget:,} samples are chosen for {len(near.targets):,} targets"

        def reason(row: int) -> str:
            target = near.best_target[row]
            cut = f"took samples down to {last[target]:.3f}" if np.isfinite(last[target]) else no_turn
            return f"its highest cosine to a target is {near.best[row]:.3f}; that target {cut}"

        return chosen(pool, order, reason)

    def _drawn(self, targets: np.ndarray) -> np.ndarray:
        if self.max_targets is None or len(targets) <= self.max_targets:
            return targets
        rows = np.random.default_rng(self.seed).choice(len(targets), self.max_targets, replace=False)
        return targets[np.sort(rows)]


class Nearness:
    """Cosines between the samples of a pool and some targets, a block at a time."""

    def __init__(self, vectors: np.ndarray, targets: np.ndarray) -> None:
        """Keep both.

        Args:
            vectors: float32 (samples, dimensions); copied nowhere.
            targets: float32 (targets, dimensions).

        Raises:
            OperatorError: a number in them is not finite: no order would come of it.
        """
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
        odd = int((~np.isfinite(lengths)).sum() + (~np.isfinite(targets)).any(axis=1).sum())
        if odd:
            raise OperatorError(f"rds: {odd:,} vectors hold no finite numbers.", fix="leave those samples out")
        self.targets = _unit(targets)
        self.best = np.full(len(vectors), -np.inf, np.float32)
        """Each sample's highest cosine to a target, once `lists` has been called."""
        self.best_target = np.zeros(len(vectors), np.int32)
        self._vectors = vectors
        self._scale = _inverse(lengths)
        self._block = max(1, AT_ONCE // max(1, len(vectors)))

    def lists(self, length: int, taken: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Per target the rows that come next, nearest first, ties by row, and their cosines.

        Args:
            length: of each list, unless fewer samples are left.
            taken: bool (samples,): rows to leave out.
        """
        found = []
        length = min(length, int(len(taken) - taken.sum()))
        for start in range(0, len(self.targets), self._block):
            for target, row in enumerate(self._cosines(start), start):
                better = row > self.best
                self.best[better] = row[better]
                self.best_target[better] = target
                row[taken] = -np.inf
                rows = _highest(row, length)
                found.append((rows, row[rows]))
        return found

    def _cosines(self, start: int) -> np.ndarray:
        """float32 (targets of the block, samples)."""
        cosines: np.ndarray = self.targets[start : start + self._block] @ self._vectors.T
        cosines *= self._scale
        cosines *= STEPS
        np.rint(cosines, out=cosines)
        cosines /= STEPS
        return cosines


def _in_turns(near: Nearness, budget: int) -> tuple[list[int], np.ndarray]:
    """Rows in the order they are taken, and the cosine of what each target took last (infinite where it took none)."""
    targets = len(near.targets)
    length = min(budget, max(1, LISTED // targets))
    taken = np.zeros(len(near.best), bool)
    last = np.full(targets, np.inf)
    order: list[int] = []
    while len(order) < budget:
        lists = near.lists(length, taken)
        place = [0] * targets
        while len(order) < budget:
            target = len(order) % targets
            rows, cosines = lists[target]
            i = place[target] = _first_free(rows, place[target], taken)
            if i == len(rows):
                break  # its list is used up: list what is left
            taken[rows[i]] = True
            last[target] = cosines[i]
            order.append(int(rows[i]))
    return order, last


def _first_free(rows: np.ndarray, start: int, taken: np.ndarray, step: int = 256) -> int:
    while start < len(rows):
        free = np.flatnonzero(~taken[rows[start : start + step]])
        if len(free):
            return start + int(free[0])
        start += step
    return len(rows)


def _highest(values: np.ndarray, count: int) -> np.ndarray:
    """Row numbers (int32) of the highest values, highest first, ties by row."""
    cut = np.partition(values, len(values) - count)[len(values) - count]
    above = np.flatnonzero(values > cut)
    rows = np.concatenate([above, np.flatnonzero(values == cut)[: count - len(above)]])
    order: np.ndarray = rows[np.argsort(-values[rows], kind="stable")].astype(np.int32)
    return order


def _unit(vectors: np.ndarray) -> np.ndarray:
    scale = _inverse(np.linalg.norm(vectors, axis=1))
    return np.ascontiguousarray(vectors * scale[:, None], np.float32)


def _inverse(lengths: np.ndarray) -> np.ndarray:
    """1 / length; 0 for a vector of zeros, which is like nothing."""
    result: np.ndarray = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return result
