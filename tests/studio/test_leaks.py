"""The leaks of a corpus on a page: sample and question side by side, and the command that drops them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from curation.corpus import Corpus
from curation.deciding import drop
from curation.scorers.contamination import Contamination
from curation.scoring import score
from studio.owner import serve
from studio.pages import leaks
from tests.curation.samples import corpus_of, pair

QUESTIONS = {
    "trivia": "In which year did the Berlin Wall fall?",
    "code": "Which tag does <b>bold</b> text in HTML need?",
}


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return corpus_of(
        tmp_path / "c",
        [
            pair("Quiz! In which year did the Berlin Wall come down?", "1989"),
            pair("Now tell me: which tag does <b>bold</b> text in HTML need? <script>alert(1)</script>", "b"),
            pair("Sing a song.", "La la la."),
        ],
    )


@pytest.fixture
def benchmarks(tmp_path: Path) -> tuple[str, ...]:
    for name, question in QUESTIONS.items():
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"question": question}))
    return tuple(str(tmp_path / f"{name}.jsonl") for name in QUESTIONS)


@pytest.fixture
def page(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("WINNOW_CORPUS", str(corpus.path))
    code = "from studio import forms\nfrom studio.pages import leaks\nleaks.draw(forms.current_corpus())"
    return AppTest.from_string(code, default_timeout=30)


def shown(app: AppTest) -> list[str]:
    return [element.proto.body for element in app.get("html")]


def test_before_a_benchmark_is_named_there_is_a_command_to_complete(page: AppTest):
    app = page.run()
    app.text_input(key="leaks_files").input("a.jsonl, b.jsonl").run()
    assert app.code[0].value.endswith("contamination --set benchmarks=a.jsonl,b.jsonl")
    assert not app.button(key="leaks_score-run").disabled
    assert not app.exception


def test_sample_and_question_stand_side_by_side_with_what_both_have_marked(corpus, benchmarks, page):
    score(corpus, Contamination(benchmarks=benchmarks))
    app = page.run()
    assert [metric.value for metric in app.metric] == ["3", "2", "2"]
    sample, question = shown(app)
    assert f"{leaks.MARK}which tag does &lt;b&gt;bold&lt;/b&gt; text in HTML need</mark>" in sample
    assert "<script>" not in sample
    assert f"{leaks.MARK}Which tag does &lt;b&gt;bold&lt;/b&gt; text in HTML need</mark>" in question
    assert app.dataframe[0].value["way"].to_list() == ["exact", "edited"]
    app.selectbox(key="leaks_order").select("Least overlap first").run()
    assert f"{leaks.MARK}In which year did the Berlin Wall</mark>" in shown(app)[0]
    assert not app.exception


def test_the_command_drops_what_is_shown(corpus, benchmarks, page):
    score(corpus, Contamination(benchmarks=benchmarks))
    app = page.run()
    app.selectbox(key="leaks_of").select("trivia.jsonl").run()
    command = next(code.value for code in app.code if code.value.startswith("winnow drop"))
    assert "contaminated AND decision IS NULL AND contamination_benchmark = " in command
    assert command.endswith("--reason 'leaked benchmark question'")
    drop(serve(corpus.path), where="contaminated", reason="leaked benchmark question")
    app = page.run()
    assert app.metric[2].value == "0"
    assert app.button(key="leaks_drop-run").disabled


def test_every_character_of_a_text_is_shown_and_only_the_passages_are_marked():
    text = "<i>a & b</i> \n c"
    assert leaks.marked(text, [(3, 8)]) == (
        '<div style="white-space:pre-wrap;overflow-wrap:anywhere">'
        f"&lt;i&gt;{leaks.MARK}a &amp; b</mark>&lt;/i&gt; \n c</div>"
    )
    assert leaks.marked("x" * 7_000, []).endswith("… (1,000 more characters)</div>")
