"""Samples whose texts are almost the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from curation.operators import Scorer
from curation.subsets.clusters import KEEP, Clusters, Pairs, clustered, columns, preferred, reads, table
from curation.texts.shingles import Array, ShingleSets, Unit, band_keys, first_equal, shingle_sets

if TYPE_CHECKING:
    import polars as pl

DETECTED = 0.98
"""Chance that a pair just as alike as the threshold shares a band, where the permutations allow it."""
CROWD = 32
"""Samples in one band up to which all of them are compared with each other."""
KNOWN = 8_000_000
"""Candidate pairs that are held before repeated ones among them are removed."""
ROUNDING = 1e-12
"""So that 6 of 10 is 0.6."""
HALF, LOWER = np.uint64(32), np.uint64(0xFFFFFFFF)


class NearDuplicate(Scorer):
    """Samples that say almost the same, word for word, as a sample that is kept.

    Two texts are as alike as the share of their shingles (runs of n words or characters) that both have: the Jaccard
    similarity, between 0 and 1. MinHash finds candidates, and each one is then compared exactly, so that nothing is
    called a duplicate that is not; a pair just as alike as the threshold is missed with a chance of at most 2 %.

    Source: Broder 1997, On the resemblance and containment of documents; Lee et al. 2022, Deduplicating Training Data
    Makes Language Models Better, arXiv:2107.06499.

    Differs from the source: candidates are always verified. Numbers count as words like others, a text shorter than a
    shingle is like no other but its equal, and a Chinese character is a word. Shingles of three words rather than five:
    a changed word spoils as many shingles as they have words, and instructions are short. Of a chain of alike samples
    only those are duplicates that are like a kept one. Of more than 32 samples that share a band, all are compared with
    the preferred one and, if they are not like it, with the next.

    Columns:
        near_duplicate (BOOLEAN): whether it repeats a kept sample; null where there is no word to compare.
        near_duplicate_of (VARCHAR): the kept sample that it repeats.
        near_duplicate_similarity (DOUBLE): to the most similar sample of its cluster; null alone.
        near_duplicate_partner (VARCHAR): that sample.
        near_duplicate_cluster (VARCHAR): the oldest sample of its cluster; null where it is alone.
        near_duplicate_size (BIGINT): samples of its cluster.
    """

    name: ClassVar[str] = "near-duplicate"
    whole: ClassVar[bool] = True

    text: Literal["both", "instruction", "response"] = Field("both", description="What is compared")
    threshold: float = Field(0.55, gt=0, le=1, description="Jaccard similarity from which two samples are duplicates")
    keep: str = Field("longest", description=KEEP)
    shingle: Unit = Field("word", description="What a shingle is made of; `whitespace` cuts words at spaces only")
    n: int | None = Field(None, ge=1, description="Words or characters in a shingle; null takes 3 words, 5 characters")
    permutations: int = Field(128, ge=1, le=4096, description="Hash functions of MinHash: more miss fewer")
    bands: int | None = Field(None, ge=1, description="Groups of hash functions; null takes what suits the threshold")

    @model_validator(mode="after")
    def _bands_have_rows(self) -> Self:
        if self.bands is not None and self.bands > self.permutations:
            raise ValueError(f"bands is {self.bands}, above the {self.permutations} permutations")
        return self

    @property
    def needs(self) -> tuple[str, ...]:
        texts = ("instruction", "response") if self.text == "both" else (self.text,)
        return *texts, "rejected", "label", *reads(self.keep)

    @property
    def columns(self) -> dict[str, str]:
        return columns("near_duplicate")

    def prepare(self, part: pl.DataFrame) -> pl.DataFrame:
        """The shingles of each text and the keys of its bands: most of the work, and no other text is needed for it."""
        import polars as pl

        sets = shingle_sets(
            compared(part, self.text), self.n or (5 if self.shingle == "character" else 3), self.shingle
        )
        keys = band_keys(sets, *self.banding())
        return pl.DataFrame(
            {"shingles": sets.column(), "bands": pl.Series(keys, dtype=pl.Array(pl.UInt32, keys.shape[1]))}
        )

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        return by_kind(batch, self._of_one_kind)

    def _of_one_kind(self, batch: pl.DataFrame) -> pl.DataFrame:
        lengths = compared(batch, self.text).str.len_chars().to_numpy()
        order = preferred(batch, self.keep, lengths)
        prepared = batch if "shingles" in batch.columns else self.prepare(batch)
        sets = ShingleSets.of_column(prepared["shingles"])
        rows = order[sets.sizes[order] > 0]
        clusters = self._clusters(sets, prepared["bands"].to_numpy(), rows)
        return table("near_duplicate", batch["id"], rows, clusters, "there is no word to compare")

    def banding(self) -> tuple[int, int]:
        """Bands, and hashes of a band: as many as still find a pair at the threshold with a chance of 98 %."""
        if self.bands is not None:
            return self.bands, self.permutations // self.bands
        for rows in range(self.permutations, 1, -1):
            if 1 - (1 - self.threshold**rows) ** (self.permutations // rows) >= DETECTED:
                return self.permutations // rows, rows
        return self.permutations, 1

    def _clusters(self, sets: ShingleSets, bands: Array, rows: Array) -> Clusters:
        equal = first_equal(sets.keys()[rows])
        search = _Search(sets, rows, self.threshold)
        distinct = np.flatnonzero(equal == np.arange(len(rows)))
        return clustered(equal, search.pairs(bands[rows[distinct]], distinct), search.again)


def by_kind(batch: pl.DataFrame, measure: Callable[[pl.DataFrame], pl.DataFrame]) -> pl.DataFrame:
    """Measure samples of each kind by themselves: plain ones, preference pairs, desirable and undesirable answers.

    An undesirable answer, its correction and the pair of both say almost the same, and none of them repeats another.
    """
    import polars as pl

    kinds = batch.select(pl.col("label"), pl.col("rejected").is_null().alias("alone"))
    if kinds.is_empty() or kinds.n_unique() == 1:
        return measure(batch)
    parts = batch.with_columns(kinds["alone"].alias("_alone")).with_row_index("_place")
    measured = [
        measure(part.drop("_alone", "_place")).with_columns(part["_place"])
        for part in parts.partition_by("label", "_alone", maintain_order=True)
    ]
    return pl.concat(measured).sort("_place").drop("_place")


def compared(batch: pl.DataFrame, text: str) -> pl.Series:
    """What is compared of each sample; `both` is question and answer and, of a preference pair, the rejected answer."""
    import polars as pl

    if text != "both":
        return batch[text]
    rejected = pl.col("rejected").list.eval(pl.element().struct.field("content")).list.join("\n")
    parts = [pl.col("instruction"), pl.col("response"), rejected]
    return batch.select(pl.concat_str(parts, separator="\n", ignore_nulls=True).alias("text"))["text"]


class _Search:
    """Candidates from the bands, verified. Samples are numbered in the order of preference."""

    def __init__(self, sets: ShingleSets, rows: Array, threshold: float) -> None:
        self._sets = sets
        self._rows = rows
        self._sizes = sets.sizes[rows]
        self._threshold = threshold
        self._crowded = np.zeros(0, np.int64)
        """Samples of the crowds, one crowd after another, ascending in each."""
        self._crowd = np.zeros(0, np.int64)
        """The crowd of each of those."""
        self._unlike = np.zeros(0, bool)
        """Whether each of those is known to be unlike all others of its crowd that are so marked."""

    def pairs(self, keys: Array, samples: Array) -> Pairs:
        """The alike pairs among samples, ascending, given the keys of their bands."""
        codes, held = [np.zeros(0, np.uint64)], 0
        crowds: list[Array] = []
        for band in range(keys.shape[1]):
            buckets = _Buckets(keys[:, band], samples)
            crowds += buckets.crowds()
            for left, right in buckets.pairs():
                codes.append(self._of_like_size(left, right))
                held += len(codes[-1])
            if held > KNOWN:
                codes = [_distinct(np.concatenate(codes))]
                held = len(codes[0])
        self._crowded = np.concatenate([np.zeros(0, np.int64), *crowds])
        self._crowd = np.repeat(np.arange(len(crowds)), [len(crowd) for crowd in crowds])
        self._unlike = np.zeros(len(self._crowded), bool)
        found = [self._verified(_distinct(np.concatenate(codes))), *self._led(np.arange(len(self._crowded)))]
        return _each_once(Pairs.joined(found))

    def again(self, kept: Array) -> Pairs:
        """Alike pairs among kept samples of a crowd that were not compared, as one like both was preferred to them."""
        mine = np.zeros(len(self._rows), bool)
        mine[kept] = True
        mine = mine[self._crowded]
        unsure = np.zeros(int(self._crowd[-1]) + 1 if len(self._crowd) else 0, bool)
        unsure[self._crowd[mine & ~self._unlike]] = True
        self._unlike[unsure[self._crowd]] = False
        return _each_once(Pairs.joined(list(self._led(np.flatnonzero(mine & unsure[self._crowd])))))

    def _led(self, places: Array) -> Iterator[Pairs]:
        # In each crowd all are compared with the first; those that are not like it with the next of them, and so on.
        # All crowds at once, as the same samples meet in many bands.
        while len(places):
            starts = np.append(True, np.diff(self._crowd[places]) != 0)
            self._unlike[places[starts]] = True
            leaders = places[starts][np.cumsum(starts) - 1][~starts]
            places = places[~starts]
            left, right = self._crowded[leaders], self._crowded[places]
            pairs = self._verified(_distinct(self._of_like_size(left, right)))
            yield pairs
            places = places[~np.isin(_codes(left, right), _codes(pairs.left, pairs.right))]

    def _of_like_size(self, left: Array, right: Array) -> Array:
        # Two sets are at most as similar as the smaller is to the larger in size.
        a, b = self._sizes[left], self._sizes[right]
        near = np.minimum(a, b) >= np.maximum(a, b) * (self._threshold - ROUNDING)
        return _codes(left[near], right[near])

    def _verified(self, codes: Array) -> Pairs:
        left, right = (codes >> HALF).astype(np.int64), (codes & LOWER).astype(np.int64)
        similarity = self._sets.jaccard(self._rows[left], self._rows[right])
        alike = similarity >= self._threshold - ROUNDING
        return Pairs(left[alike], right[alike], similarity[alike])


class _Buckets:
    """The samples of each key of one band, where there are several."""

    def __init__(self, keys: Array, samples: Array) -> None:
        packed = np.sort(_codes(keys, samples))
        ordered = packed >> HALF
        self._members = (packed & LOWER).astype(np.int64)
        self._starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])[: len(packed)])
        self._sizes = np.diff(np.append(self._starts, len(packed)))

    def pairs(self) -> Iterator[tuple[Array, Array]]:
        """All pairs of the buckets that are no crowd."""
        after = np.repeat(self._starts + self._sizes, self._sizes) - np.arange(len(self._members))
        here = np.flatnonzero((after > 1) & np.repeat(self._sizes <= CROWD, self._sizes))
        lag = 1
        while len(here):
            yield self._members[here], self._members[here + lag]
            lag += 1
            here = here[after[here] > lag]

    def crowds(self) -> list[Array]:
        """The samples of each bucket of more than `CROWD`."""
        where = np.flatnonzero(self._sizes > CROWD)
        return [self._members[self._starts[k] : self._starts[k] + self._sizes[k]] for k in where]


def _codes(left: Array, right: Array) -> Array:
    codes: Array = (left.astype(np.uint64) << HALF) | right.astype(np.uint64)
    return codes


def _distinct(codes: Array) -> Array:
    codes.sort()
    distinct: Array = codes[np.append(True, codes[1:] != codes[:-1])[: len(codes)]]
    return distinct


def _each_once(pairs: Pairs) -> Pairs:
    first = np.unique(_codes(pairs.left, pairs.right), return_index=True)[1]
    return Pairs(pairs.left[first], pairs.right[first], pairs.similarity[first])
