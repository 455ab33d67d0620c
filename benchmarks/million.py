"""One million rows: real data replicated with perturbed text, and ingestion against the bare `duckdb.read_json`.

`python -m benchmarks.million DATA FOLDER` writes the files into FOLDER (those that are there stay) and prints the
table. DATA holds `t0_55k.parquet`, `alpaca_eval/outputs.parquet` and `alpaca_data.json`.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

ROWS = 1_000_000
EDITS = 0.03
"""Share of the words that are edited in a copy, at least one: no two copies have the same text."""

FILES: dict[str, tuple[str, tuple[str, ...]]] = {
    "t0": ("t0_55k.parquet", ("prompt", "completion")),
    "alpaca_eval": ("alpaca_eval/outputs.parquet", ("instruction", "output")),
    "alpaca": ("alpaca_data.json", ("instruction", "output")),
}
"""Name of the file that is written -> the file it comes from, and the columns whose words are edited."""


def write(data: Path, folder: Path, rows: int = ROWS) -> list[Path]:
    """Write `rows` rows as one JSONL file per source, in equal shares of their sizes; the same bytes every time."""
    folder.mkdir(parents=True, exist_ok=True)
    originals = {name: _read(data / file) for name, (file, _) in FILES.items()}
    total = sum(map(len, originals.values()))
    written, left = [], rows
    for name, (_, columns) in FILES.items():
        wanted = left if name == list(FILES)[-1] else rows * len(originals[name]) // total
        left -= wanted
        path = folder / f"{name}.jsonl"
        if not path.exists():
            partial = path.with_suffix(".part")
            with partial.open("wb") as file:
                for row in itertools.islice(_copies(originals[name], columns, name), wanted):
                    file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
            partial.replace(path)
        written.append(path)
    return written


def _read(path: Path) -> list[dict[str, Any]]:
    import polars as pl

    return (pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_json(path)).to_dicts()


def _copies(rows: list[dict[str, Any]], columns: tuple[str, ...], seed: str) -> Iterator[dict[str, Any]]:
    yield from rows
    for copy in itertools.count(1):
        rng = random.Random(f"{seed} {copy}")
        for number, row in enumerate(rows):
            asked = _edited(row[columns[0]], rng)
            yield row | {columns[0]: f"{asked} (variant {copy} of {number})", columns[1]: _edited(row[columns[1]], rng)}


def _edited(text: str, rng: random.Random) -> str:
    # Only blanks part words, so that the lines stay as they are. One word takes the place of another of the same text.
    words = text.split(" ")
    for _ in range(max(1, int(len(words) * EDITS))):
        words[int(rng.random() * len(words))] = words[int(rng.random() * len(words))]
    return " ".join(words)


def bare(files: list[Path], folder: Path) -> str:
    """`read_json` into one table per file of a file database: the least anybody could do."""
    import duckdb

    with duckdb.connect(str(folder / "bare.duckdb")) as connection:
        for number, file in enumerate(files):
            connection.execute(f"CREATE TABLE t{number} AS SELECT * FROM read_json(?)", [str(file)])
    return "into tables"


def fresh(files: list[Path], folder: Path) -> str:
    """Ingest into the corpus in `folder`."""
    from curation.corpus import Corpus
    from curation.ingestion import ingest

    report = ingest(Corpus.create(folder / "corpus"), files)
    return f"{report.added:,} added, {report.duplicates:,} duplicates, {report.rejected:,} rejected"


SIDES: dict[str, Callable[[list[Path], Path], str]] = {
    "duckdb.read_json into tables": bare,
    "ingest": fresh,
    "ingest again": fresh,
}


def measure(files: list[Path], folder: Path) -> None:
    """Each side in a process of its own: its seconds without the imports, peak memory, size on disk."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    bound = 0.0
    for side in SIDES:
        arguments = [sys.executable, "-m", "benchmarks.million", "--side", side, str(folder), *map(str, files)]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        output = process.stdout.read() if process.stdout else ""
        _, status, used = os.wait4(process.pid, 0)
        if status:
            sys.exit(f"{side} failed")
        seconds, _, told = output.strip().rpartition("\n")[2].partition(" ")
        bound = bound or float(seconds)
        ratio, peak, cores = float(seconds) / bound, used.ru_maxrss / 2**20, used.ru_utime + used.ru_stime
        print(f"  {side:<30} {float(seconds):7.1f} s  {ratio:5.2f} x  {cores:6.1f} core seconds  {peak:5.2f} GiB peak")
        print(f"    {told}", flush=True)


def _side(name: str, folder: str, *files: str) -> None:
    begun = time.perf_counter()
    told = SIDES[name]([Path(f) for f in files], Path(folder))
    print(f"{time.perf_counter() - begun:.3f} {told}")


def main(arguments: list[str]) -> None:
    """Write the files and measure."""
    if arguments[:1] == ["--side"]:
        _side(*arguments[1:])
        return
    data, folder = map(Path, arguments)
    files = write(data, folder / "files")
    print(f"{ROWS:,} rows, {sum(f.stat().st_size for f in files) / 1e6:,.0f} MB of JSONL", flush=True)
    measure(files, folder / "measured")


if __name__ == "__main__":
    main(sys.argv[1:])
