"""The map in a real browser: waiting for it, and drawing around its points."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


def painted(page: Page) -> int:
    """Wait until the points are on the screen; how many there are."""
    page.locator("canvas.points[data-painted]").wait_for(state="attached", timeout=60_000)
    return int(page.locator("canvas.points").get_attribute("data-samples") or 0)


def drawn_around(page: Page, share: float = 0.25, middle: tuple[float, float] = (0.5, 0.5)) -> float:
    """Draw a circle; seconds from letting go until the page tells how many samples are inside.

    Args:
        page: with the map.
        share: the radius, of the map's height.
        middle: of the circle, as shares of width and height from the upper left.
    """
    box = page.locator("canvas.over").bounding_box()
    assert box is not None
    x, y, radius = box["x"] + box["width"] * middle[0], box["y"] + box["height"] * middle[1], box["height"] * share
    clear = page.get_by_role("button", name="Clear", exact=True)
    if clear.count():
        clear.click()
        clear.wait_for(state="detached")
    page.mouse.move(x + radius, y)
    page.mouse.down()
    for step in range(1, 41):
        turn = step / 40 * 2 * math.pi
        page.mouse.move(x + radius * math.cos(turn), y + radius * math.sin(turn))
    page.mouse.up()
    begun = time.perf_counter()
    clear.wait_for()
    return time.perf_counter() - begun
