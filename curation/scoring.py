"""Scoring: measure every sample once, and keep with each number what made it."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from curation.columns import unscored_column
from curation.corpus import Corpus
from curation.engines import Batch, measured
from curation.language_models.models import without_secrets
from curation.operators import NOT_YET
from curation.own_operators import code_digest
from curation.progress import Progress, silent
from curation.storage.sql import quoted, run_id, working
from curation.vectors import Vectors, vectors_of

if TYPE_CHECKING:
    from curation.operators import Scorer


@dataclass(frozen=True)
class ScoreReport:
    """What a scoring run measured now, and what it could not."""

    scorer: str
    run: str
    columns: tuple[str, ...]
    scored: int
    """Samples that got a number in this call."""
    unscored: dict[str, int]
    """Reason -> samples of this call that got none."""
    already: int
    """Samples that this run had measured before."""


def score(
    corpus: Corpus,
    scorer: Scorer,
    *,
    where: str | None = None,
    engine: str = "here",
    workers: int | None = None,
    folder: Path | None = None,
    progress: Progress = silent,
) -> ScoreReport:
    """Measure the samples that this scorer, with these parameters and this model, has not measured yet.

    Each batch is written to a shard in `folder` and then taken into the corpus in one transaction, so that a killed run
    goes on where it stopped. Scoring twice scores nothing.

    Args:
        corpus: whose samples.
        scorer: with its parameters.
        where: a condition on the samples; all of them when null. Samples that were dropped are left out.
        engine: where to measure: `here`, `processes` or `ray`.
        workers: of the engine; one per core when null.
        folder: for `in.parquet` and the shards; `jobs/score-RUN` in the corpus when null.
        progress: told the samples measured so far.

    Raises:
        WinnowError: the condition is wrong, or the scorer lacks its model, its file or a column it needs.
    """
    asked, scorer = scorer.spec_json(), scorer.in_corpus(corpus.path)
    columns = scorer.columns
    needs = _known(corpus, scorer.needs)
    vectors = vectors_of(corpus, getattr(scorer, "embedding", None)) if scorer.needs_vectors else None
    everything = corpus.frame(["id", *needs], where=working(where)) if scorer.whole else None
    # Without the paths that in_corpus fills in: a corpus may be moved.
    run = run_id(asked, scorer.fingerprint(), *_digest(everything, vectors), *code_digest(scorer))
    model = scorer.model_dump().get("model")
    if isinstance(model, str):
        without_secrets(model)
    corpus.begin_scoring(run, scorer.name, scorer.spec_json(), model, columns)
    folder = folder or corpus.path / "jobs" / f"score-{run}"
    folder.mkdir(parents=True, exist_ok=True)
    _take_left_over(corpus, run, folder)
    pending = corpus.unscored(run, working(where))
    already = corpus.count(working(where)) - pending.height
    if everything is not None and pending.height:
        pending = everything  # none of them can be measured without the others
    main = next(iter(columns))
    done = scored = 0
    rows = max(1, pending.height) if scorer.whole else scorer.batch_rows
    batches = _batches(corpus, pending, needs, run, folder, rows, vectors)
    for shard, measures in measured(scorer, batches, engine, workers):
        _write(measures, folder / shard)
        _take(corpus, run, shard, measures)
        done += measures.height
        scored += measures.height - measures[main].null_count()
        progress(done, pending.height, f"{scorer.name}: {done:,} of {pending.height:,} samples")
    corpus.refresh_scores()
    unscored = _reasons(folder, run, pending) if done > scored else {}
    return ScoreReport(scorer.name, run, tuple(columns), scored, unscored, already)


def _known(corpus: Corpus, needs: Sequence[str]) -> list[str]:
    columns = corpus.columns()
    for column in needs:
        if column not in columns:
            raise unscored_column(corpus, column)
    return list(dict.fromkeys(c for c in needs if c != "id"))


def _digest(everything: pl.DataFrame | None, vectors: Vectors | None) -> list[str]:
    """What the numbers of a scorer that looks at all samples, or at vectors, depend on besides its parameters."""
    found = [] if vectors is None else [f"{vectors.name} {vectors.model}"]
    if everything is not None:
        content = io.BytesIO()
        everything.select("id", *(c for c in everything.columns if c not in TEXTS)).write_ipc(content)
        found.append(hashlib.sha256(content.getbuffer()).hexdigest())
        found += [] if vectors is None else [str(len(vectors.ids))]
    return found


TEXTS = ("id", "messages", "rejected", "instruction", "response", "tools", "label", "script")
"""Columns that say nothing about a sample that its id does not."""


def _batches(
    corpus: Corpus,
    pending: pl.DataFrame,
    needs: Sequence[str],
    run: str,
    folder: Path,
    rows: int,
    vectors: Vectors | None,
) -> Iterator[Batch]:
    if pending.is_empty():
        return
    _write(pending, folder / "in.parquet")
    first = 1 + max((int(p.stem[-5:]) for p in _shards(run, folder)), default=0)
    for number, start in enumerate(range(0, pending.height, rows), first):
        batch = pending.slice(start, rows)
        if not set(needs) <= set(batch.columns):
            batch = _with_texts(corpus, batch, needs)
        yield f"out-{run}-{number:05d}.parquet", batch if vectors is None else _with_vectors(batch, vectors)


def _with_texts(corpus: Corpus, samples: pl.DataFrame, needs: Sequence[str]) -> pl.DataFrame:
    # Read batch by batch: the texts of a million samples at once would take gigabytes. The range of positions is what
    # makes it fast, as the database knows where they lie.
    names = ", ".join(quoted(c) for c in ("id", *needs))
    low, high = samples["position"][0], samples["position"][-1]
    return corpus.run(
        f"SELECT {names} FROM everything WHERE position BETWEEN {low} AND {high} "
        "AND id IN (SELECT id FROM asked_frame) ORDER BY position",
        frames={"asked_frame": samples.select("id")},
    )


def _with_vectors(batch: pl.DataFrame, vectors: Vectors) -> pl.DataFrame:
    place = pl.DataFrame({"id": vectors.ids, "place": np.arange(len(vectors.ids))})
    places = batch.select("id").join(place, on="id", how="left", maintain_order="left")["place"]
    rows = np.asarray(vectors.matrix[places.fill_null(0).to_numpy()], np.float32)
    column = pl.Series("vector", rows, dtype=pl.Array(pl.Float32, rows.shape[1]))
    return batch.with_columns(pl.when(places.is_not_null()).then(column).alias("vector"))


def _take_left_over(corpus: Corpus, run: str, folder: Path) -> None:
    # A shard that was written but not taken: the process was killed in between.
    taken = corpus.shards(run)
    for path in _shards(run, folder):
        if path.name not in taken:
            _take(corpus, run, path.name, pl.read_parquet(path))


def _take(corpus: Corpus, run: str, shard: str, measures: pl.DataFrame) -> None:
    not_yet = pl.any_horizontal(pl.col("reason").str.starts_with(start).fill_null(False) for start in NOT_YET)
    corpus.add_scores(run, shard, measures.filter(~not_yet))


def _shards(run: str, folder: Path) -> list[Path]:
    return sorted(folder.glob(f"out-{run}-*.parquet"))


def _write(frame: pl.DataFrame, path: Path) -> None:
    partial = path.with_name(f".{path.name}")
    frame.write_parquet(partial)
    partial.replace(path)


def _reasons(folder: Path, run: str, pending: pl.DataFrame) -> dict[str, int]:
    shards = pl.concat([pl.read_parquet(p, columns=["id", "reason"]) for p in _shards(run, folder)])
    # Of a sample that was tried again the last answer counts.
    last = shards.unique("id", keep="last", maintain_order=True)
    mine = last.join(pending.select("id"), on="id", how="semi").drop_nulls("reason")
    counts = mine["reason"].value_counts(sort=True)
    return dict(counts.iter_rows())
