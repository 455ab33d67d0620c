"""The whole loop in a real browser, from a raw file to a trained model, on the real commands."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from curation.corpus import Corpus
from studio.demo_corpus import DEMO
from tests.studio.browser import ROOT, installed_browser, launched, studio

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(installed_browser() is None, reason="no Chromium on this machine (Debian: chromium)"),
]

PAGES = (
    "",
    "ingest",
    "browse",
    "score",
    "select",
    "synthesize",
    "mix",
    "train",
    "evaluate",
    "jobs",
    "settings",
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studio") / "corpus"


@pytest.fixture(scope="module")
def address(corpus: Path) -> Iterator[str]:
    with studio(corpus, corpus.parent / "studio.log") as url:
        yield url


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[Page]:
    with launched() as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.outside = []  # type: ignore[attr-defined]
        page.on(
            "request",
            lambda r: address in r.url or r.url.startswith(("data:", "blob:", "ws:")) or page.outside.append(r.url),
        )  # type: ignore[attr-defined]
        yield page


def opened(page: Page, address: str, name: str) -> None:
    page.goto(f"{address}/{name}")
    page.get_by_role("heading", level=1).first.wait_for(timeout=30_000)
    assert page.get_by_test_id("stException").count() == 0


def run(page: Page, key: str, seconds: float = 60) -> None:
    """Press Run and wait until its job is done."""
    page.locator(f".st-key-{key}-run button").click()
    page.locator("text=Done in >> visible=true").first.wait_for(timeout=seconds * 1000)
    assert page.get_by_test_id("stException").count() == 0


def typed(page: Page, key: str, text: str) -> None:
    box = page.locator(f".st-key-{key} input").first
    box.fill(text)
    box.press("Enter")


def test_a_raw_file_becomes_samples(page: Page, address: str, corpus: Path) -> None:
    opened(page, address, "ingest")
    typed(page, "ingest_path", str(DEMO / "instructions_en.jsonl"))
    page.get_by_text("winnow ingest", exact=False).first.wait_for()
    page.get_by_test_id("glide-cell-2-0").filter(has_text="Explain why bread dough").wait_for(state="attached")
    run(page, "ingest")
    assert Corpus(corpus).count() == 88


def test_browse_finds_a_sample_and_shows_the_whole_conversation(page: Page, address: str) -> None:
    opened(page, address, "browse?where=contains(instruction, 'Moon show phases')")
    page.get_by_text("Half of the Moon is always lit", exact=False).first.wait_for()


def test_a_command_in_a_terminal_works_while_the_studio_is_open(page: Page, address: str, corpus: Path) -> None:
    command = [sys.executable, "-m", "studio.cli", "ingest", str(corpus), str(DEMO / "instructions_zh.jsonl"), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout)["added"] == 65, done.stderr
    opened(page, address, "")
    page.get_by_text("153").first.wait_for()


def test_a_scorer_runs_from_its_button(page: Page, address: str, corpus: Path) -> None:
    opened(page, address, "score")
    run(page, "score")
    assert Corpus(corpus).count("length IS NOT NULL") == 153


def test_the_warm_up_model_trains_from_its_button(page: Page, address: str, corpus: Path) -> None:
    opened(page, address, "score")
    page.get_by_role("tab", name="Warm-up model").click()
    typed(page, "warm_up_tokens", "20000")
    page.get_by_text("token_budget=20000", exact=False).first.wait_for()
    run(page, "warm_up", seconds=120)
    assert (corpus / "models" / "warm-up" / "config.json").exists()


def test_a_selection_is_made_and_compared(page: Page, address: str, corpus: Path) -> None:
    opened(page, address, "select")
    run(page, "select")
    assert len(Corpus(corpus).selection("stratified-10pct").ids) == 15
    page.get_by_text("Compare selections").wait_for()


def test_a_mix_is_exported(page: Page, address: str, corpus: Path) -> None:
    opened(page, address, "mix")
    run(page, "export")
    rows = (corpus / "mixes" / "stratified-10pct" / "train.jsonl").read_text().splitlines()
    assert len(rows) == 15
    assert {"id", "messages", "source"} <= set(json.loads(rows[0]))


def test_a_model_is_trained_with_one_click_and_its_curve_is_drawn(page: Page, address: str, corpus: Path) -> None:
    opened(page, address, "train")
    run(page, "train", seconds=180)
    (folder,) = (corpus / "runs").iterdir()
    assert (folder / "final" / "model.safetensors").exists()
    page.locator("[data-testid=stVegaLiteChart] canvas, [data-testid=stVegaLiteChart] svg").first.wait_for()


def test_every_page_opens_without_an_error_and_without_the_network(page: Page, address: str) -> None:
    for name in PAGES:
        opened(page, address, name)
    assert page.outside == []  # type: ignore[attr-defined]


def test_the_jobs_page_lists_what_ran(page: Page, address: str) -> None:
    opened(page, address, "jobs")
    for verb in ("ingest", "score", "select", "export", "train"):
        page.get_by_text(f"winnow {verb}", exact=False).first.wait_for()
