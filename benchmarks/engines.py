"""One scorer over 52,002 rows on every engine, and on the two frameworks above Ray that were not taken.

Time to the first batch and to the last; processor time and the most memory of all processes together; and whether the
batches are the same, in the same order. On a busy machine only the processor time can be compared.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measuring import alpaca, missing

if TYPE_CHECKING:
    import polars as pl

WORKERS = 2
ROWS = 4_000
"""Of a batch: 14 of them, so that two workers end at about the same time."""

Engine = Callable[["list[pl.DataFrame]"], "Iterator[pl.DataFrame]"]


def run() -> None:
    """Heuristics and language of Alpaca, in this process, in two worker processes, and by Ray in three ways."""
    import polars as pl

    file = alpaca()
    if file is None:
        missing("set ALPACA to the path of alpaca_data.json (52,002 rows)")
        return
    samples = _samples(file)
    batches = [samples.slice(start, ROWS) for start in range(0, samples.height, ROWS)]
    expected: list[pl.DataFrame] = []
    for name, engine in _engines().items():
        try:
            found = _timed(name, engine, batches)
        except ImportError as error:
            missing(f"{name}: {error.name} is not installed")
            continue
        expected = expected or found
        same = len(expected) == len(found) and all(a.equals(b) for a, b in zip(expected, found, strict=True))
        if not same:
            rows = pl.concat(found).sort("id").equals(pl.concat(expected).sort("id"))
            print(f"    {'the rows are the same, in other batches' if rows else 'OTHER ROWS'}", flush=True)
    _signatures(samples)


def _engines() -> dict[str, Engine]:
    return {
        "here": partial(_spread, engine="here"),
        "processes, 2 workers": partial(_spread, engine="processes"),
        "ray: remote functions": partial(_on_a_cluster, engine=partial(_spread, engine="ray")),
        "Ray Data: map_batches": partial(_on_a_cluster, engine=_ray_data),
        "Daft on Ray": partial(_on_a_cluster, engine=_daft),
    }


def _on_a_cluster(batches: list[pl.DataFrame], engine: Engine) -> Iterator[pl.DataFrame]:
    # A new one each time, so that no side finds the workers of another.
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        yield from engine(batches)
    finally:
        ray.shutdown()


def work(batch: pl.DataFrame) -> pl.DataFrame:
    """The columns of two scorers."""
    from curation.engines import checked
    from curation.scorers import Heuristics, Language

    return checked(Heuristics(), batch).drop("reason").hstack(checked(Language(), batch).drop("id"))


def _spread(batches: list[pl.DataFrame], engine: str) -> Iterator[pl.DataFrame]:
    from curation.engines import spread

    for _, found in spread(work, ((str(i), batch) for i, batch in enumerate(batches)), engine, WORKERS):
        yield found


def _ray_data(batches: list[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    import polars as pl
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    # It reads files, or what lies in the object store already: not what a cursor gives one by one.
    source = ray.data.from_arrow([batch.to_arrow(compat_level=pl.CompatLevel.oldest()) for batch in batches])
    done = source.map_batches(_of_arrow, batch_size=None, batch_format="pyarrow", concurrency=WORKERS)
    for table in done.iter_batches(batch_size=None, batch_format="pyarrow"):
        yield _plain(pl.from_arrow(table))


def _of_arrow(table: Any) -> Any:
    import polars as pl

    found = pl.from_arrow(table)
    assert isinstance(found, pl.DataFrame)
    return work(found).to_arrow(compat_level=pl.CompatLevel.oldest())


def _plain(frame: Any) -> pl.DataFrame:
    import polars as pl

    assert isinstance(frame, pl.DataFrame)
    return frame.rechunk()


def _daft(batches: list[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    import daft
    import polars as pl

    first = work(batches[0].head(20)).to_arrow(compat_level=pl.CompatLevel.oldest())
    kinds = {field.name: daft.DataType.from_arrow_type(field.type) for field in first.schema}

    @daft.func.batch(return_dtype=daft.DataType.struct(kinds))
    def measured(ids: daft.Series, instructions: daft.Series, responses: daft.Series) -> Any:
        columns = {"id": ids, "instruction": instructions, "response": responses}
        found = work(pl.DataFrame({name: pl.from_arrow(column.to_arrow()) for name, column in columns.items()}))
        return found.to_struct("measured").to_arrow(compat_level=pl.CompatLevel.oldest())

    daft.set_runner_ray(noop_if_initialized=True)
    whole = pl.concat(batches).to_arrow(compat_level=pl.CompatLevel.oldest())
    frame = daft.from_arrow(whole).into_partitions(len(batches))
    columns = [daft.col(name) for name in ("id", "instruction", "response")]
    for table in frame.select(measured(*columns).alias("measured")).to_arrow_iter():
        found = pl.from_arrow(table)
        yield _plain(found if isinstance(found, pl.DataFrame) else found.to_frame()).unnest("measured")


def _timed(name: str, engine: Engine, batches: list[pl.DataFrame]) -> list[pl.DataFrame]:
    with _Watch() as watch:
        begun, used, first, found = time.perf_counter(), _processor_seconds(), 0.0, []
        for batch in engine(batches):
            first = first or time.perf_counter() - begun
            found.append(batch)
        last = time.perf_counter() - begun
    used = max(watch.processor_seconds, _processor_seconds()) - used
    print(
        f"  {name:<44} {last:7.2f} s, the first batch after {first:6.2f} s; of all processes "
        f"{used:6.1f} processor seconds, {watch.gibibytes:5.2f} GiB",
        flush=True,
    )
    return found


def _signatures(samples: pl.DataFrame) -> None:
    """Signatures for near duplicates, whose parts the workers share."""
    import polars as pl

    from curation.engines import measured
    from curation.scorers import NearDuplicate

    turns = pl.List(pl.Struct({"content": pl.String}))
    batch = samples.with_columns(pl.lit(None, turns).alias("rejected"), pl.lit(None, pl.Boolean).alias("label"))
    for engine in ("here", "processes", "ray"):
        begun = time.perf_counter()
        list(measured(NearDuplicate(), [("all", batch)], engine, WORKERS))
        print(f"  near-duplicate, {engine:<28} {time.perf_counter() - begun:7.2f} s", flush=True)


def _samples(file: Path) -> pl.DataFrame:
    import json

    import polars as pl

    rows = json.loads(file.read_text())
    asked = [f"{row['instruction']}\n{row['input']}".strip() for row in rows]
    answers = [row["output"] for row in rows]
    ids = pl.int_range(len(rows), eager=True).cast(pl.String)
    return pl.DataFrame({"id": ids, "instruction": asked, "response": answers})


class _Watch:
    """The most that this process and all below it have together: memory (proportional) and processor time. Linux only.

    It looks while they run, as a cluster's processes are no more to be seen when it was shut down.
    """

    def __enter__(self) -> _Watch:
        self.gibibytes = self.processor_seconds = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.25):
            self.gibibytes = max(self.gibibytes, sum(map(_proportional, _below(os.getpid()))) / 2**20)
            self.processor_seconds = max(self.processor_seconds, _processor_seconds())


def _processor_seconds() -> float:
    """Of this process, all below it, and those of them that have ended."""
    spent = 0
    for pid in _below(os.getpid()):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        spent += sum(map(int, fields[11:15]))
    return spent / os.sysconf("SC_CLK_TCK")


def _below(pid: int) -> list[int]:
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rsplit(")", 1)[1].split()[1])
        except OSError:
            continue
    found = [pid]
    for known in found:
        found += [child for child, parent in parents.items() if parent == known]
    return found


def _proportional(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
