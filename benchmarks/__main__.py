"""`python -m benchmarks [NAME...]`: run the benchmarks and print one table each."""

from __future__ import annotations

import sys
from collections.abc import Callable

from benchmarks import (
    contamination,
    engines,
    facility_location,
    ifd,
    ingest,
    k_center,
    kills,
    mapping,
    mig,
    near_duplicates,
    preference_agreement,
    repr_filter,
    semantic_duplicates,
    signals,
    synthesis_engine,
    training,
)

BENCHMARKS: dict[str, Callable[[], None]] = {
    "ingest": ingest.run,
    "k-center": k_center.run,
    "repr-filter": repr_filter.run,
    "facility-location": facility_location.run,
    "ifd": ifd.run,
    "signals": signals.run,
    "preference-agreement": preference_agreement.run,
    "near-duplicates": near_duplicates.run,
    "semantic-duplicates": semantic_duplicates.run,
    "contamination": contamination.run,
    "kills": kills.run,
    "map": mapping.run,
    "mig": mig.run,
    "engines": engines.run,
    "synthesis-engine": synthesis_engine.run,
    "training": training.run,
}


def main(names: list[str]) -> None:
    """Run the named benchmarks, or all of them."""
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        sys.exit(f"unknown benchmark {unknown[0]!r}; choose from: {', '.join(BENCHMARKS)}")
    for name in names or list(BENCHMARKS):
        print(f"== {name}", flush=True)
        BENCHMARKS[name]()


main(sys.argv[1:])
