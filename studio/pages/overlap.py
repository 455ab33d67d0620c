"""What selections share: every pair, and every combination of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import streamlit as st

from studio import plots
from studio.languages import mark, t
from studio.pages.corpus_state import corpus_state

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus

COMBINATIONS = 15
"""Combinations that are drawn, the largest."""
MEASURES = {"share": mark("Share of the row"), "jaccard": mark("Jaccard index"), "common": mark("Samples")}
"""What stands in a cell -> what it is called."""


@st.fragment
def section(corpus: Corpus, names: list[str]) -> None:
    """The part of a comparison about what selections share. A fragment."""
    st.markdown(f"**{t('Overlap')}**")
    if len(names) < 2:
        st.caption(t("Choose a second selection to see what the two share."))
        return
    found = _intersections(corpus_state(corpus), tuple(names), corpus)
    pairs_cell, sets_cell = st.columns(2, gap="large")
    with pairs_cell:
        measure = st.segmented_control(
            t("Every pair"),
            list(MEASURES),
            format_func=lambda name: t(MEASURES[name]),
            default="share",
            required=True,
            key="overlap_measure",
        )
        pairs = pairs_of(found, names)
        plots.draw(
            pairs_chart(pairs, names, str(measure)),
            pairs,
            name="selection_overlap",
            alt=t("What every pair of selections has in common"),
        )
        st.caption(t("Share: of the row's samples, those that the column has too. Jaccard: common by all of both."))
    with sets_cell:
        st.caption(t("Every combination: samples that are in the marked selections and in no other"))
        plots.draw(
            sets_chart(found.head(COMBINATIONS), names),
            found,
            name="selection_intersections",
            alt=t("Samples in every combination of selections, the largest first"),
        )
        if found.height > COMBINATIONS:
            st.caption(t("The {shown} largest of {n:,} combinations.", shown=COMBINATIONS, n=found.height))


@st.cache_data(show_spinner=False, max_entries=32)
def _intersections(state: str, names: tuple[str, ...], _corpus: Corpus) -> pl.DataFrame:
    return intersections(_corpus, names)


def intersections(corpus: Corpus, names: Sequence[str]) -> pl.DataFrame:
    """Samples by the selections they are in, dropped ones left out, rewritten ones as they are now.

    Columns: selections (in the order given), samples; the largest first.
    """
    import polars as pl

    from curation.tracing import current_versions

    rewritten = corpus.query("SELECT DISTINCT id FROM selected JOIN states USING (id) WHERE NOT is_current")["id"]
    current = current_versions(corpus, rewritten) if len(rewritten) else {}
    counted = corpus.database.run(
        """WITH members AS (
            SELECT coalesce(r.becomes, s.id) AS id, bit_or(1::BIGINT << c.place) AS sets
            FROM selected s JOIN chosen_frame c USING (name) LEFT JOIN rewritten_frame r ON r.id = s.id GROUP BY 1)
        SELECT sets, count(*) AS samples FROM members
        WHERE id NOT IN (SELECT id FROM states WHERE decision = 'drop') GROUP BY sets ORDER BY samples DESC, sets""",
        frames={
            "chosen_frame": pl.DataFrame({"name": list(names), "place": range(len(names))}),
            "rewritten_frame": pl.DataFrame(
                list(current.items()), schema={"id": pl.String, "becomes": pl.String}, orient="row"
            ),
        },
    )
    rows = [([name for i, name in enumerate(names) if sets >> i & 1], n) for sets, n in counted.iter_rows()]
    return pl.DataFrame(rows, schema={"selections": pl.List(pl.String), "samples": pl.Int64}, orient="row")


def pairs_of(found: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Every ordered pair: a, b, common, share (of the samples of `a` that `b` has too), jaccard (0..1).

    Args:
        found: what `intersections` returns.
        names: of the selections.
    """
    import polars as pl

    sets = [(set(chosen), n) for chosen, n in found.iter_rows()]
    sizes = {name: sum(n for chosen, n in sets if name in chosen) for name in names}
    rows = []
    for a in names:
        for b in names:
            common = sum(n for chosen, n in sets if {a, b} <= chosen)
            either = sizes[a] + sizes[b] - common
            rows.append((a, b, common, common / sizes[a] if sizes[a] else 0.0, common / either if either else 0.0))
    return pl.DataFrame(rows, schema=["a", "b", "common", "share", "jaccard"], orient="row")


def pairs_chart(pairs: pl.DataFrame, names: Sequence[str], measure: str = "share") -> Any:
    """A matrix with a number in each cell, so that colour is never alone.

    Args:
        pairs: what `pairs_of` returns.
        names: in their order.
        measure: one of `MEASURES`.
    """
    import altair as alt

    most = 1.0 if measure != "common" else float(max(pairs["common"].to_list() or [1])) or 1.0
    axis = alt.Axis(orient="top", labelAngle=-25, labelAlign="left", labelOverlap=False, labelLimit=130)
    base = alt.Chart(pairs).encode(
        x=alt.X("b:N", sort=list(names), title=None, axis=axis),
        y=alt.Y("a:N", sort=list(names), title=None, axis=alt.Axis(labelLimit=150)),
        tooltip=[
            alt.Tooltip("a:N", title=t("row")),
            alt.Tooltip("b:N", title=t("column")),
            alt.Tooltip("common:Q", format=",", title=t("common samples")),
            alt.Tooltip("share:Q", format=".1%", title=t("share of the row")),
            alt.Tooltip("jaccard:Q", format=".3f", title=t("Jaccard index")),
        ],
    )
    scale = alt.Scale(domain=[0, most], range=["#E0E7FF", "#4338CA"])
    cells = base.mark_rect(cornerRadius=3, stroke=None).encode(
        color=alt.Color(f"{measure}:Q", scale=scale, legend=None)
    )
    text = base.mark_text(fontSize=12).encode(
        text=alt.Text(f"{measure}:Q", format={"share": ".0%", "jaccard": ".2f", "common": ","}[measure]),
        color=alt.condition(f"datum.{measure} > {0.62 * most}", alt.value("#FFFFFF"), alt.value("#18181B")),
    )
    return alt.layer(cells, text).properties(height=70 + 40 * len(names))


def sets_chart(found: pl.DataFrame, names: Sequence[str]) -> Any:
    """Combinations as rows: dots for the selections that are in it, and a bar with the number of samples."""
    import altair as alt
    import polars as pl

    rows = [(place, list(chosen), n) for place, (chosen, n) in enumerate(found.iter_rows())]
    dots = [(place, name, name in chosen) for place, chosen, _ in rows for name in names]
    marked = pl.DataFrame(dots, schema=["row", "name", "in"], orient="row")
    lines = [(place, a, b) for place, chosen, _ in rows for a, b in pairwise(chosen)]
    joined = pl.DataFrame(lines, schema={"row": pl.Int64, "a": pl.String, "b": pl.String}, orient="row")
    bars = pl.DataFrame([(p, " + ".join(c), n) for p, c, n in rows], schema=["row", "sets", "samples"], orient="row")
    height = 30 * max(1, len(rows))
    y = alt.Y("row:O", axis=None)
    across = alt.Axis(orient="top", labelAngle=-35, labelAlign="left", labelLimit=110, grid=False, labelOverlap=False)
    x = alt.X("name:N", sort=list(names), title=None, axis=across, scale=alt.Scale(domain=list(names)))
    circles = alt.Chart(marked).mark_circle(size=120, opacity=1).encode(
        x=x, y=y, color=alt.condition("datum.in", alt.value("#6C66EC"), alt.value("rgba(138,138,149,0.25)")),
        tooltip=[alt.Tooltip("name:N", title=t("selection"))],
    )  # fmt: skip
    ties = alt.Chart(joined).mark_rule(strokeWidth=3, color="#6C66EC").encode(
        x=alt.X("a:N", sort=list(names), scale=alt.Scale(domain=list(names))), x2="b:N", y=y
    )  # fmt: skip
    # Room for the number beside the longest bar.
    most = 1.25 * max([n for _, _, n in rows] or [1])
    base = alt.Chart(bars).encode(
        x=alt.X("samples:Q", title=None, axis=None, scale=alt.Scale(domain=[0, most])),
        y=y,
        tooltip=[alt.Tooltip("sets:N", title=t("in")), alt.Tooltip("samples:Q", title=t("samples"), format=",")],
    )
    ink = "#ECECF1" if plots.is_dark() else "#18181B"
    numbers = base.mark_text(align="left", dx=5, fontSize=12, color=ink).encode(text=alt.Text("samples:Q", format=","))
    left = alt.layer(ties, circles).properties(width=max(90, 46 * len(names)), height=height)
    right = alt.layer(base.mark_bar(height=16, color="#6C66EC"), numbers).properties(width=210, height=height)
    return alt.hconcat(left, right, spacing=14).resolve_scale(y="shared").configure_view(stroke=None)
