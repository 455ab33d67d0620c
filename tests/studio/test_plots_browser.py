"""Thresholds dragged on a histogram, and what a chart lets one download, in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from curation.scorers import Metadata
from curation.scoring import score
from tests.curation.samples import corpus_of, pair
from tests.studio.browser import installed_browser, launched, studio

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(installed_browser() is None, reason="no Chromium on this machine (Debian: chromium)"),
]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    samples = [pair(f"q{i}", "a", metadata={"n": i}) for i in range(40)]
    made = corpus_of(tmp_path_factory.mktemp("plots") / "corpus", samples)
    score(made, Metadata(field="n"))
    return made.path


def test_a_dragged_threshold_is_counted_typed_linked_and_downloaded(corpus: Path, tmp_path: Path) -> None:
    with studio(corpus, tmp_path / "log.txt") as address, launched() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 1000}, locale="en-US")
        page.goto(f"{address}/score?view=distribution")
        handle = page.locator(".handle[data-side='0'] .grip")
        handle.wait_for(timeout=30_000)
        box = page.locator(".plot svg").bounding_box()
        grip = handle.bounding_box()
        assert box is not None
        assert grip is not None
        page.mouse.move(grip["x"] + 5, grip["y"] + 10)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2, grip["y"] + 10, steps=12)
        page.mouse.up()
        page.get_by_text(re.compile(r"^n >= \d+$")).wait_for(timeout=15_000)
        kept = page.get_by_test_id("stMetricValue").first.inner_text()
        least = int(page.locator(".st-key-least_n input").input_value())
        assert int(kept) == 40 - least
        assert 15 < least < 25
        assert f"from={least}" in page.url
        page.locator(".handle[data-side='1']").focus()
        page.keyboard.press("ArrowLeft")
        page.get_by_text(f"n BETWEEN {least} AND 38").wait_for(timeout=15_000)
        with page.expect_download() as data:
            page.locator(".st-key-histogram_n_data button").first.click()
        assert Path(data.value.path()).read_text(encoding="utf-8-sig").startswith("low,high,samples")
        with page.expect_download() as image:
            page.locator(".st-key-histogram_n_image button").first.click()
        assert Path(image.value.path()).read_bytes()[:4] == b"\x89PNG"
