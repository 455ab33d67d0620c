"""The map: how long it takes to lay out, what the server does for a view and a lasso, and when a browser has painted.

Samples and their vectors are made up: clouds of unequal size in 64 dimensions, as an embedding has them.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.measuring import missing

if TYPE_CHECKING:
    from playwright.sync_api import Page

SIZES = ((52_000, "tsne"), (100_000, "tsne"), (1_000_000, "pca"))
"""Samples, and how they are laid out: a million as fast as can be, since only the drawing is looked at."""
DIMENSIONS = 64
CLOUDS = 60
TIMES = 20
LASSOED = 10_000


def run() -> None:
    """Print one table per size."""
    for size, method in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            measure(Path(folder) / "corpus", size, method)


def measure(folder: Path, size: int, method: str = "tsne") -> None:
    """Print the table of one size; the corpus is made at `folder`."""
    from curation.mapping.maps import MapSpec, make_map, preview

    corpus = made_up(folder, size)
    print(f"  {size:,} samples", flush=True)
    _told("preview: principal components", [_seconds(lambda: preview(corpus, "made-up"))])
    _told(f"layout, clusters and titles: {method}", [_seconds(lambda: make_map(corpus, MapSpec(method)))])
    corpus.database.hold()
    _server(corpus, MapSpec(method))
    corpus.database.release()
    _browser(folder, size)


def made_up(folder: Path, size: int):  # noqa: ANN201
    """A corpus of short samples in clouds, with the embedding `made-up`."""
    from curation.corpus import Corpus
    from curation.sample import Message, Sample, to_frame
    from curation.vectors import store

    random = np.random.default_rng(0)
    corpus = Corpus.create(folder)
    words = [f"word{n}" for n in range(5_000)]
    weights = random.dirichlet(np.full(CLOUDS, 0.7))
    cloud = random.choice(CLOUDS, size, p=weights)
    ids = []
    for start in range(0, size, 20_000):
        samples = []
        for n in range(start, min(start + 20_000, size)):
            own = random.integers(0, 60, 8) + 80 * cloud[n]
            text = f"{n} " + " ".join(words[w] for w in own)
            turns = (Message("user", text), Message("assistant", text[::-1]))
            samples.append(Sample(messages=turns, source=f"source {cloud[n] % 12}"))
        frame = to_frame(samples)
        corpus.add(frame)
        ids += frame["id"].to_list()
    middles = random.normal(0, 1, (CLOUDS, DIMENSIONS))
    vectors = (middles[cloud] + random.normal(0, 0.8, (size, DIMENSIONS))).astype(np.float32)
    (folder / "embeddings" / "made-up").mkdir(parents=True)
    about = {"name": "made-up", "model": "made-up", "text": "both"}
    store(folder / "embeddings" / "made-up", ids, [vectors], about)
    return corpus


def _server(corpus, spec) -> None:  # noqa: ANN001
    """What Python does between a click and its answer."""
    from curation.mapping.polygons import inside
    from studio.map_payload import Marks, colours, marks
    from studio.pages.map_ground import coloured_by, ground_of, holding
    from studio.pages.map_lasso import listed

    ground = ground_of(corpus, "made-up", spec)
    xy = ground.drawn.xy
    apart = np.linalg.norm(xy - np.median(xy, axis=0), axis=1)
    radius = float(np.partition(apart, LASSOED)[LASSOED])
    turn = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    line = (np.median(xy, axis=0) + radius * np.column_stack([np.cos(turn), np.sin(turn)])).tolist()

    def colour(column: str) -> None:
        colours(ground.drawn, coloured_by(corpus, ground, column), column, ground.rows)

    lengths = itertools.count(30)

    def filtered() -> None:
        marks(ground.drawn, Marks(holding(corpus, ground, f"response_chars > {next(lengths)}")), ground.rows)

    def lasso() -> None:
        rows = inside(xy, line)
        listed(corpus, ground.positions[rows][:200])

    for name, work in {
        "server: colour by a number": lambda: colour("response_chars"),
        "server: colour by a category": lambda: colour("source"),
        "server: filter": filtered,
        f"server: lasso of {LASSOED:,}": lasso,
    }.items():
        _told(name, [_seconds(work) for _ in range(TIMES)])


def _browser(folder: Path, size: int) -> None:
    from tests.studio.browser import installed_browser, launched, studio
    from tests.studio.map_browser import drawn_around, painted

    if installed_browser() is None:
        missing("the browser: no Chromium on this machine")
        return
    with ExitStack() as stack:
        address = stack.enter_context(studio(folder, folder.parent / "log.txt"))
        browser = stack.enter_context(launched())
        first = []
        for _ in range(3):
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            first.append(_seconds(lambda page=page: (page.goto(f"{address}/map"), painted(page))))
            if len(first) < 3:
                page.close()
        _told("browser: the first time, with a cold server", first[:1])
        _told("browser: from the address to the painted map", first[1:])
        took = int(page.locator("canvas.points").get_attribute("data-painted"))
        print(f"    {'of that in the browser, from bytes to paint':<52} {took / 1000:8.3f} s", flush=True)
        share = min(0.25, 0.25 * (100_000 / size) ** 0.5)
        _told("browser: from letting go of the lasso to its count", [drawn_around(page, share) for _ in range(5)])
        print(f"    {'memory of the page, without the graphics process':<52} {_heap(page):8.0f} MB", flush=True)


def _heap(page: Page) -> float:
    """Megabytes of JavaScript and its arrays that a page holds, after a collection."""
    session = page.context.new_cdp_session(page)
    session.send("HeapProfiler.collectGarbage")
    used = session.send("Runtime.getHeapUsage")
    return float(used["usedSize"] + used.get("backingStorageSize", 0) + used.get("embedderHeapUsedSize", 0)) / 1e6


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _told(name: str, seconds: list[float]) -> None:
    middle, worst = statistics.median(seconds), sorted(seconds)[min(len(seconds) - 1, int(0.95 * len(seconds)))]
    print(f"    {name:<52} {middle:8.3f} s   95th {worst:8.3f} s", flush=True)
