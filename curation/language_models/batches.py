"""Batches of token sequences: packed by length, padded, and on a CPU read side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import numpy as np

Part = TypeVar("Part")
Found = TypeVar("Found")


def longest_first(sequences: Sequence[Sequence[int]], starts: Sequence[int], window: int) -> list[int]:
    """Numbers of the sequences with something after their start; the first batch tells of too little memory.

    Raises:
        ValueError: one of them is longer than the window.
    """
    read = [i for i, ids in enumerate(sequences) if starts[i] < len(ids)]
    if any(len(sequences[i]) > window for i in read):
        raise ValueError(f"A sequence is longer than the window of {window} tokens.")
    return sorted(read, key=lambda i: -len(sequences[i]))


def packed(
    order: Sequence[int], lengths: Mapping[int, int], scored: Mapping[int, int], tokens: int, positions: int
) -> Iterator[list[int]]:
    """Runs of `order` within both budgets; what exceeds one goes alone.

    Args:
        order: numbers of sequences, the longest first: the first of a run sets the width it is padded to.
        lengths: of each sequence.
        scored: how many positions of each meet the head.
        tokens: of a run, padding included.
        positions: of a run that meet the head.
    """
    batch: list[int] = []
    width = taken = 0
    for i in order:
        if batch and ((len(batch) + 1) * width > tokens or taken + scored[i] > positions):
            yield batch
            batch, taken = [], 0
        width = width if batch else lengths[i]
        batch.append(i)
        taken += scored[i]
    if batch:
        yield batch


def padded(sequences: Sequence[Sequence[int]]) -> np.ndarray:
    """int64 (sequences, longest), zeros on the right."""
    import numpy as np

    ids = np.zeros((len(sequences), max(map(len, sequences))), dtype=np.int64)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = sequence
    return ids


def side_by_side(work: Callable[[Part], Found], parts: Sequence[Part]) -> Iterator[Found]:
    """`work` of each part, in order; as many at once as torch has threads, each with a thread of its own.

    Where threads share the operations of a small model they mostly wait for one another, and on a machine that does
    something else too they hardly get on. Fewer parts than threads are done one after the other.

    Args:
        work: calls torch, keeps nothing that another thread may change.
        parts: what to work on, the largest first.
    """
    import torch

    threads = torch.get_num_threads()
    if threads == 1 or len(parts) < threads:
        yield from map(work, parts)
        return
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield from pool.map(work, parts)
    finally:
        # What a thread sets for itself is also what threads that begin later would start with.
        torch.set_num_threads(threads)
