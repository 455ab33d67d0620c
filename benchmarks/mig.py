"""MIG and the diversity sampling of InsTag at scale: 50,000 of a million tagged samples."""

from __future__ import annotations

import resource
import time

SAMPLES, BUDGET, TAGS = 1_000_000, 50_000, 6_000


def run() -> None:
    """About 4.5 tags each out of some 6,000, a few of which are in every tenth sample and most in one of thousands."""
    from curation.operators import Pool
    from curation.selectors.instag_diverse import InstagDiverse
    from curation.selectors.mig import MIG

    pool = Pool(samples())
    selectors = {"mig": MIG(tags="tags", score="quality"), "instag-diverse": InstagDiverse(tags="tags")}
    selectors["mig, exact gain"] = MIG(tags="tags", score="quality", gain="exact")
    for name, selector in selectors.items():
        begun, core = time.perf_counter(), time.process_time()
        chosen = selector.select(pool, BUDGET)
        seconds, core = time.perf_counter() - begun, time.process_time() - core
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"  {name}: {len(chosen.ids):,} of {SAMPLES:,}   {seconds:.1f} s, {core:.1f} core s   peak {peak:.1f} GiB"
        )


def samples():  # noqa: ANN201 - polars is imported inside
    """`id`, `tags` and `quality` (gamma with mean 15, as complexity times quality is), tags by Zipf's law."""
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(0)
    shares = 1 / np.arange(1, TAGS + 1)
    sizes = rng.poisson(4.5, SAMPLES).clip(1)
    words = [f"{a} {b}" for a in _words(rng, 75) for b in _words(rng, 80)]
    drawn = rng.choice(TAGS, sizes.sum(), p=shares / shares.sum())
    long = pl.DataFrame({"row": np.repeat(np.arange(SAMPLES), sizes), "tag": pl.Series(words)[drawn]})
    tags = long.group_by("row", maintain_order=True).agg("tag")["tag"]
    ids = [f"{i:012x}" for i in range(SAMPLES)]
    return pl.DataFrame({"id": ids, "tags": tags, "quality": rng.gamma(3, 5, SAMPLES)})


def _words(rng, n: int) -> list[str]:  # noqa: ANN001
    """Different made-up words of four to nine letters."""
    found: dict[str, None] = {}
    while len(found) < n:
        found["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), rng.integers(4, 10)))] = None
    return list(found)
