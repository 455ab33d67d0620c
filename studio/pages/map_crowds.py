"""Where a selection or a mix is thick and thin, cluster by cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from studio import forms
from studio.languages import t
from studio.map_payload import title_of

if TYPE_CHECKING:
    import polars as pl

    from curation.mapping.maps import Map


def shares(drawn: Map, pool: np.ndarray, chosen: np.ndarray) -> pl.DataFrame:
    """Per cluster: its samples, the chosen ones, the share of each, and the one share over the other, fewest first.

    Args:
        drawn: a map with clusters.
        pool: bool per point: what was there to choose from.
        chosen: bool per point.
    """
    import polars as pl

    count = len(drawn.titles)
    samples = np.bincount(drawn.clusters[pool], minlength=count)
    got = np.bincount(drawn.clusters[chosen], minlength=count)
    frame = pl.DataFrame(
        {"cluster": [title_of(drawn, n) for n in range(count)], "samples": samples, "chosen": got},
        schema_overrides={"cluster": pl.String},
    ).filter(pl.col("samples") > 0)
    of_pool, of_chosen = (pl.col(c) / max(int(frame[c].sum()), 1) for c in ("samples", "chosen"))
    return frame.with_columns(
        (100 * of_pool).alias("share"), (100 * of_chosen).alias("share_chosen"), (of_chosen / of_pool).alias("times")
    ).sort("times", "samples", descending=[False, True])


def table_of_clusters(drawn: Map, pool: np.ndarray, chosen: np.ndarray, name: str) -> None:
    """Draw it, folded."""
    with st.expander(t("Holes and crowds of {name}, by cluster", name=forms.plain(name)), icon=":material/grid_on:"):
        if not chosen.any():
            st.caption(t("None of its samples meets the filter and is on the map."))
            return
        number = st.column_config.NumberColumn
        st.dataframe(
            shares(drawn, pool, chosen),
            hide_index=True,
            height=300 if len(drawn.titles) > 7 else "content",
            column_config={
                "cluster": st.column_config.TextColumn(t("Cluster"), width="medium"),
                "samples": number(t("Samples"), format="localized"),
                "chosen": number(t("Chosen"), format="localized"),
                "share": number(t("Share of all"), format="%.1f %%"),
                "share_chosen": number(t("Share of the chosen"), format="%.1f %%"),
                "times": number(t("Times"), format="%.2f", help=t("1 is what a random draw would give on average.")),
            },
            alt=t("Clusters with their share of all samples and of the chosen ones, the emptiest first"),
        )
