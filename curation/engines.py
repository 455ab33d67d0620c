"""Where batches are measured: in this process, in worker processes, or on a Ray cluster. The work is the same object.

    here        one batch after another
    processes   so many worker processes on this machine
    ray         the cluster that RAY_ADDRESS names, or one that is started on this machine

Whatever the engine, batches come back in order under their names, and at most two per worker wait in memory. A batch
whose worker is killed is done again, so that a killed worker loses nothing but its time. On a cluster of several
machines each needs this package, and the files that the work reads; a model's numbers are then the same to the last bit
only if the machines are of one kind.
"""

from __future__ import annotations

import functools
import os
import pickle
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from curation.errors import ModelError, OperatorError, WinnowError, unknown

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor

    import polars as pl

    from curation.operators import Scorer

Batch = tuple[str, "pl.DataFrame"]
"""(name of the shard, samples)."""
Given = TypeVar("Given")
Done = TypeVar("Done")
Work = Callable[[Any], Any]

TRIES = 3
"""How often a batch whose worker dies is done again."""


@runtime_checkable
class InParts(Protocol):
    """A scorer of the whole that measures something of each sample by itself first: the part that workers can share."""

    def prepare(self, part: pl.DataFrame) -> pl.DataFrame:
        """Columns for these samples, one row each, that depend on no other sample.

        `score` finds them in its batch; where they are not there, it makes them itself.
        """
        ...


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
        OperatorError: no such engine, or the scorer broke its contract, or its worker dies again and again.
        ModelError: Ray is not installed.
    """
    if engine != "here" and isinstance(scorer, InParts):
        return ((name, checked(scorer, _prepared(scorer, batch, engine, workers))) for name, batch in batches)
    return spread(functools.partial(checked, scorer), batches, engine, workers)


def spread(
    work: Callable[[Given], Done],
    batches: Iterable[tuple[str, Given]],
    engine: str = "here",
    workers: int | None = None,
) -> Iterator[tuple[str, Done]]:
    """(name, work(batch)) for each batch, in the same order; arguments and errors as for `measured`.

    The work is sent to each worker once, and must be a function or an object of a module, as what is pickled is.
    """
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    return ENGINES[engine](work, batches, workers)


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


def _prepared(scorer: Any, batch: pl.DataFrame, engine: str, workers: int | None) -> pl.DataFrame:
    import polars as pl

    rows = scorer.batch_rows
    parts = ((f"rows from {start}", batch.slice(start, rows)) for start in range(0, batch.height, rows))
    prepared = [part for _, part in spread(scorer.prepare, parts, engine, workers)]
    return batch.hstack(pl.concat(prepared)) if prepared else batch


def _here(work: Work, batches: Iterable[tuple[str, Any]], workers: int | None) -> Iterator[tuple[str, Any]]:
    for name, batch in batches:
        yield name, work(batch)


def _processes(work: Work, batches: Iterable[tuple[str, Any]], workers: int | None) -> Iterator[tuple[str, Any]]:
    with closing(_Pool(work, workers or os.cpu_count() or 1)) as pool:
        yield from _ahead(batches, 2 * pool.workers, pool.send, pool.wait)


def _ray(work: Work, batches: Iterable[tuple[str, Any]], workers: int | None) -> Iterator[tuple[str, Any]]:
    try:
        import ray
    except ImportError:
        raise ModelError("Ray is not installed.", fix="pip install 'winnow-studio[ray]'") from None
    _join_cluster(ray, workers)
    remote = ray.remote(max_retries=TRIES)(_performed_there)
    threads = os.environ.get("OMP_NUM_THREADS")
    shared = ray.put(_pickled_by_value(ray.cloudpickle, work))

    def wait(name: str, task: Any) -> Any:
        try:
            return _unwrapped(ray.get(task))
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
            raise _killed(name) from None

    most = 2 * (workers or int(ray.cluster_resources().get("CPU", 1)))
    yield from _ahead(batches, most, lambda batch: remote.remote(shared, threads, batch), wait)


def _ahead(
    batches: Iterable[tuple[str, Any]], most: int, send: Callable[[Any], Any], wait: Callable[[str, Any], Any]
) -> Iterator[tuple[str, Any]]:
    waiting: deque[tuple[str, Any]] = deque()
    for name, batch in batches:
        waiting.append((name, send(batch)))
        if len(waiting) >= most:
            first, sent = waiting.popleft()
            yield first, wait(first, sent)
    while waiting:
        first, sent = waiting.popleft()
        yield first, wait(first, sent)


ENGINES: dict[str, Callable[[Work, Iterable[tuple[str, Any]], int | None], Iterator[tuple[str, Any]]]] = {
    "here": _here,
    "processes": _processes,
    "ray": _ray,
}


@dataclass(eq=False)
class _Sent:
    """A batch that is out, and who has it."""

    batch: Any
    pool: ProcessPoolExecutor
    future: Future[Any]


class _Pool:
    """Worker processes; when one of them is killed, all are replaced, and what was lost is done again."""

    def __init__(self, work: Work, workers: int) -> None:
        self.workers = workers
        self._pickled = _pickled(work)
        # The main module is imported by the workers only if the work is defined there: it may be a script that does
        # something when it is imported, or gone from the disk.
        self._context = SpawnContext() if b"__main__" in self._pickled else _WithoutMain()
        self._out: list[_Sent] = []
        self._pool = self._new()

    def send(self, batch: Any) -> _Sent:
        future = self._submit(batch)
        sent = _Sent(batch, self._pool, future)
        self._out.append(sent)
        return sent

    def wait(self, name: str, sent: _Sent) -> Any:
        from concurrent.futures.process import BrokenProcessPool

        for tried in range(1 + TRIES):
            try:
                done = sent.future.result()
            except BrokenProcessPool:
                self._send_again(sent, alone=tried > 0)
            else:
                self._out.remove(sent)
                return _unwrapped(done)
        raise _killed(name)

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def _send_again(self, lost: _Sent, alone: bool) -> None:
        # A pool that breaks doesn't say which batch did it. So all that were lost go out again together, once; and if
        # that pool breaks too, each of them by itself, so that the one that kills its worker is told from the others.
        from concurrent.futures.process import BrokenProcessPool

        if lost.pool is self._pool:
            self._renew()
        for sent in [lost] if alone else self._out:
            if sent.pool is not self._pool and isinstance(sent.future.exception(), BrokenProcessPool):
                sent.future = self._submit(sent.batch)
                sent.pool = self._pool

    def _submit(self, batch: Any) -> Future[Any]:
        from concurrent.futures.process import BrokenProcessPool

        try:
            return self._pool.submit(_performed_here, batch)
        except BrokenProcessPool:
            self._renew()
            return self._pool.submit(_performed_here, batch)

    def _renew(self) -> None:
        self._pool.shutdown(wait=False)
        self._pool = self._new()

    def _new(self) -> ProcessPoolExecutor:
        from concurrent.futures import ProcessPoolExecutor

        # Spawned, not forked: a fork of a process that has torch's or polars' threads can hang.
        return ProcessPoolExecutor(self.workers, self._context, initializer=_keep, initargs=(self._pickled,))


class _ProcessWithoutMain(SpawnProcess):
    """A process that is not told of the main module."""

    def start(self) -> None:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            super().start()
        finally:
            sys.modules["__main__"] = main


class _WithoutMain(SpawnContext):
    """Starts such processes."""

    Process = _ProcessWithoutMain


@dataclass(frozen=True)
class _Refused:
    """A `WinnowError` of a worker: as an exception it would come back without its fix, or as one of Ray's."""

    error: type[WinnowError]
    message: str
    fix: str


def _performed(pickled: bytes, batch: Any) -> Any:
    try:
        return _loaded(pickled)(batch)
    except WinnowError as error:
        return _Refused(type(error), error.message, error.fix)


_kept: list[bytes] = []
"""In a worker process: the work."""


def _keep(pickled: bytes) -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # several workers' threads share the cores
    _kept[:] = [pickled]


def _performed_here(batch: Any) -> Any:
    return _performed(_kept[0], batch)


def _performed_there(pickled: bytes, threads: str | None, batch: Any) -> Any:
    # As many threads as in the lead process: Ray gives each worker one, and the sums of a model then differ in their
    # last bits. Libraries read this when they are imported, which is when the work is first loaded or done.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if threads is None:
        os.environ.pop("OMP_NUM_THREADS", None)
    else:
        os.environ["OMP_NUM_THREADS"] = threads
    return _performed(pickled, batch)


@functools.lru_cache(maxsize=1)
def _loaded(pickled: bytes) -> Work:
    try:
        work: Work = pickle.loads(pickled)
    except (ImportError, AttributeError) as error:
        raise OperatorError(f"A worker can't import what it shall do: {error}.", fix=OWN_FILE) from None
    return work


OWN_FILE = "put the scorer's class into a file of its own, outside any function, and import it from there"


def _pickled(work: Work) -> bytes:
    try:
        return pickle.dumps(work)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise OperatorError(f"It can't be sent to another process: {error}.", fix=OWN_FILE) from None


def _unwrapped(done: Any) -> Any:
    if isinstance(done, _Refused):
        raise done.error(done.message, fix=done.fix)
    return done


def _killed(name: str) -> WinnowError:
    return OperatorError(
        f"The worker that had the batch {name!r} was killed {1 + TRIES} times, as happens when memory runs out.",
        fix="give each worker more memory (--workers 1), or see what is special about its samples with --engine here",
    )


def _join_cluster(ray: Any, workers: int | None) -> None:
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    given = os.environ.get("RAY_ADDRESS")
    here: dict[str, Any] = {} if given else {"num_cpus": workers, "include_dashboard": False}
    ray.init(address=given, log_to_driver=False, logging_level="ERROR", **here)


def _pickled_by_value(cloudpickle: Any, work: Work) -> bytes:
    """The work, with the classes that no installed package has: a worker of a cluster can't import those."""
    from importlib.metadata import packages_distributions

    installed = {*sys.stdlib_module_names, *packages_distributions()}
    of_work = [work, *getattr(work, "args", ()), getattr(work, "__self__", None)]
    names = {thing.__module__ for part in of_work for thing in (part, *type(part).__mro__) if part is not None}
    own = [sys.modules[name] for name in names if name.split(".")[0] not in installed and name in sys.modules]
    for module in own:
        cloudpickle.register_pickle_by_value(module)
    try:
        pickled: bytes = cloudpickle.dumps(work)
        return pickled
    finally:
        for module in own:
            cloudpickle.unregister_pickle_by_value(module)
