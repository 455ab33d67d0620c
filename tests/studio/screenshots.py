"""Pictures of every page, to look at: `python -m tests.studio.screenshots FOLDER [CORPUS]`, or `make screenshots`.

Each page in both languages, both themes and two widths. Without a corpus the demo is built, and every verb run on it.
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from studio.app import SECTIONS
from studio.languages import LANGUAGES
from tests.studio.browser import ROOT, launched, studio

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

THEMES = ("light", "dark")
WIDTHS = (1280, 1920)
PAGES = [place.address for places in SECTIONS.values() for place in places]
VERBS = """
warm-up CORPUS
synthesize CORPUS evol-instruct --model demo
score CORPUS length
score CORPUS ifd
score CORPUS near-duplicate
embed CORPUS
map CORPUS
snapshot CORPUS before-tidying
keep CORPUS --where "source = 'maths'"
drop CORPUS --where "source = 'conversations' AND quality <= 2" --reason "too weak"
tag CORPUS worth-a-look --where "source = 'instructions_zh'"
annotate CORPUS helpful yes --answers yes,no --text "Does the response help?" --as ana --where "source = 'maths'"
annotate CORPUS helpful yes --as ben --where "source = 'maths' AND length < 90"
annotate CORPUS helpful no --as ben --where "source = 'maths' AND length >= 90"
export CORPUS best --part k-center --part top-k
mix-search CORPUS/mixes/best --name sizes --runs 4 --set max_steps=2 --set batch_size=4
train CORPUS/mixes/best --run second --set max_steps=10 --set batch_size=4
train CORPUS/mixes/best --run first --set max_steps=20 --set batch_size=4
evaluate CORPUS/runs/first --answers 12 --most-tokens 32
bad-cases CORPUS/runs/first
"""
"""What is run on the demo, so that no page is empty; a few minutes."""


def lively(folder: Path) -> Path:
    """The demo corpus on which every verb has run."""
    winnow(["demo", str(folder)])
    for line in VERBS.strip().splitlines():
        winnow([word.replace("CORPUS", str(folder)) for word in shlex.split(line)])
    return folder


def winnow(argv: list[str]) -> None:
    """Run a command to its end; what it printed is only of interest when it fails."""
    command = [sys.executable, "-m", "studio.cli", *argv]
    ran = subprocess.run(command, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(f"winnow {shlex.join(argv)}\n{ran.stdout}{ran.stderr}")


def drawn(page: Page, address: str, name: str, language: str) -> None:
    """Open a page and wait until nothing moves any more."""
    page.goto(f"{address}/{name}?language={language}")
    page.get_by_role("heading", level=1).first.wait_for(timeout=60_000)
    settled(page)


def settled(page: Page) -> None:
    """Wait until no script runs, nothing is still loading and the page has kept its size for half a second."""
    was, same = -1, 0
    while same < 2:
        page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=60_000)
        # A chart or a component that has not arrived yet stands there as a grey box.
        page.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')", timeout=60_000)
        page.wait_for_timeout(250)
        now = page.evaluate("document.querySelector('[data-testid=stMain]')?.scrollHeight ?? 0")
        same, was = (same + 1 if now == was else 0), now


def looks(browser: Browser) -> Iterator[tuple[Page, str]]:
    """A window for each language, theme and width, and what to call it."""
    for language in LANGUAGES:
        for theme in THEMES:
            for width in WIDTHS:
                window = browser.new_context(
                    viewport={"width": width, "height": 1000},
                    color_scheme="dark" if theme == "dark" else "light",
                    locale="zh-CN" if language == "zh" else "en-US",
                )
                yield window.new_page(), f"{language}-{theme}-{width}"
                window.close()


def take(address: str, folder: Path, names: list[str]) -> int:
    """Write the pictures as FOLDER/LANGUAGE-THEME-WIDTH/PAGE.png; how many."""
    taken = 0
    with launched() as browser:
        for page, look in looks(browser):
            (folder / look).mkdir(parents=True, exist_ok=True)
            for name in names:
                drawn(page, address, name, look[:2])
                # The whole page, not only what fits the window: its main part scrolls by itself.
                tall = page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
                width = int(look.rsplit("-", 1)[1])
                page.set_viewport_size({"width": width, "height": max(1000, min(int(tall), 6000))})
                settled(page)
                page.screenshot(path=str(folder / look / f"{name}.png"))
                page.set_viewport_size({"width": width, "height": 1000})
                taken += 1
    return taken


def main(folder: str, corpus: str | None = None, pages: str | None = None) -> None:
    """Take them all."""
    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path = Path(corpus) if corpus else lively(scratch / "demo")
        address = stack.enter_context(studio(path, scratch / "studio.log"))
        taken = take(address, Path(folder), pages.split(",") if pages else PAGES)
    print(f"{taken} pictures in {folder}")  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
