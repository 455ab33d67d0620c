"""From a raw file to a mix, and on to a training run, by somebody who has never seen the studio: in clicks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from curation.corpus import Corpus
from studio import jobs
from tests.data import shared
from tests.studio.browser import installed_browser, launched, studio

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(installed_browser() is None, reason="no Chromium on this machine (Debian: chromium)"),
]

TO_A_MIX, TO_A_RUN = 12, 3
"""The most clicks that the way may take."""


class Reader:
    """Somebody who presses buttons and types, and whose clicks are counted."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.clicks = 0

    def click(self, target: Locator) -> None:
        target.first.wait_for(timeout=90_000)
        target.first.click()
        self.clicks += 1

    def press(self, key: str) -> None:
        """Press the button of this key."""
        self.click(self.page.locator(f".st-key-{key} button:not([disabled])"))

    def types(self, key: str, text: str) -> None:
        box = self.page.locator(f".st-key-{key} input").first
        box.fill(text)
        box.press("Enter")

    def runs(self, key: str) -> None:
        """Press Run, and wait until the way on is offered."""
        self.press(f"{key}-run")
        self.page.locator(f".st-key-{key}-next button").wait_for(timeout=120_000)

    def goes_on(self, key: str, title: str) -> None:
        """Press the way on that a finished command offers."""
        self.press(f"{key}-next")
        self.page.get_by_role("heading", level=1, name=title).wait_for(timeout=30_000)


def test_a_newcomer_exports_a_mix_in_twelve_clicks_and_starts_to_train_in_three(tmp_path: Path) -> None:
    alpaca = tmp_path / "files" / "alpaca_en_demo.json"
    alpaca.parent.mkdir()
    shutil.copy(shared("data/alpaca_en_demo.json"), alpaca)
    corpus = tmp_path / "corpus"
    with studio(corpus, tmp_path / "log.txt") as address, launched() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900}, locale="en-US")
        page.goto(address)
        reader = Reader(page)
        to_a_mix(reader, alpaca)
        print(f"{reader.clicks} clicks to a mix")  # noqa: T201
        assert reader.clicks <= TO_A_MIX
        (exported,) = (corpus / "mixes").glob("*/train.jsonl")
        rows = [json.loads(line) for line in exported.read_text(encoding="utf-8").splitlines()]
        assert len(rows) > 10
        assert {"id", "messages", "source"} <= set(rows[0])
        reader.clicks = 0
        to_a_run(reader)
        print(f"{reader.clicks} clicks to a run")  # noqa: T201
        assert reader.clicks <= TO_A_RUN
        running = started(corpus)
        assert page.get_by_test_id("stException").count() == 0
    jobs.cancel(running)


def to_a_mix(reader: Reader, file: Path) -> None:
    reader.press("next_step")  # Overview: Ingest a file
    reader.types("ingest_path", str(file))
    reader.runs("ingest")
    reader.goes_on("ingest", "Score")
    reader.runs("score")
    reader.press("score_too")  # heuristics after length
    # Offered only once heuristics is done, so that the way on is no longer the one that length left.
    reader.page.get_by_role("button", name="Measure near-duplicate too").wait_for(timeout=120_000)
    reader.goes_on("score", "Select")
    reader.runs("select")
    reader.goes_on("select", "Mix")
    reader.runs("export")


def to_a_run(reader: Reader) -> None:
    reader.goes_on("export", "Train")
    reader.types("warm_up_tokens", "20000")  # as it stands it would take minutes
    reader.page.get_by_text("token_budget=20000", exact=False).first.wait_for()
    reader.press("train_warm_up-run")
    reader.press("train-run")


def started(corpus: Path) -> jobs.Job:
    """The training that runs, once it does."""
    import time

    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = [job for job in jobs.jobs(Corpus(corpus).path) if job.argv[0] == "train"]
        if found and found[0].state in ("running", "done"):
            return found[0]
        time.sleep(0.2)
    raise AssertionError("no training has started")
