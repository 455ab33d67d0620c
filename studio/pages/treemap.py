"""Treemaps: the sources and the tags of a working set by their samples, what a mix is made of by its tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from curation.storage.sql import condition, literal, quoted, working
from studio import forms, plots
from studio.languages import t
from studio.pages.corpus_state import corpus_state

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus

LARGEST = 40
"""Rectangles by name; the others are one."""
HEIGHT = 320
NAME = 60
"""Characters of a name on a rectangle."""
COLOURS = ("#4F46E5", "#0B7A70", "#B4501C", "#C03670", "#4E7415", "#7340E8", "#2669B3", "#8A580A")
"""On which white letters have a contrast of 4.5 and more."""
BRIGHT = ("#8B87F7", "#2DD4BF", "#F59E5B", "#F472A8", "#A3CE55", "#B79CFB", "#60A5FA", "#EAB308")
"""On which dark ones have."""


def sources_and_tags(corpus: Corpus, where: str | None = None) -> None:
    """Draw the sources, and where there are some the tags, of a working set; a click opens its samples on Browse."""
    alive = working(where)
    columns = tag_columns(corpus)
    state = corpus_state(corpus)
    # One below the other: in half a page forty names can't be read.
    st.markdown(f"**{t('Sources')}**")
    sources = _counted(state, "source", alive, corpus)
    _draw(sources, "source", where, name="sources", alt=t("Samples of every source as a treemap"))
    if columns:
        column = columns[0]
        if len(columns) > 1:
            column = st.selectbox(t("Tags from"), columns, key="treemap_tags", persist_state="session", width=360)
        else:
            st.markdown(f"**{t('Tags')}**")
        tags = _counted(state, column, alive, corpus)
        if tags.is_empty():
            st.caption(t("No sample of this working set has a tag."))
        else:
            _draw(tags, column, where, name=f"{column}", alt=t("Samples of every frequent tag as a treemap"))
            st.caption(t("A sample with several tags is counted in each."))
    st.caption(t("Click a rectangle to see its samples on Browse."))


def of_column(corpus: Corpus, column: str) -> None:
    """Draw the sources, or the tags, of the whole working set; a click opens its samples on Browse."""
    found = counted(corpus, column)
    named = t("Samples of every source as a treemap")
    alt = named if column == "source" else t("Samples of every frequent tag as a treemap")
    _draw(found, column, None, name="sources" if column == "source" else column, alt=alt)
    st.caption(t("Click a rectangle to see its samples on Browse."))


def counted(corpus: Corpus, column: str) -> pl.DataFrame:
    """Samples by the value of a column, dropped ones left out: name, samples; the largest first."""
    return _counted(corpus_state(corpus), column, working(None), corpus)


def tag_columns(corpus: Corpus) -> list[str]:
    """Columns that hold lists of tags: the ones of scorers first."""
    found = [name for name, kind in corpus.score_columns().items() if kind == "VARCHAR[]"]
    own = ["tags"] if corpus.query("SELECT EXISTS (SELECT 1 FROM tags) AS some").item() else []
    return [*found, *own]


def counts(corpus: Corpus, column: str, where: str | None) -> pl.DataFrame:
    """Samples by the value of a column, or by each value of its lists: name, samples; the largest first."""
    kind = corpus.columns()[column]
    value = f"unnest(list_distinct({quoted(column)}))" if kind.endswith("[]") else quoted(column)
    return corpus.query(
        f"SELECT name, count(*) AS samples FROM (SELECT {value} AS name FROM everything"
        f"{condition(corpus.found(where))}) WHERE name IS NOT NULL GROUP BY name ORDER BY samples DESC, name"
    )


@st.cache_data(show_spinner=False, max_entries=32)
def _counted(state: str, column: str, where: str, _corpus: Corpus) -> pl.DataFrame:
    return counts(_corpus, column, where)


def _draw(counted: pl.DataFrame, column: str, where: str | None, *, name: str, alt: str) -> None:
    key = f"treemap_{column}"
    rows = [(str(called), int(samples)) for called, samples in counted.iter_rows()]
    drawn = shown(rows, t("{n:,} others", n=max(0, len(rows) - LARGEST)))
    chosen = plots.draw_echarts(
        option(drawn),
        counted,
        name=name,
        key=f"{key}_{st.session_state.get(f'{key}_drawn', 0)}",
        alt=alt,
        on_select="rerun",
        height=HEIGHT,
    )
    if len(drawn) < len(rows) and len(drawn) == LARGEST:
        st.caption(t("The {shown} largest of {n:,}.", shown=LARGEST, n=len(rows)))
    place = chosen_place(chosen)
    if place is not None and place < min(len(rows), LARGEST):
        _open(column, rows[place][0], where, key)


def _open(column: str, name: str, where: str | None, key: str) -> None:
    # Drawn anew the next time: what was clicked before is not chosen then.
    st.session_state[f"{key}_drawn"] = st.session_state.get(f"{key}_drawn", 0) + 1
    page = forms.page_named("browse")
    wanted = rule(column, name)
    if page is not None:
        st.switch_page(page, query_params={"where": f"({where}) AND {wanted}" if where else wanted})


def rule(column: str, name: str) -> str:
    """The SQL condition of a rectangle."""
    called = column if column.isidentifier() else quoted(column)
    if column == "source":
        return f"{called} = {literal(name)}"
    return f"list_contains({called}, {literal(name)})"


def shown(rows: Sequence[tuple[str, int]], others: str) -> list[tuple[str, int]]:
    """The largest by name and the others as one; no others where they would take the place of what has a name."""
    rest = sum(n for _, n in rows[LARGEST:])
    crowded = rest > sum(n for _, n in rows[:LARGEST]) / 2
    return [*rows[:LARGEST], *([(others, rest)] if rest and not crowded else [])]


def option(rows: Sequence[tuple[str, int]]) -> dict[str, Any]:
    """Of ECharts: one level of rectangles, each with its name and number."""
    data = [
        {
            "name": name if len(name) <= NAME else f"{name[: NAME - 1]}…",
            "value": n,
            "label": {"formatter": "{b}\n" + f"{n:,}"},
        }
        for name, n in rows
    ]
    dark = plots.is_dark()
    return {
        "color": list(BRIGHT if dark else COLOURS),
        "tooltip": {"valueFormatter": "localized"},
        "series": [
            {
                "type": "treemap",
                "selectedMode": "single",
                "roam": False,
                "nodeClick": False,
                "breadcrumb": {"show": False},
                "left": 0, "right": 0, "top": 0, "bottom": 0,
                "label": {
                    "overflow": "truncate", "fontSize": 12, "lineHeight": 16, "color": "#101116" if dark else "#FFFFFF",
                },
                "itemStyle": {"gapWidth": 2, "borderWidth": 0},
                "data": data,
            }
        ],
    }  # fmt: skip


def chosen_place(state: Any) -> int | None:
    """Which rectangle was clicked; null where none was."""
    for of in (state or {}).get("selection", {}).get("selected", ()):
        if of.get("data_indices"):
            return int(of["data_indices"][0]) - 1  # ECharts counts the whole as the first
    return None


# -------------------------------------------------------------------- mixes


def composition(parts: Sequence[Mapping[str, Any]], *, key: str, name: str = "mix_composition") -> None:
    """Draw what a mix is made of: rows and tokens of every part and source, as bars over one another.

    Args:
        parts: each with `stage` (such as "before", "after", or the name of a mix), `part` or `source` as `name`, `rows`
            and `tokens` (null where they are not known).
        key: unique on the page.
        name: of the downloaded files.
    """
    import polars as pl

    frame = pl.DataFrame(
        [(str(p["stage"]), str(p["name"]), p["rows"], p["tokens"]) for p in parts],
        schema={"stage": pl.String, "name": pl.String, "rows": pl.Int64, "tokens": pl.Int64},
        orient="row",
    )
    plots.draw(
        composition_chart(frame),
        frame,
        name=name,
        key=key,
        alt=t("Share of every part by rows and by tokens"),
    )


def composition_chart(frame: pl.DataFrame) -> Any:
    """Rows above, tokens below; a bar for each stage, as long as all of it."""
    import altair as alt
    import polars as pl

    long = frame.unpivot(["rows", "tokens"], index=["stage", "name"], variable_name="of", value_name="n").drop_nulls(
        "n"
    )
    titles = {"rows": t("rows"), "tokens": t("tokens")}
    long = long.with_columns(
        (pl.col("n") / pl.col("n").sum().over("stage", "of")).fill_nan(0).alias("share"),
        (pl.col("stage") + " · " + pl.col("of").replace_strict(titles)).alias("bar"),
    )
    bars = long["bar"].unique(maintain_order=True).to_list()
    parts = long["name"].n_unique()
    # Two columns: names of files are long, and a legend is cut off where it is wider than its chart.
    legend = alt.Legend(orient="bottom", columns=2, labelLimit=190)
    drawn = alt.Chart(long).mark_bar(height=20)
    return drawn.encode(
        x=alt.X(
            "share:Q",
            title=None,
            axis=alt.Axis(format="%", tickCount=5, labelFlushOffset=-3),
            scale=alt.Scale(domain=[0, 1]),
        ),
        # Names above one another, two lines each: beside the bars they would take the half of a narrow column.
        y=alt.Y(
            "bar:N",
            sort=bars,
            title=None,
            axis=alt.Axis(labelLimit=120, labelOverlap=False, labelExpr="split(datum.label, ' · ')"),
        ),
        color=alt.Color("name:N", title=None, legend=legend),
        order=alt.Order("name:N"),
        tooltip=[
            alt.Tooltip("bar:N", title=t("mix")),
            alt.Tooltip("name:N", title=t("part")),
            alt.Tooltip("n:Q", title=t("number"), format=","),
            alt.Tooltip("share:Q", title=t("share"), format=".1%"),
        ],
    ).properties(height=70 + 44 * len(bars) + 22 * math.ceil(parts / 2))
