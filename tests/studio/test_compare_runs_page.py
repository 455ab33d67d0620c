"""The Compare runs page: runs side by side, bad cases and what to do about them, searches."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from dataclasses import asdict

import pytest
from click.testing import CliRunner

from curation.corpus import Corpus
from curation.ingestion import ingest
from curation.mixing import build_mix, export
from studio.cli import winnow
from studio.commands.mix_searching import findings
from studio.pages import bad_cases as bad_cases_page
from studio.pages import compare_runs, compared_answers, compared_curves, mix_search
from tests.studio.pages import button, command, texts, write_run
from training.comparing_runs import Point
from training.judging.answers import Answer
from training.judging.bad_cases import bad_cases
from training.judging.seesaw import Change
from training.mix_search.law import fit
from training.mix_search.searching import NextRun, SearchReport, Trial
from training.runs.run_folder import process_start


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A small corpus with an exported mix and two runs."""
    folder = tmp_path_factory.mktemp("compared")
    rows = [{"instruction": f"What is {n} plus {n}?", "output": f"It is {2 * n}."} for n in range(12)]
    (folder / "sums.jsonl").write_text("\n".join(map(json.dumps, rows)))
    corpus = Corpus.create(folder / "corpus")
    ingest(corpus, [folder / "sums.jsonl"])
    export(corpus, build_mix({"name": "best", "parts": [{"where": "TRUE"}]}))
    write_run(corpus, "first")
    write_run(corpus, "second")
    return corpus


def opened(open_page, view):
    return open_page("compare_runs").segmented_control(key="runs_view").set_value(view).run()


def test_the_page_opens_on_corpus_with_curves_rises_and_data(open_page, corpus):
    app = open_page("compare_runs")
    assert [title.value for title in app.title] == ["Compare runs"]
    assert not app.exception
    assert not app.error
    headings = [heading.value for heading in app.subheader]
    assert headings[:4] == ["Curves", "What rose and what fell", "Settings that differ", "Data that differ"]
    assert command(app, "compare-runs").startswith(f"winnow compare-runs {corpus.path}/runs/")


def test_an_empty_corpus_is_told_what_to_do_first(open_page, tmp_path):
    app = open_page("compare_runs", Corpus.create(tmp_path).path)
    assert not app.exception
    assert any("appear here" in heading.value for heading in app.subheader)


def test_a_curve_is_the_mean_of_the_last_steps_and_stays_light_to_draw():
    points = [Point("r", None, n, 10 * n, float(n), float(n)) for n in range(1, 10_001)]
    rows = compared_curves.smoothed(points, 2)
    assert rows[0]["loss"] == 1.0
    assert rows[-1]["loss"] == 9999.5
    assert len(rows) <= 1200


def change(name, size, verdict):
    return Change("source", name, "held-out loss", 20, 2.0, 2.0 - size, -size, -size, 0.1, size, verdict)


def test_the_table_of_rises_and_falls_says_what_is_not_proven():
    table = compared_answers.seesaw_table([change("tea", 0.5, "better"), change("sums", 0.1, "not proven")]).to_dicts()
    assert [row["verdict"] for row in table] == ["▲ better", "– not proven"]
    assert table[1]["interval"] == "-0.1000 to +0.1000"


def cases_of(open_page, corpus):
    run = corpus.path / "runs" / "second"
    text = "tea " * 30
    answer = Answer(
        "p", "sums", [{"role": "user", "content": "What is 3 plus 3?"}], "6", "trained", text, "stop", 60, "w", "s"
    )
    (run / "answers.jsonl").write_text(json.dumps(asdict(answer)) + "\n")
    bad_cases(run)
    app = opened(open_page, "cases")
    box = next(b for b in app.selectbox if b.label == "Training run")
    return box.set_value(box.options.index("second") if isinstance(box.options[0], int) else run).run()


def test_bad_cases_lead_to_a_selection_a_mix_and_new_samples(open_page, corpus):
    run = corpus.path / "runs" / "second"
    app = cases_of(open_page, corpus)
    assert not app.exception
    assert command(app, "bad-cases") == f"winnow bad-cases {run}"
    assert "1 of 1 answers of the trained model break a rule" in texts(app).replace("\\", "")
    assert any("--rule repetition --select near-second-repetition" in code.value for code in app.code)
    assert command(app, "export").endswith("recipes/near-second-repetition.json")
    assert button(app, "remedy_export-run").disabled
    assert "WHERE name = 'near-second-repetition'" in command(app, "synthesize")


def test_a_name_that_no_selection_can_have_is_told_beside_the_button(open_page, corpus):
    app = cases_of(open_page, corpus)
    app = next(field for field in app.text_input if field.label == "Selection").set_value("a/b").run()
    assert not app.exception
    assert button(app, "remedy_select-run").disabled
    assert "can be called 'a/b'" in texts(app).replace("\\", "")


def test_near_samples_are_stored_from_the_report_that_the_judge_was_asked_for(open_page, corpus, tmp_path):
    run = corpus.path / "runs" / "first"
    told = {"contradicted": True, "claim": "a switch", "why": "It has none."}
    (tmp_path / "replies.jsonl").write_text(json.dumps({"contains": ["kettle"], "reply": json.dumps(told)}) + "\n")
    judge = f"replay:{tmp_path / 'replies.jsonl'}"
    prompt = [{"role": "user", "content": "How does a kettle work?"}]
    answer = Answer("k", "tea", prompt, "By heat.", "trained", "It has a switch.", "stop", 9, "w", "s")
    (run / "answers.jsonl").write_text(json.dumps(asdict(answer)) + "\n")
    bad_cases(run, judge=judge, neighbours=2)
    before = (run / "bad_cases.json").read_bytes()
    (tmp_path / "replies.jsonl").unlink()
    words = ["bad-cases", str(run), "--rule", "hallucinated", "--select", "switches"]
    done = CliRunner().invoke(winnow, words)
    assert done.exit_code == 0, done.output
    assert len(corpus.selection("switches").ids) == 2
    assert (run / "bad_cases.json").read_bytes() == before
    report = json.loads(before)
    assert bad_cases_page._as_found(report) == ["--judge", judge, "--neighbours", "2"]


def test_a_comparison_is_read_anew_when_a_mix_changes_or_a_process_dies(corpus):
    runs = [corpus.path / "runs" / name for name in ("first", "second")]
    first = compare_runs._state(runs)
    assert compare_runs._state(runs) == first
    train = corpus.path / "mixes" / "best" / "train.jsonl"
    os.utime(train, ns=(1, 1))
    second = compare_runs._state(runs)
    assert second != first
    sleeper = subprocess.Popen(["sleep", "60"])
    alive = {"state": "running", "pid": sleeper.pid, "process_start": process_start(sleeper.pid)}
    status = runs[0] / "status.json"
    kept = status.read_text()
    status.write_text(json.dumps(alive))
    third = compare_runs._state(runs)
    sleeper.kill()
    sleeper.wait()
    assert compare_runs._state(runs) != third
    status.write_text(kept)


def test_names_of_sources_are_shown_as_they_are(open_page, tmp_path):
    row = {"instruction": "What is 1 plus 1?", "output": "2"}
    (tmp_path / "sums.jsonl").write_text(json.dumps(row))
    corpus = Corpus.create(tmp_path / "corpus")
    ingest(corpus, [tmp_path / "sums.jsonl"])
    for name in ("one", "two"):
        run = write_run(corpus, name)
        mix = tmp_path / name
        mix.mkdir()
        messages = [{"role": "user", "content": name}, {"role": "assistant", "content": "2"}]
        line = json.dumps({"id": name, "messages": messages, "source": "**loud** :red[x]"})
        (mix / "train.jsonl").write_text(line + "\n")
        sha256 = hashlib.sha256((mix / "train.jsonl").read_bytes()).hexdigest()
        (run / "data.json").write_text(json.dumps({"mix": str(mix), "sha256": {"train": sha256}}))
    app = open_page("compare_runs", corpus.path)
    assert not app.exception
    labels = [box.label for box in app.expander if box.label.startswith("Only in")]
    assert len(labels) == 2
    assert all("\\*\\*loud\\*\\*" in label for label in labels)


def test_a_search_over_weights_offers_as_many_runs_as_its_sources_need(open_page, corpus, tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"by_source": dict.fromkeys("abcdef", 9)}))
    assert mix_search._mixes(tmp_path) == (9, 14)
    app = opened(open_page, "search")
    app = app.segmented_control(key="search_over").set_value("weights").run()
    assert not app.exception
    assert " --over weights --runs 4 " in command(app, "mix-search")


def report(losses):
    sizes = [1e4, 2e4, 4e4, 8e4]
    trials = [
        Trial(f"t{i}", f"/r/t{i}", n / 8e4, None, 0, int(n / 100), int(n), loss, 4.0, {}, 1.0, True)
        for i, (n, loss) in enumerate(zip(sizes, losses, strict=True))
    ]
    law = fit(sizes, losses, ahead=[16e4, 32e4])
    following = [NextRun("a mix of twice the data", 2.0, None, 0.4)]
    return asdict(SearchReport("s", "sizes", "/m", 800, "b", trials, law, None, following, None, ["One run of each"]))


def test_a_search_is_drawn_with_its_law_and_the_runs_to_make_next(open_page, corpus):
    found = report([2 + 60 * n**-0.35 for n in (1e4, 2e4, 4e4, 8e4)])
    assert findings(found)[1].startswith("2 times the data:")
    folder = corpus.path / "searches" / "s"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(found))
    assert mix_search.searches(corpus) == [folder]
    app = opened(open_page, "search")
    assert not app.exception
    assert "a mix of twice the data: 40% of the uncertainty" in texts(app).replace("\\", "")
    assert " --over sizes --runs 5 --repeats 2 --smallest 0.0625" in command(app, "mix-search")
    assert button(app, "search-run").disabled


def test_a_search_without_a_law_says_why(open_page, corpus):
    folder = corpus.path / "searches" / "s"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report([2.0, 2.1, 2.2, 2.3])))
    app = opened(open_page, "search")
    assert "No law: the held-out loss does not fall with more data" in texts(app).replace("\\", "")
