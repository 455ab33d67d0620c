"""Where texts repeat one another: the runs of words that each of many texts shares with any of a few known ones.

A word is a run of letters and digits, or one Chinese or Japanese character, in lower case: case, punctuation and spaces
never tell texts apart. Words of the known texts are numbered, then pairs of numbers, pairs of pairs, and so on, so that
equal numbers mean equal n-grams: nothing is hashed, and no match is an accident.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

_ALONE = r"\p{Han}\p{Hiragana}\p{Katakana}"
WORD = rf"[{_ALONE}]|[[\p{{L}}\p{{M}}\p{{N}}]--[{_ALONE}]]+"
"""The second part leaves out what stands alone: else `36颗糖` would be one word, with the letters before it."""

COMMON = 20
"""An n-gram of more known texts than this says nothing of any of them (a preamble, `how many are left`)."""
MOST_PARTNERS = 10
"""Of each text, so many known ones are reported: those of which it holds most."""

Run = tuple[int, int, int]
"""First word in the known text, first word in the other, how many words are equal from there on."""


def words_of(texts: pl.Series) -> pl.Series:
    """The words of each text, lower case, as lists."""
    return texts.fill_null("").str.to_lowercase().str.extract_all(WORD)


class KnownTexts:
    """Texts to look for in others."""

    def __init__(self, texts: Sequence[str], n: int = 8) -> None:
        """Number the n-grams of the texts.

        Args:
            texts: of at least three words; shorter ones are never found.
            n: n-grams of so many words lead from a text to a known one. A known text of fewer than 3 n words is looked
                up by 4-grams, one of fewer than 12 words by 3-grams: one of them survives any two changed words.
        """
        lists = words_of(pl.Series(texts, dtype=pl.String))
        self.words: list[list[str]] = lists.to_list()
        flat, self.sizes = _laid_out(lists)
        self._vocabulary = pl.DataFrame({"word": flat.filter(flat != _END).unique(maintain_order=True)})
        self._vocabulary = self._vocabulary.with_row_index("number")
        self._numbers = self._numbered(flat)
        self._starts = _starts(self.sizes)
        self._weights = np.where(flat.str.contains(rf"^[{_ALONE}]$").to_numpy(), 0.5, 1.0)
        self.weights = np.add.reduceat(self._weights, self._starts) - 1 if len(self.sizes) else np.zeros(0)
        self.lengths = np.where(self.sizes >= 3 * n, n, np.where(self.sizes >= 12, min(4, n), min(3, n)))
        owner = np.repeat(np.arange(len(self.sizes)), self.sizes + 1)
        self._names: dict[int, np.ndarray] = {}
        self._places: dict[int, _Places] = {}
        for size, grams in self._each_grams(self._numbers):
            at = np.flatnonzero((grams >= 0) & (self.lengths[owner] == size))
            at = at[np.argsort(grams[at], kind="stable")]
            ends = np.searchsorted(grams[at], np.arange(len(self._names[size]) + 1))
            self._places[size] = _Places(ends[:-1], np.diff(ends), owner[at], at - self._starts[owner[at]])

    def shared(self, texts: pl.Series) -> pl.DataFrame:
        """What each text shares with the known ones.

        Returns:
            One row for each text and known text with a common n-gram, by text, then by `share`, highest first:
            `text` and `known` (numbers), `share` (of the known text's words that lie in common n-grams, 0..1), the
            longest run (`longest` words, from word `known_start` and `text_start` on), `missing` (weight of the known
            text's words that the text has nowhere; only where the share is a quarter, else infinite), `whole` (the
            text holds all of it), `words` (of the text) and `shift` (where in the text the known one would begin).
        """
        flat, sizes = _laid_out(words_of(texts))
        numbers, starts = self._numbered(flat), _starts(sizes)
        counts = [self._pairs(grams, starts, size) for size, grams in self._each_grams(numbers)]
        pairs = pl.concat(counts or [_counted([np.zeros(0, np.int64)] * 4, 1)])
        size = pl.Series(self.sizes[pairs["known"].to_numpy()])
        pairs = pairs.with_columns((pl.col("covered") / size).alias("share"))
        pairs = pairs.sort("text", "share", "longest", "known", descending=[False, True, True, False])
        pairs = pairs.group_by("text", maintain_order=True).head(MOST_PARTNERS).drop("covered")
        owner = np.repeat(np.arange(len(sizes)), sizes + 1)
        pairs = pairs.with_columns(
            self._missing(pairs, numbers, owner),
            self._whole(pairs, numbers, starts),
            words=sizes[pairs["text"].to_numpy()],
        )
        whole, size = pl.col("whole"), pl.Series(self.sizes[pairs["known"].to_numpy()])
        return pairs.with_columns(
            pl.when(whole).then(1.0).otherwise("share").alias("share"),
            pl.when(whole).then(size).otherwise("longest").alias("longest"),
            pl.when(whole).then(0).otherwise("known_start").alias("known_start"),
            pl.when(whole).then("shift").otherwise("text_start").alias("text_start"),
        )

    def aligned(self, known: int, words: Sequence[str], shift: int) -> list[Run]:
        """The runs that a known text and the words of another have in common, near where the known one would begin."""
        item = self.words[known]
        room = max(4, len(item) // 4)
        first, last = max(0, shift - room), min(len(words), shift + len(item) + room)
        return list(aligned(item, words[first:last], first))

    def _numbered(self, words: pl.Series) -> np.ndarray:
        found = pl.DataFrame({"word": words}).join(self._vocabulary, on="word", how="left", maintain_order="left")
        numbers: np.ndarray = found["number"].cast(pl.Int64).fill_null(-1).to_numpy()
        return numbers

    def _each_grams(self, numbers: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
        """For each length in use, the number of the n-gram that begins at each word; -1 where no known text has it."""
        made = {1: numbers}
        for size in sorted(set(self.lengths.tolist())):
            yield size, self._grams(made, size)

    def _grams(self, made: dict[int, np.ndarray], n: int) -> np.ndarray:
        if n in made:
            return made[n]
        half = (n + 1) // 2
        parts = self._grams(made, half)
        left, right = parts[: half - n], parts[n - half :]
        at = np.flatnonzero((left >= 0) & (right >= 0))
        pairs = (left[at] << 32) | right[at]
        if n not in self._names:
            self._names[n] = np.unique(pairs)
        names = self._names[n]
        grams = np.full(len(parts), -1, dtype=np.int64)
        if len(names):
            places = np.minimum(np.searchsorted(names, pairs), len(names) - 1)
            same = names[places] == pairs
            grams[at[same]] = places[same]
        made[n] = grams
        return grams

    def _pairs(self, grams: np.ndarray, starts: np.ndarray, size: int) -> pl.DataFrame:
        places = self._places[size]
        at = np.flatnonzero(grams >= 0)
        first, many = places.first[grams[at]], places.many[grams[at]]
        telling = (many > 0) & (many <= COMMON)
        at, first, many = at[telling], first[telling], many[telling]
        nth = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
        entry, at = np.repeat(first, many) + nth, np.repeat(at, many)
        text = np.searchsorted(starts, at, side="right") - 1
        return _counted([text, places.known[entry], places.position[entry], at - starts[text]], size)

    def _whole(self, pairs: pl.DataFrame, numbers: np.ndarray, starts: np.ndarray) -> pl.Series:
        """Whether a known text stands word by word where its longest run points, n-grams of many others included."""
        text, known, shift = (pairs[name].to_numpy() for name in ("text", "known", "shift"))
        sizes, first = self.sizes[known], starts[text] + shift
        whole = (shift >= 0) & (first + sizes <= len(numbers))
        # Almost all fail at the ends already.
        for end in (np.zeros_like(sizes), sizes - 1):
            at = np.flatnonzero(whole)
            whole[at] = numbers[first[at] + end[at]] == self._numbers[self._starts[known[at]] + end[at]]
        for i in np.flatnonzero(whole).tolist():
            start = self._starts[known[i]]
            item = self._numbers[start : start + sizes[i]]
            whole[i] = np.array_equal(numbers[first[i] : first[i] + sizes[i]], item)
        return pl.Series("whole", whole)

    def _missing(self, pairs: pl.DataFrame, numbers: np.ndarray, owner: np.ndarray) -> pl.Series:
        """Weight of the words of each known text that its partner has nowhere."""
        base = len(self._vocabulary) + 1
        weights = np.full(pairs.height, np.inf)
        near = np.flatnonzero(pairs["share"].to_numpy() >= 0.25)
        if not len(near):
            return pl.Series("missing", weights)
        text, known = pairs["text"].to_numpy()[near], pairs["known"].to_numpy()[near]
        there = np.isin(owner, text) & (numbers >= 0)
        have = np.unique(owner[there] * base + numbers[there])
        sizes = self.sizes[known]
        ends = np.cumsum(sizes)
        words = np.arange(ends[-1]) - np.repeat(ends - sizes, sizes) + np.repeat(self._starts[known], sizes)
        wanted = np.repeat(text, sizes) * base + self._numbers[words]
        lacks = have[np.minimum(np.searchsorted(have, wanted), len(have) - 1)] != wanted
        weights[near] = np.add.reduceat(lacks * self._weights[words], ends - sizes)
        return pl.Series("missing", weights)


@dataclass(frozen=True)
class _Places:
    """Where the n-grams of one length stand in the known texts that are looked up by it.

    n-gram i stands at `many[i]` places, from `first[i]` on: word `position` of the text `known`.
    """

    first: np.ndarray
    many: np.ndarray
    known: np.ndarray
    position: np.ndarray


_END = "\n"
"""Stands after the last word of every text, so that no n-gram crosses from one to the next."""


def _laid_out(words: pl.Series) -> tuple[pl.Series, np.ndarray]:
    """All words one after the other, and how many each text has."""
    ended = pl.DataFrame({"words": words}).select(pl.concat_list("words", pl.lit(_END))).to_series()
    return ended.explode(), words.list.len().to_numpy().astype(np.int64)


def _starts(sizes: np.ndarray) -> np.ndarray:
    starts: np.ndarray = np.cumsum(sizes + 1) - (sizes + 1)
    return starts


def _counted(hits: Sequence[np.ndarray], size: int) -> pl.DataFrame:
    """Common n-grams (text, known text, place in it, place in the text) as one row for each text and known text."""
    names = ("text", "known", "known_start", "text_start")
    frame = pl.DataFrame(dict(zip(names, hits, strict=True)), schema=dict.fromkeys(names, pl.Int64))
    pair = ["text", "known"]
    places = frame.select(*pair, "known_start").unique().sort(*pair, "known_start")
    step = (pl.col("known_start").shift(-1).over(pair) - pl.col("known_start")).fill_null(size)
    covered = (
        places.with_columns(step.clip(upper_bound=size).alias("covered")).group_by(pair).agg(pl.col("covered").sum())
    )
    # Along a run both places grow by one, so their difference and their distance from the row's own number stay.
    shift = pl.col("text_start") - pl.col("known_start")
    runs = frame.with_columns(shift.alias("shift")).sort(*pair, "shift", "known_start").with_row_index("nth")
    since = (pl.col("known_start") - pl.col("nth").cast(pl.Int64)).alias("since")
    runs = runs.group_by(*pair, "shift", since).agg(pl.len(), pl.col("known_start", "text_start").min())
    runs = runs.sort("len", "known_start", "text_start", descending=[True, False, False])
    longest = runs.group_by(pair, maintain_order=True).first()
    length = (pl.col("len").cast(pl.Int64) + (size - 1)).alias("longest")
    return longest.join(covered, on=pair).select(*names, "shift", length, "covered")


def aligned(known: Sequence[object], other: Sequence[object], offset: int = 0) -> Iterator[Run]:
    """The runs of equal words of two texts, the longest first found and then what is left and right of it, in order."""
    for block in difflib.SequenceMatcher(None, known, other, autojunk=False).get_matching_blocks():
        if block.size:
            yield block.a, block.b + offset, block.size


def places_of(texts: pl.Series) -> Iterator[list[tuple[int, int]]]:
    """Where each word of each text stands: its first character, and the one after its last."""
    for text, words in zip(texts, texts.str.extract_all(WORD), strict=True):
        places, end = [], 0
        for word in words:
            start = text.index(word, end)
            end = start + len(word)
            places.append((start, end))
        yield places


def common_passages(first: str, second: str, shortest: int = 3) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The passages two texts share, as places of characters in each, in order: runs of at least `shortest` words."""
    texts = pl.Series([first, second], dtype=pl.String)
    runs = [run for run in aligned(*words_of(texts).to_list()) if run[2] >= shortest]
    mine, its = (
        [(at[r[side]][0], at[r[side] + r[2] - 1][1]) for r in runs] for side, at in enumerate(places_of(texts))
    )
    return mine, its
