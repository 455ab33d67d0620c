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


def test_samples_drawn_around_are_tagged_and_browse_shows_them(tmp_path):
    from curation.corpus import Corpus

    build_demo(tmp_path / "demo")
    make_map(Corpus(tmp_path / "demo"), MapSpec(clusters=8))
    saved = show_map(Corpus(tmp_path / "demo"), color="cluster").save(tmp_path / "map.html")
    with studio(tmp_path / "demo", tmp_path / "log.txt") as address, launched() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(f"{address}/map")
        assert painted(page) == 313
        drawn_around(page)
        inside = int(re.match(r"\d+", page.get_by_text("samples inside").inner_text())[0])
        assert 0 < inside < 313
        page.get_by_role("button", name="Tag").first.click()
        page.get_by_label("Tag", exact=True).last.fill("lassoed")
        page.keyboard.press("Enter")
        page.get_by_role("button", name=f"Tag {inside} samples").click()
        page.get_by_text(f"{inside} samples changed.").wait_for()
        page.goto(f"{address}/browse?where=list_contains(tags, 'lassoed')")
        page.get_by_text(f"{inside} of 313 samples").wait_for()

        page.context.set_offline(True)  # a saved map needs neither a server nor a network
        page.goto(saved.as_uri())
        assert painted(page) == 313
        page.mouse.move(700, 300)
        assert page.locator(".legend button").count() == 8
