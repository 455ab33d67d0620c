"""What holds the pages together: the way of the work, the working set, saved views, jobs, languages and mishaps."""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest
from streamlit.testing.v1 import AppTest

from curation.corpus import Corpus
from curation.mixing import export
from curation.scorers import Heuristics
from curation.scoring import score
from curation.views import View, save_view, views
from studio import jobs, running
from studio.app import SECTIONS
from studio.commands.mixes import part_of, recipe
from studio.door import access
from studio.door.application import SCRIPT
from studio.pages import guide, overview
from tests.curation.samples import corpus_of, pair
from tests.studio.pages import button, command, texts, write_run


@pytest.fixture
def studio_at(monkeypatch):
    """A function that opens the whole studio on a corpus."""

    def opened(corpus: Corpus, **query: str) -> AppTest:
        monkeypatch.setenv("WINNOW_CORPUS", str(corpus.path))
        app = AppTest.from_file(str(SCRIPT), default_timeout=30)
        for name, value in query.items():
            app.query_params[name] = value
        return app.run()

    return opened


def running_job(corpus: Corpus, done: int = 30, total: int = 100, verb: str = "score") -> jobs.Job:
    """A job that this very process is, so that it runs as long as the test does."""
    folder = corpus.path / "jobs" / f"{verb}-by-hand"
    folder.mkdir(parents=True)
    pid = os.getpid()
    about = {"argv": [verb, str(corpus.path), "length"], "pid": pid, "process_start": jobs.process_start(pid)}
    (folder / "job.json").write_text(json.dumps({**about, "cwd": "/", "started": time.time() - 60}))
    event = {"at": time.time(), "done": done, "total": total, "message": f"{done} of {total} samples"}
    (folder / "events.jsonl").write_text(json.dumps(event) + "\n")
    return jobs.job(corpus.path, folder.name)


# -------------------------------------------------------------------- the order of the work


def test_the_pages_stand_in_the_order_of_the_work():
    order = [place.address for places in SECTIONS.values() for place in places]
    work = ["overview", "ingest", "browse", "score", "select", "synthesize", "mix", "train", "evaluate", "jobs"]
    assert [address for address in order if address in work] == work
    assert order[-1] == "settings"


def test_the_guide_leads_from_an_empty_corpus_to_the_closed_loop(corpus, tmp_path):
    empty = guide.stages(Corpus.create(tmp_path))
    assert guide.current(empty).page == "ingest"
    assert [stage.done for stage in empty] == [None] * 7
    found = guide.stages(corpus)
    assert {stage.page: bool(stage.done) for stage in found} == {
        "ingest": True, "browse": True, "score": True, "select": True, "mix": True, "train": True, "evaluate": False
    }  # fmt: skip
    assert guide.current(found).page == "evaluate"
    judged = [guide.Stage(s.page, s.title, s.button, s.why, s.done or "1") for s in found]
    assert guide.current(judged).page == "synthesize"


def test_who_went_on_without_reading_is_not_sent_back():
    stages = [guide.Stage(page, page, "", "", "1" if page != "browse" else None) for page in guide.WORDS]
    assert guide.current(stages).page == "synthesize"


def test_an_empty_corpus_offers_the_demo_and_one_primary_button(open_page, tmp_path):
    app = open_page("overview", Corpus.create(tmp_path).path)
    assert not app.exception
    assert [b.label for b in app.button if b.proto.type == "primary"] == ["Ingest a file"]
    assert button(app, "try_demo").label == "Try it with the demo data"
    assert "To do" in texts(app)
    hidden = button(app, "guide_toggle").click().run()
    assert "To do" not in texts(hidden)
    assert button(hidden, "guide_toggle").label == "Show the steps"


def test_hidden_steps_stay_hidden_in_the_next_session(open_page, tmp_path):
    folder = Corpus.create(tmp_path).path
    button(open_page("overview", folder), "guide_toggle").click().run()
    again = open_page("overview", folder)
    assert button(again, "guide_toggle").label == "Show the steps"
    button(again, "guide_toggle").click().run()
    assert button(open_page("overview", folder), "guide_toggle").label == "Hide the steps"


def test_a_viewer_hides_the_steps_for_themselves_only(open_page, monkeypatch, tmp_path):
    folder = Corpus.create(tmp_path).path
    monkeypatch.setattr(access, "may_edit", lambda: False)
    hidden = button(open_page("overview", folder), "guide_toggle").click().run()
    assert button(hidden, "guide_toggle").label == "Show the steps"
    assert not (folder / guide.KEPT).exists()


def test_the_first_selection_proposed_needs_no_score(open_page, tmp_path):
    bare = corpus_of(tmp_path / "c", [pair(f"q{i}", "a" * i) for i in range(1, 31)])
    app = open_page("select", bare.path)
    assert app.selectbox(key="selector-operator").value == "stratified"
    assert not button(app, "select-run").disabled


def test_flagged_samples_are_left_out_of_the_working_set_by_one_press(open_page, tmp_path):
    bare = corpus_of(tmp_path / "c", [pair(f"q{i}", "word " * i if i else "") for i in range(12)])
    score(bare, Heuristics())
    app = button(open_page("select", bare.path), "leave_flagged").click().run()
    assert app.text_input(key="where").value == "heuristics = 0"
    assert "leave_flagged" not in [b.key for b in app.button]


def test_many_sources_are_a_treemap_and_few_a_table(open_page, tmp_path):
    many = corpus_of(tmp_path / "many", [pair(f"q{i}", "a", source=f"s{i}") for i in range(overview.MANY + 1)])
    few = corpus_of(tmp_path / "few", [pair(f"q{i}", "a", source=f"s{i}") for i in range(overview.MANY)])
    titles = {path: open_page("overview", path) for path in (many.path, few.path)}
    assert not any(app.exception for app in titles.values())
    assert "Click a rectangle" in texts(titles[many.path])
    assert "Click a rectangle" not in texts(titles[few.path])


def test_what_a_job_made_is_named_in_the_address_of_the_next_page(tmp_path):
    job = running_job(Corpus.create(tmp_path), verb="export")
    made = jobs.Job(**{**job.__dict__, "state": "done", "report": {"name": "best"}})
    assert running.made_by(made) == {"train": {"mix": "best"}}
    trained = jobs.Job(**{**made.__dict__, "argv": ["train", "m"], "report": {"run": "/c/runs/first"}})
    assert running.made_by(trained)["evaluate"] == {"run": "first"}


# -------------------------------------------------------------------- jobs in the sidebar


def test_a_running_job_is_seen_on_every_page_with_its_share_and_the_time_left(studio_at, tmp_path):
    corpus = Corpus.create(tmp_path)
    job = running_job(corpus)
    assert [j.id for j in running.live(corpus.path)] == [job.id]
    app = studio_at(corpus)
    assert not app.exception
    bars = [element for element in app.sidebar if element.type == "progress"]
    assert len(bars) == 1
    assert bars[0].proto.text.startswith("score length\\: 30%, 2 min")
    (job.folder / "exit_code").write_text("0")
    assert not [element for element in studio_at(corpus).sidebar if element.type == "progress"]


def test_a_job_of_a_copied_corpus_took_as_long_as_it_did(tmp_path):
    folder = running_job(Corpus.create(tmp_path / "first")).folder
    started = json.loads((folder / "job.json").read_text())["started"]
    (folder / "ended").write_text(str(started + 12.5))
    (folder / "exit_code").write_text("0")
    shutil.copytree(tmp_path / "first", tmp_path / "copy")
    (copied,) = jobs.jobs(Corpus(tmp_path / "copy").path)
    assert (copied.state, copied.seconds) == ("done", 12.5)


# -------------------------------------------------------------------- the working set


def test_a_condition_is_added_without_sql_and_taken_away_by_its_chip(open_page):
    app = open_page("score")
    app.session_state["add_condition"] = True
    app = app.run()
    app = app.multiselect(key="condition_source_one of").set_value(["tea"]).run()
    app = button(app, "condition_add").click().run()
    assert app.text_input(key="where").value == "source = 'tea'"
    assert app.query_params["where"] == "source = 'tea'"
    assert "**10** of" in texts(app)
    app = button(app, "chip-0-source = 'tea'").click().run()
    assert app.text_input(key="where").value == ""


def test_a_typed_filter_with_a_mistake_is_told_and_can_be_cleared(open_page):
    app = open_page("score", where="nowhere > 1")
    assert "nowhere" in app.error[0].value
    app = next(b for b in app.button if b.label == "Clear the filter").click().run()
    assert not app.error
    assert "where" not in app.query_params


def test_a_saved_view_keeps_the_address_and_opens_by_its_name(studio_at, corpus):
    save_view(corpus.path, View("tea only", "score", {"where": "source = 'tea'", "sort": "length"}))
    app = studio_at(corpus, saved="tea only")
    assert not app.exception
    assert [title.value for title in app.title] == ["Score"]
    assert app.text_input(key="where").value == "source = 'tea'"


def test_the_view_that_is_saved_is_what_the_reader_sees(open_page, corpus):
    app = open_page("score", where="turns > 1", sort="length", language="en")
    app.session_state["saved_views"] = True  # what is not open is not drawn
    app.run()
    app.text_input(key="view_name").set_value("../talks")
    app = next(b for b in app.button if b.label == "Save view").click().run()
    assert "path separator" in app.error[0].value
    app.text_input(key="view_name").set_value("long <b>talks")
    app = next(b for b in app.button if b.label == "Save view").click().run()
    kept = {view.name: view for view in views(corpus.path)}
    assert dict(kept["long <b>talks"].query) == {"where": "turns > 1", "sort": "length"}
    app = button(app, "forget-long <b>talks").click().run()
    assert "long <b>talks" not in {view.name for view in views(corpus.path)}


# -------------------------------------------------------------------- languages


def test_a_link_in_chinese_is_read_in_chinese_and_the_switch_stays(studio_at, corpus):
    app = studio_at(corpus, language="zh")
    assert [title.value for title in app.title] == ["总览"]
    assert app.query_params["language"] == "zh"
    app = app.segmented_control(key="language").set_value("en").run()
    assert [title.value for title in app.title] == ["Overview"]
    assert app.query_params["language"] == "en"
    app.query_params["language"] = "zh"  # the reader goes back, or changes the address
    assert [title.value for title in app.run().title] == ["总览"]


def test_an_unknown_language_in_the_address_is_passed_over(studio_at, corpus):
    assert [title.value for title in studio_at(corpus, language="<script>").title] == ["Overview"]


# -------------------------------------------------------------------- mishaps


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        ("ZeroDivisionError", "This page could not be drawn to the end"),
        ("MemoryError", "too little memory"),
        ("TransactionException", "Somebody else changed the same thing"),
    ],
)
def test_what_nobody_foresaw_is_told_in_one_sentence_with_the_details_folded(raised, said):
    source = "from duckdb import TransactionException\nfrom studio import mishaps\n"
    app = AppTest.from_string(f"{source}mishaps.show({raised}('<b>secret</b>'))").run()
    assert not app.exception
    assert not app.error
    assert said in app.subheader[0].value
    assert [expander.label for expander in app.expander] == ["Details for a bug report"]
    assert f"{raised}: <b>secret</b>" in app.expander[0].code[0].value


def test_what_a_user_can_mend_is_told_with_its_remedy():
    source = "from curation.errors import WinnowError\nfrom studio import mishaps\n"
    app = AppTest.from_string(source + "mishaps.show(WinnowError('No such thing.', fix='make one'))").run()
    assert "No such thing" in app.error[0].value
    assert [code.value for code in app.code] == ["make one"]


# -------------------------------------------------------------------- mixes


def test_parts_take_stages_and_repetitions(open_page):
    app = open_page("mix").multiselect(key="parts_2").set_value(["drawn", "longest"]).run()
    app = app.toggle(key="mix_staged").set_value(True).run()
    app = app.number_input(key="part_times_longest").set_value(3).run()
    app = app.text_input(key="part_stage_drawn").set_value("wide").run()
    assert command(app, "export").endswith(" drawn-longest --part drawn@wide --part 'longest*3@stage-2'")
    app = app.text_input(key="part_stage_drawn").set_value("two words").run()
    assert button(app, "export-run").disabled


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a*3", {"selection": "a", "times": 3}),
        ("a=5*2@deep", {"selection": "a", "rows": 5, "times": 2, "stage": "deep"}),
        ("a=x2*2", {"selection": "a", "weight": 2.0, "times": 2}),
        ("a*1", {"selection": "a"}),
        ("odd*2", {"selection": "odd*2"}),
        ("a*101", {"selection": "a*101"}),
        ("where:turns*2 > 3", {"where": "turns*2 > 3"}),
        ("where:turns > 1 *3", {"where": "turns > 1 *3"}),
    ],
)
def test_a_part_is_repeated_by_a_star(text, part):
    assert part_of(text, ["a", "odd*2"]) == part


def test_a_repeated_part_comes_so_often(corpus):
    report = export(corpus, recipe("twice", ["drawn=4*2"], "messages", 0, corpus.selections()))
    assert report.rows == 8


def test_an_exported_mix_leads_to_its_training_and_to_its_file(open_page):
    app = open_page("mix")
    assert not app.exception
    assert "Train on the mix" in texts(app)
    assert any("train" in str(element.proto) and "jsonl" in str(element.proto) for element in app.get("link_button"))


def test_a_viewer_can_start_nothing(open_page, monkeypatch):
    from studio.door import access

    monkeypatch.setattr(access, "role", lambda: access.Role.VIEWER)
    app = open_page("mix")
    assert button(app, "export-run").disabled


def test_a_run_beside_a_mix_counts_for_the_guide(tmp_path):
    corpus = Corpus.create(tmp_path)
    write_run(corpus, "first")
    assert {stage.page for stage in guide.stages(corpus) if stage.done} == {"train"}
