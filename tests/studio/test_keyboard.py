"""Reading and deciding with the keyboard alone, in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.curation.samples import corpus_of, pair
from tests.studio.browser import installed_browser, launched, studio

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(installed_browser() is None, reason="no Chromium on this machine (Debian: chromium)"),
]


def struck(page: Page, key: str, sample: str) -> None:
    """Strike a key and wait until the sample that should follow is read."""
    page.keyboard.press(key)
    page.wait_for_url(f"**sample={sample}**", timeout=20_000)
    at_rest(page)


def at_rest(page: Page) -> None:
    """Wait until the page is drawn, its buttons too: their script is loaded when the first one is wanted."""
    page.locator(".st-key-deciding-step-1 button").wait_for(timeout=60_000)
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=60_000)


def opens(page: Page, key: str, text: str) -> None:
    """Strike a key that opens something, then close it."""
    page.keyboard.press(key)
    page.get_by_text(text, exact=True).wait_for(timeout=20_000)
    page.keyboard.press("Escape")
    page.get_by_text(text, exact=True).wait_for(state="hidden", timeout=20_000)


def test_samples_are_read_and_decided_about_by_keys(tmp_path: Path) -> None:
    hostile = "![x](http://evil.example/x.png) <img src=x onerror=alert(1)> :material/home: **bold** $x^2$"
    rows = [pair(f"question {n}", f"answer {n} {hostile if n == 1 else ''}") for n in range(12)]
    corpus = corpus_of(tmp_path / "c", rows)
    ids = corpus.frame(["id"])["id"].to_list()
    corpus.database.release()
    with studio(tmp_path / "c", tmp_path / "log.txt") as url, launched() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900}, locale="en-US")
        outside: list[str] = []
        page.on("request", lambda r: url in r.url or r.url.startswith(("data:", "blob:")) or outside.append(r.url))
        page.on("dialog", lambda dialog: outside.append(dialog.message))
        page.goto(f"{url}/browse")
        at_rest(page)
        struck(page, "n", ids[1])
        page.get_by_text(":material/home:", exact=False).locator("visible=true").first.wait_for()
        struck(page, "k", ids[2])
        struck(page, "x", ids[3])
        struck(page, "u", ids[2])
        struck(page, "p", ids[1])
        opens(page, "?", "this list")
        opens(page, "t", "Give it")
        opens(page, "e", "Save as a new version")
        page.locator(".st-key-browse_search input").press("k")  # typing decides nothing
        page.goto(f"{url}/browse?as=cards&sample={ids[4]}")
        page.get_by_text("being read", exact=False).first.wait_for(timeout=60_000)
        at_rest(page)
        struck(page, "k", ids[5])
        assert outside == []
    decided = corpus.frame(["id", "decision"], where="decision IS NOT NULL")
    assert decided.rows() == [(ids[1], "keep"), (ids[4], "keep")]
