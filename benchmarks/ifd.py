"""IFD in batches against one row at a time on the same model."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.measuring import alpaca, in_turn, missing, table

ROWS = 400


def run() -> None:
    """A small causal LM warmed up on 2,000 rows of Alpaca; 400 rows scored."""
    import polars as pl

    from curation.reading import read_chunks
    from curation.sample import to_frame
    from curation.scorers import IFD
    from curation.shapes import to_sample
    from curation.warm_up import WarmUpSettings, warm_up

    file = alpaca()
    if file is None:
        missing("set ALPACA to the path of alpaca_data.json (52,002 rows)")
        return
    samples = [to_sample(row, "a") for _, row in next(read_chunks(file))[:2000] if isinstance(row, dict)]
    with tempfile.TemporaryDirectory() as folder:
        conversations = [[{"role": m.role, "content": m.content} for m in s.messages] for s in samples]
        warm_up(conversations, Path(folder) / "models" / "warm-up", settings=WarmUpSettings(token_budget=50_000))
        scorer = IFD().in_corpus(Path(folder))
        batch = to_frame(samples[:ROWS])
        scorer.score(batch.head(8))

        def one_by_one() -> None:
            pl.concat([scorer.score(batch.slice(i, 1)) for i in range(ROWS)])

        table(in_turn({"one row at a time": one_by_one, "in batches": lambda: scorer.score(batch)}), "in batches")
