"""Pages on which people answer questions about samples, and the search bar; the concept is taught in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from curation.annotating import agreement, annotate, answers_to, ask, labels_of
from curation.corpus import Corpus
from curation.vectors import store
from tests.curation.samples import corpus_of, pair
from tests.studio.browser import installed_browser, launched, studio
from tests.studio.pages import button, command, opener, texts


@pytest.fixture
def small(tmp_path: Path) -> Corpus:
    """Twelve samples, of which the first six lie on one side."""
    corpus = corpus_of(tmp_path / "c", [pair(f"question {n:02d}", f"answer {n}") for n in range(12)])
    folder = corpus.path / "embeddings" / "mine"
    folder.mkdir(parents=True)
    angles = np.linspace(0, np.pi, 12)
    about = {"name": "mine", "model": "file:mine.npy", "text": "both"}
    store(folder, corpus.frame(["id"])["id"].to_list(), [np.stack([np.cos(angles), np.sin(angles)], axis=1)], about)
    return corpus


@pytest.fixture
def opened(small: Corpus, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    return opener(monkeypatch, small.path)


def press(app: AppTest, key: str) -> AppTest:
    app = button(app, key).click().run()
    assert not app.exception
    return app


def test_the_first_question_is_made_on_the_page_and_answered(opened: Callable[..., AppTest], small: Corpus) -> None:
    app = opened("annotate", annotator="ann")
    app.text_input(key="label_new_name").set_value("quality")
    app.text_input(key="label_new_answers").set_value("good， bad, good")
    app = next(b for b in app.button if b.label == "Ask this").click().run()
    assert not app.exception
    assert app.query_params["question"] == "quality"
    app = press(press(app, "label-answer-1"), "label-answer-2")
    assert answers_to(small, "quality").select("who", "answer").rows() == [("ann", "good"), ("ann", "bad")]
    app = press(press(app, "label-back"), "label-answer-1")
    assert answers_to(small, "quality")["answer"].to_list() == ["good", "good"]


def test_a_bad_question_says_what_is_wrong(opened: Callable[..., AppTest]) -> None:
    app = opened("annotate")
    app.text_input(key="label_new_name").set_value("quality")
    app.text_input(key="label_new_answers").set_value("good")
    app = next(b for b in app.button if b.label == "Ask this").click().run()
    assert "1 different answers" in texts(app)


def test_two_browsers_see_each_others_answers_after_their_next_click(
    opened: Callable[..., AppTest], small: Corpus
) -> None:
    ask(small, "quality", ["good", "bad"])
    ann, bob = opened("annotate", annotator="ann"), opened("annotate", annotator="bob")
    ann = press(ann, "label-answer-1")
    bob = press(bob, "label-skip")
    bob = press(bob, "label-back")
    assert "1 other annotator has answered this one." in texts(bob)
    bob = press(bob, "label-answer-2")
    ann = press(press(ann, "label-back"), "label-answer-1")
    assert agreement(small, "quality").disagreed == 1
    ann.selectbox(key="label_queue").set_value("disagreements").run()
    assert not ann.exception


def test_disagreements_are_settled_side_by_side(opened: Callable[..., AppTest], small: Corpus) -> None:
    ask(small, "quality", ["good", "bad"])
    annotate(small, "quality", "good", where="true", who="ann")
    annotate(small, "quality", "good", where="instruction < 'question 11'", who="bob")
    annotate(small, "quality", "bad", where="instruction = 'question 11'", who="bob")
    app = opened("annotate", view="agreement", question="quality")
    assert not app.exception
    assert [m.value for m in app.metric][:2] == ["12", "92%"]
    app = press(app, "agreeing-settle-2")
    assert list(labels_of(small, "quality").values()).count("bad") == 1
    assert "1 in all, 1 of them settled" in texts(app)


def test_a_concept_is_taught_and_its_command_is_the_one_that_scores(
    opened: Callable[..., AppTest], small: Corpus
) -> None:
    app = opened("concepts")
    app.text_input(key="concept_new_name").set_value("early")
    app = next(b for b in app.button if b.label == "Begin").click().run()
    for _ in range(10):
        sample = small.sample(_asked(app, small))
        early = sample.messages[0].content < "question 06"
        app = press(app, "concept-yes" if early else "concept-no")
    assert command(app, "score").endswith("concept --set concept=early")
    assert button(app, "concept-score-run").disabled is False
    assert sum(answer == "yes" for answer in labels_of(small, "early").values()) >= 4
    app = press(press(app, "concept-skip"), "concept-back")
    assert "Skipped before." in texts(app)


def _asked(app: AppTest, corpus: Corpus) -> str:
    shown = texts(app) + " ".join(element.value for element in app.text)
    (found,) = [i for i, text in corpus.frame(["id", "instruction"]).iter_rows() if text in shown]
    return str(found)


def test_a_corpus_without_vectors_says_how_to_make_them(opened: Callable[..., AppTest], tmp_path: Path) -> None:
    bare = corpus_of(tmp_path / "bare", [pair("q", "a")])
    app = opened("concepts", bare.path)
    assert command(app, "embed") == f"winnow embed {bare.path}"


BAR = """
from curation.searching import search
from studio import forms
from studio.pages import search_bar
import streamlit as st
corpus = forms.current_corpus()
query = search_bar.draw(corpus, key="bar", cases=True)
st.text(f"{search(corpus, query).total} found")
st.button("like", key="like", on_click=search_bar.like, args=(corpus.frame(["id"])["id"][0],))
"""


def test_the_search_bar_takes_a_link_keeps_it_and_is_cleared(small: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINNOW_CORPUS", str(small.path))
    app = AppTest.from_string(BAR, default_timeout=30)
    app.query_params["q"], app.query_params["by"] = "question 0[1-3]", "regex"
    app = app.run()
    assert app.text[0].value == "3 found"
    app = press(app, "like")
    assert app.query_params["like"] == small.frame(["id"])["id"][0]
    assert app.text[0].value == "11 found"
    app = press(app, "bar_like")
    assert (app.text[0].value, "like" in app.query_params) == ("12 found", False)
    app = app.text_input(key="bar_search").set_value("question 0").run()
    assert app.query_params["q"] == "question 0"
    app = app.text_input(key="bar_search").set_value("QUESTION").run()
    assert app.text[0].value == "12 found"
    app = app.checkbox(key="bar_case").check().run()
    assert (app.text[0].value, app.query_params["case"]) == ("0 found", "1")


@pytest.mark.browser
@pytest.mark.skipif(installed_browser() is None, reason="no Chromium on this machine (Debian: chromium)")
def test_a_concept_is_taught_by_keyboard_on_the_demo_corpus_and_scores_it(tmp_path: Path) -> None:
    from curation.embedding import embed
    from curation.ingestion import ingest
    from studio.demo_corpus import DEMO

    corpus = Corpus.create(tmp_path / "demo")
    ingest(corpus, [DEMO / "instructions_en.jsonl", DEMO / "instructions_zh.jsonl"])
    embed(corpus)
    with studio(corpus.path, tmp_path / "log.txt") as url, launched() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(f"{url}/concepts")
        page.locator(".st-key-concept_new_name input").fill("chinese")
        page.locator(".st-key-concept_new_text input").fill("请用中文回答")
        page.get_by_role("button", name="Begin").click()
        asked = page.locator(".st-key-concept_sample")
        for _ in range(12):
            asked.wait_for()
            text = asked.inner_text()
            page.keyboard.press("y" if any("\u4e00" <= letter <= "\u9fff" for letter in text) else "n")
            page.wait_for_function(
                "text => document.querySelector('.st-key-concept_sample')?.innerText !== text", arg=text, timeout=20_000
            )
        page.locator(".st-key-concept-score-run button").click()
        page.locator("text=Done in >> visible=true").first.wait_for(timeout=60_000)
        assert page.get_by_test_id("stException").count() == 0
    is_chinese = "source = 'instructions_zh'"
    mean = "SELECT avg(concept_chinese) FROM everything WHERE "
    assert corpus.count("concept_chinese IS NOT NULL") == corpus.count()
    assert corpus.query(mean + is_chinese).item() > corpus.query(f"{mean} NOT ({is_chinese})").item()
