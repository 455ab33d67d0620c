"""The Ingest page on the shapes that need a choice: nested columns, several samples per row, logs, other encodings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from curation.corpus import Corpus
from curation.files.rows import Numbered
from studio.pages import ingest as ingest_page
from tests.studio.pages import opener


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    return opener(monkeypatch, Corpus.create(tmp_path / "corpus").path)("ingest")


def named(page: AppTest, file: Path) -> AppTest:
    return page.text_input(key="ingest_path").set_value(str(file)).run()


def command(page: AppTest) -> str:
    return next(code.value for code in page.code if code.value.startswith("winnow ingest"))


def told(page: AppTest) -> str:
    shown = (*page.success, *page.warning, *page.error, *page.markdown)
    return "\n".join(str(e.value).replace("\\", "") for e in shown)


def talk(answer: str, **feedback: object) -> dict:
    said = {"role": "assistant", "content": answer, **feedback}
    return {"messages": [{"role": "user", "content": "Why?"}, said]}


def test_the_rules_for_a_log_are_shown_with_what_they_make_and_can_be_switched_off(
    page: AppTest, tmp_path: Path
) -> None:
    rows = [talk("A", feedback="up"), talk("B", feedback="down", edited="C")]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    app = named(page, tmp_path / "log.jsonl")
    assert not app.exception
    assert {m.label: m.value for m in app.metric} == {"Thumbs": "2", "Edits": "1", "Conversations": "1"}
    assert any("is preferred to the original" in caption.value for caption in app.caption)
    assert "They become 4 samples." in told(app)
    app = next(t for t in app.toggle if t.label == "Thumbs").set_value(False).run()
    assert "Thumbs" not in {m.label for m in app.metric}
    assert command(app).endswith("log.jsonl --rules thumbs=false")


def test_a_log_whose_rules_are_all_off_keeps_its_switches(page: AppTest, tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(json.dumps(talk("A", feedback="down")))
    app = named(page, tmp_path / "log.jsonl")
    app = next(t for t in app.toggle if t.label == "Thumbs").set_value(False).run()
    assert not app.exception
    assert any(t.label == "Thumbs" for t in app.toggle)


def test_nested_columns_can_be_mapped(page: AppTest, tmp_path: Path) -> None:
    (tmp_path / "odd.jsonl").write_text('{"data": {"ask": "how are you", "reply": "I am fine"}}\n')
    app = named(page, tmp_path / "odd.jsonl")
    for label, column in (("Instruction", "data.ask"), ("Response", "data.reply")):
        app = next(s for s in app.selectbox if s.label == label).set_value(column).run()
    assert "1 can be read as alpaca (1)." in told(app)
    assert command(app).endswith("--map instruction=data.ask --map response=data.reply")


def test_a_file_in_another_encoding_is_read_when_it_is_named(page: AppTest, tmp_path: Path) -> None:
    rows = json.dumps([{"instruction": "请介绍一下自己", "output": "我是一个语言模型。"}] * 2, ensure_ascii=False)
    (tmp_path / "zh.json").write_bytes(rows.encode("gbk"))
    app = named(page, tmp_path / "zh.json")
    assert "GB18030" in told(app)
    app = app.text_input(key="ingest_encoding").set_value("gb18030").run()
    assert "2 can be read" in told(app)
    assert command(app).endswith("zh.json --encoding gb18030")


def test_an_address_is_not_fetched_before_the_user_asks(page: AppTest) -> None:
    app = page.text_input(key="ingest_path").set_value("https://127.0.0.1:9/a.jsonl").run()
    assert command(app).endswith("https://127.0.0.1:9/a.jsonl")
    assert not app.error
    assert any(button.label == "Fetch for a look" for button in app.button)


def test_a_preview_counts_every_sample_of_a_row() -> None:
    row = {"instruction": "Add.", "instances": [{"input": "1+1", "output": "2"}, {"input": "1+2", "output": "3"}]}
    rows: list[Numbered] = [(1, row)]
    seen = ingest_page.preview(rows, "s")
    assert seen.shapes == {"instances": 2}
    assert [(line, sample.response) for line, sample in seen.samples] == [(1, "2"), (1, "3")]
