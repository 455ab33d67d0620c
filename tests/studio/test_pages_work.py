"""The pages that measure, choose, make, mix, train and judge: what they show, and the command that each builds."""

from __future__ import annotations

import json
import os
from dataclasses import asdict

import pytest
from streamlit.testing.v1 import AppTest

from curation.comparing import compare
from curation.corpus import Corpus
from curation.ingestion import ingest
from curation.scorers.metadata import Metadata
from curation.scoring import score
from studio.pages import (
    comparison,
    distribution,
    evaluate,
    exported_mixes,
    overlap,
    run_points,
    runs,
)
from studio.pages import (
    score as score_page,
)
from tests.studio.pages import button, command, texts, write_run
from training.evaluation import RunEvaluation
from training.judging.comparison import Difference, SourceRow
from training.runs.run_folder import process_start

PAGES = ("score", "select", "synthesize", "mix", "train", "evaluate")


@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_with_one_title_and_no_error(open_page, name):
    app = open_page(name)
    assert [title.value for title in app.title] == [name.capitalize()]
    assert not app.exception
    assert not app.error


@pytest.mark.parametrize("name", PAGES)
def test_an_empty_corpus_is_told_what_to_do_first(open_page, tmp_path, name):
    app = open_page(name, Corpus.create(tmp_path).path)
    assert not app.exception
    assert any("appear here" in heading.value for heading in app.subheader)


# -------------------------------------------------------------------- score


def test_the_form_of_a_scorer_becomes_its_command(open_page, corpus):
    app = open_page("score").selectbox(key="scorer-operator").set_value("heuristics").run()
    assert command(app, "score") == f"winnow score {corpus.path} heuristics"


def test_the_filter_in_the_address_is_part_of_the_command(open_page):
    assert command(open_page("score", where="source = 'tea'"), "score").endswith("""--where "source = 'tea'\"""")


def test_a_scorer_that_asks_a_model_waits_for_one(open_page):
    app = open_page("score").selectbox(key="scorer-operator").set_value("ifd").run()
    assert button(app, "score-run").disabled


def test_what_is_scored_is_listed_with_the_reasons_for_what_is_not(corpus):
    rows = score_page.runs_table(corpus, corpus.score_runs()).to_dicts()
    assert {row["scorer"]: row["scored"] for row in rows} == {"metadata": 30, "length": 40}


def test_a_histogram_counts_every_measured_sample_in_at_most_fifty_bins(corpus):
    shape = distribution.spread(corpus, "length", None)
    bins = distribution.histogram(corpus, shape, None)
    assert bins["samples"].sum() == shape.measured
    assert bins.height <= 50


def test_an_outlier_does_not_press_the_rest_into_one_bin(tmp_path):
    values = [n / 1000 for n in range(400)] + [1e6]
    rows = [{"instruction": f"Say {n}", "output": "Yes.", "value": value} for n, value in enumerate(values)]
    (tmp_path / "values.jsonl").write_text("\n".join(map(json.dumps, rows)))
    corpus = Corpus.create(tmp_path / "corpus")
    ingest(corpus, [tmp_path / "values.jsonl"])
    score(corpus, Metadata(field="value"))
    shape = distribution.spread(corpus, "value", None)
    assert shape.clipped
    assert distribution.histogram(corpus, shape, None).height > 40


def test_a_typed_threshold_counts_what_it_leaves(open_page, corpus):
    app = open_page("score", view="distribution")
    app = app.selectbox(key="distribution_score").set_value("length").run()
    app = app.number_input(key="least_length").set_value(60).run()
    kept = next(metric.value for metric in app.metric if metric.label == "Kept")
    assert kept == str(corpus.count("length >= 60"))


def test_both_ends_of_a_score_are_shown(corpus):
    highest = distribution.ends(corpus, "length", None, highest=True)["length"].to_list()
    lowest = distribution.ends(corpus, "length", None, highest=False)["length"].to_list()
    assert len(highest) == len(lowest) == 10
    assert highest == sorted(highest, reverse=True)
    assert max(lowest) <= min(highest)


def test_a_threshold_narrows_the_filter_once():
    assert distribution.narrowed(None, "length >= 60") == "length >= 60"
    assert distribution.narrowed("turns = 2", "length >= 60") == "turns = 2 AND length >= 60"
    assert distribution.narrowed("a = 1 OR b = 2", "c >= 3") == "(a = 1 OR b = 2) AND c >= 3"
    assert distribution.narrowed("length >= 60", "length >= 60") == "length >= 60"


# -------------------------------------------------------------------- select


def test_a_budget_in_percent_says_how_many_samples_that_is(open_page):
    app = open_page("select", where="source = 'sums'").number_input(key="budget_percent").set_value(20.0).run()
    assert " stratified 20% --name stratified-20pct" in command(app, "select")
    assert button(app, "select-run").label == "Select 6 samples"


def test_a_selector_that_compares_vectors_waits_for_an_embedding(open_page):
    app = open_page("select").selectbox(key="selector-operator").set_value("k-center").run()
    assert button(app, "select-run").disabled
    assert "make an embedding on the Score page" in texts(
        app
    ).lower() or "Make an embedding on the Score page" in texts(app)


def test_a_score_to_sort_by_must_be_named_first(open_page):
    app = open_page("select").selectbox(key="selector-operator").set_value("top-k").run()
    assert button(app, "select-run").disabled


def test_the_share_of_common_samples_is_of_the_rows_selection(corpus):
    names = ["drawn", "longest"]
    pairs = overlap.pairs_of(overlap.intersections(corpus, names), names)
    assert pairs.filter(a="drawn", b="drawn")["share"].item() == 1.0
    common = set(corpus.selection("drawn").ids) & set(corpus.selection("longest").ids)
    assert pairs.filter(a="drawn", b="longest")["common"].item() == len(common)


def test_a_sample_that_one_takes_and_another_leaves_has_the_stored_reason(corpus):
    rows = comparison.taken_and_left(corpus, "longest", "drawn")
    assert set(rows["reason"]) == {"not drawn"}
    assert not set(rows["id"]) & set(corpus.selection("drawn").ids)


def test_score_means_stand_beside_those_of_the_pool(corpus):
    table = comparison.score_table(compare(corpus, ["drawn", "longest"]), ["length"])
    row = table.row(0, named=True)
    assert row["Score"] == "length"
    assert row["longest"].endswith(" ▲")
    assert float(row["longest"].split()[0]) > float(row["pool"])


# -------------------------------------------------------------------- mix


def test_parts_become_options_with_their_weights(open_page):
    app = open_page("mix").multiselect(key="parts_2").set_value(["drawn", "longest"]).run()
    app.segmented_control(key="part_unit_drawn").set_value("weight").run()
    app = app.number_input(key="part_weight_drawn").set_value(2.5).run()
    assert command(app, "export").endswith(" drawn-longest --part drawn=x2.5 --part longest")


def test_the_parts_of_a_mix_name_their_selectors(corpus):
    table = exported_mixes.parts_table(corpus.mixes()["best"])
    assert table["part"].to_list() == ["longest", "drawn"]
    assert table["method"].to_list() == ["longest", "random"]


def test_the_preview_shows_the_first_row_of_the_file(open_page, corpus):
    first = json.loads((corpus.path / "mixes" / "best" / "train.jsonl").read_text(encoding="utf-8").splitlines()[0])
    assert first["messages"][0]["content"] in [text.value for text in open_page("mix").text]


# -------------------------------------------------------------------- train


def name_model(app: AppTest) -> AppTest:
    app = app.segmented_control(key="train_base").set_value("another model").run()
    return app.text_input(key="train_base_path").set_value("models/small").run()


def test_changed_settings_become_options(open_page):
    app = name_model(open_page("train"))
    app.text_input(key="train-learning_rate").set_value("5e-7")
    app = next(n for n in app.number_input if n.label == "Max steps").set_value(5).run()
    assert command(app, "train").endswith("--set max_steps=5 --set learning_rate=5e-7")
    assert not button(app, "train-run").disabled


def test_a_wrong_setting_is_two_lines_and_no_run(open_page):
    app = name_model(open_page("train")).text_input(key="train-learning_rate").set_value("fast").run()
    assert button(app, "train-run").disabled
    assert "learning" in app.error[0].value


def test_dpo_needs_preferences(open_page):
    app = name_model(open_page("train")).selectbox(key="train_method").set_value("dpo").run()
    assert button(app, "train-run").disabled
    assert "preference" in texts(app)


def test_without_a_warm_up_model_the_default_says_where_to_train_it(open_page):
    app = open_page("train")
    assert button(app, "train-run").disabled
    assert "Score page" in texts(app)


def test_a_run_shows_its_losses(open_page):
    shown = {metric.label: metric.value for metric in open_page("train").metric}
    assert shown["Training loss"] == "5.700"
    assert shown["Held-out loss"] == "5.500"
    assert shown["Tokens per second"] == "300"


def test_held_out_losses_are_drawn_by_source():
    points = run_points.held_out_points([{"step": 4, "loss": 5.0, "loss_by_source": {"tea": 5.5}}])
    assert points == [{"step": 4, "source": "all", "loss": 5.0}, {"step": 4, "source": "tea", "loss": 5.5}]


def test_a_long_curve_is_thinned_and_keeps_its_last_point():
    thinned = run_points.thinned([(n, 1.0) for n in range(10_000)])
    assert len(thinned) < 1_000
    assert thinned[-1] == (9_999, 1.0)


def test_a_run_without_a_job_is_asked_to_stop(corpus):
    alive = {"state": "running", "pid": os.getpid(), "process_start": process_start(os.getpid())}
    folder = write_run(corpus, "from-a-terminal", **alive)
    runs.cancel(corpus, folder)
    assert (folder / "STOP").exists()
    (folder / "status.json").write_text(json.dumps({"state": "stopped", "step": 2, "max_steps": 3}))


def test_a_run_without_a_job_is_resumed_by_the_same_command(corpus):
    folder = corpus.path / "runs" / "first"
    words = " ".join(runs.resume_command(folder))
    assert words.endswith("best --base-model models/small --method sft --adapter full --run first --set max_steps=3")


# -------------------------------------------------------------------- evaluate


def test_the_verdict_of_a_run_is_shown_with_its_table(open_page, corpus):
    overall = SourceRow(None, 20, 400, 6.0, 5.4, 5.6, Difference(-0.2, -0.3, -0.1))
    tea = SourceRow("tea", 8, 100, 6.5, 6.0, 6.1, Difference(-0.1, None, None))
    judged = RunEvaluation(
        "first",
        "models/small",
        "sft",
        overall,
        [tea],
        None,
        "better than random: -0.2",
        None,
        "random",
        900,
        910,
        0,
        {},
    )
    (corpus.path / "runs" / "first" / "evaluation.json").write_text(json.dumps(asdict(judged)))
    app = open_page("evaluate")
    assert "Better than random" in app.success[0].value
    table = evaluate.result_table([asdict(overall), asdict(tea)])
    assert table["source"].to_list() == ["all sources", "tea"]
    assert table["interval"].to_list() == ["-0.3000 to -0.1000", "too few examples"]
