"""`python -m benchmarks [NAME...]`: run the benchmarks and print one table each."""

from __future__ import annotations

import sys
from collections.abc import Callable

from benchmarks import ifd, ingest, k_center

BENCHMARKS: dict[str, Callable[[], None]] = {"ingest": ingest.run, "k-center": k_center.run, "ifd": ifd.run}


def main(names: list[str]) -> None:
    """Run the named benchmarks, or all of them."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        sys.exit(f"unknown benchmark {unknown[0]!r}; choose from: {', '.join(BENCHMARKS)}")
    for name in names or list(BENCHMARKS):
        print(f"== {name}", flush=True)
        BENCHMARKS[name]()


main(sys.argv[1:])
