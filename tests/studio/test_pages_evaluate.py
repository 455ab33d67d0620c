"""The Evaluate page: what it shows of a judged run, all of it read from the run's files."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from studio.commands.mix_searching import FOLDER
from studio.pages import evaluate, judged_answers
from tests.studio.pages import command, texts, write_run
from training.answering import AnswersReport, Lengths
from training.evaluation import RunEvaluation
from training.judging.answers import Answer, AnswerBook
from training.judging.comparison import Difference, SourceRow
from training.judging.pairwise import keep_pairs, texts_of
from training.judging.verified import Share, Verified, final_answers_of, keep_scores
from training.judging.win_rate import win_rate

OVERALL = SourceRow(None, 20, 400, 6.0, 5.4, 5.6, Difference(-0.2, -0.3, -0.1))
TEA = SourceRow("tea", 8, 100, 6.5, 6.0, 6.1, Difference(-0.1, None, None))
LOW = SourceRow("low (below 0.4)", 12, 200, 6.1, 5.1, 5.2, Difference(-0.1, -0.2, 0.1))


def said(app) -> str:
    """What the page says, without the marks that keep Markdown from reading it."""
    return texts(app).replace("\\", "")


def answer(n: int, model: str, text: str, finish: str = "stop") -> Answer:
    prompt = [{"role": "user", "content": f"How many cups are {n} and {n}?"}]
    return Answer(f"p{n}", "tea", prompt, f"#### {2 * n}", model, text, finish, 5, f"w-{model}", "s")


ANSWERS = [
    answer(1, "base", "Many"),
    answer(1, "trained", "It is 2"),
    answer(2, "base", "It is 4"),
    answer(2, "trained", "It is <b>5</b> *cups*", "length"),
]
SCORES = [
    {"id": a.id, "model": a.model, "final_answer": right, "final_answer_found": found,
     "final_answer_expected": expected, "final_answer_reason": None, "code_tests": None,
     "code_tests_reason": "the metadata hold no tests",
     "rougeL": 0.25}
    for a, right, found, expected in zip(ANSWERS, (False, True, True, False), (None, *"245"), "2244", strict=True)
]  # fmt: skip
PAIRS = [
    {"id": f"p{n}", "against": "base", "judge": "j", "verdict": verdict, "orders": orders, "inconsistent": False,
     "lengths": [8, 4], "raw": ["", ""], "why": None, "texts": texts_of(ANSWERS[2 * n - 1], ANSWERS[2 * n - 2])}
    for n, verdict, orders in ((1, 1.0, ["first", "second"]), (2, 0.0, ["second", "first"]))
]  # fmt: skip
REPORT = AnswersReport(
    2, None, 0, 64, "s", {"base": "w-base", "trained": "w-trained"},
    [Lengths("base", 2, 5.0, 5.5, 0.0), Lengths("trained", 2, 5.0, 14.0, 0.5)],
    [final_answers_of(SCORES), Verified("code_tests", [], None, None, {}, "the metadata hold no tests")],
    [], "sacrebleu or rouge-score is not installed", "http://127.0.0.1:1/v1#j", [win_rate("base", PAIRS)], None,
)  # fmt: skip
JUDGED = RunEvaluation(
    "judged", "models/small", "sft", OVERALL, [TEA], None, "better than random: -0.2", None, "random", 900, 910, 0, {},
    groups={"ifd": [LOW]}, perplexity={"base": 403.4, "trained": 221.4}, answers=REPORT,
)  # fmt: skip


@pytest.fixture
def judged(corpus):
    """A run whose files are what an evaluation leaves."""
    folder = corpus.path / "runs" / "judged"
    if not folder.exists():
        write_run(corpus, "judged")
        AnswerBook(folder).add(ANSWERS)
        keep_scores(folder, SCORES)
        keep_pairs(folder, PAIRS)
    (folder / "evaluation.json").write_text(json.dumps(asdict(JUDGED)))
    return folder


def test_losses_are_shown_by_source_and_by_every_other_kind_of_group(open_page, judged):
    app = open_page("evaluate")
    assert not app.exception
    assert app.dataframe[0].value["source"].to_list() == ["all sources", "tea"]
    app.segmented_control(key="kind_judged").set_value("ifd").run()
    assert app.dataframe[0].value["source"].to_list() == ["all sources", "low (below 0.4)"]
    assert "perplexity of answers: base 403.4, trained 221.4" in said(app)


def test_right_answers_and_win_rates_are_told_with_their_intervals(open_page, judged):
    table = judged_answers.models_table(asdict(REPORT)).to_dicts()
    assert [row["final_answer"] for row in table] == [0.5, 0.5]
    assert table[1]["final_answer_interval"] == "9% to 91% of 2"
    told = said(open_page("evaluate"))
    assert "Programs that pass: not measured, the metadata hold no tests" in told
    assert "Against base: not proven with fewer than 10 verdicts, 50% (9% to 91%); 1 won, 0 ties, 1 lost" in told
    assert "at equal length not known" in told


def test_a_sentence_claims_only_what_the_interval_shows():
    one = asdict(REPORT)
    for low, high, word in ((0.1, 0.4, "better"), (-0.4, -0.1, "worse"), (-0.1, 0.5, "not proven")):
        checked = replace(REPORT.verified[0], gained=Difference((low + high) / 2, low, high))
        assert f"Right final answers: {word}, " in judged_answers.sentences({**one, "verified": [asdict(checked)]})[0]
    assert Share("base", 2, 1, 0.5, 0.1, 0.9).share == 0.5


def test_answers_stand_side_by_side_and_are_found_by_words_and_outcome(open_page, judged):
    app = open_page("evaluate")
    badges = [m.value for m in app.markdown if "badge" in m.value]
    assert any("base" in b for b in badges)
    shown = [t.value for t in app.text]
    assert shown == ["How many cups are 1 and 1?", "Many", "It is 2", "#### 2"]
    app.button(key="answers_at_judged-next").click().run()
    # Markup of an answer is text.
    assert [t.value for t in app.text][2] == "It is <b>5</b> *cups*"
    assert "cut off" in texts(app)
    app.selectbox(key="answers_kind_judged").set_value("won").run()
    assert next(t.value for t in app.text) == "How many cups are 1 and 1?"
    app.selectbox(key="answers_kind_judged").set_value("wrong").run()
    assert next(t.value for t in app.text) == "How many cups are 2 and 2?"
    app.text_input(key="answers_search_judged").set_value("no such words").run()
    assert "No prompt matches." in texts(app)


def test_a_verdict_on_other_answers_is_not_shown_beside_these(open_page, judged):
    keep_pairs(judged, [{**pair, "texts": "others"} for pair in PAIRS])
    app = open_page("evaluate")
    assert "judge: " not in said(app)
    app.selectbox(key="answers_kind_judged").set_value("won").run()
    assert "No prompt matches." in texts(app)
    keep_pairs(judged, PAIRS)
    assert "judge: trained preferred" in said(open_page("evaluate"))


def test_what_is_left_out_of_a_long_answer_is_counted(open_page, judged):
    long = [replace(ANSWERS[0], answer="x" * 6_100), *ANSWERS[1:]]
    before = (judged / "answers.jsonl").read_text()
    (judged / "answers.jsonl").write_text("".join(json.dumps(asdict(a)) + "\n" for a in long))
    assert "100 more characters" in texts(open_page("evaluate"))
    (judged / "answers.jsonl").write_text(before)


def test_names_of_tags_are_no_markdown(open_page, judged):
    found = {**asdict(JUDGED), "groups": {"**bold** :red[x]": [asdict(LOW)]}}
    (judged / "evaluation.json").write_text(json.dumps(found))
    app = open_page("evaluate")
    assert not app.exception
    assert app.segmented_control(key="kind_judged").options[1] != "**bold** :red[x]"
    assert app.segmented_control(key="kind_judged").options[1].replace("\\", "") == "**bold** :red[x]"


def test_a_preference_that_nothing_is_known_of_says_so():
    found = {"pairs": 8, "trained": None, "trained_interval": None, "random": None, "random_interval": None}
    told = evaluate.preference_sentence(found, arm=False)
    assert told.endswith("trained not known, it is still as the base, random no such arm.")
    known = {**found, "trained": 0.5, "trained_interval": [0.2, 0.8]}
    assert "trained 50% (20% to 80%)" in evaluate.preference_sentence(known, arm=True)


def test_runs_of_a_search_are_not_chosen_to_begin_with(open_page, corpus, judged):
    trial = write_run(corpus, "trial")
    (trial / "data.json").write_text(json.dumps({"mix": str(corpus.path / FOLDER / "s" / "mixes" / "1")}))
    own = write_run(corpus, "own")
    try:
        app = open_page("evaluate")
        assert [Path(chosen).name for chosen in app.multiselect[0].value if Path(chosen).name in ("trial", "own")] == [
            "own"
        ]
    finally:
        shutil.rmtree(trial)
        shutil.rmtree(own)


def test_a_held_out_answer_beside_samples_keeps_its_lines_and_names_of_sources_are_no_markdown(open_page, corpus):
    folder = write_run(corpus, "samples")
    told = {"id": "a", "source": "a*b*c", "prompt": [{"role": "user", "content": "q"}], "tokens": 2}
    event = {"type": "samples", "step": 0, "answers": [{**told, "answer": "x", "reference": "one\n*two*"}]}
    with (folder / "events.jsonl").open("a") as file:
        file.write(json.dumps(event) + "\n")
    try:
        app = open_page("train", run="samples")
        assert not app.exception
        assert "one\n*two*" in [element.value for element in app.text]
        assert app.segmented_control(key="sample_samples").options == ["1 · a\\*b\\*c"]
    finally:
        shutil.rmtree(folder)


def test_the_form_becomes_the_command(open_page, judged):
    app = open_page("evaluate")
    assert command(app, "evaluate").endswith("--answers 40")
    app.text_input(key="evaluate_judge").set_value("http://127.0.0.1:8000/v1#m").run()
    assert command(app, "evaluate").endswith("--answers 40 --judge 'http://127.0.0.1:8000/v1#m'")
    app.number_input(key="evaluate_answers").set_value(0).run()
    assert "--answers" not in command(app, "evaluate")


def test_an_evaluation_of_an_earlier_version_opens(open_page, judged):
    new = {"groups", "perplexity", "answers", "answers_reason", "lm_eval"}
    old = {name: value for name, value in asdict(JUDGED).items() if name not in new}
    (judged / "evaluation.json").write_text(json.dumps(old))
    app = open_page("evaluate")
    assert not app.exception
    assert "Better than random" in app.success[0].value


def test_what_was_judged_stays_chosen_so_that_its_box_tells_the_end(open_page, corpus):
    folder = write_run(corpus, "waiting")
    app = open_page("evaluate")
    before = command(app, "evaluate")
    assert str(folder) in before
    (folder / "evaluation.json").write_text(json.dumps({**asdict(JUDGED), "run": "waiting"}))
    assert command(app.run(), "evaluate") == before
    shutil.rmtree(folder)
