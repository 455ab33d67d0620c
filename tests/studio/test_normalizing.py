"""Normalizing on the Clean page: the form, the command, the preview; and the differences it shows."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from streamlit.testing.v1 import AppTest

from curation.corpus import Corpus
from curation.deciding import drop
from curation.ingestion import ingest
from curation.normalizers import Redact
from studio.pages.differences import MOST_WORDS, Piece, as_html, marked, shortened
from studio.pages.normalizing import preview
from tests.curation.normalizers.texts import TEXTS

ROWS = [
    {"instruction": "Who <b>wrote</b> it?", "output": "<think>Easy.</think>Ask <i>Jane</i>, a.b@example.com."},
    {"instruction": "Two plus two?", "output": "Four."},
    {"instruction": "写一首诗。", "output": "<think>想一想</think>春风又绿江南岸。"},
]  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("normalizing")
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(r) for r in ROWS), encoding="utf-8")
    corpus = Corpus.create(folder / "corpus")
    ingest(corpus, [folder / "rows.jsonl"])
    return corpus


@pytest.fixture
def opened(corpus, monkeypatch):
    monkeypatch.setenv("WINNOW_CORPUS", str(corpus.path))
    page = "from studio import forms\nfrom studio.pages import normalizing\nnormalizing.draw(forms.current_corpus())"
    return AppTest.from_string(page, default_timeout=30).run()


def chosen(app: AppTest, name: str) -> AppTest:
    return app.selectbox(key="normalizer-operator").set_value(name).run()


def previewed(app: AppTest) -> AppTest:
    return next(b for b in app.button if b.key == "normalizer-preview").click().run()


def command(app: AppTest) -> str:
    return next(code.value for code in app.code if code.value.startswith("winnow normalize "))


def test_the_form_becomes_the_command(opened, corpus):
    app = chosen(opened, "redact")
    assert command(app) == f"winnow normalize {corpus.path} redact"
    app.multiselect(key="normalizer-redact_kinds").set_value(["email", "ip"]).run()
    app.text_input(key="where").set_value("turns = 2").run()
    assert command(app) == f"winnow normalize {corpus.path} redact --set kinds=email,ip --where 'turns = 2'"
    assert not app.exception


def test_a_preview_counts_what_would_change_and_writes_nothing(opened, corpus):
    app = previewed(chosen(opened, "reasoning"))
    assert any("**2** of 3 would change" in text.value for text in app.markdown)
    assert [e.label for e in app.expander] == ["Who \\<b\\>wrote\\</b\\> it?", "写一首诗。"]
    assert corpus.frame(["response"])["response"].to_list() == [row["output"] for row in ROWS]


def test_a_preview_goes_when_the_form_asks_for_something_else(opened):
    app = previewed(chosen(opened, "reasoning"))
    assert not chosen(app, "redact").expander


def test_a_value_out_of_range_is_two_lines_and_no_command_runs(opened):
    app = chosen(opened, "redact")
    app = app.multiselect(key="normalizer-redact_kinds").set_value([]).run()
    assert "kinds" in app.error[0].value
    assert next(b for b in app.button if b.key == "normalize-run").disabled


def test_dropped_samples_are_not_looked_at(tmp_path):
    (tmp_path / "rows.jsonl").write_text("\n".join(json.dumps(r) for r in ROWS), encoding="utf-8")
    corpus = Corpus.create(tmp_path / "corpus")
    ingest(corpus, [tmp_path / "rows.jsonl"])
    drop(corpus, where="response LIKE '%example%'", reason="personal")
    found = preview(corpus, Redact(), None)
    assert (found.looked_at, found.changed) == (2, 0)


# -------------------------------------------------------------------- differences


def test_words_and_chinese_characters_are_marked():
    assert marked("I like red tea.", "I like green tea.") == [
        Piece("I like ", "same"),
        Piece("red", "removed"),
        Piece("green", "added"),
        Piece(" tea.", "same"),
    ]
    assert [p.text for p in marked("我爱红茶", "我爱绿茶")] == ["我爱", "红", "绿", "茶"]


def test_both_texts_can_be_read_back_from_the_pieces():
    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(old=TEXTS, new=TEXTS)
    def check(old, new):
        pieces = marked(old, new)
        assert "".join(p.text for p in pieces if p.change != "added") == old
        assert "".join(p.text for p in pieces if p.change != "removed") == new

    check()


def test_long_texts_are_compared_by_line_or_as_a_whole():
    lines = [f"line {n} of many\n" for n in range(MOST_WORDS)]
    pieces = marked("".join(lines), "".join(["new\n", *lines[1:-1], "last\n"]))
    assert [p.change for p in pieces] == ["removed", "added", "same", "removed", "added", "same"]
    words = " ".join(map(str, range(2 * MOST_WORDS)))
    assert [p.change for p in marked(f"a {words} b", f"c {words} d")] == ["removed", "added"]


def test_unchanged_text_far_from_changes_is_cut():
    pieces = shortened(marked("x" * 50 + " " + "y " * 500 + "old", "z" * 50 + " " + "y " * 500 + "new"), around=10)
    assert all(len(p.text) < 60 for p in pieces)
    assert any(" … " in p.text for p in pieces)


def test_nothing_in_a_text_becomes_html():
    drawn = as_html(marked("<script>a</script>", "<script>b</script> & </pre>"))
    assert "<script" not in drawn
    assert drawn.count("<pre") == drawn.count("</pre>") == 1
    assert "&lt;script&gt;" in drawn


def test_changed_spaces_can_be_seen():
    drawn = as_html(marked("a \u200b\n", "a\n"))
    assert "·‹U+200B›" in drawn
