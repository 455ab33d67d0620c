"""What the Map page shows, as one number per point: which samples the filter, the search and the overlay hold.

What was asked is kept until the corpus is written to: a page is drawn anew at every click.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache, wraps
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from curation.mapping.maps import Map, MapSpec, map_version, maps_of, preview, stored_map
from curation.storage.sql import condition, literal, quoted
from curation.vectors import embeddings
from studio.languages import language
from studio.map_payload import Colours, by_cluster, coloured, points, shown_rows
from studio.pages.known import known

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus

CLUSTER = "cluster"
"""Named like a column, in the list of what the map can be coloured by."""
UNCOLOURED = ""
PLAIN = ("VARCHAR", "BOOLEAN", "DOUBLE", "FLOAT", "BIGINT", "INTEGER", "HUGEINT", "UBIGINT", "SMALLINT", "TINYINT")
NOT_COLOURS = frozenset(
    {"id", "root", "instruction", "response", "tools", "operator", "metadata", "position", "row", "batch"}
)
SELECTION, MIX = "selection:", "mix:"
KEPT = 8
"""Answers to one kind of question: a byte for each of a million points."""


@dataclass(frozen=True, eq=False)
class Ground:
    """A map, and where its samples stand in the corpus."""

    drawn: Map
    positions: np.ndarray
    """int64 per point: the sample's position, which its later versions keep; -1 where the corpus has it no more."""
    is_preview: bool

    @property
    def name(self) -> tuple[str, str, int]:
        """Embedding, layout and number: rows of one map say nothing about another."""
        return self.drawn.embedding, self.drawn.spec.key, self.drawn.number

    @cached_property
    def reach(self) -> int:
        """Two more than the largest position: the last place is of samples that are gone."""
        return int(self.positions.max(initial=-1)) + 2

    @cached_property
    def rows(self) -> np.ndarray | None:
        """Those that are sent to a browser, ascending; null where all are."""
        return shown_rows(self.drawn)

    def row(self, sent: object) -> int | None:
        """The map's row of a point by its number in the browser; null where there is none."""
        if not isinstance(sent, int) or not 0 <= sent < (len(self.positions) if self.rows is None else len(self.rows)):
            return None
        return sent if self.rows is None else int(self.rows[sent])


Answer = TypeVar("Answer")
Asked = Callable[["Corpus", Ground, Any], Answer]


def _kept(ask: Asked[Answer]) -> Asked[Answer]:
    """Keep the latest answers, each until something is written; where another process may write, none."""

    @lru_cache(maxsize=KEPT)
    def remembered(corpus: Corpus, ground: Ground, what: Any, state: tuple[int, int]) -> Answer:
        return ask(corpus, ground, what)

    @wraps(ask)
    def asked(corpus: Corpus, ground: Ground, what: Any) -> Answer:
        narrow = corpus.database.narrow
        return remembered(corpus, ground, what, narrow.state) if narrow else ask(corpus, ground, what)

    return asked


def specs(corpus: Corpus, embedding: str) -> list[MapSpec]:
    """The maps of an embedding, the latest first."""
    return maps_of(corpus, embedding)


def ground_of(corpus: Corpus, embedding: str, spec: MapSpec | None) -> Ground:
    """A stored map, or the preview where there is none; read once until it changes."""
    if spec is None:
        vectors = next(about for about in embeddings(corpus) if about["name"] == embedding)
        return _previewed(corpus, embedding, vectors.get("number", 0))
    return _read(corpus, embedding, spec, map_version(corpus, embedding, spec))


@lru_cache(maxsize=2)
def _previewed(corpus: Corpus, embedding: str, number: int) -> Ground:
    return _placed(corpus, preview(corpus, embedding), is_preview=True)


@lru_cache(maxsize=3)
def _read(corpus: Corpus, embedding: str, spec: MapSpec, version: int) -> Ground:
    found = stored_map(corpus, embedding, spec)
    if found is None:
        return _previewed(corpus, embedding, 0)
    return _placed(corpus, found, is_preview=False)


def _placed(corpus: Corpus, drawn: Map, *, is_preview: bool) -> Ground:
    import polars as pl

    found = corpus.query("SELECT id, position FROM samples")
    ids = pl.DataFrame({"id": drawn.ids})
    positions = ids.join(found, on="id", how="left", maintain_order="left")["position"].fill_null(-1)
    return Ground(drawn, positions.to_numpy().astype(np.int64), is_preview)


@_kept
def holding(corpus: Corpus, ground: Ground, where: str | None) -> np.ndarray:
    """Whether each point's sample, as it is now, meets a condition."""
    found = corpus.run(f"SELECT position FROM everything{condition(corpus.found(where))}")["position"].to_numpy()
    return _at(ground, found)


def _at(ground: Ground, positions: np.ndarray) -> np.ndarray:
    inside = np.zeros(ground.reach, bool)
    inside[positions[positions < ground.reach - 1]] = True
    within: np.ndarray = inside[ground.positions]  # -1 is the last one, which is false
    return within


def among(corpus: Corpus, ground: Ground, ids: pl.Series) -> np.ndarray:
    """Whether each point's sample is one of these."""
    import polars as pl

    sql = "SELECT position FROM everything SEMI JOIN sought_frame USING (id)"
    found = corpus.run(sql, frames={"sought_frame": pl.DataFrame({"id": ids})})
    return _at(ground, found["position"].to_numpy())


def overlays(corpus: Corpus) -> list[str]:
    """What can be laid over the map: selections and mixes, as `selection:NAME` and `mix:NAME`, the latest first."""
    return known(corpus, "map overlays", lambda: _overlays(corpus))


def _overlays(corpus: Corpus) -> list[str]:
    chosen = [f"{SELECTION}{name}" for name in reversed(corpus.selections())]
    return chosen + [f"{MIX}{name}" for name in reversed(list(corpus.mixes()))]


@_kept
def overlaid(corpus: Corpus, ground: Ground, overlay: str) -> np.ndarray:
    """Whether each point's sample is in a selection or a mix."""
    kind, _, name = overlay.partition(":")
    table = "selected" if f"{kind}:" == SELECTION else "mixed"
    rows = f"SELECT id FROM {table} WHERE name = {literal(name)}"
    # What was rewritten since keeps its place, so that its earlier version finds it.
    found = corpus.query(f"SELECT position FROM samples WHERE id IN ({rows})")["position"].to_numpy()
    return _at(ground, found)


def colour_columns(corpus: Corpus) -> list[str]:
    """Columns that the map can be coloured by: those of plain values."""
    columns = known(corpus, "columns", corpus.columns)
    return [n for n, kind in columns.items() if n not in NOT_COLOURS and kind.startswith(PLAIN) and "[" not in kind]


def colours_by(corpus: Corpus, ground: Ground, column: str) -> Colours:
    """The colours of a column, or of the clusters."""
    return _colours_by(corpus, ground, (column, language()))


@_kept
def _colours_by(corpus: Corpus, ground: Ground, column_in: tuple[str, str]) -> Colours:
    return coloured_by(corpus, ground, column_in[0])


def coloured_by(corpus: Corpus, ground: Ground, column: str) -> Colours:
    """The same, asked anew."""
    if column == UNCOLOURED or (column == CLUSTER and ground.is_preview):
        return coloured(None)
    if column == CLUSTER:
        return by_cluster(ground.drawn)
    return coloured(values_of(corpus, ground, column))


def values_of(corpus: Corpus, ground: Ground, column: str) -> pl.Series:
    """A column's value for each point."""
    import polars as pl

    found = corpus.run(f"SELECT position, {quoted(column)} AS value FROM everything")
    row = np.full(ground.reach, found.height, np.int64)
    at = found["position"].to_numpy()
    near = at < ground.reach - 1
    row[at[near]] = np.flatnonzero(near)
    values = pl.concat([found["value"], pl.Series([None], dtype=found["value"].dtype)])
    return values.gather(row[ground.positions])


def not_on_map(corpus: Corpus, ground: Ground) -> int:
    """Samples of the corpus that the map does not show: they came later, or have no vector."""
    shown = int(holding(corpus, ground, None).sum())
    return max(0, corpus.count() - shown)


@lru_cache(maxsize=3)
def points_of(ground: Ground, file: str, in_language: str) -> bytes:
    """What is sent of the points themselves; made once, as it holds words, for each language."""
    return points(ground.drawn, file=file, rows=ground.rows)
