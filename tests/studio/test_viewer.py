"""What a viewer may do: look at the corpus, and change nothing, whatever their browser sends."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from studio import jobs
from studio.door import access
from tests.curation.samples import corpus_of, pair
from tests.studio.pages import opener


@pytest.fixture
def viewed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Pages of a corpus, for somebody who may only look."""
    corpus = corpus_of(tmp_path / "corpus", [pair(f"q{n}", "a") for n in range(5)])
    monkeypatch.setenv("WINNOW_PASSWORD", "sesame")
    return corpus, opener(monkeypatch, corpus.path)


def test_a_viewer_sees_pages_whose_buttons_are_off(viewed) -> None:
    _, page = viewed
    for name in ("ingest", "settings", "jobs"):
        app = page(name)
        assert not app.exception
        assert all(b.disabled for b in app.button if b.key and b.key.endswith("-run"))


def test_a_viewer_is_shown_no_file_of_the_machine(viewed, tmp_path: Path) -> None:
    (tmp_path / "keys.jsonl").write_text('{"instruction": "secret", "output": "a"}\n')
    _, page = viewed
    app = page("ingest")
    assert app.text_input(key="ingest_path").disabled
    app.text_input(key="ingest_path").proto.disabled = False
    app = app.text_input(key="ingest_path").set_value(str(tmp_path / "keys.jsonl")).run()
    assert not app.exception
    assert "keys.jsonl" not in str([element.value for element in (*app.markdown, *app.code, *app.caption)])


def test_a_viewers_forged_click_starts_no_job(viewed, tmp_path: Path) -> None:
    corpus, page = viewed
    (tmp_path / "new.jsonl").write_text('{"instruction": "q", "output": "a"}\n')
    app = page("ingest")
    app.text_input(key="ingest_path").proto.disabled = False
    app = app.text_input(key="ingest_path").set_value(str(tmp_path / "new.jsonl")).run()
    forged = app.button(key="ingest-run")
    forged.proto.disabled = False
    forged.click().run()
    assert jobs.jobs(corpus.path) == []
    assert corpus.count() == 5


@pytest.mark.parametrize(
    "forged",
    [
        "from curation.deciding import drop; drop(corpus, where='true', reason='x')",
        "from curation.deciding import tag; tag(corpus, 'x', where='true')",
        "corpus.hold_out([corpus.frame(['id'], limit=1)['id'][0]])",
        "from studio import jobs; jobs.start(corpus.path, ['score', str(corpus.path), 'length'])",
        "corpus.database.run('DELETE FROM samples')",
    ],
)
def test_whatever_a_viewers_page_calls_changes_nothing(viewed, forged: str) -> None:
    corpus, _ = viewed
    told = AppTest.from_string(
        f"""
import streamlit as st
from curation.errors import WinnowError
from studio.owner import serve
corpus = serve({str(corpus.path)!r})
try:
    {forged}
except WinnowError as error:
    st.text(error.message)
"""
    ).run()
    assert not told.exception
    assert [text.value for text in told.text] == [access.ONLY_LOOK]
    assert corpus.count("decision IS NULL AND NOT held_out AND tags IS NULL") == 5
    assert jobs.jobs(corpus.path) == []


def test_a_job_is_not_told_the_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_PASSWORD", "sesame")
    assert "WINNOW_PASSWORD" not in jobs._environment()
    assert "PATH" in jobs._environment()
