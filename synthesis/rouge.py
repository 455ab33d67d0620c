"""ROUGE-L between a text and many known ones, without comparing it with each of them.

ROUGE-L (Lin 2004) is 2 L / (m + n): L words in common in the same order, of texts of m and n words. A word is a run of
letters and digits, or one Chinese or Japanese character, in lower case. L is at most the number of words that two texts
share in any order, and these are counted for all known texts at once by an index of words; only where that bound is
above the limit are two texts compared.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]


def rouge_l(first: str, second: str) -> float:
    """The F measure of ROUGE-L, 0..1; two texts without a word have 0."""
    one, other = _words([first, second])
    return 2 * common_subsequence(one, other) / max(1, len(one) + len(other))


def common_subsequence(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest common subsequence, by the bit-parallel way of Hyyro 2004."""
    places: dict[str, int] = {}
    for place, word in enumerate(first):
        places[word] = places.get(word, 0) | 1 << place
    whole = (1 << len(first)) - 1
    row = whole
    for word in second:
        found = row & places.get(word, 0)
        row = ((row + found) | (row - found)) & whole
    return len(first) - row.bit_count()


class ClosestTexts:
    """Known texts; more of them can be added at any time."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._texts: list[str] = []
        self._blocks: list[_Block] = []

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, names: Sequence[str], texts: Sequence[str]) -> None:
        """Add texts, each under a name."""
        if not texts:
            return
        self._blocks.append(_Block.of(texts, len(self._texts)))
        self._names += names
        self._texts += texts
        while len(self._blocks) > 1 and len(self._blocks[-1].sizes) * 2 > len(self._blocks[-2].sizes):
            last = self._blocks.pop()
            self._blocks[-1] = self._blocks[-1].joined(last)

    def closest(self, text: str, above: float, but: Collection[str] = ()) -> tuple[str, float] | None:
        """Name and ROUGE-L (`above`..1) of the known text that is most alike; null where none is above the limit.

        Args:
            text: what is compared.
            above: ROUGE-L that must be exceeded, 0..1.
            but: names of texts that don't count.
        """
        import numpy as np

        words = _words([text])[0]
        if not words:
            return None
        keys = np.sort(_keys([words])[0])
        found = [block.bounds(keys, len(words), above) for block in self._blocks]
        numbers = np.concatenate([n for n, _ in found]) if found else np.zeros(0, np.int64)
        bounds = np.concatenate([b for _, b in found]) if found else np.zeros(0)
        best: tuple[str, float] | None = None
        for place in np.lexsort((numbers, -bounds)).tolist():
            if best is not None and bounds[place] < best[1]:
                break
            best = self._better(best, words, int(numbers[place]), above, but)
        return best

    def _better(
        self, best: tuple[str, float] | None, words: list[str], number: int, above: float, but: Collection[str]
    ) -> tuple[str, float] | None:
        name = self._names[number]
        if name in but:
            return best
        other = _words([self._texts[number]])[0]
        score = 2 * common_subsequence(words, other) / (len(words) + len(other))
        if score <= above or (best is not None and (-score, name) >= (-best[1], best[0])):
            return best
        return name, score


@dataclass(frozen=True)
class _Block:
    """An index of some texts: which of them has which word, its second occurrence apart from its first."""

    keys: Array
    """uint64, ascending."""
    owners: Array
    """int32: the text (from 0 on within the block) that each key is of."""
    sizes: Array
    """int64: words of each text."""
    first: int
    """Number of its first text."""

    @classmethod
    def of(cls, texts: Sequence[str], first: int) -> _Block:
        import numpy as np

        keys, sizes = _keys(_words(texts))
        owners = np.repeat(np.arange(len(texts), dtype=np.int32), sizes)
        order = np.argsort(keys, kind="stable")
        return cls(keys[order], owners[order], sizes, first)

    def joined(self, after: _Block) -> _Block:
        import numpy as np

        keys = np.concatenate([self.keys, after.keys])
        owners = np.concatenate([self.owners, after.owners + np.int32(len(self.sizes))])
        order = np.argsort(keys, kind="stable")
        return _Block(keys[order], owners[order], np.concatenate([self.sizes, after.sizes]), self.first)

    def bounds(self, keys: Array, size: int, above: float) -> tuple[Array, Array]:
        """Numbers of the texts whose ROUGE-L may be above the limit, and how much it is at most."""
        import numpy as np

        begins, ends = np.searchsorted(self.keys, keys, "left"), np.searchsorted(self.keys, keys, "right")
        many = ends - begins
        at = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many) + np.repeat(begins, many)
        shared = np.bincount(self.owners[at], minlength=len(self.sizes))
        bounds = 2 * shared / (size + self.sizes)
        rows = np.flatnonzero(bounds > above)
        return rows + self.first, bounds[rows]


def _words(texts: Sequence[str]) -> list[list[str]]:
    import polars as pl

    from curation.texts.overlap import words_of

    found: list[list[str]] = words_of(pl.Series(texts, dtype=pl.String)).to_list()
    return found


def _keys(lists: Sequence[list[str]]) -> tuple[Array, Array]:
    """A hash of each word and how often it came before in its text, uint64; and how many words each text has."""
    import numpy as np
    import polars as pl

    from curation.texts.shingles import string_hashes

    sizes = np.array([len(words) for words in lists], np.int64)
    flat = pl.Series([word for words in lists for word in words], dtype=pl.String)
    if not len(flat):
        return np.zeros(0, np.uint64), sizes
    frame = pl.DataFrame({"word": string_hashes(flat), "text": np.repeat(np.arange(len(sizes)), sizes)})
    before = frame.select(pl.int_range(pl.len(), dtype=pl.UInt64).over("text", "word"))
    return frame["word"].to_numpy() + before.to_series().to_numpy() * np.uint64(0x9E3779B97F4A7C15), sizes
