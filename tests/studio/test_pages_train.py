"""The Train page: which settings a method has, advice beside the form, and runs opened from their own files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from curation.corpus import Corpus
from studio.pages import run_about, run_points, run_samples, runs, train, train_advice, train_form
from tests.studio.pages import button, command, texts, write_run
from training.config import TrainConfig
from training.runs.run_folder import process_start


@pytest.fixture
def page(open_page):
    """The page with a base model that is named but not here."""
    app = open_page("train").segmented_control(key="train_base").set_value("another model").run()
    return app.text_input(key="train_base_path").set_value("models/small-1B").run()


def labels(app) -> set[str]:
    return {w.label for w in (*app.number_input, *app.selectbox, *app.text_input, *app.multiselect, *app.toggle)}


def add(folder: Path, *events: dict) -> None:
    with (folder / "events.jsonl").open("a") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)


def samples(step: int, answer: str) -> dict:
    told = {"id": "a", "source": "tea", "prompt": [{"role": "user", "content": "Which tea?"}], "reference": "Green."}
    return {
        "type": "samples",
        "step": step,
        "answers": [{**told, "answer": answer, "finish_reason": "stop", "tokens": 3}],
    }


# -------------------------------------------------------------------- the form


def test_a_method_shows_its_own_settings_and_not_those_of_others(page):
    assert {"Packing", "Loss on", "Lora rank"} <= labels(page)
    assert not {"Beta", "Virtual tokens", "Answers per prompt"} & labels(page)
    page = page.selectbox(key="train_method").set_value("dpo").run()
    assert "Beta" in labels(page)
    assert not {"Packing", "Loss on"} & labels(page)


def test_beta_is_automatic_until_it_is_typed_and_then_part_of_the_command(page):
    page = page.selectbox(key="train_method").set_value("dpo").run()
    beta = next(n for n in page.number_input if n.label == "Beta")
    assert (beta.value, beta.placeholder) == (None, "automatic")
    assert "beta=" not in command(page, "train")
    assert "--set beta=0.5" in command(beta.set_value(0.5).run(), "train")


def test_patience_without_held_out_losses_is_told_before_the_start(corpus):
    options = ["--set", "eval_steps=", "--set", "patience=2"]
    _, config, wrong = train.suggested(corpus.path / "mixes" / "best", "models/small-1B", "sft", "lora", options)
    assert (config.eval_steps, config.patience) == (None, 2)
    assert "there is none on the way" in wrong.message


def test_an_adapter_shows_its_own_settings(page):
    page = page.selectbox(key="train_adapter_other").set_value("prefix").run()
    assert "Virtual tokens" in labels(page)
    assert "Lora rank" not in labels(page)


def test_settings_that_nothing_reads_are_hidden_until_something_does(page):
    assert not {"Decay ratio", "Strategy"} & labels(page)
    page = page.selectbox(key="train_scheduler").set_value("wsd").run()
    page = next(n for n in page.number_input if n.label == "Processes").set_value(2).run()
    assert {"Decay ratio", "Strategy"} <= labels(page)


def test_every_field_of_the_config_has_a_place_in_some_form():
    from training.methods import METHODS

    shown = {
        name
        for method in METHODS
        for adapter in train_form.ADAPTERS
        for name in train_form.fields(method.name, adapter)
    }
    assert shown == set(TrainConfig.model_fields) - set(train_form.OWN_WIDGETS)
    assert set(train_form.ADAPTERS) == set(TrainConfig.model_fields["adapter"].annotation.__args__)


# -------------------------------------------------------------------- advice


def test_suggestions_are_taken_into_the_form_and_the_command(page):
    taken = button(page, "train-take").click().run()
    assert "--set epochs=8" in command(taken, "train")
    assert "--set max_length=128" in command(taken, "train")
    assert not taken.exception
    assert button(taken, "train-take").disabled


def test_advice_says_what_it_does_not_know(page):
    assert "memory not known" in texts(page) or any("not known" in text for text in texts(page).split("·"))


def test_advice_is_a_few_words_with_their_reasons(corpus):
    from training.advice.advising import advise

    config = TrainConfig(base_model="somebody/tiny-1B", adapter="lora")
    told = advise(corpus.path / "mixes" / "best", config)
    assert train_advice.sentences(told)[0] == f"{told.rows} rows"
    assert "read from the name" in train_advice.reasons(told)


# -------------------------------------------------------------------- runs


def test_what_looks_wrong_stands_above_the_numbers_with_what_to_do(corpus, open_page):
    folder = write_run(corpus, "worse")
    add(folder, {"type": "base", "vocabulary": 300, "rate": 1.0, "suggested_rate": 1e-4, "adapter": "full"})
    app = open_page("train", run="worse")
    told = " ".join(warning.value for warning in app.warning)
    assert "guessing among 300 tokens" in told
    assert "10000 times" in told
    assert "What to do:" in told


def test_sample_answers_stand_side_by_side_and_follow_the_run(corpus, open_page):
    folder = write_run(corpus, "answers")
    add(folder, samples(0, "Tea tea tea."), samples(2, "Black."))
    app = open_page("train", run="answers")
    assert {"Tea tea tea.", "Black."} <= {text.value for text in app.text}
    add(folder, samples(3, "Green tea."))
    app = app.run()
    assert {"Tea tea tea.", "Green tea."} <= {text.value for text in app.text}
    app = next(s for s in app.select_slider if s.label == "Step").set_value(2).run()
    assert "Black." in {text.value for text in app.text}


def test_a_live_run_comes_first_and_tells_speed_memory_and_time_left(corpus, open_page):
    alive = {"state": "running", "pid": os.getpid(), "process_start": process_start(os.getpid())}
    folder = write_run(corpus, "alive", **alive)
    more = {"tokens_per_second": 500.0, "peak_memory_gib": 1.5, "seconds_left": 90.0, "mfu": 0.31}
    add(folder, {"type": "log", "step": 2, "loss": 5.8, "seconds": 2, "tokens_seen": 600, **more})
    app = open_page("train", run="alive")
    shown = {metric.label: metric for metric in app.metric}
    assert (shown["Tokens per second"].value, shown["Tokens per second"].delta) == ("500", "MFU 31.0%")
    assert (shown["Peak memory"].value, shown["Time left"].value) == ("1.50 GiB", "1 min 30 s")
    assert [heading.value for heading in app.subheader] == ["Runs so far", "Train another"]
    (folder / "status.json").write_text(json.dumps({"state": "stopped", "step": 2, "max_steps": 3}))


def test_a_run_that_ended_early_says_which_weights_it_kept(corpus, open_page):
    folder = write_run(corpus, "early")
    (folder / "config.json").write_text(json.dumps({"base_model": "models/small", "adapter": "full", "patience": 2}))
    stop = {"type": "early_stop", "step": 3, "best_step": 1, "patience": 2}
    add(folder, stop, {"type": "best", "step": 1, "value": 5.0, "by": "loss"})
    assert "no better than that of step 1, whose weights are kept" in texts(open_page("train", run="early"))


def test_an_old_run_without_the_newer_events_opens(open_page):
    app = open_page("train", run="first")
    assert not app.exception
    assert {m.label: m.value for m in app.metric}["Peak memory"] == "none yet"


def test_settings_shown_for_a_run_are_its_own(corpus, open_page):
    assert run_about.changed_settings(
        {"base_model": "m", "method": "sft", "adapter": "full", "max_steps": 3, "seed": 0}
    ) == {
        "base_model": "m",
        "method": "sft",
        "adapter": "full",
        "max_steps": "3",
    }


def test_preference_diagnostics_are_drawn_where_there_are_some(corpus, open_page):
    folder = write_run(corpus, "pairs")
    add(
        folder,
        {"type": "held_out", "step": 2, "loss": 5.0, "accuracy": 0.7, "accuracy_interval": [0.6, 0.8], "kl": 0.1},
    )
    app = open_page("train", run="pairs")
    shown = {metric.label: metric for metric in app.metric}["Held-out accuracy"]
    assert (shown.value, shown.delta) == ("70.0%", "60% to 80%")
    assert "Is it the preference that is learnt?" in texts(app)
    assert "Is it the preference that is learnt?" not in texts(open_page("train", run="first"))


def test_the_command_that_goes_on_gives_back_the_config_of_the_run(corpus):
    from studio.runs import prepared

    folder = write_run(corpus, "odd")
    own = {"base_model": "models/small", "method": "grpo", "adapter": "lora", "eval_steps": None, "patience": 2}
    (folder / "config.json").write_text(json.dumps({**own, "rewards": ["final-answer", "length"], "offload": True}))
    words = runs.resume_command(folder)
    given = dict(words[place + 1].split("=", 1) for place, word in enumerate(words) if word == "--set")
    config, run = prepared(corpus.path / "mixes" / "best", "models/small", "grpo", "lora", "odd", given)
    assert config == TrainConfig.from_file(folder / "config.json")
    assert run == folder


# -------------------------------------------------------------------- curves


def test_smoothing_keeps_the_first_value_and_the_steps():
    points = [(1, 4.0), (2, 2.0), (3, 2.0)]
    assert run_points.smoothed(points, 0.0) == points
    bent = run_points.smoothed(points, 0.5)
    assert bent[0] == (1, 4.0)
    assert bent[1][1] == pytest.approx((4.0 * 0.25 + 2.0 * 0.5) / 0.75)


def test_curves_by_source_have_the_losses_of_that_source_only():
    logs = [
        {"step": 1, "loss": 3.0, "loss_by_source": {"a": 2.0, "b": 4.0}},
        {"step": 2, "loss": 2.0, "loss_by_source": {"a": 2.0}},
    ]
    rows = run_points.training_points(logs, ["b"], 0.0)
    assert rows == [{"step": 1, "source": "b", "loss": 4.0, "raw": 4.0}]
    assert [row["loss"] for row in run_points.training_points(logs, [], 0.0)] == [3.0, 2.0]


def test_held_out_losses_can_be_drawn_as_change_and_may_be_missing():
    told = [
        {"step": 0, "loss": 3.0, "loss_by_source": {"a": 2.0}},
        {"step": 5, "loss": 2.5, "loss_by_source": {"a": 2.2}},
    ]
    change = {row["source"]: row["loss"] for row in run_points.held_out_points(told, change=True) if row["step"] == 5}
    assert change == {"all": -0.5, "a": pytest.approx(0.2)}
    assert run_points.held_out_points([{"step": 0, "objective": 1.0}]) == []


def test_answers_are_kept_by_prompt_in_the_order_of_steps():
    told = run_samples.answers_by_prompt([samples(5, "b"), samples(0, "a")])
    assert [(step, answer["answer"]) for step, answer in told["a"]] == [(0, "a"), (5, "b")]


def test_a_run_of_an_empty_corpus_is_told_where_it_will_appear(open_page, tmp_path):
    app = open_page("train", Corpus.create(tmp_path).path)
    assert "No run yet" in texts(app)
