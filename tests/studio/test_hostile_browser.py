"""A real browser on every page of a studio that is full of hostile texts: none of them is more than text."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from curation.corpus import Corpus
from studio.app import SECTIONS
from tests.studio.browser import installed_browser, launched, studio
from tests.studio.hostile import HOSTILE, corpus_at
from tests.studio.hostile_places import RUN, addresses, fill
from tests.studio.test_pages_chat import Server

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage, Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(installed_browser() is None, reason="no Chromium on this machine (Debian: chromium)"),
]

LOOK = """() => {
  const all = [...document.querySelectorAll('*')];
  const made = all.filter(e => {
    const values = [...e.attributes].map(a => a.value).concat(e.tagName === 'SCRIPT' ? [e.textContent] : []);
    if (/^(script|base|object|embed|iframe|form|meta|style|link)$/i.test(e.tagName))
      return values.some(v => /pwned|evil/.test(v));
    return [...e.attributes].some(a => /^on/i.test(a.name))
      || e.tagName === 'A' && /^(javascript|data|vbscript):/i.test(e.href)
      || e.tagName === 'IMG' && /evil|\\/x$/.test(e.src);
  });
  return {
    pwned: !!window.__pwned, hidden: getComputedStyle(document.body).display,
    made: made.map(e => e.outerHTML.slice(0, 300)),
    failed: document.querySelectorAll('[data-testid=stException]').length
      + [...document.querySelectorAll('h3')].filter(h => /could not be drawn/.test(h.textContent)).length,
    told: document.body.textContent,
  };
}"""
"""What of the texts became an element, or an attribute that does something; and what the page says."""


@dataclass
class Watched:
    """A window, and what happened in it that should not."""

    page: Page
    address: str
    seen: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Note dialogs, requests to anywhere else, and what the console complains about."""
        page, own = self.page, (self.address, "data:", "blob:")
        page.on("dialog", lambda dialog: (self.seen.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda asked: asked.url.startswith(own) or self.seen.append(f"request {asked.url[:200]}"))
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.seen.append(f"error {str(error)[:300]}"))
        page.on("popup", lambda other: self.seen.append(f"window {other.url[:200]}"))

    def _said(self, said: ConsoleMessage) -> None:
        # Streamlit looks for its own addresses below that of the page first.
        if said.type == "error" and "/_stcore/" not in said.location["url"]:
            self.seen.append(f"console {said.text[:300]}")

    def look(self, name: str) -> str:
        """What the page says, once nothing runs any more and nothing of the texts has become more than text."""
        self.page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for(timeout=60_000)
        found = self.page.evaluate(LOOK)
        told = str(found.pop("told"))
        assert found == {"pwned": False, "hidden": "block", "made": [], "failed": 0}, name
        assert self.seen == [], name
        return told


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corpus]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    made = corpus_at(tmp_path_factory.mktemp("hostile"))
    fill(made, f"http://127.0.0.1:{server.server_address[1]}/v1")
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def watched(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    log = tmp_path_factory.mktemp("log") / "studio.log"
    with studio(corpus.path, log) as address, launched() as browser:
        window = Watched(browser.new_page(viewport={"width": 1440, "height": 2400}), address)
        window.watch()
        yield window


def test_on_every_page_and_view_they_are_text_and_nothing_runs_or_reaches_out(watched: Watched, corpus: Corpus) -> None:
    shown: dict[str, str] = {}
    for name, asked in addresses(corpus):
        watched.page.goto(f"{watched.address}/{name}?{urlencode(asked)}")
        watched.page.get_by_role("heading", level=1).first.wait_for(timeout=60_000)
        shown[name] = shown.get(name, "") + watched.look(f"{name}?{asked}")
    assert set(shown) == {place.address for places in SECTIONS.values() for place in places}
    # What the others have of them stands in tables, which are pictures, and in inputs.
    silent = {name for name, told in shown.items() if not any(text[:20] in told for text in HOSTILE[:23])}
    assert silent <= {"overview", "ingest", "train", "history", "settings"}


def test_what_is_typed_is_text_too(watched: Watched, corpus: Corpus) -> None:
    page, asked = watched.page, f"{HOSTILE[0]} {HOSTILE[11]} $x$ {HOSTILE[13]}"
    page.goto(f"{watched.address}/chat?{urlencode({'run': RUN})}")
    page.get_by_test_id("stChatInputTextArea").fill(asked)
    page.get_by_test_id("stChatInputTextArea").press("Enter")
    page.locator(".st-key-chat_new").wait_for(timeout=60_000)
    assert watched.look("chat").count(asked) >= 3  # the question, and what both models say they heard
    page.goto(f"{watched.address}/ingest")
    page.locator(".st-key-ingest_path input").fill(str(corpus.path.parent / f"{HOSTILE[1]}.jsonl"))
    page.locator(".st-key-ingest_path input").press("Enter")
    page.get_by_text("winnow ingest", exact=False).first.wait_for(timeout=60_000)
    assert HOSTILE[1] in watched.look("ingest")
