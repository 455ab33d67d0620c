"""The door for notebooks: the map of a corpus as one piece of HTML that needs no server and no network.

from studio.notebook import show_map
show_map(corpus, color="source")
show_map(corpus, color="ifd").save("map.html")
"""

from __future__ import annotations

import base64
import html
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from curation.errors import CorpusError, unknown
from curation.mapping.maps import maps_of
from curation.vectors import vectors_of
from studio.map_payload import Marks, packed, shown_rows

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from curation.corpus import Corpus

COMPONENTS = Path(__file__).parent / "components"
WORDS = 90
"""Characters of a text that the pointer shows."""
MOST = 200_000
"""Points of a map in a notebook: it is stored in the notebook's file."""
WITH_WORDS = 20_000
"""Points up to which the pointer shows words, for the same reason."""
LIGHT = {
    "--st-background-color": "#FFFFFF", "--st-secondary-background-color": "#F6F6F9", "--st-text-color": "#18181B",
    "--st-border-color": "#E3E3EA", "--st-primary-color": "#4F46E5",
    "--st-chart-categorical-colors": "#4F46E5,#0D9488,#D9652B,#C83A74,#5F8C1A,#7C4DEE,#2B74C4,#96600B",
    "--st-chart-sequential-colors": "#EEF2FF,#E0E7FF,#C7D2FE,#A5B4FC,#818CF8,#6366F1,#4F46E5,#4338CA,#3730A3,#312E81",
}  # fmt: skip
DARK = {
    "--st-background-color": "#101116", "--st-secondary-background-color": "#191A21", "--st-text-color": "#ECECF1",
    "--st-border-color": "#2C2D38", "--st-primary-color": "#635BEF",
    "--st-chart-categorical-colors": "#8B87F7,#2DD4BF,#F59E5B,#F472A8,#A3CE55,#B79CFB,#60A5FA,#EAB308",
    "--st-chart-sequential-colors": "#312E81,#3730A3,#4338CA,#4F46E5,#6366F1,#818CF8,#A5B4FC,#C7D2FE,#E0E7FF,#EEF2FF",
}  # fmt: skip


@dataclass(frozen=True)
class NotebookMap:
    """A map that a notebook shows when it is the value of a cell."""

    page: str
    """A whole HTML page."""
    height: int
    """Pixels."""

    def _repr_html_(self) -> str:
        frame = f'style="width:100%;height:{self.height + 18}px;border:0" sandbox="allow-scripts allow-downloads"'
        return f'<iframe title="Map" srcdoc="{html.escape(self.page)}" {frame}></iframe>'

    def save(self, path: Path | str) -> Path:
        """Write the page, to be opened by any browser; the file's path."""
        file = Path(path).expanduser()
        file.write_text(self.page, encoding="utf-8")
        return file


def show_map(
    corpus: Corpus,
    *,
    color: str | None = "source",
    embedding: str | None = None,
    where: str | None = None,
    selection: str | None = None,
    height: int = 540,
) -> NotebookMap:
    """The map of an embedding: the latest layout that `winnow map` made, or its principal components where none was.

    Args:
        corpus: whose samples.
        color: a column that colours the points, `cluster`, or null.
        embedding: which one; the latest when null.
        where: samples that don't meet this condition are grey.
        selection: the name of a selection to lay over the others.
        height: of the drawing, in pixels.

    Raises:
        CorpusError: there is no embedding, column or selection of this name, or the condition is wrong.
    """
    from studio.pages import map_ground as grounds

    name = vectors_of(corpus, embedding).name
    ground = grounds.ground_of(corpus, name, next(iter(maps_of(corpus, name)), None))
    by = color or grounds.UNCOLOURED
    known = [grounds.UNCOLOURED, grounds.CLUSTER, *grounds.colour_columns(corpus)]
    if by not in known:
        raise unknown("column", by, known[1:], CorpusError)
    over = None
    if selection is not None:
        corpus.selection(selection)
        over = grounds.overlaid(corpus, ground, grounds.SELECTION + selection)
    rows = shown_rows(ground.drawn, MOST)
    shown = len(ground.drawn.ids) if rows is None else len(rows)
    texts = (
        _words(corpus, ground.positions if rows is None else ground.positions[rows]) if shown <= WITH_WORDS else None
    )
    marks = Marks(grounds.holding(corpus, ground, where), over=over)
    words = {"hint": "Scroll to zoom, Shift-drag to move. Draw around samples to count them.", "inside": "# inside"}
    payload = packed(
        ground.drawn, grounds.colours_by(corpus, ground, by), by, marks,
        rows=rows, file=f"map-{corpus.path.name}", texts=texts, words=words,
    )  # fmt: skip
    return NotebookMap(_page(payload, height), height)


def _words(corpus: Corpus, positions: np.ndarray) -> list[str]:
    import polars as pl

    frame = pl.DataFrame({"position": positions}, schema={"position": pl.Int64}).with_row_index("place")
    cut = f"left(regexp_replace(left({{}}, 400), '\\s+', ' ', 'g'), {WORDS})"
    found: pl.DataFrame = corpus.run(
        f"SELECT place, coalesce({cut.format('instruction')}, '') || chr(10) || coalesce({cut.format('response')}, '') "
        "AS text FROM points_frame LEFT JOIN everything USING (position) ORDER BY place",
        frames={"points_frame": frame},
    )
    return found["text"].fill_null("").to_list()


def _page(payload: bytes, height: int) -> str:
    read = {kind: (COMPONENTS / f"map.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")}
    light, dark = ("".join(f"{name}:{value};" for name, value in theme.items()) for theme in (LIGHT, DARK))
    encoded = json.dumps(base64.b64encode(payload).decode())
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Map</title><style>
:root {{ color-scheme: light dark; --map-height: {int(height)}px; {light} }}
@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}
body {{ margin: 8px; background: transparent; }}
{read["css"]}</style></head><body>{read["html"]}<script type="module">
{read["js"]}
const bytes = Uint8Array.from(atob({encoded}), c => c.charCodeAt(0))
const drawing = mount(document, bytes, () => {{}})
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawing.paint())
</script></body></html>"""
