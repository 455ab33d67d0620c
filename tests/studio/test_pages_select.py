"""Choosing and comparing on the pages Select and Score: forms of every operator, diversity, thresholds, correlation."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from streamlit.testing.v1 import AppTest

from curation.comparing import Comparison, compare
from curation.deciding import drop
from curation.embedding import add_vectors
from curation.errors import ModelError
from curation.scorers import SCORERS, InsTagNormalized, Length, Metadata
from curation.scoring import score
from curation.selection import select
from curation.selectors import RDS, SELECTORS, KCenter, Longest, Random, TopK
from curation.tag_normalizing import Alias, Merge, aliases
from studio.commands.curating import compare as compare_command
from studio.commands.curating import score as score_command
from studio.comparisons import diversity_rows, measured_on, score_rows
from studio.pages import (
    choosing,
    comparison,
    correlation,
    distribution,
    diversity_charts,
    measuring,
    score_charts,
    tag_aliases,
    thresholds,
)
from studio.pages.score import runs_table
from tests.curation.samples import corpus_of, pair
from tests.studio.pages import opener

SUBJECTS = ("tea", "rain", "stone", "river", "lamp")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("select")
    samples = [
        pair(
            f"Tell of {SUBJECTS[i % 5]} {i}.",
            f"{SUBJECTS[i % 5]} " * (i % 11 + 1) + f"and {SUBJECTS[i * 3 % 5]} {i}",
            tags=[SUBJECTS[i % 5]],
            metadata={"n": i, "rank": 99 - i},
            source="ab"[i % 2],
        )
        for i in range(60)
    ]
    corpus = corpus_of(folder / "corpus", samples)
    rng = np.random.default_rng(0)
    np.save(folder / "vectors.npy", np.eye(8)[np.arange(60) % 5] + 0.2 * rng.normal(size=(60, 8)))
    with corpus.database.held():
        add_vectors(corpus, folder / "vectors.npy", "n")
        score(corpus, Length())
        score(corpus, Metadata(field="n"))
        score(corpus, Metadata(field="rank"), where="source = 'a'")
        select(corpus, Random(), 12, name="drawn")
        select(corpus, TopK(score="n"), 15, name="last")
        select(corpus, KCenter(), 20, name="spread")
    return corpus


@pytest.fixture(scope="module")
def compared(corpus) -> Comparison:
    return compare(corpus, ["last", "spread"])


@pytest.fixture
def open_page(monkeypatch, corpus):
    return opener(monkeypatch, corpus.path)


def button(app: AppTest, key: str):
    return next(b for b in app.button if b.key == key)


def texts(app: AppTest) -> str:
    return " ".join(element.value for element in (*app.caption, *app.markdown, *app.code))


# -------------------------------------------------------------------- forms


@pytest.mark.parametrize(
    ("page", "kind", "operators"), [("select", "selector", SELECTORS), ("score", "scorer", SCORERS)]
)
def test_the_form_of_every_operator_opens_and_says_what_it_waits_for(monkeypatch, corpus, page, kind, operators):
    monkeypatch.setenv("WINNOW_CORPUS", str(corpus.path))
    script = f"from studio import forms\nfrom studio.pages import {page}\n{page}.section(forms.current_corpus(), None)"
    app = AppTest.from_string(script, default_timeout=30).run()
    for operator in operators:
        app = app.selectbox(key=f"{kind}-operator").set_value(operator.name).run()
        assert not app.exception, operator.name
        run = button(app, f"{page}-run")
        assert not run.disabled or run.help, operator.name


def test_fields_offer_the_columns_selections_and_selectors_of_the_corpus(corpus):
    offered = choosing.offered(corpus)
    assert {"length", "n", "rank"} <= set(offered["quality"])
    assert "source" not in offered["score"]
    assert offered["tags"] == ["tags"]
    assert offered["after"] == ["drawn", "last", "spread"]
    assert "k-center" in offered["then"]
    assert "hybrid" not in offered["then"]
    assert set(offered["target"]) == {"source = 'a'", "source = 'b'"}


def test_a_column_that_no_scorer_wrote_comes_with_the_command_that_writes_it(open_page, corpus):
    app = open_page("select").selectbox(key="selector-operator").set_value("mig").run()
    assert button(app, "select-run").disabled
    assert "`instag_normalized`" in texts(app)
    assert f"winnow score {corpus.path} instag-normalized" in texts(app)
    app = app.selectbox(key="selector-mig_tags").set_value("tags").run()
    assert not button(app, "select-run").disabled


def test_a_hybrid_asks_for_an_embedding_only_if_its_second_step_reads_vectors(open_page):
    app = open_page("select").selectbox(key="selector-operator").set_value("hybrid").run()
    app = app.multiselect(key="selector-hybrid_scores").set_value(["n"]).run()
    assert any(box.key == "selection_embedding" for box in app.selectbox)
    app = app.selectbox(key="selector-hybrid_then").set_value("random").run()
    assert not any(box.key == "selection_embedding" for box in app.selectbox)
    assert not button(app, "select-run").disabled


def test_a_hybrid_takes_weighted_scores_and_the_parameters_of_its_second_step(open_page):
    app = open_page("select").selectbox(key="selector-operator").set_value("hybrid").run()
    app = app.multiselect(key="selector-hybrid_scores").set_value(["n", "length"]).run()
    app = app.number_input(key="selector-hybrid_weight_n").set_value(-2.0).run()
    app = app.selectbox(key="selector-hybrid_then").set_value("cluster-quota").run()
    assert button(app, "select-run").disabled
    assert "Fill in quality of cluster\\-quota first" in texts(app)
    app = app.selectbox(key="selector-hybrid-cluster-quota_quality").set_value("hybrid_rank").run()
    assert not button(app, "select-run").disabled
    assert "scores=n=-2,length" in texts(app)
    assert "settings=quality=hybrid_rank" in texts(app)


def test_a_target_says_how_many_samples_it_names(open_page):
    app = open_page("select").selectbox(key="selector-operator").set_value("rds").run()
    app = app.selectbox(key="selector-rds_target").set_value("source = 'a'").run()
    assert "30 target samples" in texts(app)
    assert "3 of the 30 samples in the pool" in texts(app)


def test_a_target_that_names_no_sample_or_is_no_condition_keeps_the_selector_waiting(corpus):
    for target, told in (("source = 'zzz'", "No sample meets the target"), ("source =", "is not SQL")):
        form = choosing.filled("selector", RDS, ["--set", f"target={target}"])
        assert told in (choosing.waits_for(corpus, form) or "")


# -------------------------------------------------------------------- comparison


def test_the_page_compares_equally_many_samples_beside_random_and_longest(open_page):
    app = open_page("select", view="compare")
    assert not app.exception
    assert "12 best samples of each, beside 5 random draws of as many from the pool of 60" in texts(app)
    table = next(frame.value for frame in app.dataframe if "Metric" in frame.value.columns)
    assert list(table.columns) == ["Metric", "drawn", "last", "spread", "longest answers", "random draws"]


def test_on_a_large_corpus_diversity_is_measured_when_asked_for_and_the_rest_stands_there(monkeypatch, open_page):
    monkeypatch.setattr(comparison, "AT_ONCE", 10)
    app = open_page("select", view="compare")
    assert not app.exception
    assert "best samples of each" not in texts(app)
    assert any("selector" in frame.value.columns for frame in app.dataframe)
    app = button(app, "measure_diversity").click().run()
    (work,) = [w for w in measuring.works().values() if w.found is not None]
    work.found.result(timeout=30)
    app = app.run()
    assert not app.exception
    assert "12 best samples of each, beside 5 random draws of as many from the pool of 60" in texts(app)


def test_a_comparison_without_diversity_has_the_same_other_tables(corpus, compared):
    quick = compare(corpus, ["last", "spread"], diversity=False)
    assert quick.diversity.is_empty()
    assert quick.diversity.schema == compared.diversity.schema
    assert quick.spreads.equals(compared.spreads)
    assert quick.sizes.equals(compared.sizes)


def test_right_of_the_band_is_more_varied_whichever_way_the_metric_counts(compared):
    points = diversity_charts.chart_points(compared)
    wider = points.filter(name="spread", metric="Distance to the nearest, mean")["widths"].item()
    copied = compared.diversity.filter(kind="selection", name="last", metric="compression_ratio").row(0, named=True)
    at = points.filter(name="last", metric="Compression ratio")["widths"].item()
    assert wider > 1
    assert (at < 0) == (copied["value"] > (copied["low"] + copied["high"]) / 2)
    assert points["widths"].abs().max() <= diversity_charts.FARTHEST


def test_charts_can_be_drawn(compared):
    chart = diversity_charts.chart(diversity_charts.chart_points(compared)).to_dict()
    assert len(chart["layer"]) == 2
    rows = compared.tags.with_columns(label=pl.col("name"))
    assert diversity_charts.tags_chart(rows).to_dict()
    bins = compared.histograms.filter(column="length").with_columns(label=pl.col("name"))
    assert score_charts.chart(bins, "length").to_dict()


def test_selections_may_be_called_like_the_columns_of_a_table(tmp_path):
    corpus = corpus_of(tmp_path / "c", [pair(f"q{i}", "a" * i, source="s") for i in range(1, 31)])
    names = ["pool", "Metric", "score", "column", "random draws"]
    with corpus.database.held():
        score(corpus, Length())
        for seed, name in enumerate(names):
            select(corpus, Random(seed=seed), 4, name=name)
        compared = compare(corpus, names)
    means = comparison.score_table(compared, [])
    assert {"pool", "pool (selection)", "column", "random draws", "random draws (selection)"} <= set(means.columns)
    assert len(diversity_charts.diversity_table(compared).columns) == 1 + len(names) + 2
    assert len(score_rows(compared)[0]) == 1 + len(names) + 3


def test_a_mean_is_marked_beside_random_draws_and_the_main_scores_come_first(compared):
    table = comparison.score_table(compared, ["n"])
    assert table["Score"][0] == "n"
    assert table["last"][0].endswith(" ▲")
    assert not table["pool"][0].endswith(("▲", "▼"))


def test_the_first_distribution_is_of_a_score_that_half_the_pool_has(compared):
    pool = compared.spreads.filter(kind="pool")
    rare = replace(compared, spreads=pool.with_columns(measured=pl.when(column="n").then(3).otherwise("measured")))
    assert score_charts._telling(compared, ["n", "length"]) == 0
    assert score_charts._telling(rare, ["n", "length"]) == 1


def test_tokens_and_sources_stand_beside_those_of_the_pool(corpus, compared):
    tokens = corpus.query("SELECT length_tokens FROM everything")["length_tokens"]
    rows = {row["name"]: row for row in comparison.sizes_table(compared).iter_rows(named=True)}
    assert list(rows) == ["last", "spread", "pool"]
    assert rows["pool"]["each"] == pytest.approx(tokens.mean())
    assert rows["last"]["tokens"] == pytest.approx(rows["last"]["each"] * 15)
    assert compared.sources.filter(kind="pool").select("source", "samples").rows() == [("a", 30), ("b", 30)]


def test_a_selection_of_which_samples_were_dropped_says_so(tmp_path, open_page):
    corpus = corpus_of(tmp_path / "c", [pair(f"q{i}", "a" * i, source="s") for i in range(1, 31)])
    with corpus.database.held():
        select(corpus, Longest(), 6, name="long")
        drop(corpus, ids=corpus.selection("long").ids[:2], reason="no")
    app = open_page("select", corpus.path, view="compare")
    assert not app.exception
    assert "Dropped since, and left out here as in a mix: 2 of long" in texts(app)


def test_a_metric_without_a_number_says_why(tmp_path):
    bare = corpus_of(tmp_path / "c", [pair(f"q{i}", "a" * i) for i in range(1, 9)])
    select(bare, Longest(), 4, name="long")
    table = diversity_charts.diversity_table(compare(bare, ["long"]))
    assert table.filter(Metric="NovelSum").row(0)[1:] == ("–", "–", "–")


def test_the_command_prints_bands_and_marks(corpus, compared):
    printed = CliRunner().invoke(compare_command, [str(corpus.path), "last", "spread"])
    assert printed.exit_code == 0, printed.output
    assert measured_on(compared) in printed.output
    row = next(line for line in printed.output.splitlines() if line.startswith("knn_distance_mean"))
    assert " .. " in row
    assert "+" in row
    assert "taken by one, left by another" in printed.output


def test_marks_may_be_relative_to_a_selection(compared):
    rows = {row["metric"]: row for row in diversity_rows(compared, "last")}
    assert rows["knn_distance_mean"]["spread"].endswith(" +")
    assert not rows["knn_distance_mean"]["last"].endswith(("+", "-", "="))


def test_the_command_gives_programs_every_table(corpus):
    printed = CliRunner().invoke(compare_command, [str(corpus.path), "last", "--json"])
    found = json.loads(printed.stdout)
    assert {row["name"] for row in found["diversity"]} == {"last", "random", "longest"}
    assert (found["matched"]["size"], found["matched"]["draws"]) == (15, 5)
    assert {"sizes", "overlap", "scores", "sources", "spreads", "histograms", "tags", "examples"} <= found.keys()


# -------------------------------------------------------------------- tags after normalisation


@pytest.fixture(scope="module")
def tagged(tmp_path_factory):
    kinds = (["Maths", "Rare"], ["maths"], ["Maths"], ["翻译"], ["翻译", "maths"])
    samples = [pair(f"q{i}", f"a{i}", tags=tags) for i, tags in enumerate(kinds)]
    corpus = corpus_of(tmp_path_factory.mktemp("tagged") / "corpus", samples)
    score(corpus, InsTagNormalized(tags="tags", model="none"))
    return corpus


def test_what_became_of_every_tag_can_be_searched(tagged):
    found = aliases(tagged)
    rows = tag_aliases.table(found)
    assert rows.select("tag", "canonical", "count").rows() == [
        ("Maths", "Maths", 2),
        ("maths", "Maths", 2),
        ("翻译", "翻译", 2),
        ("Rare", None, 1),
    ]
    assert rows["how"][1] == "another spelling of Maths"
    assert tag_aliases.table(found, "MATH", "merged")["tag"].to_list() == ["maths"]
    assert tag_aliases.table(found, "翻", "as it was")["tag"].to_list() == ["翻译"]
    assert tag_aliases.table(found, "", "left out").select("tag", "how").rows() == [("Rare", "too rare")]


def test_every_way_of_merging_a_tag_is_told_with_its_numbers():
    steps = (
        (Merge("rules", None), "nothing but marks"),
        (Merge("semantic", "Sum", 0.97, 0.04), "cosine 0.970 to Sum, its group at most 0.040 apart"),
        (Merge("association", "Sum", support=45, confidence=0.995), "45 samples have Sum too, 99.5% of those that"),
        (Merge("correction", "Sum"), "your correction: Sum"),
        (Merge("correction", None), "left out by your correction"),
    )
    for merge, told in steps:
        assert told in tag_aliases.how(Alias("Adding", merge.into, 3, (merge,)))


def test_the_score_page_shows_the_tags_and_the_command_that_corrects_them(open_page, tagged, corpus):
    app = open_page("score", tagged.path, view="tags")
    assert not app.exception
    assert "4 tags became 2. Merged into another: 1; left out: 1; as they were: 2." in texts(app)
    assert "--set model=none --set tags=tags --set aliases=FILE" in texts(app)
    app = app.text_input(key="aliases_search").set_value("nothing like it").run()
    assert "No tag is like that." in texts(app)
    assert "Tags after normalisation" not in [s.value for s in open_page("score", corpus.path, view="tags").subheader]


def test_the_command_that_corrects_tags_keeps_how_they_were_normalised(tagged, tmp_path):
    (tmp_path / "mine.jsonl").write_text('{"tag": "Rare", "canonical": "Maths"}\n')
    argv = [word.replace("FILE", str(tmp_path / "mine.jsonl")) for word in tag_aliases.again(tagged)]
    done = CliRunner().invoke(score_command, argv[1:])
    assert done.exit_code == 0, done.output
    assert tag_aliases.table(aliases(tagged), "rare")["how"][0] == "too rare; then your correction: Maths"


# -------------------------------------------------------------------- thresholds and correlation


def test_two_thresholds_keep_what_lies_between(open_page, corpus):
    app = open_page("score", view="distribution").selectbox(key="distribution_score").set_value("n").run()
    app = app.number_input(key="least_n").set_value(10).run().number_input(key="most_n").set_value(19).run()
    kept = next(metric.value for metric in app.metric if metric.label == "Kept")
    assert kept == "10"
    assert thresholds.rule("n", (10, 19)) == "n BETWEEN 10 AND 19"


def test_dropped_samples_are_neither_counted_nor_shown(tmp_path, open_page):
    corpus = corpus_of(tmp_path / "c", [pair(f"q{i}", "a" * i, metadata={"n": i}) for i in range(1, 31)])
    with corpus.database.held():
        score(corpus, Metadata(field="n"))
        drop(corpus, where="n > 20", reason="no")
    app = open_page("score", corpus.path, view="distribution")
    kept = {metric.label: metric.value for metric in app.metric}
    assert (kept["Kept"], kept["Median"]) == ("20", "10.5")
    best = next(frame.value for frame in app.dataframe if "instruction" in frame.value.columns)
    assert best["n"].max() == 20


def test_a_working_set_that_was_dropped_whole_says_so(tmp_path, open_page):
    corpus = corpus_of(tmp_path / "c", [pair(f"q{i}", "a" * i, metadata={"n": i}) for i in range(1, 31)])
    with corpus.database.held():
        score(corpus, Metadata(field="n"))
        drop(corpus, where="n > 20", reason="no")
    app = open_page("score", corpus.path, where="n > 25", view="distribution")
    assert not app.exception
    assert [info.value for info in app.info] == ["No sample is in this working set, or all of it was dropped."]
    assert button(open_page("score", corpus.path, where="n > 25"), "score-run").disabled


def test_a_scorer_that_failed_at_once_is_not_listed_as_if_it_had_measured(tmp_path):
    class Failing(Length):
        def score(self, batch):
            raise ModelError("The model is gone.", fix="bring it back")

    corpus = corpus_of(tmp_path / "c", [pair("q", "a")])
    with pytest.raises(ModelError):
        score(corpus, Failing())
    told = {row["scorer"]: row["reasons"] for row in runs_table(corpus, corpus.score_runs()).iter_rows(named=True)}
    assert "the page Jobs says why" in told["length"]


def test_a_rank_correlation_by_hand() -> None:
    frame = pl.DataFrame({"a": [1.0, 2, 3, 4], "b": [1.0, 4, 9, 100], "c": [3.0, 1, None, None], "d": [5.0] * 4})
    rho = {(a, b): r for a, b, r, _ in correlation.correlations(frame).iter_rows()}
    assert rho["a", "b"] == pytest.approx(1)
    assert rho["a", "c"] is None
    assert rho["a", "d"] is None
    ties = pl.DataFrame({"a": [1.0, 2, 2, 3], "b": [1.0, 3, 2, 4]})
    # Places 1, 2.5, 2.5, 4 and 1, 3, 2, 4: 4.5 / sqrt(4.5 * 5).
    assert correlation.correlations(ties).filter(a="a", b="b")["rho"].item() == pytest.approx(4.5 / (4.5 * 5) ** 0.5)


def test_scores_of_different_samples_are_correlated_where_both_are_known(corpus):
    values = correlation.values_of(corpus, ["n", "rank"], None)
    found = correlation.correlations(values).filter(a="n", b="rank").row(0, named=True)
    assert found["rho"] == pytest.approx(-1)
    assert found["samples"] == 30


def test_the_score_page_correlates_the_main_scores(open_page, corpus):
    app = open_page("score", view="pair")
    assert not app.exception
    assert [s.value for s in app.subheader if s.value == "Correlation"]
    assert correlation.main_columns(corpus, distribution.numeric_scores(corpus))[:3] == ["rank", "n", "length"]
