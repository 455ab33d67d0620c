"""Every page in every language but English: nothing English is read there but data, commands and names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from google.protobuf.message import Message
from streamlit.testing.v1 import AppTest

from curation.corpus import Corpus
from studio.app import SECTIONS
from studio.languages import KEY, LANGUAGES
from tests.studio.worked import worked

PAGES = [place.address for places in SECTIONS.values() for place in places]
OTHERS = [code for code in LANGUAGES if code != "en"]
NO_PROSE = {"code", "text", "json", "exception", "iframe", "imgs"}
"""Elements that hold data or commands."""
SENTENCE = re.compile(r"[A-Za-z][a-z']+(?: [A-Za-z]?[a-z']+){2,}")
"""Three words or more, as prose writes them."""
NAMED = re.compile(r"`[^`]*`|https?://\S+|\S*[/_=]\S*|(?<!\w)winnow [\w -]*|make \w+")
"""What is typed or named as it is."""
NO_TEXT = {
    "id", "key", "icon", "url", "form_id", "proto_hash", "element_id", "page_script_hash", "data", "default", "value",
    "js_content", "css_content", "html_content",
}  # fmt: skip
"""Fields of an element that nobody reads, or that hold what a user typed."""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return worked(tmp_path_factory.mktemp("zh"))


@pytest.mark.parametrize("code", OTHERS)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_tells_nothing_in_english(corpus, monkeypatch, page, code):
    assert english(corpus, monkeypatch, page, code) == []


@pytest.mark.parametrize("code", OTHERS)
@pytest.mark.parametrize("page", PAGES)
def test_an_empty_corpus_is_not_told_in_english(tmp_path, monkeypatch, page, code):
    assert english(Corpus.create(tmp_path / "empty"), monkeypatch, page, code) == []


def english(corpus: Corpus, monkeypatch: pytest.MonkeyPatch, page: str, code: str) -> list[str]:
    """English sentences that a reader of another language sees on a page."""
    monkeypatch.setenv("WINNOW_CORPUS", str(corpus.path))
    app = AppTest.from_string(f"from studio.pages import {page}\n{page}.page()", default_timeout=60)
    app.session_state[KEY] = code
    app.run()
    assert not app.exception
    return sorted(
        {text for element in elements(app) for text in texts(element) if SENTENCE.search(NAMED.sub("", text))}
    )


def elements(app: AppTest) -> Iterator[Message]:
    for element in (*app.main, *app.sidebar):
        if getattr(element, "proto", None) is not None and getattr(element, "type", "") not in NO_PROSE:
            yield element.proto


def texts(message: Message) -> Iterator[str]:
    """Every text of an element, those of charts and tables among them."""
    for field, value in message.ListFields():
        if field.name in NO_TEXT or field.type == field.TYPE_BYTES:
            continue
        values = value if field.is_repeated else [value]
        for one in values if not hasattr(values, "items") else values.values():
            if isinstance(one, str):
                yield from _read(one)
            elif isinstance(one, Message):
                yield from texts(one)


def _read(text: str) -> Iterator[str]:
    if text.startswith("{"):
        try:
            yield from _titles(json.loads(text))
            return
        except ValueError:
            pass
    yield text


def _titles(spec: object, name: str = "") -> Iterator[str]:
    """Of the specification of a chart or of columns only what is read."""
    if isinstance(spec, dict):
        for key, value in spec.items():
            yield from _titles(value, key)
    elif isinstance(spec, list):
        for value in spec:
            yield from _titles(value, name)
    elif isinstance(spec, str) and name in ("title", "label", "help", "text", "name", "placeholder"):
        yield spec
