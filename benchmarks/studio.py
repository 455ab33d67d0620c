"""How long the studio's server works on one interaction, in a real browser: `python -m benchmarks.studio [CORPUS...]`.

Timed is what goes over the websocket: from the message that asks for a run of the page to the last message that says it
is done, as Chromium's network log has it. So it holds the script, the database and what is sent, but not the drawing,
except that Chromium draws on the same cores. `shown` is the whole way, from the click until the page stands still. The
first of each interaction is left out of the percentiles and printed by itself: it is what a cold cache costs. Then the
same messages are sent to a new server by a client that draws nothing: the server's own time.
"""

from __future__ import annotations

import base64
import functools
import os
import random
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measuring import alpaca, missing
from benchmarks.replaying import Asked, percentile, replay, tell
from curation.corpus import Corpus

if TYPE_CHECKING:
    from playwright.sync_api import Page

TIMES = 25
QUIET = 0.25
"""Seconds without a message after which a page is done."""
WORDS = [
    "sentence",
    "describe",
    "story",
    "garden",
    "science",
    "people",
    "explain",
    "music",
    "planet",
    "ocean",
    "history",
]


LASSOED = re.compile(r"^[\d,]+ samples? inside")


@dataclass
class Wire:
    """The messages of a page's websocket, with the times at which the browser's network had them."""

    asked: list[float] = field(default_factory=list)
    recorded: list[Asked] = field(default_factory=list)
    finished: list[float] = field(default_factory=list)
    bytes_received: int = 0
    latest: float = 0.0
    """By this process' clock: a message came or went."""

    def listen(self, page: Page) -> None:
        """Follow a page from now on."""
        session = page.context.new_cdp_session(page)
        session.on("Network.webSocketFrameSent", self._sent)
        session.on("Network.webSocketFrameReceived", self._received)
        session.send("Network.enable")

    def _sent(self, event: dict[str, Any]) -> None:
        from streamlit.proto.BackMsg_pb2 import BackMsg

        payload = base64.b64decode(event["response"]["payloadData"])
        if BackMsg.FromString(payload).WhichOneof("type") == "rerun_script":
            self.asked.append(event["timestamp"])
            self.recorded[-1].messages.append(payload)
            self.latest = time.monotonic()

    def _received(self, event: dict[str, Any]) -> None:
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        payload = base64.b64decode(event["response"]["payloadData"])
        self.bytes_received += len(payload)
        self.latest = time.monotonic()
        if ForwardMsg.FromString(payload).WhichOneof("type") == "script_finished":
            self.finished.append(event["timestamp"])


@dataclass(frozen=True)
class Timed:
    """One interaction."""

    server: float
    """Seconds from the first message that asked to the last that said done."""
    shown: float
    kilobytes: float


def timed(page: Page, wire: Wire, interact: Callable[[], object], seconds: float = 60, name: str = "") -> Timed | None:
    """Interact, and wait until the page is done; null where the page asked the server for nothing."""
    wire.recorded.append(Asked(name))
    wire.asked.clear()
    wire.finished.clear()
    wire.bytes_received, wire.latest = 0, time.monotonic()
    begun = time.monotonic()
    interact()
    while time.monotonic() - begun < seconds:
        page.wait_for_timeout(30)
        done = wire.asked and wire.finished and wire.finished[-1] > wire.asked[-1]
        if (done or not wire.asked) and time.monotonic() - wire.latest > (QUIET if done else 1.5):
            break
    if not wire.asked or not wire.finished:
        return None
    return Timed(wire.finished[-1] - wire.asked[0], wire.latest - begun, wire.bytes_received / 1000)


def measured(
    page: Page,
    wire: Wire,
    name: str,
    interact: Callable[[int], object],
    times: int,
    before: Callable[[], object] | None = None,
) -> None:
    """Print one line: median and 95th percentile of an interaction's server time, and the whole way."""
    seen = []
    for n in range(times + 1):
        if before is not None:
            timed(page, wire, before)
        if (one := timed(page, wire, functools.partial(interact, n), name=name)) is not None:
            seen.append(one)
    if len(seen) < 3:
        missing(f"{name}: {len(seen)} of {times + 1} interactions reached the server")
        return
    server = [one.server * 1e3 for one in seen[1:]]
    print(
        f"  {name:<30} {statistics.median(server):8.0f} {percentile(server):8.0f} {seen[0].server * 1e3:8.0f} "
        f"{statistics.median(one.shown for one in seen[1:]) * 1e3:8.0f} "
        f"{statistics.median(one.kilobytes for one in seen[1:]):8.0f} {len(server):6}",
        flush=True,
    )


def opened(page: Page, wire: Wire, url: str) -> None:
    """Open a page and wait until it is drawn."""
    timed(page, wire, lambda: page.goto(url))
    page.get_by_role("heading", level=1).first.wait_for(timeout=60_000)


def typed(page: Page, key: str, text: str) -> None:
    """Fill a field and leave it."""
    box = page.locator(f".st-key-{key} input").first
    box.fill(text)
    box.press("Enter")


def chosen(page: Page, key: str, option: str) -> None:
    """Choose in a list by typing."""
    box = page.locator(f".st-key-{key} input").first
    box.click()
    box.fill(option)
    page.get_by_role("option").first.wait_for()
    box.press("Enter")


def browse(page: Page, wire: Wire, address: str, times: int) -> None:
    """Filter, sort, turn pages, read and search on Browse."""
    rng = random.Random(11)
    opened(page, wire, f"{address}/browse?language=en")

    def filtered(_: int) -> None:
        low = rng.randrange(10, 900)
        typed(
            page, "where", rng.choice([f"response_chars > {low}", f"response_chars BETWEEN {low} AND {2 * low + 50}"])
        )

    def turned(_: int) -> None:
        page.get_by_test_id("stPaginationNext").first.click()

    def read(n: int) -> None:
        box = page.locator("[data-testid=stDataFrame]").first.bounding_box()
        assert box
        page.mouse.click(box["x"] + 120, box["y"] + 34 + 36 * (n % 12 + 0.5))

    columns = ["added_at", "response_chars", "position", "turns"]
    measured(page, wire, "Browse: filter", filtered, times)
    # Under another filter each time: what was sorted once is remembered.
    measured(
        page, wire, "Browse: sort", lambda n: chosen(page, "browse_sort", columns[n % 4]), times, lambda: filtered(0)
    )
    timed(page, wire, lambda: typed(page, "where", ""))
    measured(page, wire, "Browse: turn the page", turned, times)
    measured(page, wire, "Browse: read a row", read, times)
    measured(page, wire, "Browse: search text", lambda n: typed(page, "browse_search", WORDS[n % len(WORDS)]), times)


def thresholds(page: Page, wire: Wire, address: str, times: int) -> None:
    """Drag a threshold along a histogram."""
    rng = random.Random(12)
    opened(page, wire, f"{address}/score?view=distribution&language=en")
    page.locator(".handle[data-side='0'] .grip").wait_for(timeout=30_000)

    def dragged(_: int) -> None:
        plot, grip = (
            page.locator(".plot svg").bounding_box(),
            page.locator(".handle[data-side='0'] .grip").bounding_box(),
        )
        assert plot
        assert grip
        page.mouse.move(grip["x"] + 5, grip["y"] + 10)
        page.mouse.down()
        page.mouse.move(plot["x"] + plot["width"] * rng.uniform(0.15, 0.85), grip["y"] + 10, steps=4)
        page.mouse.up()

    measured(page, wire, "Score: drag the threshold", dragged, times)


def mapped(page: Page, wire: Wire, address: str, times: int) -> None:
    """Colour the map, filter it, and draw around some ten thousand points."""
    from tests.studio.map_browser import drawn_around, painted

    rng = random.Random(13)
    begun = time.monotonic()
    wire.recorded.append(Asked(""))
    page.goto(f"{address}/map?language=en")
    points = painted(page)
    print(f"  {f'Map: {points:,} points painted':<30} {(time.monotonic() - begun) * 1e3:8.0f}", flush=True)
    colours = ["position", "turns", "response_chars", "source"]
    measured(page, wire, "Map: colour", lambda n: chosen(page, "map_colour", colours[n % 4]), times)
    measured(
        page, wire, "Map: filter", lambda n: typed(page, "where", f"response_chars > {rng.randrange(10, 900)}"), times
    )
    timed(page, wire, lambda: typed(page, "where", ""))
    found: list[str] = []

    def lassoed(_: int) -> None:
        drawn_around(page, rng.uniform(0.14, 0.2), (rng.uniform(0.45, 0.55), rng.uniform(0.45, 0.55)))
        found.append(page.get_by_text(LASSOED).first.inner_text())

    def cleared() -> None:
        clear = page.get_by_role("button", name="Clear", exact=True)
        if clear.count():
            clear.click()

    measured(page, wire, "Map: lasso", lassoed, times, cleared)
    counts = sorted(int(re.sub(r"\D", "", text.split("sample")[0])) for text in found)
    if counts:
        print(
            f"    samples in a lasso: {counts[0]:,} to {counts[-1]:,}, median {counts[len(counts) // 2]:,}", flush=True
        )


INTERACTIONS = (browse, thresholds, mapped)


def main(paths: list[str], times: int = TIMES) -> None:
    """Measure each corpus on a copy, so that nothing is changed."""
    from tests.studio.browser import installed_browser

    if installed_browser() is None:
        missing("no Chromium on this machine")
        return
    for path in paths:
        with tempfile.TemporaryDirectory() as scratch:
            shutil.copytree(path, f"{scratch}/corpus", ignore=shutil.ignore_patterns("jobs", "owner.json"))
            one_corpus(Path(f"{scratch}/corpus"), times)


def one_corpus(corpus: Path, times: int) -> None:
    """All interactions on a corpus."""
    from tests.studio.browser import launched, studio

    print(f"  {corpus}: {Corpus(corpus).count():,} samples; milliseconds", flush=True)
    print(f"  {'':<30} {'median':>8} {'95 %':>8} {'first':>8} {'shown':>8} {'kB':>8} {'times':>6}")
    with ExitStack() as stack:
        address = stack.enter_context(studio(corpus, corpus.parent / "studio.log"))
        page = stack.enter_context(launched()).new_page(viewport={"width": 1440, "height": 1000})
        wire = Wire()
        wire.listen(page)
        for interaction in INTERACTIONS:
            interaction(page, wire, address, times)
    with studio(corpus, corpus.parent / "studio.log") as address:
        tell(replay(address, wire.recorded))


def run() -> None:
    """The 52,002 samples of Alpaca, scored and embedded: made here."""
    from tests.studio.screenshots import winnow

    source = alpaca()
    if source is None:
        missing("alpaca_data.json (name it by ALPACA)")
        return
    with tempfile.TemporaryDirectory() as scratch:
        for argv in (["ingest", "CORPUS", str(source)], ["score", "CORPUS", "length"], ["embed", "CORPUS"]):
            winnow([word.replace("CORPUS", f"{scratch}/corpus") for word in argv])
        one_corpus(Path(scratch) / "corpus", TIMES)


if __name__ == "__main__":
    main(sys.argv[1:], int(os.environ.get("TIMES", TIMES)))
