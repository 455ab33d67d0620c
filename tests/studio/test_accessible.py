"""Every page is read by axe-core: contrast (WCAG AA), labels, roles. In both themes, each in another language."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.studio.browser import installed_browser, launched, studio
from tests.studio.screenshots import PAGES, drawn
from tests.studio.worked import worked

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(installed_browser() is None, reason="no Chromium on this machine (Debian: chromium)"),
]

STANDARD = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
STREAMLITS_OWN = [
    # What is chosen is written in the primary colour, on the primary button white is: on a dark ground no colour is
    # far enough from both (the best has 3.7 and 4.5 to 1). A border and a tint tell it, too.
    ("color-contrast", "[data-testid=stButtonGroup] [data-selected]"),
    # The colours of programs in answers are fixed; commands and JSON are shown without.
    ("color-contrast", "[data-testid=stCode] .token"),
]
"""Rule, and the elements that may break it: what Streamlit draws itself, and no setting changes."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("accessible")
    corpus = worked(folder).path
    with studio(corpus, folder / "studio.log") as url:
        yield url


@pytest.fixture(scope="module")
def browser(address: str) -> Iterator[Browser]:
    # After the corpus: synthesis runs a loop of its own, and so does the browser.
    with launched() as opened:
        yield opened


@pytest.mark.parametrize("theme, language", [("light", "en"), ("dark", "zh")])
def test_every_page_passes_axe(browser, address, theme, language):
    page = browser.new_page(viewport={"width": 1280, "height": 1000}, color_scheme=theme)
    found, passed = [], set()
    for name in PAGES:
        drawn(page, address, name, language)
        broken, rules = lasting(page)
        passed |= rules
        found += [f"{name}: {one}" for one in broken]
    page.close()
    assert found == []
    assert {"color-contrast", "button-name", "label"} <= passed


def lasting(page) -> tuple[list[str], set[str]]:
    """What breaks a rule now and a second later, as what is only being drawn does not; and the rules that were met."""
    from axe_playwright_python.sync_playwright import Axe

    for last in (False, True):
        read = Axe().run(page, options={"runOnly": STANDARD}).response
        broken = [
            f"{violation['id']}: {node['html'][:160]}"
            for violation in read["violations"]
            for node in violation["nodes"]
            if not is_streamlits_own(page, violation["id"], node["target"][0])
        ]
        if last or not broken:
            break
        page.wait_for_timeout(1500)
    return broken, {rule["id"] for rule in read["passes"]}


def is_streamlits_own(page, rule: str, target: str) -> bool:
    allowed = ", ".join(part for name, part in STREAMLITS_OWN if name == rule)
    return bool(allowed) and page.locator(target).first.evaluate("(node, part) => !!node.closest(part)", allowed)
