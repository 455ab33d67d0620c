"""The page Synthesize: form, prompts, costs, outcomes."""

from __future__ import annotations

import json

import pytest
from streamlit.testing.v1 import AppTest

from curation.corpus import Corpus
from curation.errors import ModelError
from curation.ingestion import ingest
from studio.pages import (
    synthesis_results,
)
from synthesis import Distill, synthesize
from tests.studio.pages import button, command, texts

# -------------------------------------------------------------------- synthesize


def test_a_server_needs_its_address_before_it_can_run(open_page):
    app = open_page("synthesize").segmented_control(key="synthesize_kind").set_value("address").run()
    assert button(app, "synthesize-run").disabled
    app.text_input(key="synthesize_address").set_value("http://localhost:8000/v1")
    app.text_input(key="synthesize_served").set_value("small").run()
    assert "--model 'http://localhost:8000/v1#small'" in command(app, "synthesize")
    assert not button(app, "synthesize-run").disabled
    assert "not zero" in texts(app)


def test_outcomes_are_counted_by_rule(corpus):
    run = synthesis_results.runs(corpus)[0]
    counted = synthesis_results.counts(corpus, run.run)
    assert (counted.seeds, counted.outcomes, counted.rules) == (2, 2, {"refusal": 1})
    assert (counted.accepted, counted.new, counted.by_hand) == (1, 1, 0)
    assert [stage for stage, _, _ in counted.steps()] == [
        "seed samples",
        "outcomes",
        "refusal",
        "accepted",
        "new in the corpus",
    ]


def served(app: AppTest, model: str = "small") -> AppTest:
    """The form with a server's address."""
    app = app.segmented_control(key="synthesize_kind").set_value("address").run()
    app.text_input(key="synthesize_address").set_value("http://127.0.0.1:9/v1")
    return app.text_input(key="synthesize_served").set_value(model).run()


def test_judge_rules_budget_and_pace_are_part_of_the_command(open_page):
    app = served(open_page("synthesize"))
    app = app.toggle(key="synthesize_judged").set_value(True).run()
    app.text_input(key="synthesize_judge").set_value("openai:big")
    app.number_input(key="acceptance_min_score").set_value(7.0)
    app.toggle(key="acceptance_exact").set_value(True)
    app.number_input(key="synthesize_concurrency").set_value(64)
    app = app.number_input(key="synthesize_budget").set_value(2.5).run()
    line = next(c.value for c in app.code if c.value.startswith("winnow synthesize") and "--pilot" not in c.value)
    assert "--judge openai:big --accept exact=true --accept min_score=7 --limit" in line
    assert line.endswith("--budget 2.5 --concurrency 64")
    assert "accept" in app.selectbox(key="prompt_name").options, "the judge's prompt is one of the run's"


def test_the_upper_bound_stands_before_the_run_and_a_budget_waits_for_a_price(open_page, corpus):
    app = served(open_page("synthesize"), "unpriced")
    assert "60 calls (20 evolve, 20 judge, 20 answer)" in texts(app).replace("\\", "")
    app = app.number_input(key="synthesize_budget").set_value(1.0).run()
    assert button(app, "synthesize-run").disabled
    app.number_input(key="price-unpriced-input").set_value(0.5)
    app.number_input(key="price-unpriced-output").set_value(2.0)
    app = button(app, "price-unpriced-set").click().run()
    assert not button(app, "synthesize-run").disabled
    assert "0.5 in, 2 out, US dollars for a million tokens" in texts(app).replace("\\", "")
    assert (corpus.path / "prices.json").exists()


def test_a_pilot_is_a_command_of_its_own_beside_the_run(open_page):
    app = served(open_page("synthesize"))
    lines = [code.value for code in app.code if code.value.startswith("winnow synthesize")]
    assert lines == [f"{lines[1]} --pilot", lines[1]]
    assert button(app, "pilot-run").label == "Try the first 5 seed samples"


def test_a_prompt_is_rewritten_and_taken_back(open_page, corpus):
    app = open_page("synthesize").selectbox(key="prompt_name").set_value("equality").run()
    area = next(area for area in app.text_area if "prompt-equality" in area.key)
    app = area.set_value(area.value + "\n\nBe strict.").run()
    app = next(b for b in app.button if b.label == "Save the wording").click().run()
    assert (corpus.path / "prompts" / "equality.md").read_text().endswith("Be strict.\n")
    next(b for b in app.button if b.label == "Reset to the built-in").click().run()
    assert not (corpus.path / "prompts" / "equality.md").exists()


def test_a_run_of_which_nothing_was_accepted_is_shown_as_failed_with_its_raw_answer(open_page, tmp_path):
    corpus = Corpus.create(tmp_path / "failed")
    (tmp_path / "rows.jsonl").write_text(json.dumps({"instruction": "Name a tea.", "output": "Green."}))
    ingest(corpus, [tmp_path / "rows.jsonl"])
    (tmp_path / "replies.jsonl").write_text(json.dumps({"contains": ["tea"], "reply": "I'm sorry, I can't."}))
    with pytest.raises(ModelError):
        synthesize(corpus, Distill(), f"replay:{tmp_path / 'replies.jsonl'}")
    app = open_page("synthesize", corpus.path)
    assert "none of 1 outcomes was accepted. The first: refusal" in app.error[0].value.replace("\\", "")
    assert "I'm sorry, I can't." in [text.value for text in app.text]


def test_a_new_sample_stands_beside_its_seed_sample(open_page):
    shown = [text.value for text in open_page("synthesize").text]
    assert shown.count("介绍第1种茶。") == 2
    assert "龙井产自杭州。" in shown
