"""What is started goes on: over a closed tab, a killed server and a new one; and two browsers share one corpus."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from curation.corpus import Corpus
from curation.ingestion import ingest
from studio import jobs
from tests.studio.browser import installed_browser, launched, studio

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(installed_browser() is None, reason="no Chromium on this machine (Debian: chromium)"),
]

SLOW = '''
import time
from typing import ClassVar
import polars as pl
from curation.operators import Scorer

class Slow(Scorer):
    """Waits before each sample; Columns: slow."""
    name: ClassVar[str] = "slow"
    columns: ClassVar[dict[str, str]] = {"slow": "DOUBLE"}
    batch_rows: ClassVar[int] = 5

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        time.sleep(0.4)
        return pl.DataFrame({"slow": [1.0] * batch.height})
'''


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("survival")
    rows = [{"instruction": f"Question {n}?", "output": f"Answer {n}."} for n in range(200)]
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (folder / "slow.py").write_text(SLOW)
    (folder / "slower.py").write_text(SLOW.replace("slow", "slower").replace("Slow(", "Slower(").replace("0.4", "3.0"))
    ingest(Corpus.create(folder / "corpus"), [folder / "rows.jsonl"])
    return folder / "corpus"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched() as browser:
        yield browser


@pytest.fixture(scope="module")
def address(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with studio(corpus, tmp_path_factory.mktemp("log") / "studio.log") as url:
        yield url


def opened(browser: Browser, address: str, name: str) -> Page:
    page = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
    page.goto(f"{address}/{name}")
    page.get_by_role("heading", level=1).first.wait_for(timeout=60_000)
    assert page.get_by_test_id("stException").count() == 0
    return page


def state(corpus: Path) -> jobs.Job:
    return jobs.jobs(corpus)[0]


def test_a_job_survives_its_tab_and_the_server_and_the_next_server_shows_its_end(
    corpus: Path, browser: Browser, tmp_path: Path
) -> None:
    from curation.storage.database import owner_of

    with studio(corpus, tmp_path / "first.log") as address:
        page = opened(browser, address, "jobs")
        jobs.start(corpus, ["score", str(corpus), str(corpus.parent / "slow.py")])
        page.reload()
        page.get_by_text("running", exact=True).first.wait_for(timeout=30_000)
        page.context.close()
        time.sleep(1)
        owner = owner_of(corpus)
        assert owner is not None
        assert state(corpus).state == "running"
        os.kill(owner.pid, signal.SIGKILL)
        time.sleep(1)
        assert state(corpus).state == "running"
    with studio(corpus, tmp_path / "second.log") as address:
        page = opened(browser, address, "jobs")
        page.get_by_text("done", exact=True).first.wait_for(timeout=60_000)
        assert page.get_by_test_id("stException").count() == 0
    assert state(corpus).state == "done"
    assert Corpus(corpus).count("slow = 1") == 200


def test_two_browsers_see_each_others_edits_and_never_an_error(address: str, corpus: Path, browser: Browser) -> None:
    from curation.deciding import drop

    one, two = opened(browser, address, "history"), opened(browser, address, "history")
    for number in range(1, 3):
        drop(Corpus(corpus), where=f"instruction = 'Question {number}?'", reason=f"because {number}")
        for page in (one, two):
            page.reload()
            page.get_by_text(f"Undo no. {number}", exact=False).first.wait_for(timeout=30_000)
    one.locator(".st-key-history_undo button").click()
    one.get_by_text("Undo no. 3", exact=False).first.wait_for(timeout=30_000)
    two.locator(".st-key-history_undo button").click()  # the same one, taken back already
    two.wait_for_timeout(1000)
    two.reload()
    two.get_by_text("Undo no. 3", exact=False).first.wait_for(timeout=30_000)
    assert Corpus(corpus).count("decision = 'drop'") == 1
    for page in (one, two):
        assert page.get_by_test_id("stException").count() == 0
        page.context.close()


def calm(*pages: Page) -> None:
    """No page fell over, and each is drawn to its end."""
    for page in pages:
        page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=60_000)
        assert page.get_by_test_id("stException").count() == 0
        assert page.get_by_text("could not be drawn", exact=False).count() == 0


def test_a_job_that_one_browser_stops_is_told_in_the_other_and_may_be_stopped_once_more(
    address: str, corpus: Path, browser: Browser
) -> None:
    job = jobs.start(corpus, ["score", str(corpus), str(corpus.parent / "slower.py")])
    one, two = opened(browser, address, "jobs"), opened(browser, address, "jobs")
    one.locator(f".st-key-cancel-{job.id} button").first.click(timeout=30_000)
    for page in (one, two):  # the other one is told without a click
        page.get_by_text("Cancelled. What was stored stays", exact=False).first.wait_for(timeout=30_000)
        calm(page)
        page.context.close()
    jobs.cancel(job)  # as a page would that was drawn before
    assert jobs.job(corpus, job.id).state == "cancelled"


def test_two_browsers_that_rewrite_one_sample_keep_the_first_text_and_tell_the_second(
    address: str, corpus: Path, browser: Browser
) -> None:
    sample = Corpus(corpus).frame(["id"], where="instruction = 'Question 50?'")["id"][0]
    one, two = (opened(browser, address, f"browse?sample={sample}") for _ in "12")
    for page, text in ((one, "The first text."), (two, "The second text.")):
        page.locator(".st-key-deciding-edit button").first.click()
        page.locator(f".st-key-answer-{sample} textarea").fill(text)
    for page in (one, two):
        page.locator(f".st-key-save-{sample} button").click()
        calm(page)
    two.get_by_text("is an earlier version", exact=False).first.wait_for(timeout=30_000)
    one.get_by_text("The first text.").first.wait_for(timeout=30_000)
    assert Corpus(corpus).count("response = 'The first text.'") == 1
    assert Corpus(corpus).count("response = 'The second text.'") == 0
    calm(one, two)
