"""Where batches are measured: in this process, in worker processes, or on a Ray cluster. The scorer is the same object.

    here        one batch after another
    processes   so many worker processes on this machine
    ray         the cluster that RAY_ADDRESS names, or one that is started on this machine

Whatever the engine, batches come back in order, and at most two per worker wait in memory.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from curation.errors import ModelError, OperatorError, unknown

if TYPE_CHECKING:
    import polars as pl

    from curation.operators import Scorer

Batch = tuple[str, "pl.DataFrame"]
"""(name of the shard, samples)."""


def measured(
    scorer: Scorer, batches: Iterable[Batch], engine: str = "here", workers: int | None = None
) -> Iterator[Batch]:
    """(name of the shard, its measures) for each batch, in the same order.

    Args:
        scorer: with its parameters.
        batches: read one by one, a few ahead of the workers.
        engine: `here`, `processes` or `ray`.
        workers: of the engine; one per core when null.

    Raises:
        OperatorError: no such engine, or the scorer broke its contract.
        ModelError: Ray is not installed.
    """
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    return ENGINES[engine](scorer, batches, workers or os.cpu_count() or 1)


def checked(scorer: Scorer, batch: pl.DataFrame) -> pl.DataFrame:
    """One batch measured, held to the contract: same rows, same order, the promised columns, a reason for each null.

    Raises:
        OperatorError: the scorer broke the contract.
    """
    import polars as pl

    measures = scorer.score(batch)
    names = list(scorer.columns)
    if "reason" not in measures.columns:
        measures = measures.with_columns(pl.lit(None, dtype=pl.String).alias("reason"))
    if measures.height != batch.height or set(measures.columns) != {*names, "reason"}:
        raise OperatorError(
            f"The scorer {scorer.name!r} answered with other rows or columns than it was asked for.",
            fix="let score() return one row per sample in the same order, with the columns it names, and reason",
        )
    floats = [pl.when(pl.col(n).is_finite()).then(pl.col(n)).alias(n) for n in names if measures[n].dtype.is_float()]
    measures = measures.with_columns(batch["id"], *floats).select("id", *names, "reason")
    unexplained = pl.col(names[0]).is_null() & pl.col("reason").is_null()
    return measures.with_columns(
        pl.when(unexplained).then(pl.lit("could not be measured")).otherwise(pl.col("reason")).alias("reason")
    )


def _here(scorer: Scorer, batches: Iterable[Batch], workers: int) -> Iterator[Batch]:
    for name, batch in batches:
        yield name, checked(scorer, batch)


def _processes(scorer: Scorer, batches: Iterable[Batch], workers: int) -> Iterator[Batch]:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    # Spawned, not forked: a fork of a process that has torch's or polars' threads can hang.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from _ahead(
            batches, 2 * workers, lambda batch: pool.submit(checked, scorer, batch), lambda future: future.result()
        )


def _ray(scorer: Scorer, batches: Iterable[Batch], workers: int) -> Iterator[Batch]:
    try:
        import ray
    except ImportError:
        raise ModelError("Ray is not installed.", fix="pip install 'winnow-studio[ray]'") from None
    if not ray.is_initialized():
        given = os.environ.get("RAY_ADDRESS")
        here: dict[str, Any] = {} if given else {"num_cpus": workers, "include_dashboard": False}
        ray.init(address=given, log_to_driver=False, logging_level="ERROR", **here)
    remote = ray.remote(max_retries=3)(checked)
    shared = ray.put(scorer)
    yield from _ahead(batches, 2 * workers, lambda batch: remote.remote(shared, batch), ray.get)


def _ahead(
    batches: Iterable[Batch], most: int, submit: Callable[[pl.DataFrame], Any], wait: Callable[[Any], pl.DataFrame]
) -> Iterator[Batch]:
    waiting: deque[tuple[str, Any]] = deque()
    for name, batch in batches:
        waiting.append((name, submit(batch)))
        if len(waiting) >= most:
            first, task = waiting.popleft()
            yield first, wait(task)
    while waiting:
        first, task = waiting.popleft()
        yield first, wait(task)


ENGINES: dict[str, Callable[[Scorer, Iterable[Batch], int], Iterator[Batch]]] = {
    "here": _here,
    "processes": _processes,
    "ray": _ray,
}
