"""Ingestion against `duckdb.read_json` into a table of a file database, the least anybody could do."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.measuring import alpaca, in_turn, missing, table


def run() -> None:
    """Alpaca, 52,002 rows: the bare read, the verb on an empty corpus, the verb when everything is known."""
    import duckdb

    from curation.corpus import Corpus
    from curation.ingestion import ingest

    file = alpaca()
    if file is None:
        missing("set ALPACA to the path of alpaca_data.json (52,002 rows)")
        return
    with tempfile.TemporaryDirectory() as folder:
        count = iter(range(1000))

        def bare() -> None:
            with duckdb.connect(f"{folder}/{next(count)}.duckdb") as connection:
                connection.execute("CREATE TABLE t AS SELECT * FROM read_json(?)", [str(file)])

        def fresh() -> None:
            ingest(Corpus.create(Path(folder) / f"corpus-{next(count)}"), [file])

        known = Corpus.create(Path(folder) / "known")
        ingest(known, [file])
        sides = {"duckdb.read_json into a table": bare, "ingest": fresh, "ingest again": lambda: ingest(known, [file])}
        table(in_turn(sides, 5), "duckdb.read_json into a table")
