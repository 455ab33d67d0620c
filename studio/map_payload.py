"""What a browser draws a map from: points, colours and marks as bytes, each with a header that says what they mean.

They are sent apart, so that another colour or filter sends no point again: four bytes a point for its place, one for
its colour, one bit for each mark.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.languages import t

if TYPE_CHECKING:
    import polars as pl

    from curation.mapping.crowds import Cell
    from curation.mapping.maps import Map

CATEGORIES = 8
"""Values that have a colour of their own; the others share the next one."""
CLUSTERS = 250
"""Clusters that have a colour of their own: the theme's, in steps of lightness; titles tell them apart anyway."""
NOTHING = 255
"""The colour of samples that have no value."""
LEVELS = 254
"""Steps of the palette for numbers."""
TAIL = 0.01
"""Share of the numbers at each end that get the end's colour, so that a few extreme ones leave the rest apart."""
MOST_POINTS = 1_000_000
"""Points that are sent; of more a sample is drawn, from each cluster its share."""
LONGEST = 40
"""Characters of a category in the legend."""


@dataclass(frozen=True)
class Colours:
    """A colour per point, and the legend that explains it."""

    kind: str
    """`number`, `category`, `cluster` or `none`."""
    index: np.ndarray
    """uint8 per point."""
    legend: dict[str, Any] = field(default_factory=lambda: {"entries": []})

    @property
    def version(self) -> int:
        """Tells these colours of the points from others; the browser says by it which ones its legend hides."""
        return zlib.crc32(self.index.tobytes())


@dataclass(frozen=True)
class Marks:
    """What is told apart on the map, whatever its colour: bool per point each."""

    within: np.ndarray
    """In the working set."""
    lit: np.ndarray | None = None
    """Found by the search; null where nothing is looked for."""
    over: np.ndarray | None = None
    """In what is laid over; null where nothing is."""
    hide: bool = False
    """Leave out what is not in the working set; else it is grey."""
    cells: Sequence[Cell] = ()
    grid: int = 1


def coloured(values: pl.Series | None) -> Colours:
    """Colours of the points by a column; all alike where there is none.

    Args:
        values: one per point: numbers, booleans or texts.
    """
    import polars as pl

    if values is None:
        return Colours("none", np.zeros(0, np.uint8))
    if values.dtype.is_numeric():
        return _by_number(values)
    if values.dtype == pl.Boolean:
        words = {True: t("yes"), False: t("no")}
        return _by_category(values, [(value, words[value]) for value in (True, False)], [])
    text = values.cast(pl.String)
    counts = text.drop_nulls().value_counts(sort=True, name="n")
    ranked = counts.sort(["n", counts.columns[0]], descending=[True, False])[counts.columns[0]].to_list()
    return _by_category(text, [(value, _short(value)) for value in ranked[:CATEGORIES]], ranked[CATEGORIES:])


def _by_number(values: pl.Series) -> Colours:
    numbers = values.cast(float).fill_null(float("nan")).to_numpy()
    known = np.isfinite(numbers)
    index = np.full(len(numbers), NOTHING, np.uint8)
    entries: list[tuple[int, str, str]] = []
    if not known.any():
        return Colours("category", index, {"entries": [(NOTHING, t("no value"), f"{len(numbers):,}")]})
    whole = values.dtype.is_integer()
    low, high = (float(np.quantile(numbers[known], share)) for share in (TAIL, 1 - TAIL))
    least, most = float(numbers[known].min()), float(numbers[known].max())
    if high <= low:
        low, high = least, most
    width = max(high - low, 1e-300)
    index[known] = np.clip((numbers[known] - low) / width * LEVELS, 0, LEVELS).astype(np.uint8)
    if not known.all():
        entries = [(NOTHING, t("no value"), f"{int((~known).sum()):,}")]
    ends = {
        "low": ("≤ " if least < low else "") + _number(low, whole),
        "high": ("≥ " if most > high else "") + _number(high, whole),
    }
    return Colours("number", index, {"entries": entries, **ends})


def _number(value: float, whole: bool) -> str:
    return f"{value:,.0f}" if whole or abs(value) >= 1000 else f"{value:,.3g}"


def _by_category(values: pl.Series, shown: Sequence[tuple[Any, str]], rest: Sequence[Any]) -> Colours:
    index = np.full(len(values), NOTHING, np.uint8)
    entries: list[tuple[int, str, str]] = []
    for place, (value, text) in enumerate(shown):
        here = (values == value).fill_null(False).to_numpy()
        index[here] = place
        if here.any():
            entries.append((place, text, f"{int(here.sum()):,}"))
    if rest:
        here = (index == NOTHING) & values.is_not_null().to_numpy()
        index[here] = CATEGORIES
        entries.append((CATEGORIES, t("{n:,} others", n=len(rest)), f"{int(here.sum()):,}"))
    without = int((index == NOTHING).sum())
    if without:
        entries.append((NOTHING, t("no value"), f"{without:,}"))
    return Colours("category", index, {"entries": entries})


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def by_cluster(drawn: Map) -> Colours:
    """Colours of the clusters, the largest first; those beyond `CLUSTERS` share one."""
    sizes = np.bincount(drawn.clusters, minlength=len(drawn.titles))
    index = np.minimum(drawn.clusters, CLUSTERS).astype(np.uint8)
    entries = [(n, _short(title_of(drawn, n)), f"{int(sizes[n]):,}") for n in range(min(CLUSTERS, len(sizes)))]
    if len(sizes) > CLUSTERS:
        rest = int(sizes[CLUSTERS:].sum())
        entries.append((CLUSTERS, t("{n:,} others", n=len(sizes) - CLUSTERS), f"{rest:,}"))
    return Colours("cluster", index, {"entries": entries})


def title_of(drawn: Map, cluster: int) -> str:
    """What a cluster is called; its number where no word tells it from the others."""
    return drawn.titles[cluster].text or t("Cluster {n:,}", n=cluster + 1)


def titles_of(drawn: Map) -> list[tuple[float, float, str]]:
    """Where each title stands (the middle of its cluster), the largest cluster first."""
    return [
        (round(float(x), 4), round(float(y), 4), title_of(drawn, cluster))
        for cluster, (x, y) in enumerate(drawn.middles)
        if np.isfinite(x)
    ]


def shown_rows(drawn: Map, most: int = MOST_POINTS) -> np.ndarray | None:
    """Rows of the map that are sent, ascending; null where all are."""
    if len(drawn.ids) <= most:
        return None
    share = most / len(drawn.ids)
    order = np.random.default_rng(0).permutation(len(drawn.ids))
    order = order[np.argsort(drawn.clusters[order], kind="stable")]
    starts = np.searchsorted(drawn.clusters[order], np.arange(len(drawn.titles) + 1))
    parts = [order[a : a + max(1, int((b - a) * share))] for a, b in pairwise(starts) if b > a]
    return np.sort(np.concatenate(parts or [order[:most]]))


# -------------------------------------------------------------------- as bytes


def points(drawn: Map, *, file: str = "map", rows: np.ndarray | None = None) -> bytes:
    """Places and titles: what stays while colours and marks change.

    Args:
        drawn: the map.
        file: what an image of it is called, without the ending.
        rows: those that are sent; all when null.
    """
    return _bytes(*_of_points(drawn, file, rows))


def colours(drawn: Map, by: Colours, name: str, rows: np.ndarray | None = None) -> bytes:
    """One byte per point, and the legend; `name` is what it is headed with, empty where all are alike."""
    return _bytes(*_of_colours(drawn, by, name, rows))


def marks(drawn: Map, shown: Marks, rows: np.ndarray | None = None) -> bytes:
    """One bit per point for the filter, the search and the overlay each, where there are such."""
    return _bytes(*_of_marks(drawn, shown, rows))


def packed(
    drawn: Map,
    by: Colours,
    name: str,
    shown: Marks,
    *,
    rows: np.ndarray | None = None,
    file: str = "map",
    texts: Sequence[str] | None = None,
    words: Mapping[str, str] | None = None,
) -> bytes:
    """All three in one, for a page without a server.

    Args:
        drawn: the map.
        by: colours of its samples.
        name: of what colours them.
        shown: marks of its samples.
        rows: those that are sent; all when null.
        file: what an image of it is called, without the ending.
        texts: what the pointer shows, per point that is sent.
        words: what is said otherwise than usual.
    """
    parts = (_of_points(drawn, file, rows), _of_colours(drawn, by, name, rows), _of_marks(drawn, shown, rows))
    header: dict[str, Any] = {"texts": texts}
    for told, _ in parts:
        header |= told
    header["parts"] = [told["parts"][0] for told, _ in parts]
    header["words"] |= words or {}
    return _bytes(header, [array for _, arrays in parts for array in arrays])


def _bytes(header: Mapping[str, Any], arrays: Sequence[np.ndarray]) -> bytes:
    told = json.dumps(header, ensure_ascii=False).encode()
    told += b" " * (-len(told) % 4)
    return b"".join([struct.pack("<I", len(told)), told, *(np.ascontiguousarray(array).tobytes() for array in arrays)])


Part = tuple[dict[str, Any], list[np.ndarray]]


def _of_points(drawn: Map, file: str, rows: np.ndarray | None) -> Part:
    xy = drawn.xy if rows is None else drawn.xy[rows]
    header = {
        "titles": titles_of(drawn),
        "file": file,
        "box": _box(drawn.xy),
        "words": _words(len(xy)),
        **_kind("points", drawn, len(xy)),
    }
    return header, [np.round(xy * 65535).astype("<u2")]


def _of_colours(drawn: Map, by: Colours, name: str, rows: np.ndarray | None) -> Part:
    n = len(drawn.xy) if rows is None else len(rows)
    label = t("Map of {n:,} samples", n=n)
    if name:
        label = t("Map of {n:,} samples, coloured by {column}", n=n, column=name)
    told = {"kind": by.kind, "legend": by.legend, "colour_by": name, "label": label, "colours": by.version}
    told |= _kind("colours", drawn, n)
    if not len(by.index):
        return told, []
    return told, [by.index if rows is None else by.index[rows]]


def _of_marks(drawn: Map, shown: Marks, rows: np.ndarray | None) -> Part:
    given = {"within": None if shown.within.all() else shown.within, "lit": shown.lit, "over": shown.over}
    planes = {name: plane for name, plane in given.items() if plane is not None}
    header = {
        "planes": list(planes),
        "hide": shown.hide,
        "cells": [(cell.column, cell.row, cell.level) for cell in shown.cells],
        "grid": shown.grid,
        **_kind("marks", drawn, len(drawn.xy) if rows is None else len(rows)),
    }
    return header, [np.packbits(p if rows is None else p[rows], bitorder="little") for p in planes.values()]


def _kind(part: str, drawn: Map, n: int) -> dict[str, Any]:
    return {"parts": [part], "n": n, "map": f"{drawn.embedding}/{drawn.spec.key}/{drawn.number}/{_sum(drawn)}"}


def _sum(drawn: Map) -> int:
    # Maps of two corpora may have the same name and number.
    return zlib.crc32(drawn.xy[:: max(1, len(drawn.xy) // 1000)].tobytes())


def _box(xy: np.ndarray) -> list[float]:
    """What has to be seen: lowest and highest x, then y."""
    ends = [float(end) for axis in xy.T for end in (axis.min(), axis.max())] if len(xy) else [0.0, 1.0, 0.0, 1.0]
    wide, high = ends[1] - ends[0], ends[3] - ends[2]
    least = max(wide, high, 1e-3) / 4  # a line of points needs some height
    x, y = (ends[0] + ends[1]) / 2, (ends[2] + ends[3]) / 2
    return [x - max(wide, least) / 2, x + max(wide, least) / 2, y - max(high, least) / 2, y + max(high, least) / 2]


def _words(samples: int) -> dict[str, str]:
    return {
        "label": t("Map of {n:,} samples", n=samples),
        "hint": t("Draw around samples to choose them. Scroll to zoom, Shift-drag to move, click to read."),
        "tools": t("Map tools"),
        "legend": t("Legend"),
        "lasso": t("Choose by drawing (lasso)"),
        "pan": t("Move the map by dragging"),
        "closer": t("Zoom in"),
        "farther": t("Zoom out"),
        "whole": t("Show the whole map"),
        "titles": t("Titles of clusters"),
        "image": t("Save as an image"),
        "missing": t(
            "This browser has no WebGL 2, which the map is drawn with. Browse shows the same samples as a table."
        ),
    }
