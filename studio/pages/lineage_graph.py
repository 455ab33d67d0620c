"""The lineage of a sample as a graph: what it comes from above, what was made of it below, a few steps each way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import streamlit as st

from studio import forms, plots
from studio.languages import t
from studio.pages.corpus_state import corpus_state
from studio.pages.outcomes import cut

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus

GENERATIONS = 4
"""Steps up and down."""
ABREAST = 5
"""Samples of one generation that are drawn; the others are counted."""
ROW = 84
"""Pixels of a generation."""
TEXT = 44
"""Width of a text in a box, in Latin letters."""


@dataclass(frozen=True)
class Node:
    """A sample in the graph."""

    id: str
    generation: int
    """0 for the sample itself, negative above, positive below."""
    operator: str | None
    """What made it; null where it was ingested."""
    source: str
    instruction: str
    state: str
    """in, dropped or replaced."""


@dataclass(frozen=True)
class Graph:
    """A sample, its relatives, and what leads from one to another."""

    nodes: tuple[Node, ...]
    edges: tuple[tuple[str, str, str], ...]
    """From, to, and `made` or `edited`."""
    left_out: dict[int, int]
    """Generation -> samples that are not in it."""


def graph(corpus: Corpus, sample_id: str) -> Graph:
    """The samples around one: at most `GENERATIONS` steps up and down, `ABREAST` of each.

    Args:
        corpus: that has it.
        sample_id: of the sample.
    """
    frames = {0: _rows(corpus, [sample_id])}
    left_out: dict[int, int] = {}
    seen = {sample_id}
    for way in (-1, 1):
        for step in range(1, GENERATIONS + 1):
            before = frames[way * (step - 1)]
            found = [i for i in (_above if way < 0 else _below)(corpus, before) if i not in seen]
            if not found:
                break
            kept = found[:ABREAST]
            seen.update(kept)
            frames[way * step] = _rows(corpus, kept)
            if len(found) > ABREAST:
                left_out[way * step] = len(found) - ABREAST
    nodes = [_node(row, place) for place, frame in sorted(frames.items()) for row in frame.iter_rows(named=True)]
    return Graph(tuple(nodes), tuple(_edges(frames, {node.id for node in nodes})), left_out)


def _rows(corpus: Corpus, ids: list[str]) -> pl.DataFrame:
    """Id, parents, operator, source, instruction, decision, replaced_by, is_current; in the order of the ids."""
    import polars as pl

    wanted = pl.DataFrame({"id": ids, "place": range(len(ids))}, schema={"id": pl.String, "place": pl.Int64})
    return corpus.database.run(
        "SELECT s.id, s.parents, s.operator->>'name' AS operator, s.source, left(s.instruction, 200) AS instruction, "
        "t.decision, t.replaced_by, coalesce(t.is_current, true) AS is_current FROM samples s "
        "JOIN wanted_frame w USING (id) LEFT JOIN states t USING (id) ORDER BY w.place",
        frames={"wanted_frame": wanted},
    )


def _above(corpus: Corpus, frame: pl.DataFrame) -> list[str]:
    """Parents, and the versions that these replaced."""
    parents = [parent for row in frame["parents"].to_list() for parent in (row or ())]
    earlier = corpus.database.run(
        "SELECT id FROM states SEMI JOIN wanted_frame ON states.replaced_by = wanted_frame.id ORDER BY id",
        frames={"wanted_frame": frame.select("id")},
    )["id"].to_list()
    return list(dict.fromkeys([*earlier, *parents]))


def _below(corpus: Corpus, frame: pl.DataFrame) -> list[str]:
    """The versions that replaced these, and children."""
    later = frame["replaced_by"].drop_nulls().to_list()
    children = corpus.database.run(
        "SELECT id FROM samples WHERE list_has_any(parents, (SELECT list(id) FROM wanted_frame)) ORDER BY position",
        frames={"wanted_frame": frame.select("id")},
    )["id"].to_list()
    return list(dict.fromkeys([*later, *children]))


def _node(row: dict[str, Any], generation: int) -> Node:
    state = "replaced" if not row["is_current"] else "dropped" if row["decision"] == "drop" else "in"
    return Node(row["id"], generation, row["operator"], row["source"], row["instruction"] or "", state)


def _edges(frames: dict[int, pl.DataFrame], known: set[str]) -> list[tuple[str, str, str]]:
    found: dict[tuple[str, str], str] = {}
    for frame in frames.values():
        for row in frame.iter_rows(named=True):
            for parent in row["parents"] or ():
                found.setdefault((parent, row["id"]), "made")
            if row["replaced_by"]:
                found[row["id"], row["replaced_by"]] = "edited"
    return [(a, b, kind) for (a, b), kind in found.items() if a in known and b in known]


# -------------------------------------------------------------------- drawing


def draw(corpus: Corpus, sample_id: str, *, key: str = "lineage", on_open: Callable[[str], None] | None = None) -> None:
    """Draw the graph of a sample; where it has no relatives a line says so.

    Args:
        corpus: that has it.
        sample_id: of the sample.
        key: unique on the page.
        on_open: called with the id of a sample that was clicked; null opens it on Browse.
    """
    found = _graph(corpus_state(corpus), sample_id, corpus)
    if len(found.nodes) < 2:
        st.caption(t("It was ingested as it is, and nothing was made of it yet."))
        return
    times = st.session_state.get(f"{key}_drawn", 0)
    chosen = plots.draw_echarts(
        option(found, sample_id),
        lambda: table(found),
        name=f"lineage_{sample_id[:12]}",
        key=f"{key}_{sample_id[:16]}_{times}",
        on_select="rerun",
        height=len({node.generation for node in found.nodes}) * ROW + 20,
        alt=t("{n:,} samples around this one: what it comes from above, what was made of it below", n=len(found.nodes)),
    )
    told = t("Solid lines: made from. Dashed lines: edited. Click a sample to read it.")
    more = sum(found.left_out.values())
    st.caption(told + (" " + t("{n:,} more are not drawn.", n=more) if more else ""))
    place = clicked(chosen)
    if place is not None and place < len(found.nodes) and found.nodes[place].id != sample_id:
        st.session_state[f"{key}_drawn"] = times + 1
        _open(found.nodes[place].id, on_open)


@st.cache_data(show_spinner=False, max_entries=64)
def _graph(state: str, sample_id: str, _corpus: Corpus) -> Graph:
    return graph(_corpus, sample_id)


def _open(sample_id: str, on_open: Callable[[str], None] | None) -> None:
    if on_open is not None:
        on_open(sample_id)
        return
    page = forms.page_named("browse")
    if page is not None:
        st.switch_page(page, query_params={"sample": sample_id})


def clicked(state: Any) -> int | None:
    """The node that was clicked, by its place; null where none was."""
    for of in (state or {}).get("selection", {}).get("selected", ()):
        if of.get("data_type") in (None, "node") and of.get("data_indices"):
            return int(of["data_indices"][0])
    return None


def table(found: Graph) -> pl.DataFrame:
    """One row per line of the graph: from, to, how, and who they are."""
    import polars as pl

    by_id = {node.id: node for node in found.nodes}
    rows = [
        (a, b, kind, by_id[b].operator, by_id[a].source, by_id[b].source, by_id[a].instruction, by_id[b].instruction)
        for a, b, kind in found.edges
    ]
    names = ["from", "to", "how", "operator", "source_from", "source_to", "instruction_from", "instruction_to"]
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")


def option(found: Graph, sample_id: str) -> dict[str, Any]:
    """Of ECharts: boxes in rows by generation; every text is shown as it is."""
    states = {"replaced": t("replaced"), "dropped": t("dropped")}
    paper, ink = ("#1E1F28", "#ECECF1") if plots.is_dark() else ("#F4F4F8", "#18181B")
    generations = sorted({node.generation for node in found.nodes})
    data = []
    for node in found.nodes:
        row = [other for other in found.nodes if other.generation == node.generation]
        across = (row.index(node) + 0.5) / len(row)
        head = " · ".join(filter(None, [node.operator or node.source, states.get(node.state)]))
        wide = max(90, min(260, 640 // len(row)))
        own = node.id == sample_id
        data.append(
            {
                "id": node.id,
                "name": f"{cut(head, TEXT)}\n{cut(node.instruction, TEXT)}",
                "value": [across, -generations.index(node.generation)],
                "symbolSize": [wide, 46],
                "itemStyle": {
                    "color": "#4F46E5" if own else paper,
                    "borderColor": "#4F46E5" if own or node.state == "in" else "#8A8A95",
                    "borderType": "dashed" if node.state != "in" else "solid",
                    "borderWidth": 1,
                },
                "label": {"width": wide - 14, "color": "#FFFFFF" if own else ink},
            }
        )
    links = [
        {"source": a, "target": b, "lineStyle": {"type": "dashed" if kind == "edited" else "solid"}}
        for a, b, kind in found.edges
    ]
    hidden = {"type": "value", "show": False}
    return {
        "grid": {"left": 4, "right": 4, "top": 4, "bottom": 4},
        "xAxis": {**hidden, "min": 0, "max": 1},
        "yAxis": {**hidden, "min": -len(generations) + 0.5, "max": 0.5},
        "tooltip": {"formatter": "{b}"},
        "series": [
            {
                "type": "graph",
                "coordinateSystem": "cartesian2d",
                "selectedMode": "single",
                "symbol": "rect",
                "edgeSymbol": ["none", "arrow"],
                "edgeSymbolSize": 7,
                "lineStyle": {"color": "#8A8A95", "width": 1.2, "opacity": 0.9},
                "label": {"show": True, "overflow": "truncate", "fontSize": 11, "lineHeight": 16, "formatter": "{b}"},
                "data": data,
                "links": links,
            }
        ],
    }
