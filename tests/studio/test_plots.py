"""Plots: what they count, what they say of hostile texts, and what is downloaded."""

from __future__ import annotations

import polars as pl
import pytest

from curation.corpus import Corpus
from curation.deciding import drop
from curation.sample import to_frame
from curation.scorers import Length, Metadata
from curation.scoring import score
from curation.selection import select
from curation.selectors import Longest, TopK
from studio import plots
from studio.pages import distribution, lineage_graph, overlap, score_pair, thresholds, treemap
from tests.curation.samples import corpus_of, pair
from tests.studio.pages import button, opener, texts

HOSTILE = "<img src=x onerror=alert(1)> {c} **b** ' OR 1=1 --"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    samples = [
        pair(f"q{i}", "a " * (i + 1), metadata={"n": i, "half": i / 2}, source=HOSTILE if i % 3 == 0 else "plain",
             tags=[HOSTILE, "even"] if i % 2 == 0 else ["odd"])
        for i in range(40)
    ]  # fmt: skip
    corpus = corpus_of(tmp_path_factory.mktemp("plots") / "c", samples)
    with corpus.database.held():
        score(corpus, Length())
        score(corpus, Metadata(field="n"))
        score(corpus, Metadata(field="half"))
        select(corpus, Longest(), 10, name="longest")
        select(corpus, TopK(score="n"), 10, name="last")
        select(corpus, TopK(score="n"), 4, name="few")
    return corpus


@pytest.fixture
def open_page(monkeypatch, corpus):
    return opener(monkeypatch, corpus.path)


# -------------------------------------------------------------------- what is downloaded


def test_a_table_is_read_by_spreadsheets_in_every_script_and_runs_no_formula():
    frame = pl.DataFrame({"text": ["=1+1", "中文", None], "n": [-1, 2, 3], "list": [["a", "b"], [], None]})
    written = plots.csv_bytes(frame)
    assert written.startswith(b"\xef\xbb\xbf")
    assert written.decode("utf-8-sig").splitlines() == ["text,n,list", "'=1+1,-1,a + b", '中文,2,""', ",3,"]


# -------------------------------------------------------------------- thresholds


def test_thresholds_are_one_condition_as_a_user_would_write_it():
    assert thresholds.rule("n", (10, None)) == "n >= 10"
    assert thresholds.rule("n", (None, 1e-7)) == "n <= 1e-07"
    assert thresholds.rule("two words", (1, 2)) == '"two words" BETWEEN 1 AND 2'
    assert thresholds.rule("n", (None, None)) is None


def test_the_last_whole_number_has_a_bar_of_its_own(corpus):
    shape = distribution.Spread("n", 51, 0, 0, 50, 0, 50, 0, 25, 50, 25, whole=True)
    bins = distribution.histogram(corpus, shape, None)
    assert set(bins["high"] - bins["low"]) == {2.0}
    assert bins["samples"].sum() == 40


def test_what_was_dragged_and_what_is_typed_are_one_and_become_a_filter(open_page, corpus):
    app = open_page("score", view="distribution", score="n")
    app.session_state["histogram_n"] = {"range": [10, None]}
    app.session_state["limits_n"] = (10, None)
    app = app.run()
    assert app.number_input(key="least_n").value == 10
    app = app.number_input(key="most_n").set_value(19).run()
    assert next(m.value for m in app.metric if m.label == "Kept") == "10"
    assert (app.query_params["from"], app.query_params["to"]) == ("10", "19")
    app = button(app, "use_n").click().run()
    assert app.session_state["where"] == "n BETWEEN 10 AND 19"


def test_thresholds_in_the_address_are_shown(open_page):
    app = open_page("score", view="distribution", score="n", **{"from": "30", "to": "nonsense"})
    assert app.selectbox(key="distribution_score").value == "n"
    assert app.number_input(key="least_n").value == 30
    assert app.number_input(key="most_n").value is None


# -------------------------------------------------------------------- score against score


def test_two_scores_are_points_while_there_are_few_and_cells_when_there_are_many(corpus, monkeypatch):
    few = score_pair.measured(corpus, "n", "half", None)
    assert few is not None
    assert not few.binned
    assert few.frame.rows()[:2] == [(0.0, 0.0), (1.0, 0.5)]
    monkeypatch.setattr(score_pair, "POINTS", 10)
    many = score_pair.measured(corpus, "n", "half", "n < 36")
    assert many is not None
    assert many.binned
    assert many.frame["samples"].sum() == 36
    assert set((many.frame["a_high"] - many.frame["a"]).round(6)) == {1.0}


def test_a_rectangle_is_two_conditions_and_none_where_it_reaches_the_edge(corpus):
    found = score_pair.measured(corpus, "n", "half", None)
    assert score_pair.brushed({"selection": {"brush": {"a": [10.2, 20.7], "b": [-3, 6.5]}}}, found) == (
        (11, 20),
        (None, 6.5),
    )
    assert score_pair.brushed({"selection": {"brush": {}}}, found) is None


# -------------------------------------------------------------------- overlap


def test_every_combination_of_selections_is_counted_once_and_pairs_follow_from_them(corpus):
    names = ["longest", "last", "few"]
    found = overlap.intersections(corpus, names)
    assert found.rows() == [(["longest", "last"], 6), (["longest", "last", "few"], 4)]
    pairs = overlap.pairs_of(found, names)
    row = pairs.filter(a="last", b="few").row(0, named=True)
    assert (row["common"], row["share"], row["jaccard"]) == (4, 0.4, 0.4)
    assert pairs.filter(a="few", b="last")["share"].item() == 1.0


def test_a_sample_that_was_dropped_since_is_in_no_combination(tmp_path):
    corpus = corpus_of(tmp_path / "c", [pair(f"q{i}", "a" * i, metadata={"n": i}) for i in range(1, 9)])
    with corpus.database.held():
        select(corpus, Longest(), 3, name="long")
        drop(corpus, where="instruction = 'q8'", reason="no")
    assert overlap.intersections(corpus, ["long"]).rows() == [(["long"], 2)]


# -------------------------------------------------------------------- treemaps


def test_sources_and_tags_are_counted_and_a_rectangle_is_a_condition_that_finds_them(corpus):
    for column, name in (("source", HOSTILE), ("tags", HOSTILE)):
        counted = dict(treemap.counts(corpus, column, None).iter_rows())
        assert corpus.count(treemap.rule(column, name)) == counted[name]


def test_small_sources_are_one_rectangle():
    rows = [(f"s{i}", 100 - i) for i in range(60)]
    shown = treemap.shown(rows, "20 others")
    assert len(shown) == treemap.LARGEST + 1
    assert shown[-1] == ("20 others", sum(n for _, n in rows[treemap.LARGEST :]))


def test_others_do_not_crowd_out_what_has_a_name():
    rows = [(f"tag {i}", 23) for i in range(283)]
    assert treemap.shown(rows, "243 others") == rows[: treemap.LARGEST]


def test_the_view_of_sources_and_tags_opens(open_page):
    app = open_page("score", view="tags")
    assert not app.exception
    assert "Click a rectangle" in texts(app)


# -------------------------------------------------------------------- lineage


def test_the_graph_of_a_sample_has_parents_above_and_children_below_within_bounds(tmp_path):
    corpus = corpus_of(tmp_path / "c", [pair("seed", HOSTILE)])
    seed = corpus.frame(["id"])["id"][0]
    children = [pair(f"child {i}", "x", parents=[seed], operator='{"name": "evol-instruct"}') for i in range(8)]
    _add(corpus, children)
    child = corpus.frame(["id"], where="instruction = 'child 0'")["id"][0]
    _add(corpus, [pair("grandchild", "y", parents=[child])])
    found = lineage_graph.graph(corpus, child)
    assert [(n.generation, n.instruction) for n in found.nodes] == [(-1, "seed"), (0, "child 0"), (1, "grandchild")]
    assert {kind for _, _, kind in found.edges} == {"made"}
    below = lineage_graph.graph(corpus, seed)
    assert below.left_out == {1: 8 - lineage_graph.ABREAST}
    assert below.nodes[1].operator == "evol-instruct"


def _add(corpus: Corpus, samples: list) -> None:
    corpus.add(to_frame(samples), batch="more")
