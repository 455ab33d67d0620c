"""What a browser draws a map from: points, colours and marks as bytes, and a header that says what they mean."""

from __future__ import annotations

import json
import struct
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
WITHIN, LIT, OVER = 1, 2, 4
"""Marks of a point: in the working set, found by the search, in the overlay."""
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


@dataclass(frozen=True)
class Picture:
    """Everything that is drawn but the points themselves."""

    colours: Colours
    marks: np.ndarray
    """uint8 per point."""
    colour_by: str = ""
    searching: bool = False
    overlaid: bool = False
    filtered: bool = False
    hide: bool = False
    """Leave out what is not in the working set; else it is grey."""
    cells: Sequence[Cell] = ()
    grid: int = 1
    texts: Sequence[str] | None = None
    """What the pointer shows, per point, where no server can be asked."""
    file: str = "map"
    words: Mapping[str, str] = field(default_factory=dict)
    """What is said otherwise than usual."""


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


def packed(drawn: Map, picture: Picture, rows: np.ndarray | None = None) -> bytes:
    """The bytes that `static/map.js` draws.

    Args:
        drawn: the map.
        picture: colours and marks of all its samples.
        rows: those that are sent; all when null.
    """
    xy, colours, marks = drawn.xy, picture.colours.index, picture.marks
    if not len(colours):
        colours = np.zeros(len(xy), np.uint8)
    if rows is not None:
        xy, colours, marks = xy[rows], colours[rows], marks[rows]
    short = np.round(xy * 65535).astype("<u2")
    header = {
        "n": len(xy),
        "map": f"{drawn.embedding}/{drawn.spec.key}/{drawn.number}",
        "kind": picture.colours.kind,
        "legend": picture.colours.legend,
        "colour_by": picture.colour_by,
        "titles": titles_of(drawn),
        "cells": [(cell.column, cell.row, cell.level) for cell in picture.cells],
        "grid": picture.grid,
        "searching": picture.searching,
        "overlaid": picture.overlaid,
        "filtered": picture.filtered,
        "hide": picture.hide,
        "texts": picture.texts,
        "file": picture.file,
        "box": _box(drawn.xy),
        "words": {**_words(len(xy), picture), **picture.words},
    }
    told = json.dumps(header, ensure_ascii=False).encode()
    told += b" " * (-len(told) % 4)
    points = (np.ascontiguousarray(short[:, axis]).tobytes() for axis in (0, 1))
    return b"".join([struct.pack("<I", len(told)), told, *points, colours.tobytes(), marks.astype(np.uint8).tobytes()])


def _box(xy: np.ndarray) -> list[float]:
    """What has to be seen: lowest and highest x, then y."""
    ends = [float(end) for axis in xy.T for end in (axis.min(), axis.max())] if len(xy) else [0.0, 1.0, 0.0, 1.0]
    wide, high = ends[1] - ends[0], ends[3] - ends[2]
    least = max(wide, high, 1e-3) / 4  # a line of points needs some height
    x, y = (ends[0] + ends[1]) / 2, (ends[2] + ends[3]) / 2
    return [x - max(wide, least) / 2, x + max(wide, least) / 2, y - max(high, least) / 2, y + max(high, least) / 2]


def _words(samples: int, picture: Picture) -> dict[str, str]:
    by = picture.colour_by
    return {
        "label": t("Map of {n:,} samples, coloured by {column}", n=samples, column=by)
        if by
        else t("Map of {n:,} samples", n=samples),
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
