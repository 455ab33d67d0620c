"""The pages that bring data in and look at it, and the forms that all pages share."""

from __future__ import annotations

import json
import time
from typing import Literal

import pytest
from pydantic import BaseModel, Field
from streamlit.testing.v1 import AppTest

from curation.corpus import Corpus
from curation.ingestion import ingest
from curation.sample import Message, Sample, to_frame
from curation.scorers.length import Length
from curation.scorers.metadata import Metadata
from curation.scoring import score
from curation.selection import select
from curation.selectors import Longest
from studio import forms, jobs
from studio.app import streamlit_flags
from studio.door.application import SCRIPT
from studio.pages import browse, guide, overview, reading
from studio.pages import ingest as ingest_page
from studio.pages.conversations import passages
from studio.pages.outcomes import cut
from tests.studio.pages import opener

PAGES = ("overview", "ingest", "browse", "clean", "history", "jobs", "settings")
SUMS = [{"instruction": f"What is {n} plus {n}?", "output": f"It is {2 * n}.", "index": n} for n in range(60)]
TALK = {
    "messages": [
        {"role": "system", "content": "You answer <b>briefly</b>."},
        {"role": "user", "content": "介绍龙井茶。"},
        {"role": "assistant", "content": "", "tool_calls": [{"name": "look_up", "arguments": "{}"}]},
        {"role": "tool", "content": "产自杭州"},
        {"role": "assistant", "content": "龙井产自杭州，50%_香。"},
    ],
    "tools": [{"name": "look_up"}],
    "tags": ["tea"],
}
PAIR = {"prompt": "Say hello.", "chosen": "Hello, friend.", "rejected": "No."}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("look")
    for name, rows in (("sums", SUMS), ("talks", [TALK]), ("pairs", [PAIR])):
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps(r) for r in rows), encoding="utf-8")
    with (folder / "sums.jsonl").open("a") as file:
        file.write('\n{"instruction": "broken\n')
    corpus = Corpus.create(folder / "corpus")
    ingest(corpus, [folder / f"{name}.jsonl" for name in ("sums", "talks", "pairs")])
    score(corpus, Length())
    score(corpus, Metadata(field="index"), where="source = 'sums'")
    select(corpus, Longest(), 5, name="longest")
    return corpus


@pytest.fixture
def open_page(corpus, monkeypatch):
    return opener(monkeypatch, corpus.path)


def texts(app: AppTest) -> str:
    told = (*app.caption, *app.markdown, *app.text, *app.success, *app.warning, *app.error, *app.code, *app.subheader)
    return "\n".join(str(element.value).replace("\\", "") for element in told)


def table(app: AppTest, column: str):
    return next(frame.value for frame in app.dataframe if column in frame.value.columns)


@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_with_one_title_and_no_error(open_page, name):
    app = open_page(name)
    assert [title.value for title in app.title] == [name.capitalize()]
    assert not app.exception
    assert not app.error


@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_on_an_empty_corpus(open_page, tmp_path, name):
    app = open_page(name, Corpus.create(tmp_path).path)
    assert not app.exception
    assert not app.error


def test_a_folder_without_a_corpus_is_told_how_to_begin(open_page, tmp_path):
    app = open_page("overview", tmp_path / "nowhere")
    assert "There is no corpus" in texts(app)
    assert any(code.value.startswith("winnow ingest") for code in app.code)


def test_the_studio_draws_its_first_page_from_the_main_script(corpus, monkeypatch):
    monkeypatch.setenv("WINNOW_CORPUS", str(corpus.path))
    app = AppTest.from_file(str(SCRIPT), default_timeout=30).run()
    assert not app.exception
    assert [title.value for title in app.title] == ["Overview"]


def test_the_flags_of_streamlit_are_its_settings_without_the_theme():
    flags = streamlit_flags()
    assert "--browser.gatherUsageStats=false" in flags
    assert "--runner.postScriptGC=false" in flags
    assert not any(flag.startswith("--theme") for flag in flags)


# -------------------------------------------------------------------- overview


def test_the_overview_counts_samples_turns_and_rejected_rows(corpus, open_page):
    assert overview.totals(corpus) == overview.Totals(
        samples=62, sources=3, turns=127, held_out=0, rejected=1, duplicates=0
    )
    app = open_page("overview")
    assert [metric.value for metric in app.metric][:5] == ["62", "3", "127", "0", "1"]
    assert "not valid JSON" in table(app, "reason")["reason"][0]


def test_the_overview_groups_samples_by_source_shape_and_script(corpus):
    assert overview.groups(corpus, "source").rows()[0][:2] == ("sums", 60)
    assert dict(overview.groups(corpus, "script").select("value", "samples").iter_rows()) == {"Latin": 61, "Chinese": 1}


def test_the_next_step_is_the_first_thing_that_was_not_done(corpus, tmp_path):
    empty = Corpus.create(tmp_path)
    assert guide.current(guide.stages(empty)).page == "ingest"
    assert guide.current(guide.stages(corpus)).page == "mix"


# -------------------------------------------------------------------- browse


def test_search_takes_every_character_as_itself(corpus):
    assert corpus.count(browse.search_condition("50%_香")) == 1
    assert corpus.count(browse.search_condition("%")) == 1
    assert corpus.count(browse.search_condition("'; DROP TABLE samples; --")) == 0
    assert corpus.count(browse.search_condition("HELLO, friend")) == 1


def test_a_page_of_the_table_has_fifty_rows_in_the_order_asked_for(corpus):
    order = browse.order_by("index", descending=True)
    first = browse.page_of(corpus, ["index"], None, order, 1)
    assert first["index"].to_list() == list(range(59, 9, -1))
    second = browse.page_of(corpus, ["index"], None, order, 2)
    assert second["index"].to_list() == [*range(9, -1, -1), None, None]


def test_conditions_are_joined_with_their_own_parentheses():
    assert browse.both("a OR b", None) == "a OR b"
    assert browse.both("a OR b", "c") == "(a OR b) AND (c)"
    assert browse.both(None, None) is None


def test_a_link_opens_the_sample_it_names_with_everything_about_it(corpus, open_page):
    found = corpus.frame(["id"], where="source = 'talks'").item()
    app = open_page("browse", sample=found)
    said = texts(app)
    for text in ("You answer <b>briefly</b>.", "介绍龙井茶。", "产自杭州", "look_up", "tea", "talks.jsonl", found):
        assert text in said
    app.session_state["read_missing"] = True  # what is not open is not asked for
    assert "not scored yet" in set(table(app.run(), "why")["why"])


def test_choosing_a_row_reads_that_sample(open_page):
    app = open_page("browse", where="source = 'pairs' OR \"index\" = 7")
    key = next(k for k in app.session_state if k.startswith("browse_table_"))
    app.session_state[key] = {"selection": {"rows": [1], "columns": [], "cells": []}}
    app.run()
    assert "Hello, friend." in texts(app)
    assert "No." in texts(app)
    assert app.query_params["sample"]


def test_a_search_narrows_the_table_and_clearing_it_brings_all_back(open_page):
    app = open_page("browse")
    app.text_input(key="browse_search").set_value("no such words").run()
    assert "No sample matches" in texts(app)
    next(b for b in app.button if b.label == "Clear filter and search").click().run()
    assert "Rows 1 to 50 of 62." in texts(app)


def test_a_wrong_filter_is_answered_with_two_lines(open_page):
    app = open_page("browse", where="no_such_column > 3")
    assert not app.exception
    assert "The filter does not work" in app.error[0].value.replace("\\", "")
    assert any("use SQL over these columns" in code.value for code in app.code)


def test_rejected_rows_are_shown_with_file_line_and_reason(open_page):
    app = open_page("browse", view="rejected")
    row = table(app, "reason").iloc[0]
    assert row["line"] == 61
    assert row["file"].endswith("sums.jsonl")


def test_a_preference_sample_is_parted_into_prompt_and_two_answers():
    user, good, bad = Message("user", "Hi"), Message("assistant", "Hello"), Message("assistant", "What")
    sample = Sample(messages=(user, good), rejected=(bad,))
    assert reading.prompt_and_answers(sample) == ((user,), (good,))


def test_parents_and_children_link_to_each_other(open_page, tmp_path):
    seed = Sample((Message("user", "A first question"), Message("assistant", "Yes")))
    child = Sample((Message("user", "A harder question"), Message("assistant", "No")), parents=(seed.id, "lost"))
    corpus = Corpus.create(tmp_path)
    corpus.add(to_frame([seed, child]))
    assert "A harder question" in texts(open_page("browse", tmp_path, sample=seed.id))
    said = texts(open_page("browse", tmp_path, sample=child.id))
    assert "A first question" in said
    assert "1 of its parents are not in this corpus" in said


# -------------------------------------------------------------------- ingest


def test_rows_are_previewed_as_they_would_be_read():
    rows = [(1, {"q": "Why?", "a": "Because."}), (2, {"q": 7.5, "a": ["no", "turns"]})]
    seen = ingest_page.preview(rows, "s", {"instruction": "q", "response": "a"})
    assert seen.columns == ["q", "a"]
    assert [(line, sample.response) for line, sample in seen.samples] == [(1, "Because.")]
    assert [line for line, _ in seen.unreadable] == [2]
    assert not ingest_page.preview(rows, "s").shapes


def test_naming_a_file_shows_its_samples_and_the_command(corpus, open_page, tmp_path):
    file = tmp_path / "odd.jsonl"
    file.write_text('{"q": "Why?", "a": "Because it is so."}\n')
    app = open_page("ingest")
    app.text_input(key="ingest_path").set_value(str(file)).run()
    assert "is not recognised" in texts(app)
    for name, column in (("Instruction", "q"), ("Response", "a")):
        next(s for s in app.selectbox if s.label == name).set_value(column).run()
    assert "Of all 1 rows, 1 can be read as alpaca (1)." in texts(app)
    assert f"winnow ingest {corpus.path} {file} --map instruction=q --map response=a" in [c.value for c in app.code]
    assert corpus.count() == 62


def test_folders_and_patterns_name_their_files(tmp_path, monkeypatch):
    monkeypatch.setenv("WINNOW_WORKSPACE", str(tmp_path))
    for name in ("a.jsonl", "b.csv", "notes.txt"):
        (tmp_path / name).touch()
    assert [p.name for p in ingest_page.matching(str(tmp_path))] == ["a.jsonl", "b.csv"]
    assert [p.name for p in ingest_page.matching(f"{tmp_path}/*.csv")] == ["b.csv"]


# -------------------------------------------------------------------- jobs and the shared forms


def test_a_button_starts_the_command_that_it_shows(open_page, tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"instruction": "Hi", "output": "Hello"}\n')
    other = Corpus.create(tmp_path / "other")
    app = open_page("ingest", other.path)
    app.text_input(key="ingest_path").set_value(str(file)).run()
    app.button(key="ingest-run").click().run()
    while jobs.jobs(other.path)[0].state == "running":
        time.sleep(0.1)
    assert "added: 1" in texts(app.run())
    assert "added: 1" in texts(open_page("jobs", other.path))


def test_the_filter_is_parted_at_its_outer_and():
    assert forms.conditions("a > 1 AND b BETWEEN 2 AND 3 AND c = 'x AND y'") == [
        "a > 1",
        "b BETWEEN 2 AND 3",
        "c = 'x AND y'",
    ]
    assert forms.conditions("a > 1 OR b < 2") == ["a > 1 OR b < 2"]
    assert forms.conditions("(a OR b) AND c") == ["(a OR b)", "c"]
    assert forms.conditions("") == []


def test_removing_a_chip_removes_its_condition(open_page):
    app = open_page("browse", where="turns > 1 AND source = 'sums'")
    next(b for b in app.button if b.key.startswith("chip-0")).click().run()
    assert app.text_input(key="where").value == "source = 'sums'"
    assert app.query_params["where"] == "source = 'sums'"


def test_text_of_the_data_is_never_read_as_markdown():
    assert forms.plain("**a** [b](c) $x$ :red[d]") == r"\*\*a\*\* \[b\]\(c\) \$x\$ \:red\[d\]"


def test_a_report_is_told_in_one_line():
    report = {"added": 52002, "by_source": {"a": 2}, "ids": ["x"] * 9, "share": 0.25, "reason": None}
    assert forms.summary(report) == "added: 52,002 · by source: a 2 · ids: 9 · share: 0.25"


class Knobs(BaseModel):
    """Every kind of field a form can meet."""

    must: str
    often: bool = True
    way: Literal["a", "b"] = "a"
    rate: float | None = Field(None, gt=0)
    count: int = Field(3, ge=1)


def knobs_form() -> None:
    import streamlit

    from studio.fields import setting
    from tests.studio.test_pages_look import Knobs

    options = [word for name in Knobs.model_fields for word in setting(Knobs, name, key="k")]
    streamlit.code(" ".join(options))


def test_only_what_was_changed_becomes_an_option():
    app = AppTest.from_function(knobs_form).run()
    assert app.code[0].value == ""
    app.text_input(key="k_must").set_value("x")
    app.toggle(key="k_often").set_value(False)
    app.selectbox(key="k_way").set_value("b")
    app.number_input(key="k_rate").set_value(5e-6)
    app.number_input(key="k_count").set_value(4).run()
    assert app.code[0].value == "--set must=x --set often=false --set way=b --set rate=5e-06 --set count=4"


def test_code_stands_apart_from_prose_and_nothing_of_it_is_lost():
    text = "Do this:\n```python\nx = 1\n```\nThen\n```\nlast, never closed"
    assert list(passages(text)) == [
        ("Do this:", None),
        ("```python\nx = 1\n```", "python"),
        ("Then", None),
        ("```\nlast, never closed", ""),
    ]


def test_a_training_is_told_without_folders_and_hashes():
    report = {
        "run": "/a/b",
        "manifest_sha256": "c0",
        "steps": 120,
        "train_loss": 5.2837,
        "seconds": 207.1,
        "dropped": {},
    }
    assert forms.summary(report, "train") == "steps: 120 · training loss: 5.284 · training time: 3 min 27 s"


def test_a_cut_text_is_as_wide_in_chinese_as_in_latin_letters():
    assert cut("a  b\nc", 20) == "a b c"
    assert cut("abcdef", 4) == "abcd…"
    assert cut("龙井产自杭州", 4) == "龙井…"


def test_a_file_of_which_no_row_can_be_read_is_not_ingested(open_page, tmp_path):
    file = tmp_path / "odd.jsonl"
    file.write_text('{"q": "Why?", "a": "Because it is so."}\n')
    app = open_page("ingest")
    app.text_input(key="ingest_path").set_value(str(file)).run()
    assert app.button(key="ingest-run").disabled
