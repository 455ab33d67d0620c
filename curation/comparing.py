"""Comparing: stored selections side by side, each beside random draws and the longest answers of its pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, permutations

import numpy as np
import polars as pl

from curation.corpus import Corpus
from curation.errors import CorpusError
from curation.progress import Progress, silent
from curation.size_matched import (
    AT_MOST,
    DRAWS,
    FEWEST_DRAWS,
    LONGEST,
    METRICS,
    MISSING,
    RANDOM,
    Matched,
    Measured,
    Sets,
    band,
    candidates,
    measure,
    sets_of,
    tags_of,
    thinned,
)
from curation.storage.sql import quoted, working
from curation.storage.stored import SavedSelection
from curation.tracing import current_versions

NUMERIC = frozenset({"DOUBLE", "FLOAT", "BIGINT", "INTEGER", "BOOLEAN"})
POOL = "pool"
BINS = 20
TAGS = 15
"""The most frequent tags of the pool, whose shares are compared."""
EXAMPLES = 3
"""Samples for each ordered pair of selections."""
LETTERS = 400
"""Of a text in an example."""
DIVERSITY = {
    **dict.fromkeys(("name", "kind", "metric"), pl.String),
    **dict.fromkeys(("value", "low", "high"), pl.Float64),
    **dict.fromkeys(("place", "reason"), pl.String),
}
"""Columns of the table of metrics."""
NOTHING = Measured([])
"""Where diversity is not measured."""


@dataclass(frozen=True)
class Comparison:
    """Stored selections side by side. A baseline is `random` (draws from the pool) or `longest` (answers)."""

    sizes: pl.DataFrame
    """name, selector, samples, tokens (null unless `length` was scored), dropped (samples of it since: left out)."""
    overlap: pl.DataFrame
    """a, b, common (samples in both), jaccard (0..1); every pair, each with itself too."""
    scores: pl.DataFrame
    """name, column, mean, pool_mean: of every numeric score."""
    sources: pl.DataFrame
    """name, kind (selection, pool), source, samples, share (0..1)."""
    spreads: pl.DataFrame
    """name, kind (selection, baseline, pool), column, measured, mean, q25, median, q75 of every numeric score; of
    `random` the mean over the draws, with mean_low and mean_high, the band of their means."""
    histograms: pl.DataFrame
    """column, low, high, name, kind, samples, share (0..1 of the measured ones); outer bins count what lies beyond."""
    tags: pl.DataFrame
    """name, kind, tag, samples, share (0..1 of all samples): the most frequent tags of the pool."""
    diversity: pl.DataFrame
    """name, kind, metric, value, low and high (between which random draws lie), place (above, inside or below that
    band), reason (why there is no value)."""
    examples: pl.DataFrame
    """taker, leaver, rank, reason, instruction, response (cut), source, id: the best that one takes, another leaves."""
    matched: Matched
    """On what diversity was measured."""


def compare(
    corpus: Corpus,
    names: Sequence[str],
    *,
    embedding: str | None = None,
    draws: int = DRAWS,
    at_most: int = AT_MOST,
    diversity: bool = True,
    progress: Progress = silent,
) -> Comparison:
    """Stored selections side by side, against the pool.

    As in a mix, a sample that was rewritten since counts as it is now, and one that was dropped is left out. Diversity
    is of equally many samples: the best of each, as many as the smallest has.

    Args:
        corpus: where they are stored.
        names: of the selections.
        embedding: for the metrics on vectors; the latest when null.
        draws: random subsets, at least 3.
        at_most: samples of each selection that diversity is measured on.
        diversity: measured too, which takes most of the time; otherwise its table is empty.
        progress: told the steps.

    Raises:
        CorpusError: no selection is named, one or the embedding does not exist, or no sample of one is left.
    """
    if not names:
        raise CorpusError("No selection is named.", fix="name at least one; winnow select CORPUS makes one")
    with corpus.database.held():
        saved = {name: corpus.selection(name) for name in dict.fromkeys(names)}
        filters = {selection.working_set for selection in saved.values()}
        where = filters.pop() if len(filters) == 1 else None
        pool = candidates(corpus, where)
        frame, numeric, ids = _read(corpus, saved, pool)
        gone = next((name for name, of in ids.items() if not of), None)
        if gone is not None:
            raise CorpusError(f"Of the selection {gone!r} no sample is left.", fix="leave it out, or select anew")
        size = min(map(len, ids.values()))
        sets = sets_of(ids, pool, size, max(FEWEST_DRAWS, draws))
        few = thinned(sets, at_most)
        measured = measure(corpus, few, pool, embedding, progress) if diversity else NOTHING
        groups = _groups(frame, ids, sets, pool)
        spreads = _spreads(frame, groups, numeric)
        return Comparison(
            sizes=_sizes(frame, groups, saved),
            overlap=_overlaps(ids),
            scores=_means(spreads, list(saved), numeric),
            sources=_sources(frame, groups),
            spreads=spreads,
            histograms=_histograms(frame, groups, numeric),
            tags=_tags(corpus, ids, sets, pool),
            diversity=_diversity(few, measured) if diversity else pl.DataFrame(schema=DIVERSITY),
            examples=_examples(corpus, list(saved)),
            matched=_matched(size, few, pool, where, measured),
        )


def taken_and_left(corpus: Corpus, taker: str, leaver: str, limit: int = EXAMPLES) -> pl.DataFrame:
    """The best-ranked samples that `taker` has and `leaver` has not, with the stored reason; as they are now.

    Columns: rank, reason, instruction, response, source, id.
    """
    ids = {name: corpus.selection(name).ids for name in (taker, leaver)}
    current = current_versions(corpus, {i for of in ids.values() for i in of})
    left = {current.get(i, i) for i in ids[leaver]}
    mine = [(rank, i, current.get(i, i)) for rank, i in enumerate(ids[taker], 1)]
    schema = {"rank": pl.Int64, "was": pl.String, "id": pl.String}
    only = pl.DataFrame([row for row in mine if row[-1] not in left], schema=schema, orient="row")
    statement = (
        "WITH reasons AS (SELECT id, reason FROM not_selected WHERE name = ?) "
        "SELECT m.rank, coalesce(n.reason, o.reason, 'not in its pool') AS reason, "
        "e.instruction, e.response, e.source, e.id FROM only_frame m JOIN everything e USING (id) "
        "LEFT JOIN reasons n ON n.id = e.id LEFT JOIN reasons o ON o.id = m.was "
        f"WHERE {working(None)} ORDER BY m.rank LIMIT {int(limit)}"
    )
    return corpus.run((statement, [leaver]), frames={"only_frame": only})


# -------------------------------------------------------------------- what is compared


@dataclass(frozen=True)
class Group:
    """Samples that are looked at together."""

    name: str
    kind: str
    """selection, baseline or pool."""
    draws: list[np.ndarray]
    """Rows of the frame; several where the group is a number of random draws."""

    @property
    def rows(self) -> np.ndarray:
        """Of all draws."""
        return np.concatenate(self.draws)


def _read(
    corpus: Corpus, saved: Mapping[str, SavedSelection], pool: pl.DataFrame
) -> tuple[pl.DataFrame, list[str], dict[str, list[str]]]:
    """id, source and numeric scores (Float64) of the pool and of every selection; the ids of each that there are."""
    current = current_versions(corpus, {i for selection in saved.values() for i in selection.ids})
    ids = {name: list(dict.fromkeys(current.get(i, i) for i in of.ids)) for name, of in saved.items()}
    numeric = [c for c, kind in corpus.score_columns().items() if kind in NUMERIC]
    wanted = pl.concat([pool["id"], pl.Series("id", [i for of in ids.values() for i in of], dtype=pl.String)]).unique()
    values = "".join(f", {quoted(c)}::DOUBLE AS {quoted(c)}" for c in numeric)
    frame = corpus.run(
        f"SELECT id, source{values} FROM everything SEMI JOIN wanted_frame USING (id) "
        f"WHERE {working(None)} ORDER BY position",
        frames={"wanted_frame": wanted.to_frame()},
    )
    there = set(frame["id"])
    return frame, numeric, {name: [i for i in of if i in there] for name, of in ids.items()}


def _groups(frame: pl.DataFrame, ids: Mapping[str, Sequence[str]], sets: Sets, pool: pl.DataFrame) -> list[Group]:
    row = {sample_id: i for i, sample_id in enumerate(frame["id"])}

    def rows(of: Sequence[str] | pl.Series) -> np.ndarray:
        return np.fromiter((row[i] for i in of), np.int64, len(of))

    baselines = [Group(RANDOM, "baseline", [rows(d) for d in sets.draws])] if sets.draws else []
    baselines += [Group(LONGEST, "baseline", [rows(sets.longest)])] if sets.longest else []
    selections = [Group(name, "selection", [rows(of)]) for name, of in ids.items()]
    return [*selections, *baselines, Group(POOL, "pool", [rows(pool["id"])])]


def _matched(size: int, few: Sets, pool: pl.DataFrame, where: str | None, measured: Measured) -> Matched:
    return Matched(
        size=size,
        measured=min(map(len, few.every), default=0),
        draws=len(few.draws),
        pool=pool.height,
        where=where,
        embedding=measured.embedding,
        with_vectors=measured.with_vectors,
        reference=measured.reference,
        tags=measured.tags,
        words=measured.words,
    )


# -------------------------------------------------------------------- sizes, overlap, sources


def _sizes(frame: pl.DataFrame, groups: Sequence[Group], saved: Mapping[str, SavedSelection]) -> pl.DataFrame:
    tokens = frame["length_tokens"] if "length_tokens" in frame.columns else None
    rows = []
    for group in (g for g in groups if g.kind == "selection"):
        counted = None if tokens is None else tokens.gather(group.rows).drop_nulls()
        total = None if counted is None or counted.is_empty() else int(counted.sum())
        stored, left = saved[group.name], len(group.rows)
        rows.append((group.name, stored.operator["name"], left, total, len(stored.ids) - left))
    schema = {"name": pl.String, "selector": pl.String, "samples": pl.Int64, "tokens": pl.Int64, "dropped": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _overlaps(ids: Mapping[str, Sequence[str]]) -> pl.DataFrame:
    members = {name: set(of) for name, of in ids.items()}
    rows = []
    for a, b in combinations_with_replacement(members, 2):
        common, union = len(members[a] & members[b]), len(members[a] | members[b])
        rows.append((a, b, common, common / union if union else 0.0))
    schema = {"a": pl.String, "b": pl.String, "common": pl.Int64, "jaccard": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _sources(frame: pl.DataFrame, groups: Sequence[Group]) -> pl.DataFrame:
    told = []
    for group in (g for g in groups if g.kind != "baseline"):
        counted = frame["source"].gather(group.rows).value_counts(name="samples")
        samples = pl.col("samples").cast(pl.Int64)
        named = pl.lit(group.name).alias("name"), pl.lit(group.kind).alias("kind")
        share = (samples / samples.sum()).alias("share")
        told.append(
            counted.sort("samples", "source", descending=[True, False]).select(*named, "source", samples, share)
        )
    return pl.concat(told)


def _tags(corpus: Corpus, ids: Mapping[str, Sequence[str]], sets: Sets, pool: pl.DataFrame) -> pl.DataFrame:
    """Shares of the pool's most frequent tags."""
    schema = {"name": pl.String, "kind": pl.String, "tag": pl.String, "samples": pl.Int64, "share": pl.Float64}
    chosen = list(dict.fromkeys(i for of in ids.values() for i in of))
    column, tagged = tags_of(corpus, pool["id"], chosen)
    if column is None:
        return pl.DataFrame(schema=schema)
    single = tagged.select("id", pl.col("tags").list.unique().alias("tag"), "of_pool").explode("tag")
    counts = single.filter("of_pool")["tag"].value_counts().sort("count", "tag", descending=[True, False])
    frequent = counts["tag"].head(TAGS).to_list()
    single = single.filter(pl.col("tag").is_in(frequent))
    of = {(name, "selection"): list(i) for name, i in ids.items()}
    of |= {(LONGEST, "baseline"): sets.longest} if sets.longest else {}
    of[POOL, "pool"] = pool["id"].to_list()
    rows = []
    for (name, kind), members in of.items():
        found = single.join(pl.DataFrame({"id": members}), on="id", how="semi")["tag"].value_counts()
        number = dict(found.iter_rows())
        rows += [(name, kind, tag, number.get(tag, 0), number.get(tag, 0) / len(members)) for tag in frequent]
    return pl.DataFrame(rows, schema=schema, orient="row")


# -------------------------------------------------------------------- scores


def _spreads(frame: pl.DataFrame, groups: Sequence[Group], numeric: Sequence[str]) -> pl.DataFrame:
    rows = []
    for column in numeric:
        values = frame[column].to_numpy()
        rows += [(group.name, group.kind, column, *_spread([values[of] for of in group.draws])) for group in groups]
    floats = ("mean", "q25", "median", "q75", "mean_low", "mean_high")
    schema = {"name": pl.String, "kind": pl.String, "column": pl.String, "measured": pl.Int64}
    return pl.DataFrame(rows, schema={**schema, **dict.fromkeys(floats, pl.Float64)}, orient="row")


def _spread(draws: Sequence[np.ndarray]) -> tuple[float | None, ...]:
    """Measured values (of one draw), mean, quartiles, and between which means of further draws would lie."""
    known = [values[np.isfinite(values)] for values in draws]
    if not all(map(len, known)):
        return len(known[0]), *(None,) * 6
    means = [float(values.mean()) for values in known]
    quartiles = np.quantile(np.concatenate(known), [0.25, 0.5, 0.75])
    measured = round(np.mean([len(v) for v in known]))
    return measured, float(np.mean(means)), *map(float, quartiles), *band(means)


def _means(spreads: pl.DataFrame, names: Sequence[str], numeric: Sequence[str]) -> pl.DataFrame:
    pool = spreads.filter(kind="pool").select("column", pl.col("mean").alias("pool_mean"))
    found = spreads.filter(kind="selection").select("name", "column", "mean").join(pool, on="column")
    order = pl.DataFrame(
        [(name, column) for name in names for column in numeric],
        schema={"name": pl.String, "column": pl.String},
        orient="row",
    )
    return order.join(found, on=["name", "column"], maintain_order="left")


def _histograms(frame: pl.DataFrame, groups: Sequence[Group], numeric: Sequence[str]) -> pl.DataFrame:
    parts = []
    for column in numeric:
        values = frame[column].to_numpy()
        edges = _edges(values[groups[-1].rows])
        if edges is not None:
            parts += [_histogram(values[group.rows], edges, group, column) for group in groups]
    return pl.concat(parts) if parts else pl.DataFrame()


def _histogram(values: np.ndarray, edges: np.ndarray, group: Group, column: str) -> pl.DataFrame:
    known = np.clip(values[np.isfinite(values)], edges[0], edges[-1])
    samples, _ = np.histogram(known, edges)
    return pl.DataFrame({"low": edges[:-1], "high": edges[1:], "samples": samples}).select(
        pl.lit(column).alias("column"),
        "low",
        "high",
        pl.lit(group.name).alias("name"),
        pl.lit(group.kind).alias("kind"),
        "samples",
        (pl.col("samples") / max(1, len(known))).alias("share"),
    )


def _edges(values: np.ndarray) -> np.ndarray | None:
    """Bins between the 0.5th and the 99.5th percentile of the pool; null where nothing is measured."""
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    low, high = np.quantile(known, [0.005, 0.995])
    return np.linspace(low, high if high > low else low + 1, BINS + 1)


# -------------------------------------------------------------------- diversity, examples


def _diversity(sets: Sets, measured: Measured) -> pl.DataFrame:
    names = list(sets.selections)
    drawn = measured.values[len(names) : len(names) + len(sets.draws)]
    rows = []
    for metric in METRICS:
        draws = [value for values in drawn if (value := values.get(metric.name)) is not None]
        edges = band(draws, metric.most)
        reason = measured.reasons.get(metric.of) or MISSING[metric.of]
        group = [(name, "selection", values) for name, values in zip(names, measured.values, strict=False)]
        group += [(LONGEST, "baseline", measured.values[-1])] if sets.longest else []
        for name, kind, values in group:
            value = values.get(metric.name)
            told = None if value is not None else reason
            rows.append((name, kind, metric.name, value, *edges, place(value, *edges), told))
        if sets.draws:
            few = len(draws) < FEWEST_DRAWS
            told = f"{reason} in {len(drawn) - len(draws)} of {len(drawn)} random draws" if draws and few else reason
            mean = None if few else float(np.mean(draws))
            rows.append((RANDOM, "baseline", metric.name, mean, *edges, None, told if few else None))
    return pl.DataFrame(rows, schema=DIVERSITY, orient="row")


def place(value: float | None, low: float | None, high: float | None) -> str | None:
    """Where a value lies: above, inside or below the band; null without one."""
    if value is None or low is None or high is None:
        return None
    return "above" if value > high else "below" if value < low else "inside"


def _examples(corpus: Corpus, names: Sequence[str]) -> pl.DataFrame:
    parts = []
    for taker, leaver in permutations(names, 2):
        found = taken_and_left(corpus, taker, leaver)
        parts.append(found.select(pl.lit(taker).alias("taker"), pl.lit(leaver).alias("leaver"), pl.all()))
    texts = [pl.col(name).str.slice(0, LETTERS) for name in ("instruction", "response")]
    return pl.concat(parts).with_columns(texts) if parts else pl.DataFrame()
