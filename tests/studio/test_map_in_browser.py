"""Drawing around samples on the map, tagging them, and finding them on Browse; and the map of a notebook."""

from __future__ import annotations

import re

import pytest

from curation.mapping.maps import MapSpec, make_map
from studio.demo_corpus import build_demo
from studio.notebook import show_map
from tests.studio.browser import installed_browser, launched, studio
from tests.studio.map_browser import drawn_around, painted

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(installed_browser() is None, reason="no Chromium on this machine (Debian: chromium)"),
]


COLOURED = """() => {
  const points = document.querySelector("canvas.points") ||
    [...document.querySelectorAll("*")].map(e => e.shadowRoot?.querySelector("canvas.points")).find(Boolean)
  const copy = new OffscreenCanvas(points.width, points.height).getContext("2d")
  copy.drawImage(points, 0, 0)
  const { data } = copy.getImageData(0, 0, points.width, points.height)
  let n = 0
  for (let i = 0; i < data.length; i += 4) {
    const rgb = data.slice(i, i + 3)
    n += data[i + 3] > 60 && Math.max(...rgb) - Math.min(...rgb) > 60
  }
  return n
}"""
"""Pixels of the map that have a colour rather than a grey."""


def coloured(page) -> int:
    return page.evaluate(COLOURED)


def inside_of(page) -> int:
    return int(re.match(r"\d+", page.get_by_text("samples inside").inner_text())[0])


def test_samples_drawn_around_are_tagged_and_browse_shows_them(tmp_path):
    from curation.corpus import Corpus

    build_demo(tmp_path / "demo")
    make_map(Corpus(tmp_path / "demo"), MapSpec(clusters=8))
    saved = show_map(Corpus(tmp_path / "demo"), color="cluster").save(tmp_path / "map.html")
    with studio(tmp_path / "demo", tmp_path / "log.txt") as address, launched() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{address}/map")
        assert painted(page) == 313
        assert coloured(page) > 1000
        page.locator(".st-key-map_search input").fill("no sample holds this")
        page.keyboard.press("Enter")
        page.get_by_text("0 found").wait_for()
        page.wait_for_function(f"({COLOURED})() === 0")  # only what was found keeps its colour
        page.locator(".st-key-map_search input").fill("")
        page.keyboard.press("Enter")
        page.wait_for_function(f"({COLOURED})() > 1000")
        drawn_around(page, 0.45)
        around = inside_of(page)
        first = page.locator(".legend button").first
        of_first = int(first.locator("span").inner_text())
        first.click()  # hidden: neither seen nor taken
        drawn_around(page, 0.45)
        assert 0 < around - inside_of(page) <= of_first
        first.click()
        drawn_around(page)
        inside = inside_of(page)
        assert 0 < inside < around <= 313
        page.get_by_role("button", name="Tag").first.click()
        page.locator(".st-key-map_tag_said input").fill("lassoed")
        page.keyboard.press("Enter")
        page.get_by_text("winnow tag", exact=False).first.wait_for()
        page.get_by_role("button", name=f"Tag {inside} samples").click()
        page.get_by_text(f"{inside} samples changed.").wait_for()
        page.goto(f"{address}/browse?where=list_contains(tags, 'lassoed')")
        page.get_by_text(f"{inside} of 313 samples").wait_for()

        page.context.set_offline(True)  # a saved map needs neither a server nor a network
        page.goto(saved.as_uri())
        assert painted(page) == 313
        page.mouse.move(700, 300)
        assert page.locator(".legend button").count() == 8
