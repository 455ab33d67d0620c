"""Arrivals: what a batch brought that was not there before, and where it contradicts what was.

Novelty is the distance to the nearest sample that was there before and is kept; contradictions are those of
`curation.contradictions`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from curation.contradictions import POLICIES, Contradiction, contradictions, listed, settle
from curation.corpus import Corpus
from curation.embedding import embed
from curation.errors import CorpusError, unknown
from curation.progress import Progress, silent
from curation.scorers.novelty import FIRST, NO_VECTOR, Novelty
from curation.storage.sql import run_id, working
from curation.subsets.neighbours import Neighbours
from curation.vectors import Vectors, embeddings, vectors_of

QUANTILES = (0.1, 0.5, 0.9)
SHOWN = 10
"""How many of the most and of the least novel samples a report lists."""
LISTED = 100
"""How many contradictions a report lists."""
USUAL_OF = 2_000
"""So many of the earlier samples say what distances are usual."""
NOVEL_BEYOND = 0.9
"""A sample is novel when it is farther from everything earlier than this share of the earlier samples from the others.

No fixed distance would do: one encoder's half is another's tenth.
"""


@dataclass(frozen=True)
class Arrival:
    """A sample of the batch, and what it is nearest to."""

    id: str
    novelty: float
    """1 - cosine to the neighbour; 0 is the same vector."""
    instruction: str
    neighbour: str
    neighbour_instruction: str


@dataclass(frozen=True)
class ArrivalsReport:
    """What a batch brought."""

    batch: str
    file: str
    samples: int
    """Of the batch, in the working set now; text that was known before adds none."""
    duplicates: int
    """Rows of the batch whose text was known."""
    rejected: int
    earlier: int
    """Samples that were there before and are kept."""
    embedding: str
    novel_above: float | None
    """The distance from which a sample counts as novel; null where there is nothing to tell it by."""
    novel: int | None
    """Samples farther than that from everything earlier."""
    measured: int
    """Samples whose novelty is known: not those without a vector, none where nothing was there before."""
    quantiles: dict[str, float]
    """Of the novelty: 10 %, 50 %, 90 %."""
    usual: float | None
    """Median distance of an earlier sample to the nearest other one: what is usual here."""
    most_novel: tuple[Arrival, ...]
    least_novel: tuple[Arrival, ...]
    contradictions: int
    """Samples of the batch that contradict an earlier one."""
    contradicted: int
    """Earlier samples that are contradicted."""
    listed: tuple[Contradiction, ...]
    """The first `LISTED` pairs."""
    on_conflict: str
    dropped: int
    tagged: int


def arrivals(
    corpus: Corpus,
    batch: str | None = None,
    *,
    embedding: str | None = None,
    on_conflict: str = "keep-both",
    novel_above: float | None = None,
    progress: Progress = silent,
) -> ArrivalsReport:
    """Measure what a batch brought, keep its novelty as the score `novelty`, and settle its contradictions.

    Samples that have no vector yet get one, from the model of the embedding.

    Args:
        corpus: whose batch.
        batch: an id of `Corpus.batches`, or the name of a file; the latest when null.
        embedding: which vectors; the latest when null, and lexical ones where there are none.
        on_conflict: `keep-both`; `newest` drops the earlier sample; `review` tags both `contradiction`. Either is an
            action that can be undone.
        novel_above: distance from which a sample counts as novel, 0..2; when null, the one that nine in ten earlier
            samples keep from each other.
        progress: told the samples that were embedded and compared.

    Raises:
        CorpusError: no such batch, embedding or policy.
    """
    if on_conflict not in POLICIES:
        raise unknown("policy", on_conflict, POLICIES, CorpusError)
    about = _batch(corpus, batch)
    new, earlier = _sides(corpus, about["batch"])
    name, known, usual = _measured(corpus, embedding, new, earlier, progress)
    _keep_novelty(corpus, name, about["batch"], new.join(known, on="id", how="left"), earlier.height > 0)
    above = usual[1] if novel_above is None and usual else novel_above
    pairs = contradictions(corpus, about["batch"])
    dropped, tagged = settle(corpus, pairs, on_conflict, about["batch"])
    return ArrivalsReport(
        **{key: about[key] for key in ("batch", "file", "duplicates", "rejected")},
        samples=new.height,
        earlier=earlier.height,
        embedding=name,
        novel_above=above,
        novel=None if above is None else known.filter(pl.col("novelty") > above).height,
        measured=known.height,
        quantiles=_quantiles(known["novelty"]),
        usual=usual[0] if usual else None,
        most_novel=_shown(corpus, known.head(SHOWN)),
        least_novel=_shown(corpus, known.tail(SHOWN).reverse()),
        contradictions=pairs["new"].n_unique(),
        contradicted=pairs["old"].n_unique(),
        listed=tuple(listed(pairs.head(LISTED))),
        on_conflict=on_conflict,
        dropped=dropped,
        tagged=tagged,
    )


def _batch(corpus: Corpus, batch: str | None) -> dict[str, Any]:
    """The batch as it is stored, with the counts of the last time it was ingested."""
    found = corpus.batches()
    if found.is_empty():
        raise CorpusError("Nothing was ingested yet.", fix=f"winnow ingest {corpus.path} FILE...")
    if batch is not None:
        is_file = pl.col("file").str.ends_with(f"/{batch}") | (pl.col("file") == batch)
        chosen = found.filter((pl.col("batch") == batch) | is_file)
        if chosen.is_empty():
            names = [name.rsplit("/", 1)[-1] for name in found["file"]]
            raise unknown("batch", batch, set(names) | set(found["batch"]), CorpusError)
        found = chosen
    return found.row(-1, named=True)


def _sides(corpus: Corpus, batch: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The kept samples of the batch, and those that were there before it: id; in order of ingestion."""
    kept = corpus.frame(["id", "batch", "position"], where=working(None))
    is_new = pl.col("batch") == batch
    new = kept.filter(is_new)
    earlier = kept.filter(~is_new & (pl.col("position") < pl.lit(new["position"].min(), pl.Int64)))
    return new.select("id"), earlier.select("id")


def _measured(
    corpus: Corpus, embedding: str | None, new: pl.DataFrame, earlier: pl.DataFrame, progress: Progress
) -> tuple[str, pl.DataFrame, tuple[float, float] | None]:
    """The embedding; id, novelty and novelty_of of the new samples, most novel first; the distances that are usual."""
    nothing = pl.DataFrame(schema={"id": pl.String, "novelty": pl.Float64, "novelty_of": pl.String})
    if new.is_empty() or earlier.is_empty():
        return embedding or "", nothing, None
    vectors = _embedded(corpus, embedding, progress)
    place = pl.DataFrame({"id": vectors.ids, "place": np.arange(len(vectors.ids))})
    new, earlier = (side.join(place, on="id", maintain_order="left") for side in (new, earlier))
    if new.is_empty() or earlier.is_empty():
        return vectors.name, nothing, None
    before = vectors.matrix[earlier["place"].to_numpy()]
    progress(0, new.height, f"looking for neighbours among {earlier.height:,} earlier samples")
    index = Neighbours(before, len(before))
    index.add(before)
    cosines, at = index.nearest(vectors.matrix[new["place"].to_numpy()])
    found = new.select("id").with_columns(
        pl.Series("novelty", 1.0 - cosines.astype(np.float64)), earlier["id"].gather(at).alias("novelty_of")
    )
    return vectors.name, found.sort("novelty", descending=True, maintain_order=True), _usual(index, before)


def _embedded(corpus: Corpus, name: str | None, progress: Progress) -> Vectors:
    """The embedding to compare in, with a vector for every sample that its model can give one."""
    known = {about["name"]: about for about in embeddings(corpus)}
    if not known and name is None:
        name = embed(corpus, "lexical", progress=progress).name
    elif known:
        name = name or list(known)[-1]
        if name in known and not known[name]["model"].startswith("file:"):  # of those no model makes more
            embed(corpus, known[name]["model"], text=known[name]["text"], name=name, progress=progress)
    return vectors_of(corpus, name)


def _usual(index: Neighbours, before: np.ndarray) -> tuple[float, float] | None:
    """How far earlier samples are from the nearest other: the median, and what `NOVEL_BEYOND` of them stay below."""
    if len(before) < 2:
        return None
    some = np.sort(np.random.default_rng(0).permutation(len(before))[:USUAL_OF])
    distances = 1.0 - index.nearest(before[some], second=True)[0]
    return float(np.median(distances)), float(np.quantile(distances, NOVEL_BEYOND))


def _keep_novelty(corpus: Corpus, name: str, batch: str, found: pl.DataFrame, has_earlier: bool) -> None:
    """Store the novelty as a score; what was stored when the batch was first looked at stays."""
    if found.is_empty():
        return
    scorer = Novelty(embedding=name or None)
    run = run_id("arrivals", name)
    missing = pl.when(pl.col("novelty").is_null()).then(pl.lit(NO_VECTOR if has_earlier else FIRST))
    corpus.begin_scoring(run, scorer.name, scorer.spec_json(), None, scorer.columns)
    corpus.add_scores(run, f"arrivals-{batch}", found.with_columns(missing.alias("reason")))
    corpus.refresh_scores()


def _quantiles(novelty: pl.Series) -> dict[str, float]:
    found = {f"{q:.0%}": novelty.quantile(q, "linear") for q in QUANTILES}
    return {name: value for name, value in found.items() if value is not None}


def _shown(corpus: Corpus, found: pl.DataFrame) -> tuple[Arrival, ...]:
    ids = pl.DataFrame({"id": [*found["id"], *found["novelty_of"]]}, schema={"id": pl.String})
    texts = corpus.database.run("SELECT id, instruction FROM samples SEMI JOIN ids USING (id)", frames={"ids": ids})
    asked = dict(texts.iter_rows())
    return tuple(Arrival(i, novelty, asked[i], other, asked[other]) for i, novelty, other in found.iter_rows())
