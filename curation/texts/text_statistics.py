"""Counts, ratios and repetition of many texts at once, from one array of their characters.

A text is measured on its first `MOST_CHARS` characters. Repetition is counted over hashes of n-grams that are sorted,
not kept in dictionaries: ten times faster, and the memory is that of one block of texts.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Array = np.ndarray[Any, np.dtype[Any]]

MOST_CHARS = 200_000
"""Characters of a text that are looked at: one book in a corpus must not decide how much memory a block takes."""
BLOCK_CHARS = 2_000_000
BLOCK_ROWS = 8_192

LETTER, DIGIT, SPACE, SYMBOL, HAN, KANA, MARK, KNOWN = (1 << bit for bit in range(8))
CJK = HAN | KANA
_MIX = 0x9E3779B97F4A7C15  # the odd number nearest 2**64 / golden ratio: multiplying by it spreads neighbouring codes
_BASE = 0x5851F42D4C957F2D
_ROW_BITS = 51  # the low bits of a key hold the hash, the 13 above it the row in its block


class Block(NamedTuple):
    """Some texts as one array of code points, and where each begins and ends."""

    codes: Array
    kinds: Array
    starts: Array
    ends: Array

    @property
    def rows(self) -> int:
        """Texts in the block."""
        return len(self.starts)


class Repeats(NamedTuple):
    """Per text, over its n-grams: how many, how many different, how many of those that occur more than once."""

    total: Array
    unique: Array
    repeated: Array
    """Occurrences of n-grams that occur more than once."""
    frequent: Array
    """The same, for the most frequent ones only: at most the square root of the different ones."""


def statistics_of(texts: pl.Series) -> pl.DataFrame:
    """One row per text, in order; a text without characters (or null) has nulls for everything but the counts.

    Columns:
        chars, words, lines, max_line_chars: counts; a word stands between spaces, or is a Chinese character.
        mean_line_chars: characters per line, line ends included.
        alphanumeric_ratio, digit_ratio, symbol_ratio, special_ratio, han_ratio: shares of the characters that are
            letters or digits; digits; neither of them nor spaces; anything but letters; Chinese (spaces left out).
        repeated_lines: share of the lines that came before.
        came_before: share of the word 4-grams that came before.
        repeated_words: share of the word 10-grams that occur more than once (data-juicer's definition).
        repeated_characters: share of the character 10-grams taken by the most frequent repeated ones, at most the
            square root of the different ones (data-juicer's definition).
    """
    import polars as pl

    parts = [pl.DataFrame(_measured(block)) for block in _blocks(texts)]
    whole = pl.concat(parts) if parts else pl.DataFrame(_measured(_block([])))
    counts = ("words", "lines", "max_line_chars")
    chars = texts.fill_null("").str.len_chars().cast(pl.Int64).alias("chars")
    ratios = [name for name in whole.columns if name not in counts]
    return whole.select(chars, *counts, *(pl.when(chars > 0).then(pl.col(name)).alias(name) for name in ratios))


def _blocks(texts: pl.Series) -> Iterator[Block]:
    held: list[str] = []
    size = 0
    for text in texts.fill_null("").str.head(MOST_CHARS):
        if held and (len(held) == BLOCK_ROWS or size + len(text) > BLOCK_CHARS):
            yield _block(held)
            held, size = [], 0
        held.append(text)
        size += len(text)
    if held:
        yield _block(held)


def _block(texts: list[str]) -> Block:
    import numpy as np

    codes = np.frombuffer("".join(texts).encode("utf-32-le"), dtype=np.uint32)
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    return Block(codes, _kinds(codes), np.concatenate([[0], ends[:-1]]).astype(np.int64)[: len(ends)], ends)


@functools.lru_cache(maxsize=1)
def _table() -> Array:
    import numpy as np

    return np.zeros(0x110000, dtype=np.uint8)


def _kinds(codes: Array) -> Array:
    # Filled as characters are met: naming all 1.1M code points would take half a second of every start.
    import numpy as np

    table = _table()
    seen = np.flatnonzero(np.bincount(codes, minlength=1)) if len(codes) else codes
    for code in seen[table[seen] == 0].tolist():
        table[code] = _kind(chr(code)) | KNOWN
    return table[codes]


def _kind(character: str) -> int:
    code = ord(character)
    if 0x3400 <= code <= 0x9FFF or 0xF900 <= code <= 0xFAFF or 0x20000 <= code <= 0x3FFFF:
        return LETTER | HAN
    if 0x3040 <= code <= 0x30FF and character.isalpha():
        return LETTER | KANA
    if character.isspace():
        return SPACE
    major = unicodedata.category(character)[0]
    return {"L": LETTER, "N": DIGIT, "M": MARK}.get(major, SYMBOL)


def _measured(block: Block) -> dict[str, Array]:
    import numpy as np

    kinds, size = block.kinds, np.maximum(block.ends - block.starts, 1)
    letters, digits, spaces, symbols, han = (
        _per_row(block, (kinds & kind) != 0) for kind in (LETTER, DIGIT, SPACE, SYMBOL, HAN)
    )
    length = block.ends - block.starts
    lines, longest, line_repeats = _lines(block)
    hashes, rows, words = _words(block)
    fours, tens = (_repeats(_rolled(hashes, n), _fits(rows, n), block.rows) for n in (4, 10))
    characters = _character_repeats(block, 10)
    return {
        "words": words,
        "lines": lines,
        "max_line_chars": longest,
        "mean_line_chars": length / np.maximum(lines, 1),
        "alphanumeric_ratio": (letters + digits) / size,
        "digit_ratio": digits / size,
        "symbol_ratio": symbols / size,
        "special_ratio": (digits + spaces + symbols) / size,
        "han_ratio": han / np.maximum(length - spaces, 1),
        "repeated_lines": _came_before(line_repeats),
        "came_before": _came_before(fours),
        "repeated_words": tens.repeated / np.maximum(tens.total, 1),
        "repeated_characters": characters.frequent / np.maximum(characters.total, 1),
    }


def _came_before(repeats: Repeats) -> Array:
    import numpy as np

    share: Array = (repeats.total - repeats.unique) / np.maximum(repeats.total, 1)
    return share


def _per_row(block: Block, mask: Array) -> Array:
    import numpy as np

    running = np.concatenate([[0], np.cumsum(mask, dtype=np.int64)])
    counted: Array = running[block.ends] - running[block.starts]
    return counted


def _row_of(block: Block, places: Array) -> Array:
    import numpy as np

    rows: Array = np.searchsorted(block.ends, places, side="right")
    return rows


def _lines(block: Block) -> tuple[Array, Array, Repeats]:
    """Lines per text, the longest one's characters, and repetition among the lines that aren't blank."""
    import numpy as np

    breaks = np.flatnonzero(block.codes == 10)
    full = block.starts[block.ends > block.starts]
    starts = np.union1d(full, breaks + 1)
    starts = starts[starts < len(block.codes)]
    rows = _row_of(block, starts)
    ends = np.concatenate([starts[1:], [len(block.codes)]])[: len(starts)]
    ended = block.codes[ends - 1] == 10 if len(ends) else np.zeros(0, dtype=bool)
    longest = np.zeros(block.rows, dtype=np.int64)
    np.maximum.at(longest, rows, ends - starts - ended)
    hashes = _segment_hashes(block.codes, starts)
    filled = np.add.reduceat((block.kinds & SPACE) == 0, starts, dtype=np.int64) > 0 if len(starts) else ended
    # The last line may lack the line end that the same line above it has.
    hashes = np.where(ended, hashes, hashes + _newline(ends - starts)) if len(starts) else hashes
    return np.bincount(rows, minlength=block.rows), longest, _repeats(hashes[filled], rows[filled], block.rows)


def _newline(places: Array) -> Array:
    import numpy as np

    with np.errstate(over="ignore"):
        value: Array = _powers(int(places.max(initial=0)) + 1)[places] * (np.uint64(11) * np.uint64(_MIX))
    return value


@functools.lru_cache(maxsize=4)
def _powers_of(size: int) -> Array:
    import numpy as np

    powers = np.full(size, _BASE, dtype=np.uint64)
    powers[0] = 1
    return np.multiply.accumulate(powers)


def _powers(size: int) -> Array:
    return _powers_of(1 << max(8, size.bit_length()))


def _segment_hashes(codes: Array, starts: Array) -> Array:
    """A 64-bit hash of each run of codes from one start to the next (the last: to the end)."""
    import numpy as np

    if not len(starts):
        return np.zeros(0, dtype=np.uint64)
    sizes = np.diff(np.concatenate([starts, [len(codes)]]))
    places = np.arange(starts[0], len(codes)) - np.repeat(starts, sizes)
    values = (codes[starts[0] :].astype(np.uint64) + np.uint64(1)) * np.uint64(_MIX)
    values *= _powers(int(sizes.max()))[places]
    return np.add.reduceat(values, starts - starts[0])


def _words(block: Block) -> tuple[Array, Array, Array]:
    """Hashes of the words without marks, in lower case, the row of each; and the words between spaces per text."""
    import numpy as np

    kinds, codes = block.kinds, block.codes
    inside = (kinds & (LETTER | DIGIT | MARK)) != 0
    cjk = (kinds & CJK) != 0
    first = np.zeros(len(codes), dtype=bool)
    first[block.starts[block.starts < len(codes)]] = True
    breaks = first | cjk
    breaks[1:] |= cjk[:-1]
    wide = ((codes >= 0x3000) & (codes <= 0x303F)) | ((codes >= 0xFF00) & (codes <= 0xFFEF) & ~inside)
    gap = ((kinds & SPACE) != 0) | wide
    begun, spaced = breaks.copy(), breaks.copy()
    begun[1:] |= ~inside[:-1]
    spaced[1:] |= gap[:-1]
    kept = codes[inside]
    lower = np.where((kept >= 65) & (kept <= 90), kept + 32, kept)
    starts = np.flatnonzero((begun & inside)[inside])
    rows = _row_of(block, np.flatnonzero(begun & inside))
    return _segment_hashes(lower, starts), rows, _per_row(block, spaced & ~gap)


def _rolled(hashes: Array, n: int) -> Array:
    """Hash of each n consecutive values; n - 1 fewer. By doubling: a window of 10 is one of 8 and one of 2."""
    import numpy as np

    base, size, whole, covered = hashes, 1, None, 0
    remaining = n
    while remaining:
        if remaining & 1:
            whole = base if whole is None else _joined(whole, base, size, covered)
            covered += size
        remaining >>= 1
        if remaining:
            base = _joined(base, base, size, size)
            size *= 2
    return whole if whole is not None else np.zeros(0, dtype=np.uint64)


def _joined(left: Array, right: Array, size: int, offset: int) -> Array:
    # left covers `offset` values, right the `size` after them.
    import numpy as np

    right = right[offset:]
    length = min(len(left), len(right))
    power = np.uint64(pow(_BASE, 2 * size + 1, 1 << 64))
    value: Array = left[:length] * power + right[:length]
    mixed: Array = value ^ (value >> np.uint64(29))
    return mixed


def _fits(rows: Array, n: int) -> Array:
    # The row of each window, or -1 where it runs over into the next text.
    import numpy as np

    length = max(len(rows) - n + 1, 0)
    return np.where(rows[:length] == rows[n - 1 :], rows[:length], -1)


def _character_repeats(block: Block, n: int) -> Repeats:
    import numpy as np

    with np.errstate(over="ignore"):
        mixed = (block.codes.astype(np.uint64) + np.uint64(1)) * np.uint64(_MIX)
    rows = np.repeat(np.arange(block.rows), block.ends - block.starts)
    return _repeats(_rolled(mixed, n), _fits(rows, n), block.rows)


def _repeats(hashes: Array, rows: Array, count: int) -> Repeats:
    """Repetition among the hashes of each row (row -1: left out). A collision in 51 bits is as good as impossible."""
    import numpy as np

    kept = rows >= 0
    keys = (rows[kept].astype(np.uint64) << np.uint64(_ROW_BITS)) | (hashes[kept] >> np.uint64(64 - _ROW_BITS))
    keys.sort()
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, dtype=int)
    sizes = np.diff(np.concatenate([starts, [len(keys)]]))
    owners = (keys[starts] >> np.uint64(_ROW_BITS)).astype(np.int64)
    unique = np.bincount(owners, minlength=count)
    twice = sizes > 1
    repeated = np.bincount(owners[twice], weights=sizes[twice], minlength=count)
    frequent = _frequent(owners[twice], sizes[twice], unique)
    return Repeats(np.bincount(rows[kept], minlength=count), unique, repeated, frequent)


def _frequent(owners: Array, sizes: Array, unique: Array) -> Array:
    import numpy as np

    order = np.lexsort((-sizes, owners))
    owners, sizes = owners[order], sizes[order]
    first = np.searchsorted(owners, owners, side="left")
    among = np.arange(len(owners)) - first < np.sqrt(unique[owners]).astype(np.int64)
    return np.bincount(owners[among], weights=sizes[among], minlength=len(unique))
