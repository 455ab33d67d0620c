from pathlib import Path

import pytest

from curation.actions import undo
from curation.corpus import Corpus
from curation.deciding import drop, edit, keep
from curation.errors import CorpusError
from curation.ingestion import ingest
from curation.lineage import lineage
from curation.mixing import Mix, Part, export
from curation.normalizing import normalize
from curation.sample import Sample
from curation.selection import select
from curation.selectors import Random
from curation.snapshots import diff, snapshot, snapshots
from tests.curation.samples import corpus_of, pair
from tests.curation.test_normalizing import Lower


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return corpus_of(tmp_path / "c", [pair(f"question {n}", f"answer {n}", source="a") for n in range(5)])


def ids(corpus: Corpus) -> list[str]:
    return corpus.frame(["id"])["id"].to_list()


def test_a_snapshot_tells_what_was_added_removed_and_changed_since_and_why(corpus: Corpus) -> None:
    first, second = ids(corpus)[:2]
    assert snapshot(corpus, "before").samples == 5
    drop(corpus, ids=[first], reason="wrong")
    edit(corpus, second, response="better")
    corpus_of(corpus.path, [pair("new", "new", source="b")])
    report = diff(corpus, "before")
    assert (report.same, report.added, report.removed, report.changed) == (3, 1, 1, 1)
    assert report.by_reason == {
        "added": {"from b": 1}, "removed": {"dropped: wrong": 1}, "changed": {"edit": 1},
    }  # fmt: skip
    assert report.rows["change"].to_list() == ["removed", "changed", "added"]
    assert report.rows["id"].to_list()[:2] == [first, second]


def test_a_snapshot_stays_what_it_was_and_its_name_is_taken(corpus: Corpus) -> None:
    drop(corpus, ids=ids(corpus)[:1], reason="early")
    snapshot(corpus, "one")
    undo(corpus)
    assert snapshots(corpus).select("samples", "dropped").row(0) == (4, 1)
    assert diff(corpus, "now", "one").by_reason == {"removed": {"dropped: early": 1}}
    for name in ("one", "now", "../x"):
        with pytest.raises(CorpusError):
            snapshot(corpus, name)


def test_two_mixes_differ_by_what_their_selections_took(corpus: Corpus) -> None:
    for seed, name in enumerate(("s1", "s2")):
        select(corpus, Random(seed=seed), 2, name=name)
        export(corpus, Mix(name=name, parts=(Part(selection=name),)))
    with pytest.raises(CorpusError) as error:
        diff(corpus, "s1", "s2")
    assert error.value.fix == "say which: mix:s1 or selection:s1"
    of_mixes, of_selections = diff(corpus, "mix:s1", "mix:s2"), diff(corpus, "selection:s1", "selection:s2")
    assert (of_mixes.added, of_mixes.removed) == (of_selections.added, of_selections.removed)
    assert of_mixes.added == of_mixes.removed > 0


def test_a_mix_takes_the_latest_version_of_what_was_selected_and_nothing_that_was_dropped(corpus: Corpus) -> None:
    chosen = select(corpus, Random(), 3, name="s").ids
    edit(corpus, chosen[0], response="better")
    drop(corpus, ids=[chosen[1]], reason="wrong")
    report = export(corpus, Mix(name="m", parts=(Part(selection="s"),)))
    text = (corpus.path / "mixes" / "m" / "train.jsonl").read_text()
    assert report.rows == 2
    assert "better" in text
    assert [note.split(":")[0].split(",")[0] for note in report.notes[:2]] == [
        "1 samples of the selections were rewritten since", "1 samples of the selections were dropped since",
    ]  # fmt: skip


def test_every_sample_knows_its_file_its_row_and_its_family(corpus: Corpus, tmp_path: Path) -> None:
    file = tmp_path / "f.jsonl"
    file.write_text('{"instruction": "i1", "output": "o1"}\n{"instruction": "i2", "output": "o2"}\n')
    ingest(corpus, [file])
    asked = corpus.frame(["id"], where="instruction = 'i2'")["id"].item()
    child = pair("i3", "o3", parents=(asked,), operator='{"name": "distill"}')
    corpus_of(corpus.path, [child])
    edit(corpus, asked, response="better", note="short")
    old, new = lineage(corpus, asked), lineage(corpus, corpus.frame(["id"], where="response = 'better'")["id"].item())
    assert (old.origin.file, old.origin.row, len(old.origin.sha256 or "")) == (str(file), 2, 64)
    assert (new.origin.file, new.origin.row) == (str(file), 2)
    assert (old.status, new.status) == ("replaced", "in")
    assert [(r.id, r.relation, r.operator) for r in old.relatives] == [
        (new.id, "later version", "edit"), (child.id, "child", "distill"),
    ]  # fmt: skip
    assert [r.relation for r in new.relatives] == ["earlier version", "child"]
    assert [r.relation for r in lineage(corpus, child.id).relatives] == ["parent"]
    assert new.actions[0]["note"] == "short"


def test_why_a_sample_is_out_is_said(corpus: Corpus) -> None:
    first = ids(corpus)[0]
    select(corpus, Random(), 4, name="s")
    drop(corpus, ids=[first], reason="wrong answer", who="Ada")
    found = lineage(corpus, first)
    assert (found.status, found.because) == ("dropped", "wrong answer")
    assert found.actions[0]["who"] == "Ada"
    assert [s["name"] for s in found.selections] == ["s"]


def test_a_row_that_came_again_is_known_by_its_other_places(corpus: Corpus, tmp_path: Path) -> None:
    file = tmp_path / "again.jsonl"
    file.write_text('{"instruction": "question 1", "output": "answer 1"}\n')
    ingest(corpus, [file])
    sample = Sample(pair("question 1", "answer 1").messages)
    assert [(o.source, o.row) for o in lineage(corpus, sample.id).also_in] == [("again", 1)]


def id_of(corpus: Corpus, response: str) -> str:
    return str(corpus.query("SELECT id FROM versions WHERE response = ?", response).item())


def counts(corpus: Corpus, before: str, after: str = "now") -> tuple[int, int, int, int]:
    report = diff(corpus, before, after)
    assert report.rows["id"].is_unique().all()
    return report.same, report.added, report.removed, report.changed


def test_samples_that_become_one_are_all_changed_and_that_one_knows_them_all(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", [pair("q", "AA"), pair("q", "Aa"), pair("other", "b")])
    snapshot(corpus, "before")
    normalize(corpus, Lower())
    assert counts(corpus, "before") == (1, 0, 0, 2)
    assert diff(corpus, "before").by_reason == {"changed": {"lower": 2}}
    one = id_of(corpus, "aa")
    for old in ("AA", "Aa"):
        assert [(r.id, r.relation) for r in lineage(corpus, id_of(corpus, old)).relatives] == [(one, "later version")]
    assert [r.relation for r in lineage(corpus, one).relatives] == ["earlier version", "earlier version"]
    back = diff(corpus, "now", "before")
    assert back.by_reason == {
        "changed": {"an earlier version": 1}, "added": {"no longer one with another sample": 1},
    }  # fmt: skip


def test_a_sample_that_becomes_one_that_was_there_is_changed_into_it(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", [pair("q", "A"), pair("q", "a")])
    snapshot(corpus, "before")
    normalize(corpus, Lower())
    assert counts(corpus, "before") == (1, 0, 0, 1)
    assert diff(corpus, "before").rows.select("id", "becomes").row(0) == (id_of(corpus, "A"), id_of(corpus, "a"))


def test_samples_that_changed_places_are_each_matched_with_their_own_version(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", [pair("q", "a"), pair("q", "x")])
    edit(corpus, id_of(corpus, "a"), response="b")
    edit(corpus, id_of(corpus, "x"), response="a")
    snapshot(corpus, "s")
    edit(corpus, id_of(corpus, "a"), response="a2")
    edit(corpus, id_of(corpus, "b"), response="b2")
    assert counts(corpus, "s") == (0, 0, 0, 2)
    pairs = {(id_of(corpus, "a"), id_of(corpus, "a2")), (id_of(corpus, "b"), id_of(corpus, "b2"))}
    assert set(diff(corpus, "s").rows.select("id", "becomes").iter_rows()) == pairs


def test_a_version_is_matched_also_where_an_undo_came_between(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", [pair("q", "a")])
    edit(corpus, id_of(corpus, "a"), response="b")
    snapshot(corpus, "rewritten")
    undo(corpus)
    assert diff(corpus, "rewritten").by_reason == {"changed": {"its rewriting was undone": 1}}
    assert diff(corpus, "now", "rewritten").by_reason == {"changed": {"edit": 1}}
    edit(corpus, id_of(corpus, "a"), response="c")
    assert diff(corpus, "rewritten").by_reason == {"changed": {"edit": 1}}


def test_a_version_that_was_taken_back_is_no_earlier_version(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", [pair("q", "a")])
    edit(corpus, id_of(corpus, "a"), response="wrong")
    undo(corpus)
    edit(corpus, id_of(corpus, "a"), response="right")
    relations = {r.id: r.relation for r in lineage(corpus, id_of(corpus, "right")).relatives}
    assert relations == {id_of(corpus, "a"): "earlier version", id_of(corpus, "wrong"): "withdrawn version"}
    assert {r.relation for r in lineage(corpus, id_of(corpus, "wrong")).relatives} == {
        "earlier version", "later version",
    }  # fmt: skip


def test_a_text_that_was_taken_back_and_is_written_for_another_sample_belongs_to_that_one(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", [pair("q", "a"), pair("q", "x")])
    edit(corpus, id_of(corpus, "a"), response="b")
    undo(corpus)
    snapshot(corpus, "before")
    edit(corpus, id_of(corpus, "x"), response="b")
    assert diff(corpus, "before").rows.select("id", "becomes").rows() == [(id_of(corpus, "x"), id_of(corpus, "b"))]
    relations = {r.id: r.relation for r in lineage(corpus, id_of(corpus, "b")).relatives}
    assert relations[id_of(corpus, "x")] == "earlier version"
    assert relations.get(id_of(corpus, "a")) != "earlier version"
    assert lineage(corpus, id_of(corpus, "a")).relatives == ()


def test_what_comes_back_in_was_out_for_a_reason(corpus: Corpus) -> None:
    first = ids(corpus)[0]
    drop(corpus, ids=[first], reason="off topic")
    snapshot(corpus, "s")
    select(corpus, Random(), 4, name="four")
    keep(corpus, ids=[first])
    assert diff(corpus, "s").by_reason == {"added": {"no longer dropped: off topic": 1}}


def test_a_snapshot_whose_statements_are_sent_twice_is_one_snapshot(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = corpus.database.run

    def twice(*statements: object, **more: object) -> object:
        once(*statements, **more)  # type: ignore[arg-type]
        return once(*statements, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(corpus.database, "run", twice)
    report = snapshot(corpus, "s")
    assert (report.samples, report.dropped) == (5, 0)
    assert snapshots(corpus).height == 1
    assert diff(corpus, "s").same == 5


def test_a_diff_counts_all_and_gives_the_first_rows(corpus: Corpus) -> None:
    snapshot(corpus, "s")
    drop(corpus, where="true", reason="no")
    report = diff(corpus, "s", limit=2)
    assert (report.removed, report.by_reason["removed"]) == (5, {"dropped: no": 5})
    assert report.rows["id"].to_list() == ids(corpus)[:2]
    assert diff(corpus, "s", limit=0).removed == 5
