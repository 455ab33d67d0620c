from pathlib import Path

import pytest

from curation.actions import history, undo
from curation.corpus import Corpus
from curation.deciding import clear, drop, edit, keep, tag, untag
from curation.errors import CorpusError
from curation.sample import Message, Sample
from curation.selection import hold_out, select
from curation.selectors import Random
from tests.curation.samples import corpus_of, pair


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return corpus_of(tmp_path / "c", [pair(f"question {n}", f"answer {n}", tags=("t",)) for n in range(4)])


def ids(corpus: Corpus, where: str | None = None) -> list[str]:
    return corpus.frame(["id"], where=where)["id"].to_list()


def test_a_dropped_sample_stays_with_its_reason_and_no_selection_takes_it(corpus: Corpus) -> None:
    report = drop(corpus, where="response = 'answer 1'", reason="wrong", who="Ada")
    assert (report.changed, report.unchanged) == (1, 0)
    row = corpus.frame(["decision", "decision_reason"], where="response = 'answer 1'").row(0)
    assert row == ("drop", "wrong")
    assert select(corpus, Random(), 3, name="s").pool == 3
    with pytest.raises(CorpusError):
        select(corpus, Random(), 4, name="s")


def test_deciding_the_same_again_changes_nothing_and_leaves_no_action(corpus: Corpus) -> None:
    drop(corpus, ids=ids(corpus)[:2], reason="wrong")
    again = drop(corpus, ids=ids(corpus)[:2], reason="wrong")
    assert (again.action, again.changed, again.unchanged) == ("", 0, 2)
    assert history(corpus).height == 1


def test_keeping_takes_back_a_drop_and_clearing_takes_back_both(corpus: Corpus) -> None:
    drop(corpus, where="true", reason="all")
    keep(corpus, where="response = 'answer 0'")
    clear(corpus, where="response = 'answer 2'")
    decisions = corpus.frame(["decision"])["decision"].to_list()
    assert decisions == ["keep", "drop", None, "drop"]


def test_dropping_needs_a_reason_and_one_way_to_name_samples(corpus: Corpus) -> None:
    for arguments in ({"where": "true", "reason": " "}, {"reason": "r"}, {"where": "true", "ids": [], "reason": "r"}):
        with pytest.raises(CorpusError):
            drop(corpus, **arguments)  # type: ignore[arg-type]
    with pytest.raises(CorpusError) as error:
        drop(corpus, where="nonsense > 1", reason="r")
    assert "nonsense" in error.value.message
    assert history(corpus).is_empty()


def test_actions_are_undone_the_latest_first_and_undone_again(corpus: Corpus) -> None:
    drop(corpus, where="response = 'answer 0'", reason="one")
    drop(corpus, where="response IN ('answer 0', 'answer 1')", reason="two")
    assert undo(corpus).changed == 2
    assert corpus.frame(["decision_reason"])["decision_reason"].to_list() == ["one", None, None, None]
    second = undo(corpus)
    assert corpus.count("decision IS NOT NULL") == 0
    undo(corpus, second.action)
    assert corpus.frame(["decision_reason"])["decision_reason"].to_list() == ["one", None, None, None]
    assert history(corpus)["kind"].to_list() == ["undo", "undo", "undo", "drop", "drop"]


def test_what_was_changed_again_since_is_not_undone(corpus: Corpus) -> None:
    first = drop(corpus, where="true", reason="all")
    keep(corpus, where="response = 'answer 3'")
    with pytest.raises(CorpusError) as error:
        undo(corpus, first.action)
    assert error.value.message.startswith("1 of the samples")


def test_there_is_nothing_to_undo_in_a_new_corpus(corpus: Corpus) -> None:
    with pytest.raises(CorpusError):
        undo(corpus)


def test_tags_are_given_and_taken_and_both_are_undone(corpus: Corpus) -> None:
    assert tag(corpus, "good", where="response <> 'answer 0'").changed == 3
    assert tag(corpus, "good", where="true").unchanged == 3
    assert untag(corpus, "t", where="response = 'answer 0'").changed == 1
    assert corpus.frame(["tags"])["tags"].to_list()[:2] == [["good"], ["good", "t"]]
    for _ in range(3):
        undo(corpus)
    assert corpus.frame(["tags"])["tags"].to_list() == [["t"]] * 4


def test_an_edit_is_a_version_in_the_place_of_the_old_one(corpus: Corpus) -> None:
    old = ids(corpus)[1]
    hold_out(corpus, 1)
    corpus.hold_out([old])
    report = edit(corpus, old, response="a better answer", note="it was short")
    assert report.changed == 1
    assert corpus.frame(["response"])["response"].to_list() == ["answer 0", "a better answer", "answer 2", "answer 3"]
    new = corpus.frame(where="response = 'a better answer'").row(0, named=True)
    assert (new["parents"], new["operator"], new["tags"]) == ([old], '{"name": "edit"}', ["t"])
    assert corpus.count("response = 'a better answer' AND held_out") == 1
    assert corpus.sample(old).response == "answer 1"
    assert corpus.query("SELECT id, replaced_by FROM states WHERE NOT is_current").rows() == [(old, new["id"])]


def test_an_undone_edit_brings_the_old_text_back_and_can_be_done_again(corpus: Corpus) -> None:
    old = ids(corpus)[1]
    edit(corpus, old, response="new")
    undone = undo(corpus)
    assert ids(corpus)[1] == old
    assert corpus.count() == 4
    undo(corpus, undone.action)
    assert corpus.frame(["response"])["response"][1] == "new"
    undo(corpus)
    assert edit(corpus, old, response="new").changed == 1
    assert corpus.frame(["response"])["response"][1] == "new"


def test_an_edit_back_to_an_earlier_text_brings_that_version_back(corpus: Corpus) -> None:
    old = ids(corpus)[0]
    edit(corpus, old, response="new")
    edit(corpus, ids(corpus)[0], response="answer 0")
    assert ids(corpus)[0] == old
    assert corpus.count() == 4


def test_an_edit_to_a_text_that_is_there_already_leaves_one_sample(corpus: Corpus) -> None:
    edit(corpus, ids(corpus)[0], instruction="question 1", response="answer 1")
    assert corpus.count() == 3
    undo(corpus)
    assert corpus.count() == 4


def test_an_edit_to_the_text_of_a_dropped_sample_brings_it_back(corpus: Corpus) -> None:
    drop(corpus, where="response = 'answer 1'", reason="repeats")
    edit(corpus, ids(corpus)[0], instruction="question 1", response="answer 1")
    assert corpus.frame(["response"], where="decision IS NULL")["response"].to_list() == [
        "answer 1", "answer 2", "answer 3",
    ]  # fmt: skip


def test_earlier_versions_and_missing_turns_can_not_be_edited(corpus: Corpus) -> None:
    old = ids(corpus)[0]
    edit(corpus, old, response="new")
    with pytest.raises(CorpusError) as error:
        edit(corpus, old, response="newer")
    assert "earlier version" in error.value.message
    corpus_of(corpus.path, [Sample((Message("user", "a"), Message("user", "b")))])
    for field in ("instruction", "response"):
        with pytest.raises(CorpusError):
            edit(corpus, ids(corpus)[-1], **{field: "c"})


def test_ingesting_an_edited_text_again_does_not_bring_it_back(corpus: Corpus) -> None:
    edit(corpus, ids(corpus)[0], response="new")
    corpus_of(corpus.path, [pair("question 0", "answer 0")])
    assert corpus.count() == 4


def test_two_samples_that_become_one_come_back_one_by_one(corpus: Corpus) -> None:
    first, second = ids(corpus)[:2]
    one = edit(corpus, first, instruction="same", response="same")
    two = edit(corpus, second, instruction="same", response="same")
    assert corpus.count() == 3
    undo(corpus, one.action)
    assert corpus.frame(["response"])["response"].to_list() == ["answer 0", "same", "answer 2", "answer 3"]
    undo(corpus, two.action)
    assert ids(corpus)[:2] == [first, second]
    assert corpus.count() == 4


def test_a_text_that_a_file_has_too_is_not_lost_with_the_edit_that_made_it(corpus: Corpus) -> None:
    edit(corpus, ids(corpus)[0], response="new")
    undo(corpus)
    corpus_of(corpus.path, [pair("question 0", "new")])
    assert corpus.count() == 5
    edit(corpus, ids(corpus)[2], response="newer")
    corpus_of(corpus.path, [pair("question 2", "newer")])
    undo(corpus)
    assert sorted(corpus.frame(["response"])["response"]) == [
        "answer 0", "answer 1", "answer 2", "answer 3", "new", "newer",
    ]  # fmt: skip


def test_undoing_an_edit_leaves_tags_and_held_out_marks_as_they_were(corpus: Corpus) -> None:
    first, second = ids(corpus)[:2]
    tag(corpus, "x", ids=[first])
    corpus.hold_out([first])
    edit(corpus, first, instruction="question 1", response="answer 1")
    undo(corpus)
    rows = corpus.frame(["tags", "held_out"], where=f"id IN ('{first}', '{second}')").rows()
    assert rows == [(["t", "x"], True), (["t"], False)]
    edit(corpus, first, response="new")
    undo(corpus)
    untag(corpus, "x", ids=[first])
    edit(corpus, first, response="new")
    assert corpus.frame(["tags", "held_out"], where="response = 'new'").row(0) == (["t"], True)
    undo(corpus)
    assert corpus.count("held_out") == 1


def test_a_mark_on_a_version_stays_with_the_sample_when_the_version_is_taken_back(corpus: Corpus) -> None:
    first = ids(corpus)[0]
    edit(corpus, first, response="new")
    corpus.hold_out([ids(corpus)[0]])
    undo(corpus)
    assert corpus.count(f"held_out AND id = '{first}'") == 1


def test_a_tag_on_what_was_rewritten_since_is_not_undone(corpus: Corpus) -> None:
    given = tag(corpus, "good", ids=ids(corpus)[:1])
    edit(corpus, ids(corpus)[0], response="new")
    with pytest.raises(CorpusError, match="changed again since"):
        undo(corpus, given.action)


def test_ids_that_are_no_samples_and_an_empty_condition_are_refused(corpus: Corpus) -> None:
    for arguments in ({"ids": ["nosuch"]}, {"where": " "}):
        with pytest.raises(CorpusError):
            drop(corpus, reason="r", **arguments)  # type: ignore[arg-type]
    assert corpus.count("decision IS NULL") == 4


def test_texts_that_can_not_be_stored_are_refused_in_two_lines(corpus: Corpus) -> None:
    for work in (
        lambda: drop(corpus, where="true", reason="\udc80"),
        lambda: edit(corpus, ids(corpus)[0], response="\udc80"),
        lambda: edit(corpus, ids(corpus)[0], messages=[]),
        lambda: tag(corpus, "\udc80", where="true"),
    ):
        with pytest.raises(CorpusError):
            work()
    assert history(corpus).is_empty()


def test_quotes_in_names_and_reasons_are_text(corpus: Corpus) -> None:
    odd = """a'b"; DROP TABLE samples; --"""
    drop(corpus, ids=ids(corpus)[:1], reason=odd, who=odd)
    tag(corpus, odd, ids=ids(corpus)[:1])
    assert corpus.frame(["decision_reason", "tags"]).row(0) == (odd, [odd, "t"])
    undo(corpus)
    undo(corpus)
    assert corpus.frame(["decision_reason", "tags"]).row(0) == (None, ["t"])
