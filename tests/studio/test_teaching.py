"""Teaching a classifier on a page: labels become tags, and the head is trained on them at once."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from curation.corpus import Corpus
from curation.deciding import tag
from curation.embedding import add_vectors
from curation.ingestion import ingest
from curation.scorers.classifier import Classifier
from curation.scoring import score
from studio.pages import teaching

SUMS = [{"instruction": f"What is {n} plus {n}?", "output": f"It is {2 * n}.", "n": n} for n in range(40)]
TALES = [
    {"instruction": f"Tell tale {n} of a dragon.", "output": "A dragon slept." + " It snored." * n, "n": 40 + n}
    for n in range(40)
]


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    for name, rows in (("sums", SUMS), ("tales", TALES)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    made = Corpus.create(tmp_path / "corpus")
    ingest(made, [tmp_path / "sums.jsonl", tmp_path / "tales.jsonl"])
    return made


@pytest.fixture
def page(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("WINNOW_CORPUS", str(corpus.path))
    code = "from studio import forms\nfrom studio.pages import teaching\nteaching.draw(forms.current_corpus())"
    return AppTest.from_string(code, default_timeout=30)


def placed(corpus: Corpus) -> None:
    """Two clouds of vectors: sums to the left, tales to the right."""
    points = np.random.default_rng(0).normal(size=(80, 8))
    points[:, 0] += np.where(np.arange(80) < 40, -6, 6)
    file = corpus.path / "clouds.npy"
    np.save(file, points / np.linalg.norm(points, axis=1, keepdims=True))
    add_vectors(corpus, file, "n")


def labelled(corpus: Corpus, each: int) -> None:
    for source, name in (("sums", "good"), ("tales", "bad")):
        ids = corpus.frame(["id"], where=f"source = '{source}'", limit=each)["id"]
        tag(corpus, name, ids=ids)


def press(app: AppTest, key: str) -> AppTest:
    return next(b for b in app.button if b.key == key).click().run()


def metrics(app: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in app.metric}


def test_without_an_embedding_it_gives_the_command_that_makes_one(page: AppTest, corpus: Corpus) -> None:
    app = page.run()
    assert not app.exception
    assert any(code.value == f"winnow embed {corpus.path}" for code in app.code)


def test_a_button_tags_the_sample_shows_another_one_and_can_be_taken_back(page: AppTest, corpus: Corpus) -> None:
    placed(corpus)
    app = press(page.run(), "teach-good")
    app = press(app, "teach-bad")
    app = press(app, "teach-skip")
    assert not app.exception
    assert metrics(app)["Tagged good"] == metrics(app)["Tagged bad"] == "1"
    assert corpus.count("list_contains(tags, 'good')") == corpus.count("list_contains(tags, 'bad')") == 1
    assert next(b for b in app.button if b.key == "teach-score-run").disabled
    app = press(app, "teach-back")
    assert corpus.count("list_contains(tags, 'bad')") == 0


def test_enough_labels_give_held_out_numbers_and_the_command_that_gives_them_to_all(
    page: AppTest, corpus: Corpus
) -> None:
    placed(corpus)
    labelled(corpus, 8)
    app = page.run()
    assert not app.exception
    assert float(metrics(app)["F1"]) > 0.9
    assert any(code.value == f"winnow score {corpus.path} classifier" for code in app.code)
    assert not next(b for b in app.button if b.key == "teach-score-run").disabled


def test_the_next_sample_is_the_one_the_head_is_least_sure_of_and_the_page_agrees_with_the_scorer(
    corpus: Corpus,
) -> None:
    placed(corpus)
    labelled(corpus, 8)
    lesson = teaching.lesson(corpus, Classifier())
    found, _ = teaching.next_sample(lesson, Classifier(), "border", set())
    score(corpus, Classifier())
    best = corpus.frame(["id"], where="classifier_label IS NULL", order="classifier_border DESC", limit=1)
    assert found == best["id"][0]
    other, _ = teaching.next_sample(lesson, Classifier(), "border", {found})
    assert other != found
    likely, probability = teaching.next_sample(lesson, Classifier(), "good", set())
    assert probability > 0.5
    assert corpus.sample(likely).source == "sums"


def test_the_command_names_only_what_was_changed(corpus: Corpus) -> None:
    plain = Classifier(embedding="clouds")
    assert teaching.command(corpus, plain, "clouds")[2:] == ["classifier"]
    changed = Classifier(embedding="other", concept="safe", positive="safe")
    options = teaching.command(corpus, changed, "clouds")[3:]
    assert options == ["--set", "positive=safe", "--set", "embedding=other", "--set", "concept=safe"]
