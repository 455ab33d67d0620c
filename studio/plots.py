"""One way to draw a chart: the chart, and below it quiet buttons that download its data and its image."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import streamlit as st

from studio.languages import t

if TYPE_CHECKING:
    import polars as pl

    Data = pl.DataFrame | Callable[[], pl.DataFrame]
    """What a chart shows, as a frame; where that costs time, as a function that makes it when it is downloaded."""

BYTE_ORDER_MARK = "\ufeff"
"""At the head of a CSV file: without it spreadsheets read Chinese as Latin letters."""
FORMULA = "=+-@\t\r"
"""A cell that begins with one of these is run by spreadsheets."""


def draw(
    chart: Any,
    data: Data,
    *,
    name: str,
    alt: str,
    key: str | None = None,
    on_select: Any = "ignore",
    **more: Any,
) -> Any:
    """Draw a chart with its downloads.

    Args:
        chart: of Altair, or a plain Vega-Lite specification, which is drawn in a tenth of the time.
        data: what it shows.
        name: of the files that are downloaded, without an ending.
        alt: what the chart shows, in words.
        key: unique on the page; the name where there is one chart of it.
        on_select: as for `st.altair_chart`.
        more: other arguments of `st.altair_chart`.

    Returns:
        What `st.altair_chart` returns: with `on_select` the chosen marks.
    """

    def drawn(**options: Any) -> Any:
        if isinstance(chart, Mapping):
            return st.vega_lite_chart(data() if callable(data) else data, dict(chart), alt=alt, **options, **more)
        return st.altair_chart(chart, alt=alt, **options, **more)

    return _with_downloads(drawn, data, name, key, on_select)


def draw_echarts(
    option: Mapping[str, Any],
    data: Data,
    *,
    name: str,
    alt: str,
    key: str | None = None,
    on_select: Any = "ignore",
    **more: Any,
) -> Any:
    """Draw an ECharts chart with its downloads.

    Args:
        option: of ECharts.
        data: what it shows.
        name: of the files that are downloaded, without an ending.
        alt: what the chart shows, in words.
        key: unique on the page; the name where there is one chart of it.
        on_select: as for `st.echarts_chart`.
        more: other arguments of `st.echarts_chart`.

    Returns:
        What `st.echarts_chart` returns: with `on_select` the chosen marks.
    """

    def drawn(**options: Any) -> Any:
        return st.echarts_chart(dict(option), alt=alt, **options, **more)

    return _with_downloads(drawn, data, name, key, on_select)


def _with_downloads(drawn: Callable[..., Any], data: Data, name: str, key: str | None, on_select: Any) -> Any:
    key = plain_key(key or f"plot_{_stem(name)}")
    options = {"key": key, "on_select": on_select} if on_select != "ignore" else {}
    with st.container(key=f"{key}_plot", gap="xxsmall"):
        chart = drawn(**options)
        downloads(data, name=name, key=key)
    return chart


def downloads(data: Data, *, name: str, key: str) -> None:
    """The buttons that download data and image, for what is drawn in the container with the key `{key}_plot`.

    The file is made when its button is pressed: drawing the page anew costs nothing.
    """
    from studio.components import image_button

    stem = _stem(name)
    with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center", gap="xsmall"):
        st.download_button(
            t("Data"),
            lambda: csv_bytes(data() if callable(data) else data),
            f"{stem}.csv",
            "text/csv",
            key=f"{key}_data",
            help=t("Download what the chart shows as a table (CSV)"),
            on_click="ignore",
            type="tertiary",
            icon=":material/table_view:",
        )
        image_button.draw(f"{key}_plot", f"{stem}.png", key=f"{key}_image")


def plain_key(key: str) -> str:
    """A key that stands in the class of its container as it is, and in the id of a component; a plain one stays."""
    if re.fullmatch(r"[A-Za-z0-9]+([_-][A-Za-z0-9]+)*", key):
        return key
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', key).strip('-')}-{hashlib.sha256(key.encode()).hexdigest()[:6]}"


def is_dark() -> bool:
    """Whether the page is dark: for colours that a chart's theme does not choose."""
    return str(st.context.theme.type or "light") == "dark"


def csv_bytes(frame: pl.DataFrame) -> bytes:
    """A frame as CSV that spreadsheets read rightly, in every script, and in which they find no formula to run."""
    import polars as pl

    for column, kind in frame.schema.items():
        if isinstance(kind, pl.List | pl.Array):
            frame = flat(frame, column)
        if frame.schema[column] == pl.String:
            runs = pl.col(column).str.contains(f"^[{re.escape(FORMULA)}]")
            frame = frame.with_columns(pl.when(runs).then("'" + pl.col(column)).otherwise(pl.col(column)).alias(column))
    written = io.StringIO()
    frame.write_csv(written)
    return (BYTE_ORDER_MARK + written.getvalue()).encode()


def flat(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """The frame with the lists of a column as texts."""
    import polars as pl

    texts = [None if cell is None else " + ".join(map(str, cell)) for cell in frame[column].to_list()]
    return frame.with_columns(pl.Series(column, texts, dtype=pl.String))


def _stem(name: str) -> str:
    return re.sub(r"[^\w-]+", "_", name).strip("_")[:80] or "plot"
