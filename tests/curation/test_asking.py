"""What a scorer that asks a chat model owes: no answer lost, nothing asked twice."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import polars as pl

from curation.operators import NOT_REACHED, Scorer
from curation.scoring import score
from tests.curation.samples import corpus_of, pair


class Moody(Scorer):
    """Reaches its model for half of the samples at first."""

    name: ClassVar[str] = "moody"
    reached: ClassVar[set[str]] = set()

    @property
    def columns(self) -> dict[str, str]:
        return {"moody": "DOUBLE"}

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        known = [text in self.reached for text in batch["instruction"]]
        return pl.DataFrame(
            {
                "moody": [1.0 if k else None for k in known],
                "reason": [None if k else f"{NOT_REACHED}timed out" for k in known],
            },
            schema={"moody": pl.Float64, "reason": pl.String},
        )


def test_a_sample_whose_call_failed_is_measured_again_by_the_next_run(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", [pair("one", "a"), pair("two", "b")])
    Moody.reached = {"one"}
    first = score(corpus, Moody())
    assert (first.scored, first.unscored) == (1, {f"{NOT_REACHED}timed out": 1})
    Moody.reached = {"one", "two"}
    second = score(corpus, Moody())
    assert (second.scored, second.unscored, second.already) == (1, {}, 1)
    assert corpus.frame(["moody"])["moody"].to_list() == [1.0, 1.0]
