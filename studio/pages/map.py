"""The Map page: an embedding in two dimensions, to colour, to search, and to draw around samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from curation.errors import WinnowError
from curation.mapping.crowds import CELLS, crowds
from curation.searching import Query, search
from curation.vectors import embeddings
from studio import forms, plots
from studio.components import map as drawing
from studio.languages import language, mark, t, tn
from studio.map_payload import MOST_POINTS, Marks, colours, marks, title_of
from studio.pages import map_lasso, search_bar
from studio.pages.drawn_with import DrawnWith, up_to_date
from studio.pages.map_crowds import table_of_clusters
from studio.pages.map_ground import (
    CLUSTER,
    SELECTION,
    UNCOLOURED,
    Ground,
    among,
    colour_columns,
    colours_by,
    ground_of,
    holding,
    not_on_map,
    overlaid,
    overlays,
    points_of,
    specs,
    values_of,
)

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

    from curation.corpus import Corpus
    from curation.mapping.maps import MapSpec

CANVAS, COLOURS, MARKS, WORDS = "map_canvas", "map_colours", "map_marks", "map_words"
HOVERED, KEPT_LOOK = "map_hovered", "map_look"
WIDE = 180
"""Pixels of a list above the map."""
METHODS = {
    "tsne": mark("t-SNE: neighbours lie together"),
    "pca": mark("Principal components: at once"),
}
SHORT = {"tsne": "t-SNE", "pca": mark("Principal components")}
FIRST_WORDS = 140
"""Characters of a text that the pointer shows."""


@dataclass(frozen=True)
class Look:
    """What the reader chose above the map, but for the colour, which changes nothing else."""

    overlay: str
    density: bool
    hide: bool


def page() -> None:
    """Draw the page."""
    corpus = forms.current_corpus()
    st.title(t("Map"))
    names = [about["name"] for about in embeddings(corpus)][::-1]
    if not corpus.count():
        told = t("There are none yet. Once there are, they lie here by likeness.")
        forms.empty_state(t("Samples appear here"), told, ["ingest", str(corpus.path), "FILE"])
    elif not names:
        told = t(
            "A map needs an embedding: a vector for every sample. The lexical one compares wording and needs no model."
        )
        forms.empty_state(t("The map appears here"), told, ["embed", str(corpus.path)])
    else:
        where = forms.working_set(corpus)
        st.fragment(_map)(corpus, names, DrawnWith.now(corpus, where))


def _map(corpus: Corpus, names: list[str], drawn: DrawnWith) -> None:
    """Everything below the filter. What the reader does on the map draws less: only a fragment within this one."""
    up_to_date(corpus, drawn)
    where = drawn.where
    ground, spec, look, query = _controls(corpus, names)
    within = holding(corpus, ground, where)
    lit = _lit(corpus, ground, query, where)
    over = overlaid(corpus, ground, look.overlay) if look.overlay else None
    _told(corpus, ground, within, lit, over, where)
    left, right = st.columns([13, 9], gap="small")
    with left.container(gap=None):
        drawing.draw(points_of(ground, f"map-{corpus.path.name}", language()), key=CANVAS)
        drawing.send(marks(ground.drawn, _marks(ground, look, within, lit, over), ground.rows), key=MARKS)
        st.fragment(_words)(corpus, ground)
    with right:
        lay_out = (lambda: _preview(corpus, ground.drawn.embedding)) if spec is None else None
        st.fragment(map_lasso.pane)(corpus, ground, within, drawn, lay_out)
    if over is not None and not ground.is_preview:
        table_of_clusters(ground.drawn, within, over & within, look.overlay.partition(":")[2])
    drawn.whole = True


def _preview(corpus: Corpus, embedding: str) -> None:
    st.subheader(t("Lay out the map"))
    st.caption(
        t("This preview shows the two main directions of the vectors, where unlike samples may lie side by side. "
          "A layout sets neighbours together and finds clusters with titles.")
    )  # fmt: skip
    _lay_out(corpus, embedding)


# -------------------------------------------------------------------- what is chosen above the map


def _controls(corpus: Corpus, names: list[str]) -> tuple[Ground, MapSpec | None, Look, Query]:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        with st.container(width="stretch"):
            query = search_bar.draw(corpus, key="map")
        # Where there is no room for all, these go to a line of their own, rather than squeeze the search.
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small", width="content"):
            colour, overlay = st.container(width=WIDE), st.container(width=WIDE)
            settings = st.popover(t("Options"), icon=":material/tune:")
    embedding, spec = _layout(corpus, settings, names)
    ground = ground_of(corpus, embedding, spec)
    with colour:
        st.fragment(_colour)(corpus, ground, has_clusters=spec is not None)
    laid = ["", *overlays(corpus)]
    _from_link("map_overlay", "over", laid, "")
    over = overlay.selectbox(t("Lay over"), laid, key="map_overlay", format_func=_overlay_name)
    _keep("map_overlay", "over", over)
    with settings:
        hide = st.toggle(t("Hide what the filter leaves out"), key="map_hide", persist_state="session")
        density = st.toggle(
            t("Mark holes and crowds of what is laid over"), value=True, key="map_density", persist_state="session",
            help=t("Squares with + hold more of it than a random draw would give them, those with − less."),
        )  # fmt: skip
        st.download_button(
            t("Points as a table (CSV)"), lambda: table_of_points(corpus, ground, map_lasso.colour()),
            f"map-{corpus.path.name}.csv", "text/csv", key="map_points", icon=":material/download:", on_click="ignore",
        )  # fmt: skip
        if spec is not None:
            _lay_out(corpus, embedding)
    return ground, spec, Look(str(over), bool(density), bool(hide)), query


def _colour(corpus: Corpus, ground: Ground, *, has_clusters: bool) -> None:
    columns = [UNCOLOURED, *([CLUSTER] if has_clusters else []), *colour_columns(corpus)]
    usual = CLUSTER if has_clusters else "source" if "source" in columns else UNCOLOURED
    _from_link(map_lasso.COLOUR, "colour", columns, usual)
    place = st.container(gap=None)
    by = place.selectbox(
        t("Colour by"), columns, key=map_lasso.COLOUR,
        format_func=lambda c: {UNCOLOURED: t("nothing"), CLUSTER: t("cluster")}.get(c, c),
    )  # fmt: skip
    _keep(map_lasso.COLOUR, "colour", by)
    shown = colours_by(corpus, ground, by)
    name = {UNCOLOURED: "", CLUSTER: t("Cluster")}.get(by, by) if shown.kind != "none" else ""
    map_lasso.keep_colours(ground, shown)
    with place:
        drawing.send(colours(ground.drawn, shown, name, ground.rows), key=COLOURS)


def _layout(corpus: Corpus, place: DeltaGenerator, names: list[str]) -> tuple[str, MapSpec | None]:
    """The embedding and its layout that is shown; of the latest embedding the latest, unless another is chosen."""
    layouts: list[tuple[str, MapSpec | None]] = [
        (name, spec) for name in names for spec in ((*specs(corpus, name),) or (None,))
    ]
    number = place.selectbox(
        t("Layout"), list(range(len(layouts))), key=f"map_layout_{len(layouts)}", persist_state="session",
        format_func=lambda n: _name(*layouts[n], with_embedding=len(names) > 1),
    )  # fmt: skip
    return layouts[number]


def _from_link(key: str, name: str, known: list[str], usual: str) -> None:
    """Take a choice from the address, else from the last visit of the page; one that is known no more is the usual."""
    state = st.session_state
    if key not in state:
        state[key] = st.query_params.get(name, state.get(KEPT_LOOK, {}).get(key, usual))
    if state[key] not in known:
        state[key] = usual


def _keep(key: str, name: str, value: str) -> None:
    """Keep a choice for the next visit, and in the address; a browser is told only where it changes."""
    st.session_state[KEPT_LOOK] = {**st.session_state.get(KEPT_LOOK, {}), key: value}
    if st.query_params.get(name) != value:
        st.query_params[name] = value


def table_of_points(corpus: Corpus, ground: Ground, column: str) -> bytes:
    """The points as CSV: id, x, y, cluster, and the value of the column that colours them."""
    import polars as pl

    drawn = ground.drawn
    frame = pl.DataFrame({"id": drawn.ids, "x": drawn.xy[:, 0], "y": drawn.xy[:, 1]})
    if drawn.titles:
        titles = np.array([title_of(drawn, n) for n in range(len(drawn.titles))])
        frame = frame.with_columns(pl.Series("cluster", titles[drawn.clusters]))
    if column not in (UNCOLOURED, CLUSTER):
        frame = frame.with_columns(values_of(corpus, ground, column).alias(column))
    return plots.csv_bytes(frame)


def _name(embedding: str, spec: MapSpec | None, *, with_embedding: bool) -> str:
    name = t(SHORT[spec.method]) if spec else t("Preview")
    name = t("{method}, of a part", method=name) if spec and spec.where else name
    return t("{method} of {embedding}", method=name, embedding=embedding) if with_embedding else name


def _overlay_name(code: str) -> str:
    kind, _, name = code.partition(":")
    if not code:
        return t("nothing")
    return t("selection {name}", name=name) if f"{kind}:" == SELECTION else t("mix {name}", name=name)


def _lay_out(corpus: Corpus, embedding: str) -> None:
    """The form of `winnow map`."""
    method = st.selectbox(t("Method"), list(METHODS), format_func=lambda m: t(METHODS[m]), key="map_method")
    many, titles = st.columns(2, vertical_alignment="bottom")
    clusters = many.number_input(
        t("Clusters"), 1, 500, None, key="map_clusters", placeholder=t("automatic"), persist_state="session"
    )
    model = titles.text_input(
        t("Titles from a chat model"), key="map_titles", placeholder=t("from the words of the cluster"),
        help=t("A model such as openai:gpt-4.1-mini or http://localhost:8000/v1#NAME. Empty: the most telling words."),
    ).strip()  # fmt: skip
    argv = ["map", str(corpus.path), "--embedding", embedding, "--method", method]
    argv += ["--clusters", str(clusters)] if clusters else []
    argv += ["--titles", model] if model else []
    forms.command_box(corpus, argv, key="map", label=t("Lay out the map"))


# -------------------------------------------------------------------- what is drawn


def _lit(corpus: Corpus, ground: Ground, query: Query, where: str | None) -> np.ndarray | None:
    """Whether each point was found by the search; null where nothing is looked for."""
    if not query:
        return None
    try:
        found = search(corpus, query, where=where, most=1000)
    except WinnowError as error:
        forms.show_error(error)
        return None
    return among(corpus, ground, found.ids) if found.ids is not None else holding(corpus, ground, found.condition)


def _told(
    corpus: Corpus,
    ground: Ground,
    within: np.ndarray,
    lit: np.ndarray | None,
    over: np.ndarray | None,
    where: str | None,
) -> None:
    """How many samples are shown, found and laid over, and how many are missing."""
    total = len(ground.drawn.ids)
    told = [tn("{n} sample on the map", "{n:,} samples on the map", total)]
    if where:
        told.append(tn("{n} meets the filter", "{n:,} meet the filter", int(within.sum())))
    if lit is not None:
        told.append(tn("{n} found", "{n:,} found", int((lit & within).sum())))
    if over is not None:
        told.append(tn("{n} laid over", "{n:,} laid over", int((over & within).sum())))
    if total > MOST_POINTS:
        told.append(t("drawn are {n:,}, from each cluster its share", n=MOST_POINTS))
    missing = not_on_map(corpus, ground)
    if missing:
        told.append(
            tn("{n} sample is not on the map: embed, then lay it out again",
               "{n:,} samples are not on the map: embed, then lay it out again", missing)
        )  # fmt: skip
    st.caption(" · ".join(told))


def _marks(ground: Ground, look: Look, within: np.ndarray, lit: np.ndarray | None, over: np.ndarray | None) -> Marks:
    cells = []
    if over is not None and look.density and within.any():
        cells = crowds(ground.drawn.xy[within], over[within])
    return Marks(within, lit, over, look.hide, cells, CELLS)


# -------------------------------------------------------------------- what the pointer shows


def _words(corpus: Corpus, ground: Ground) -> None:
    asked = st.session_state.get(HOVERED)
    row = ground.row(asked)
    text = "" if row is None else first_words(corpus, int(ground.positions[row]))
    drawing.hear(["hover"], key=WORDS, heard=_asked, row=asked, text=text)


def _asked() -> None:
    st.session_state[HOVERED] = st.session_state[WORDS].get("hover")


def first_words(corpus: Corpus, position: int) -> str:
    """The first words of a sample and of its answer, on two lines; nothing where it is gone."""
    cut = f"left(regexp_replace({{}}, '\\s+', ' ', 'g'), {FIRST_WORDS})"
    found = corpus.query(
        f"SELECT {cut.format('instruction')}, {cut.format('response')} FROM samples WHERE position = ? "
        "ORDER BY added_at DESC LIMIT 1",
        position,
    )
    return "\n".join(text for text in found.row(0) if text) if found.height else ""
