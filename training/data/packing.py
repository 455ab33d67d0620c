"""Which samples share a row of at most max_length tokens, and how much of the rows is used. Lengths in, places out.

- `none`: a row each; a batch is as wide as its longest row.
- `best-fit`: whole samples side by side, each seeing itself alone (positions begin anew, attention is block-diagonal).
- `wrapped`: all samples one after the other, cut every max_length tokens. The borders of samples are NOT isolated: a
  token sees what stands before it in the row, of other samples too, and a sample may be cut in two.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

PACKINGS = ("none", "wrapped", "best-fit")

OPEN_ROWS = 32
"""Rows that still take samples when the order is to be kept: no sample moves farther than this many rows."""


class Piece(NamedTuple):
    """A part of a sample in a row: its tokens from `start` to before `stop`."""

    sample: int
    start: int
    stop: int

    @property
    def tokens(self) -> int:
        """How many there are."""
        return self.stop - self.start


Row = list[Piece]


@dataclass(frozen=True, slots=True)
class Fill:
    """How well rows are used."""

    rows: int
    tokens: int
    padding: int
    """Places that hold no token: in a padded batch the model computes them for nothing, in a packed row they are only
    room that was left."""
    fill: float
    """Share of the places that hold a token, 0 to 1; 0 where there are no samples."""


def packed(lengths: Sequence[int], max_length: int, packing: str, *, in_order: bool = False) -> list[Row]:
    """The rows, each as the pieces that stand in it. Empty samples are in none.

    Args:
        lengths: tokens of every sample; for all packings but `wrapped` a sample's tokens past max_length are left out.
        max_length: tokens of the longest row.
        packing: one of `PACKINGS`.
        in_order: best-fit: keep neighbours together, instead of the longest first, which fills a little better.
    """
    if packing == "wrapped":
        return list(_wrapped(lengths, max_length))
    whole = [Piece(i, 0, min(length, max_length)) for i, length in enumerate(lengths) if length > 0]
    if packing == "none":
        return [[piece] for piece in whole]
    if in_order:
        return _first_come(whole, max_length)
    return _longest_first(whole, max_length)


def efficiency(lengths: Sequence[int], max_length: int, packing: str, *, batch_size: int = 8) -> Fill:
    """What a packing makes of samples of these lengths, without packing them: a million take about a second.

    Args:
        lengths: tokens of every sample.
        max_length: tokens of the longest row.
        packing: one of `PACKINGS`.
        batch_size: rows that are padded to one width; `none` alone reads it. Samples are taken as they come.
    """
    if packing == "wrapped":
        tokens = sum(lengths)
        rows = -(-tokens // max_length)
        places = rows * max_length
    else:
        used = [min(length, max_length) for length in lengths if length > 0]
        tokens = sum(used)
        if packing == "none":
            rows = len(used)
            batches = (used[i : i + batch_size] for i in range(0, rows, batch_size))
            places = sum(len(batch) * max(batch) for batch in batches)
        else:
            rows = _rows_of_best_fit(Counter(used), max_length)
            places = rows * max_length
    return Fill(rows, tokens, places - tokens, round(tokens / places, 4) if places else 0.0)


def _rows_of_best_fit(counts: Mapping[int, int], max_length: int) -> int:
    """How many rows `_longest_first` makes of so many samples of each length.

    Samples of one length fill a row one after the other before they go to the next: what is left of it is the least
    room that they fit into. So whole rows can be counted at once.
    """
    rows_with: Counter[int] = Counter()
    spaces: list[int] = []
    rows = 0

    def leave(space: int, count: int) -> None:
        if space and count:
            if not rows_with[space]:
                insort(spaces, space)
            rows_with[space] += count

    for length in sorted(counts, reverse=True):
        left = counts[length]
        while left:
            place = bisect_left(spaces, length)
            if place < len(spaces):
                space = spaces[place]
                here = rows_with.pop(space)
                del spaces[place]
            else:
                space, here = max_length, -(-left // (max_length // length))
                rows += here
            fits = space // length
            full, more = min(here, left // fits), 0
            left -= full * fits
            if left and full < here:
                more, left = left, 0
                leave(space - more * length, 1)
            leave(space - fits * length, full)
            leave(space, here - full - (more > 0))
    return rows


def _wrapped(lengths: Sequence[int], max_length: int) -> Iterator[Row]:
    row: Row = []
    room = max_length
    for sample, length in enumerate(lengths):
        start = 0
        while start < length:
            stop = min(length, start + room)
            row.append(Piece(sample, start, stop))
            room -= stop - start
            start = stop
            if not room:
                yield row
                row, room = [], max_length
    if row:
        yield row


def _longest_first(pieces: Iterable[Piece], max_length: int) -> list[Row]:
    """Best-fit decreasing: each sample goes where the least room is left after it."""
    rows: list[Row] = []
    spaces: list[int] = []
    by_space: dict[int, deque[Row]] = {}
    for piece in sorted(pieces, key=lambda p: (-p.tokens, p.sample)):
        place = bisect_left(spaces, piece.tokens)
        if place == len(spaces):
            rows.append([])
            row, space = rows[-1], max_length
        else:
            space = spaces[place]
            row = by_space[space].popleft()
            if not by_space[space]:
                del spaces[place]
        row.append(piece)
        left = space - piece.tokens
        if left:
            waiting = by_space.setdefault(left, deque())
            if not waiting:
                insort(spaces, left)
            waiting.append(row)
    return rows


def _first_come(pieces: Iterable[Piece], max_length: int) -> list[Row]:
    """Best fit among the rows that are open; when there are too many, the one opened first is closed."""
    rows: list[Row] = []
    open_rows: list[tuple[Row, int]] = []
    for piece in pieces:
        fits = [i for i, (_, space) in enumerate(open_rows) if space >= piece.tokens]
        if fits:
            best = min(fits, key=lambda i: (open_rows[i][1], i))
            row, space = open_rows[best]
            row.append(piece)
            open_rows[best] = (row, space - piece.tokens)
        else:
            rows.append([piece])
            open_rows.append((rows[-1], max_length - piece.tokens))
            del open_rows[:-OPEN_ROWS]
    return rows
