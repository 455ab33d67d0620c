"""Training and judging as a reader meets them: presets, empty states, what comes next, viewers, and Chinese."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from streamlit.testing.v1 import AppTest

from curation.corpus import Corpus
from curation.ingestion import ingest
from curation.mixing import build_mix, export
from studio.door import access
from studio.languages import KEY
from studio.pages import compared_curves, evaluate, run_charts, run_next, train_presets
from studio.pages.run_data import run_data
from tests.studio.pages import button, command, texts, write_run
from training.advice.advising import advise
from training.comparing_runs import Point
from training.config import TrainConfig

SMALL = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 2, "vocab_size": 300, "max_position_embeddings": 512,
}  # fmt: skip
CHINESE = re.compile(r"[\u4e00-\u9fff]")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """As far as these pages read one: an exported mix and a run of it."""
    folder = tmp_path_factory.mktemp("ship")
    rows = [{"instruction": f"What is {n} plus {n}?", "output": f"It is {2 * n}."} for n in range(30)]
    (folder / "sums.jsonl").write_text("\n".join(map(json.dumps, rows)))
    corpus = Corpus.create(folder / "corpus")
    ingest(corpus, [folder / "sums.jsonl"])
    export(corpus, build_mix({"name": "best", "parts": [{"where": "TRUE"}]}))
    write_run(corpus, "first")
    return corpus


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """The folder of a corpus with nothing in it."""
    return Corpus.create(tmp_path_factory.mktemp("ship") / "empty").path


@pytest.fixture
def warm(corpus):
    """The corpus with a small model of its own, as far as it is read before a run starts."""
    folder = corpus.path / "models" / "warm-up"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(SMALL))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def in_chinese(corpus, monkeypatch):
    monkeypatch.setenv("WINNOW_CORPUS", str(corpus.path))

    def opened(name: str) -> AppTest:
        app = AppTest.from_string(f"from studio.pages import {name}\n{name}.page()", default_timeout=30)
        app.session_state[KEY] = "zh"
        return app.run()

    return opened


# -------------------------------------------------------------------- presets


def test_training_starts_with_settings_that_suit_the_mix_and_the_machine(open_page, warm):
    app = open_page("train", mix="best")
    assert not app.exception
    assert app.segmented_control(key="train_preset").value == "suggested"
    assert "--set epochs=8" in command(app, "train")
    assert not button(app, "train-run").disabled
    assert button(app, "train-take").disabled
    # A name no run can have is told before the start.
    app = app.text_input(key="train_run").set_value("../up").run()
    assert button(app, "train-run").disabled
    assert not app.exception


def test_a_quick_try_ends_after_a_few_steps_and_what_is_typed_stays_until_another_preset_is_chosen(open_page, warm):
    app = open_page("train").segmented_control(key="train_preset").set_value("quick").run()
    assert "--set max_steps=" in command(app, "train")
    assert "--set eval_steps= " in f"{command(app, 'train')} "
    app = app.segmented_control(key="train_preset").set_value("suggested").run()
    assert "max_steps=" not in command(app, "train")
    app = next(n for n in app.number_input if n.label == "Epochs").set_value(2.0).run()
    assert "--set epochs=2" in command(app, "train")
    app = app.segmented_control(key="train_preset").set_value("own").run()
    assert "--set epochs=2" in command(app, "train")


def test_a_run_that_would_take_long_is_tried_first(corpus):
    told = advise(corpus.path / "mixes" / "best", TrainConfig(base_model="somebody/tiny-1B", adapter="full"))
    long, short = (type(told)(**{**fields(told), "seconds": s, "steps": 400}) for s in (7230.0, 300.0))
    assert [train_presets.default_preset(one) for one in (long, short)] == ["quick", "suggested"]
    assert train_presets.quick_steps(long) == 10
    assert train_presets.quick_steps(short) == 100


def fields(told):
    return {name: getattr(told, name) for name in told.__dataclass_fields__}


def test_a_mix_of_preferences_brings_a_method_that_prefers(open_page, corpus):
    folder = corpus.path / "mixes" / "pairs"
    folder.mkdir()
    said = [{"role": role, "content": role} for role in ("user", "assistant")]
    row = {"id": "a", "prompt": said[:1], "chosen": said[1:], "rejected": said[1:], "source": "s"}
    (folder / "train.jsonl").write_text(json.dumps(row) + "\n")
    try:
        app = open_page("train", mix="pairs")
        assert app.selectbox(key="train_method").value == "dpo"
    finally:
        shutil.rmtree(folder)


def test_without_a_warm_up_model_the_page_makes_one(open_page):
    app = open_page("train")
    assert command(app, "warm-up").startswith("winnow warm-up ")
    assert not button(app, "train_warm_up-run").disabled
    assert button(app, "train-run").disabled


# -------------------------------------------------------------------- what comes next


def test_a_finished_run_is_judged_by_the_command_that_its_page_would_run(open_page, corpus):
    app = open_page("train", run="first")
    assert not button(app, "evaluate_first").disabled
    opened = open_page("evaluate", run="first")
    assert command(opened, "evaluate").split()[1:] == run_next.evaluate_command(corpus.path / "runs" / "first")


def test_one_run_has_nothing_to_be_compared_with(open_page, corpus):
    app = open_page("compare_runs")
    assert "One run cannot be compared" in [heading.value for heading in app.subheader]
    assert any(b.label == "Go to Train" for b in app.button)


def test_the_view_of_a_comparison_stands_in_the_address(open_page, corpus):
    app = open_page("compare_runs", view="search")
    assert app.segmented_control(key="runs_view").value == "search"
    assert not app.exception


@pytest.mark.parametrize("name", ["train", "evaluate", "compare_runs", "chat"])
def test_an_empty_corpus_has_one_way_on(open_page, empty, name):
    app = open_page(name, empty)
    assert not app.exception
    assert sum(b.label.startswith("Go to ") for b in app.button) == 1


# -------------------------------------------------------------------- who looks, and in which language


def test_a_viewer_can_neither_resume_nor_judge(open_page, corpus, monkeypatch):
    stopped = write_run(corpus, "halted", state="stopped")
    monkeypatch.setattr(access, "role", lambda: access.Role.VIEWER)
    try:
        assert button(open_page("train", run="halted"), "resume_halted").disabled
        app = open_page("train", run="first")
        assert button(app, "evaluate_first").disabled
        assert button(app, "evaluate_first").help == access.ONLY_LOOK
    finally:
        shutil.rmtree(stopped)


@pytest.mark.parametrize("name", ["train", "evaluate", "compare_runs", "chat"])
def test_the_pages_speak_chinese_and_show_a_name_with_marks_as_it_is(in_chinese, corpus, warm, name):
    odd = write_run(corpus, "a*b*_c_")
    try:
        app = in_chinese(name)
        assert not app.exception
        said = [app.title[0].value, *(heading.value for heading in app.subheader)]
        said += [w.label for w in (*app.button, *app.multiselect, *app.text_input, *app.segmented_control, *app.metric)]
        assert [text for text in said if text and not CHINESE.search(text)] == []
        assert "*b*" not in texts(app)
    finally:
        shutil.rmtree(odd)


# -------------------------------------------------------------------- charts


def test_curves_are_told_apart_by_dashes_as_well():
    points = [Point(run, None, 1, 10, 1.0, 2.0) for run in ("one", "two")]
    rows = [row for point in points for row in compared_curves.smoothed([point], 1)]
    drawn = json.dumps(compared_curves._lines(rows, ["one", "two"], "step", "nats per token", points=True).to_dict())
    assert '"strokeDash"' in drawn
    assert '"tooltip"' in drawn


def test_the_curve_of_a_run_names_its_two_lines(corpus):
    data = run_data(corpus.path / "runs" / "first")
    rows = run_charts.training_points(data.logs, [], 0.5)
    spec = run_charts._training_chart(rows, data, False)
    assert '"domain": ["smoothed", "as logged"]' in json.dumps(spec)


def test_the_plain_specifications_of_a_run_are_what_vega_lite_knows(corpus):
    import altair

    data = run_data(corpus.path / "runs" / "first")
    rows, held_out = run_charts.training_points(data.logs, ["a", "b"], 0.5), run_charts.held_out_points(data.held_out)
    for spec in (
        run_charts._training_chart(rows, data, True),
        run_charts._training_chart(rows, data, False),
        run_charts._held_out_chart(held_out, data, True),
    ):
        altair.LayerChart.from_dict(spec)


def test_a_chart_of_losses_can_be_downloaded_as_a_table():
    row = {"source": None, "base": 6.0, "random": None, "trained": 5.5}
    assert evaluate.loss_points([row]).rows() == [("all sources", "base", 6.0), ("all sources", "trained", 5.5)]
