"""The pages on which samples are decided about: Browse's buttons, Clean and History."""

from __future__ import annotations

import shlex

import pytest

from curation.actions import history
from curation.deciding import drop, edit
from curation.sample import Sample, to_frame
from curation.scorers import Length
from curation.scoring import score
from curation.snapshots import snapshot
from studio.pages import overview, synthesis_results
from tests.curation.samples import corpus_of, pair
from tests.studio.pages import opener


@pytest.fixture
def corpus(tmp_path):
    return corpus_of(tmp_path / "c", [pair(f"question {n}", f"answer {n}", source="s", tags=("t",)) for n in range(3)])


@pytest.fixture
def open_page(corpus, monkeypatch):
    return opener(monkeypatch, corpus.path)


def first(corpus) -> str:
    return corpus.frame(["id"])["id"][0]


def opened(app, popover: str):
    """The page with a popover open: what is not is not drawn."""
    app.session_state[popover] = True
    return app.run()


def test_a_sample_is_kept_and_tagged_where_it_is_read_and_that_is_taken_back(corpus, open_page):
    app, key = open_page("browse"), first(corpus)
    app.button(key=f"keep-{key}").click().run()
    assert corpus.frame(["decision"])["decision"][0] == "keep"
    app.button(key="deciding-step--1").click().run()  # a decision goes on to the next sample
    opened(app, "deciding-tag-open").button(key=f"take-{key}-t").click().run()
    assert corpus.sample(key).tags == ()
    app.button(key=f"undo-{key}").click().run()
    app.button(key=f"undo-{key}").click().run()
    assert corpus.frame(["decision", "tags"]).row(0) == (None, ["t"])
    app.button(key=f"undo-{key}").click().run()
    assert [e.value for e in app.error] == ["There is nothing to undo\\."]


def test_a_sample_is_dropped_with_the_reason_that_was_chosen(corpus, open_page):
    app, key = open_page("browse"), first(corpus)
    opened(app, "deciding-reason-open").selectbox(key=f"reason-{key}").select("off topic")
    app.button(key=f"drop-{key}").click().run()
    assert corpus.frame(["decision", "decision_reason"]).row(0) == ("drop", "off topic")


def test_an_edited_sample_is_read_on_as_its_new_version(corpus, open_page):
    app, key = open_page("browse"), first(corpus)
    opened(app, "deciding-edit-open").text_area(key=f"answer-{key}").input("a better answer")
    app.button(key=f"save-{key}").click().run()
    new = Sample(pair("question 0", "a better answer").messages).id
    assert app.query_params["sample"] in (new, [new])
    assert not app.exception
    old = open_page("browse", sample=key)
    assert "earlier version" in old.info[0].value
    assert not [b for b in old.button if b.key == f"keep-{key}"]


def test_one_action_on_all_that_meet_the_filter_is_a_command(corpus, open_page):
    app = open_page("browse", where="response <> 'answer 0'")
    app.session_state["bulk"] = True  # what is not open is not drawn
    app.run().text_input(key="bulk_reason").input("too short").run()
    lines = [code.value for code in app.code]
    assert f"winnow drop {corpus.path} --reason 'too short' --where \"response <> 'answer 0'\"" in lines


def test_what_undo_would_take_back_is_named_and_nothing_else_is_taken_back(corpus, open_page):
    drop(corpus, ids=[first(corpus)], reason="wrong", who="Ada")
    app = open_page("browse")
    app.session_state["bulk"] = True
    undo = next(b for b in app.run().button if b.key == "bulk_undo")
    assert (undo.label, undo.help.replace("\\", "")) == ("Undo: drop, 1 sample", "Ada: wrong")
    drop(corpus, ids=corpus.frame(["id"])["id"].to_list()[1:], reason="too short")  # in another browser
    undo.click().run()
    assert corpus.frame(["decision"])["decision"].to_list() == [None, "drop", "drop"]


def test_the_history_tells_what_was_done_and_undoes_it(corpus, open_page):
    drop(corpus, where="true", reason="all wrong", who="Ada")
    edit_of = corpus_of(corpus.path, [pair("question 9", "answer 9")]).frame(["id"])["id"][3]
    edit(corpus, edit_of, response="longer answer 9")
    app = open_page("history")
    assert app.dataframe[0].value["note"].to_list()[1] == "all wrong"
    app.button(key="history_undo").click().run()
    assert not app.exception
    assert corpus.frame(["response"])["response"][3] == "answer 9"
    assert history(corpus)["kind"].to_list() == ["undo", "edit", "drop"]


def test_a_snapshot_is_set_beside_the_corpus_as_it_is(corpus, open_page):
    snapshot(corpus, "before")
    drop(corpus, ids=[first(corpus)], reason="wrong")
    app = open_page("history")
    app.segmented_control(key="history_view").set_value("snapshots").run()
    assert not app.exception
    assert {m.label: m.value for m in app.metric} == {"Same": "2", "Added": "0", "Removed": "1", "Changed": "0"}
    assert f"winnow diff {corpus.path} snapshot:before now" in [c.value for c in app.code]


def test_the_command_of_a_difference_can_be_pasted_and_what_it_found_is_kept(corpus, open_page):
    snapshot(corpus, "all $HOME 100%")
    app = open_page("history")
    app.segmented_control(key="history_view").set_value("snapshots").run()
    lines = [c.value for c in app.code if c.value.startswith("winnow diff")]
    assert [shlex.split(line)[2:] for line in lines] == [[str(corpus.path), "snapshot:all $HOME 100%", "now"]]
    kept = app.session_state["history_diff"]
    assert app.run().session_state["history_diff"] is kept
    drop(corpus, ids=[first(corpus)], reason="wrong")
    assert {m.label: m.value for m in app.run().metric}["Removed"] == "1"


def test_earlier_versions_are_not_counted(corpus):
    score(corpus, Length())
    for number, sample_id in enumerate(corpus.frame(["id"])["id"]):
        edit(corpus, sample_id, response=f"better {number}")
    score(corpus, Length())
    assert overview.totals(corpus).samples == 3
    assert overview.groups(corpus, "source").rows() == [("s", 3, 100.0)]
    assert [run.scored for run in corpus.score_runs()] == [3]


def test_a_rewritten_outcome_of_synthesis_is_counted_once(corpus):
    made = pair("new question", "new answer")
    corpus.add(to_frame([made]), batch="run-1")
    edit(corpus, made.id, response="better answer")
    assert dict(synthesis_results.outcomes(corpus, "run-1").iter_rows()) == {"accepted": 1}
