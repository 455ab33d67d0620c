"""Texts as sets of hashed shingles, how alike two sets are, and the keys by which alike sets meet.

A shingle is n words, or n characters, in a row. Words are runs of letters, marks and digits; a Chinese character is a
word of its own. Case and punctuation do not count; numbers count as they stand. A text of fewer than n words is one
shingle, the whole of it, so that short texts are alike only if they are equal. Hashes depend on the text alone: not on
the machine, the process, or the version of a library.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import polars as pl

Unit = Literal["word", "character", "whitespace"]
Array = np.ndarray[Any, np.dtype[Any]]

WORD = r"\p{Han}|\p{Sm}|[-*/%^] ?\p{N}+|[\p{L}\p{M}\p{N}--\p{Han}]+"
"""What counts as a word: a Chinese character, a mathematical sign, a run of letters, marks and digits.

A sign that is also punctuation counts with the number after it, as 5 - 3 is not 5 * 3."""
CHUNK = 4096
"""Texts that are cut at once. A shingle is sorted within its chunk by one 64-bit key: 12 bits of text, 52 of hash."""
HASH_BITS = 52
LONG_WORD = 256
"""Bytes beyond which a word is hashed by hashlib: the column-wise way takes a step for every eight bytes."""
PAIRS = 50_000
"""Pairs that are compared at once; bounds the memory."""

_ODD = tuple(np.uint64(c) for c in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
"""The constants of SplitMix64 (Steele, Lea & Flood 2014)."""


@dataclass(frozen=True)
class ShingleSets:
    """The shingles of many texts: those of text i are `hashes[starts[i]:starts[i + 1]]`, ascending, each once."""

    hashes: Array
    """int64, 52 bits used: 10,000 texts of 100 shingles share one by accident with a chance of 1 in 10,000."""
    starts: Array
    """int64 (texts + 1)."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    @cached_property
    def sizes(self) -> Array:
        """Shingles of each text; 0 where it has no word."""
        return np.diff(self.starts)

    def keys(self) -> Array:
        """uint64 (texts, 2): equal for equal sets, and different for different ones but for a chance of 2^-100."""
        keys = np.empty((len(self), 2), np.uint64)
        for first in range(0, len(self), CHUNK):
            starts = self.starts[first : first + CHUNK + 1]
            mixed = _mixed(self.hashes[starts[0] : starts[-1]].astype(np.uint64))
            for column, values in enumerate((mixed, _mixed(mixed))):
                sums = np.append(np.uint64(0), np.cumsum(values))[starts - starts[0]]
                keys[first : first + CHUNK, column] = np.diff(sums)
        return keys

    def jaccard(self, left: Array, right: Array) -> Array:
        """Shared shingles over all shingles, of text `left[k]` and text `right[k]`: float64, 0 to 1, exact."""

        def shared(first: int) -> Array:
            part = slice(first, first + PAIRS)
            both: Array = np.diff((self._rows[left[part]] * self._rows[right[part]]).indptr)
            return both

        counts = np.concatenate([np.zeros(0, np.int64), *_in_threads(shared, range(0, len(left), PAIRS))])
        union: Array = self.sizes[left] + self.sizes[right] - counts
        return counts / np.maximum(union, 1)

    def column(self) -> pl.Series:
        """List(Int64): the same as a column."""
        import polars as pl
        import pyarrow as pa

        lists = pa.LargeListArray.from_arrays(pa.array(self.starts), pa.array(self.hashes))
        column = pl.from_arrow(lists)
        assert isinstance(column, pl.Series)
        return column

    @classmethod
    def of_column(cls, column: pl.Series) -> ShingleSets:
        """What `column` gave, or some rows of it."""
        sizes = column.list.len().to_numpy().astype(np.int64)
        return cls(column.list.explode(empty_as_null=False).to_numpy(), np.append(np.int64(0), np.cumsum(sizes)))

    @cached_property
    def _rows(self) -> Any:
        from scipy.sparse import csr_array

        ones = np.ones(len(self.hashes), np.int8)
        rows = csr_array((ones, self.hashes, self.starts), shape=(len(self), 1 << HASH_BITS))
        rows.has_canonical_format = True
        return rows


def shingle_sets(texts: pl.Series, n: int, unit: Unit = "word") -> ShingleSets:
    """The set of shingles of each text, in order; empty where a text is null or has no word.

    Args:
        texts: String.
        n: words or characters of a shingle, at least 1.
        unit: what a shingle is made of. Characters are those of the words, one space between two words; `whitespace`
            is words cut at white space only, punctuation included, as most tools have it.
    """

    def cut(part: pl.Series) -> tuple[Array, Array]:
        units, lengths = _units(part, unit)
        return _sets(*_in_a_row(units, lengths, n), len(part))

    parts = list(_in_threads(cut, [texts.slice(k, CHUNK) for k in range(0, len(texts), CHUNK)]))
    sizes = np.concatenate([np.zeros(1, np.int64), *(sizes for _, sizes in parts)])
    hashes = np.concatenate([np.zeros(0, np.int64), *(hashes for hashes, _ in parts)])
    return ShingleSets(hashes, np.cumsum(sizes))


def string_hashes(strings: pl.Series) -> Array:
    """A 64-bit hash of each string: uint64, of its UTF-8 bytes alone. No nulls."""
    ends, data = _bytes(strings)
    starts, sizes = ends[:-1], np.diff(ends)
    eights = np.ndarray(len(data) - 7, "<u8", data, strides=(1,))
    hashes: Array = sizes.astype(np.uint64) * _ODD[0]
    active, done = np.flatnonzero((sizes > 0) & (sizes <= LONG_WORD)), 0
    while len(active):
        spare = np.uint64(8) * np.maximum(8 + done - sizes[active], 0).astype(np.uint64)
        piece = eights[starts[active] + done] & (~np.uint64(0) >> spare)
        hashes[active] = _mixed(hashes[active] ^ piece)
        done += 8
        active = active[sizes[active] > done]
    for i in np.flatnonzero(sizes > LONG_WORD):
        digest = hashlib.blake2b(data[starts[i] : ends[i + 1]].tobytes(), digest_size=8).digest()
        hashes[i] = int.from_bytes(digest, "little")
    return hashes


def band_keys(sets: ShingleSets, bands: int, rows: int) -> Array:
    """MinHash keys, uint32 (texts, bands): texts of Jaccard similarity s agree in a band with a chance of s^rows.

    Source: Broder 1997, On the resemblance and containment of documents; bands as in Indyk & Motwani 1998. A hash is
    a x + b modulo 2^32 with odd a, of the upper 32 bits of a shingle.

    Args:
        sets: of the texts; a text without shingles gets the keys of all such texts.
        bands: keys per text.
        rows: hashes whose minima make one key.
    """
    generator = np.random.Generator(np.random.PCG64(1))
    factors = generator.integers(0, 1 << 31, bands * rows, np.uint32) * np.uint32(2) + np.uint32(1)
    offsets = generator.integers(0, 1 << 32, bands * rows, np.uint32)
    keys = np.zeros((len(sets), bands), np.uint32)

    def fill(first: int) -> None:
        texts = first + np.flatnonzero(sets.sizes[first : first + CHUNK])
        if len(texts) == 0:
            return
        begin, end = sets.starts[texts[0]], sets.starts[texts[-1] + 1]
        high = (sets.hashes[begin:end] >> (HASH_BITS - 32)).astype(np.uint32)
        cuts = sets.starts[texts] - begin
        values = np.empty_like(high)
        for band in range(bands):
            key = np.zeros(len(texts), np.uint64)
            for k in range(band * rows, band * rows + rows):
                np.multiply(high, factors[k], out=values)
                np.add(values, offsets[k], out=values)
                key = _mixed(key + np.minimum.reduceat(values, cuts))
            keys[texts, band] = key >> np.uint64(32)

    for _ in _in_threads(fill, range(0, len(sets), CHUNK)):
        pass
    return keys


def first_equal(keys: Array) -> Array:
    """For each row of `keys`, uint64 (rows, 2), the first row that is equal to it: int64."""
    order = np.lexsort((keys[:, 1], keys[:, 0]))
    ordered = keys[order]
    starts = np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))[: len(order)]
    equal = np.empty(len(order), np.int64)
    equal[order] = order[starts][np.cumsum(starts) - 1]
    return equal


def _units(texts: pl.Series, unit: Unit) -> tuple[Array, Array]:
    # Hashes of the words or characters of all texts, one after another, and how many each text has.
    words = texts.fill_null("").str.to_lowercase().str.extract_all(r"\S+" if unit == "whitespace" else WORD)
    if unit != "character":
        lengths = words.list.len().to_numpy().astype(np.int64)
        return string_hashes(words.list.explode(empty_as_null=False)), lengths
    letters = words.list.join(" ")
    lengths = letters.str.len_chars().to_numpy().astype(np.int64)
    points = np.frombuffer("".join(letters.to_list()).encode("utf-32-le", "surrogatepass"), "<u4")
    return _mixed(points.astype(np.uint64) * _ODD[0]), lengths


def _in_a_row(units: Array, lengths: Array, n: int) -> tuple[Array, Array]:
    # One hash for every n units in a row, and its text. A text with fewer is filled up with zeros; no word hashes to 0.
    filled = np.where(lengths > 0, np.maximum(lengths, n), 0)
    if filled.sum() > len(units):
        added = filled - lengths
        padded = np.zeros(int(filled.sum()), np.uint64)
        padded[np.arange(len(units)) + np.repeat(np.cumsum(added) - added, lengths)] = units
        units = padded
    text = np.repeat(np.arange(len(lengths)), filled)
    size = max(len(units) - n + 1, 0)
    rolled = np.zeros(size, np.uint64)
    for k in range(n):
        rolled = _mixed(rolled + units[k : k + size])
    inside = text[:size] == text[n - 1 :]
    return rolled[inside], text[:size][inside]


def _sets(hashes: Array, texts: Array, count: int) -> tuple[Array, Array]:
    # Of each text every hash once, ascending, by one sort of (text, hash) in 64 bits; and how many each text has.
    keys = (texts.astype(np.uint64) << np.uint64(HASH_BITS)) | (hashes >> np.uint64(64 - HASH_BITS))
    keys.sort()
    keys = keys[np.append(True, keys[1:] != keys[:-1])] if len(keys) else keys
    sizes = np.bincount((keys >> np.uint64(HASH_BITS)).astype(np.int64), minlength=count)
    return (keys & np.uint64((1 << HASH_BITS) - 1)).astype(np.int64), sizes


def _mixed(values: Array) -> Array:
    # The finaliser of SplitMix64: every bit of the value reaches every bit of the result.
    mixed: Array = values ^ (values >> np.uint64(30))
    mixed *= _ODD[1]
    mixed ^= mixed >> np.uint64(27)
    mixed *= _ODD[2]
    mixed ^= mixed >> np.uint64(31)
    return mixed


def _bytes(strings: pl.Series) -> tuple[Array, Array]:
    # Where the strings end (with a 0 before them), and their bytes with eight zeros after them.
    import polars as pl

    arrow = strings.to_arrow(compat_level=pl.CompatLevel.oldest())
    _, ends, data = arrow.buffers()
    held = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    where = np.frombuffer(ends, np.int64)[arrow.offset : arrow.offset + len(arrow) + 1]
    return where, np.append(held, np.zeros(8, np.uint8))


def _in_threads(work: Callable[[Any], Any], parts: Iterable[Any]) -> Iterator[Any]:
    # numpy and polars let go of the interpreter while they compute.
    waiting = list(parts)
    if len(waiting) < 2:
        yield from map(work, waiting)
        return
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        yield from threads.map(work, waiting)
