import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curation.actions import undo
from curation.arrivals import ArrivalsReport, arrivals
from curation.corpus import Corpus
from curation.embedding import add_vectors
from curation.errors import CorpusError
from curation.ingestion import ingest
from curation.scorers.novelty import Novelty
from curation.scoring import score
from curation.subsets.neighbours import Neighbours


@pytest.fixture
def corpus(tmp_path: Path) -> Iterator[Corpus]:
    corpus = Corpus.create(tmp_path / "corpus")
    with corpus.database.held():
        yield corpus


def bring(corpus: Corpus, name: str, *rows: dict | tuple[str, str]) -> None:
    path, begun = corpus.path.parent / name, corpus.count()
    lines = ({"instruction": r[0], "output": r[1]} if isinstance(r, tuple) else r for r in rows)
    path.write_text("".join(json.dumps({**line, "at": begun + i}) + "\n" for i, line in enumerate(lines)))
    ingest(corpus, [path])


def at(corpus: Corpus, *vectors: list[float]) -> None:
    """Vectors of the user's own for the samples, in the order they came."""
    np.save(corpus.path.parent / "v.npy", np.array(vectors, np.float32))
    add_vectors(corpus, corpus.path.parent / "v.npy", "at", name="mine")


def alike(corpus: Corpus) -> Corpus:
    """The same vector for all: where it is about contradictions, a test need not fit an encoder."""
    np.save(corpus.path.parent / "v.npy", np.ones((corpus.count(), 2), np.float32))
    add_vectors(corpus, corpus.path.parent / "v.npy", "at", name="mine")
    return corpus


def pairs(report: ArrivalsReport) -> list[tuple[str, str, str]]:
    return [(c.question, c.old_answer, c.new_answer) for c in report.listed]


def test_novelty_is_the_distance_to_the_nearest_sample_that_was_there_before(corpus: Corpus) -> None:
    bring(corpus, "old.jsonl", *({"instruction": f"old {i}", "output": "a"} for i in range(2)))
    bring(corpus, "new.jsonl", *({"instruction": f"new {i}", "output": "a"} for i in range(2, 5)))
    at(corpus, [1, 0, 0], [0, 1, 0], [2, 0, 0], [0.6, 0.8, 0], [0, 0, 1])
    report = arrivals(corpus)
    found = [(a.instruction, round(a.novelty, 6), a.neighbour_instruction) for a in report.most_novel]
    assert found[0][:2] == ("new 4", 1.0)
    assert found[1:] == [("new 3", 0.2, "old 1"), ("new 2", 0.0, "old 0")]
    assert (report.samples, report.earlier, report.measured) == (3, 2, 3)
    assert (round(report.quantiles["50%"], 6), report.usual) == (0.2, 1.0)
    assert (report.novel_above, report.novel) == (1.0, 0)
    assert arrivals(corpus, novel_above=0.1).novel == 2
    assert report.least_novel == report.most_novel[::-1]


def test_novelty_is_kept_as_a_score_that_a_filter_can_name(corpus: Corpus) -> None:
    bring(corpus, "old.jsonl", {"instruction": "old", "output": "a"})
    bring(corpus, "new.jsonl", {"instruction": "new", "output": "a"})
    at(corpus, [1, 0], [0.6, 0.8])
    arrivals(corpus)
    assert corpus.frame(["instruction", "novelty"], where="novelty > 0.3").rows() == [("new", pytest.approx(0.4))]
    old, new = corpus.frame(["id", "novelty_of"]).rows()
    assert (old[1], new[1]) == (None, old[0])


def test_the_scorer_measures_every_batch_against_those_before_it(corpus: Corpus) -> None:
    for name, numbers in (("a", (0, 1)), ("b", (2,)), ("c", (3, 4))):
        bring(corpus, f"{name}.jsonl", *({"instruction": f"{name}{n}", "output": "x"} for n in numbers))
    at(corpus, [1, 0], [1, 0], [0, 1], [0, 1], [0.6, 0.8])
    report = score(corpus, Novelty())
    frame = corpus.frame(["novelty", "novelty_of", "id"])
    assert frame["novelty"].round(6).to_list() == [None, None, 1.0, 0.0, 0.2]
    assert frame["novelty_of"].to_list()[3:] == [frame["id"][2]] * 2
    assert report.unscored == {"nothing was there before its batch": 2}


def test_a_sample_without_a_vector_is_not_measured() -> None:
    batch = pl.DataFrame(
        {"id": ["a", "b", "c", "d"], "batch": ["1", "2", "2", "3"], "vector": [None, [1.0, 0.0], None, [1.0, 0.0]]},
        schema_overrides={"vector": pl.Array(pl.Float32, 2)},
    )
    found = Novelty().score(batch)
    assert found["novelty"].to_list() == [None, None, None, 0.0]
    no_vector, nothing = "it has no vector in the embedding", "nothing was there before its batch"
    assert found["reason"].to_list() == [no_vector, nothing, no_vector, None]


def test_what_was_dropped_is_no_neighbour(corpus: Corpus) -> None:
    from curation.deciding import drop

    bring(corpus, "old.jsonl", *({"instruction": f"old {i}", "output": "a"} for i in range(2)))
    bring(corpus, "new.jsonl", {"instruction": "new", "output": "a"})
    at(corpus, [1, 0], [0.6, 0.8], [1, 0])
    drop(corpus, where="instruction = 'old 0'", reason="for the test")
    assert arrivals(corpus).most_novel[0].novelty == pytest.approx(0.4)


def test_without_an_embedding_the_lexical_one_is_made_and_grows_with_each_batch(corpus: Corpus) -> None:
    bring(corpus, "old.jsonl", *((f"How do I bake bread number {i}?", f"With flour and {i} eggs.") for i in range(20)))
    bring(
        corpus,
        "new.jsonl",
        ("How do I bake bread number 5?", "With flour and 5 eggs!"),
        ("量子力学是什么？", "物理学。"),
    )
    report = arrivals(corpus)
    assert (report.embedding, report.measured) == ("lexical", 2)
    assert [a.instruction for a in report.most_novel] == ["量子力学是什么？", "How do I bake bread number 5?"]
    assert report.least_novel[0].novelty < 0.3 < report.most_novel[0].novelty
    bring(corpus, "more.jsonl", ("量子力学是什么？", "物理学的一部分。"))
    assert arrivals(corpus).most_novel[0].neighbour_instruction == "量子力学是什么？"


def test_the_first_batch_has_nothing_to_be_compared_to(corpus: Corpus) -> None:
    bring(corpus, "a.jsonl", ("q", "a"))
    report = arrivals(corpus)
    assert (report.samples, report.earlier, report.measured, report.usual) == (1, 0, 0, None)
    assert corpus.frame(["novelty"]).item() is None


def test_a_batch_that_brought_nothing_new_says_so(corpus: Corpus) -> None:
    bring(corpus, "a.jsonl", ("q", "a"))
    bring(corpus, "b.jsonl", ("q", "a"))
    report = arrivals(corpus)
    assert (report.samples, report.duplicates, report.contradictions) == (0, 1, 0)


OLD, NEW = ("Capital of Australia?", "Sydney."), ("capital  of australia?", "Canberra.")


@pytest.fixture
def disagreeing(corpus: Corpus) -> Corpus:
    bring(corpus, "old.jsonl", OLD, ("1+1?", "2"), ("Say hi", "Hi"))
    bring(corpus, "new.jsonl", NEW, ("1+1?", " 2\n"), ("Say bye", "Bye"), ("Say bye", "Ciao"))
    return alike(corpus)


def test_the_same_question_with_another_answer_is_a_contradiction(disagreeing: Corpus) -> None:
    report = arrivals(disagreeing)
    assert pairs(report) == [(OLD[0], OLD[1], NEW[1])]
    assert (report.contradictions, report.contradicted, report.dropped, report.tagged) == (1, 1, 0, 0)


def test_the_newest_wins_and_it_can_be_undone(disagreeing: Corpus) -> None:
    report = arrivals(disagreeing, on_conflict="newest")
    assert report.dropped == 1
    dropped = disagreeing.frame(["response", "decision_reason"], where="decision = 'drop'")
    assert dropped.rows() == [("Sydney.", f"a newer answer came with batch {report.batch}")]
    assert arrivals(disagreeing, on_conflict="newest").contradictions == 0
    undo(disagreeing)
    assert disagreeing.count("decision = 'drop'") == 0


def test_review_tags_both_sides_once_and_it_can_be_undone(disagreeing: Corpus) -> None:
    assert arrivals(disagreeing, on_conflict="review").tagged == 2
    tagged = disagreeing.frame(["response"], where="list_contains(tags, 'contradiction')")["response"]
    assert set(tagged) == {"Sydney.", "Canberra."}
    assert arrivals(disagreeing, on_conflict="review").tagged == 0
    undo(disagreeing)
    assert disagreeing.count("list_contains(tags, 'contradiction')") == 0


def test_another_context_is_another_question(corpus: Corpus) -> None:
    def talk(system: str, answer: str, before: str = "") -> dict:
        turns = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": answer}]
        earlier = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": before}] if before else []
        return {"messages": [{"role": "system", "content": system}][: bool(system)] + earlier + turns}

    bring(corpus, "old.jsonl", talk("You are Ann.", "Ann"), talk("", "Nobody"), talk("", "Me", before="Hello"))
    bring(corpus, "new.jsonl", talk("You are Bob.", "Bob"), talk("", "Me?", before="Yo"), talk("", "Who?"))
    assert pairs(arrivals(alike(corpus))) == [("Who?", "Nobody", "Who?")]


def test_preference_pairs_and_bad_answers_contradict_nothing(corpus: Corpus) -> None:
    bring(corpus, "old.jsonl", ("q", "a"))
    bring(
        corpus,
        "new.jsonl",
        {"prompt": "q", "chosen": "b", "rejected": "c"},
        {"prompt": "q", "completion": "d", "label": False},
        {"prompt": "q", "completion": "e", "label": True},
    )
    assert pairs(arrivals(alike(corpus))) == [("q", "a", "e")]


def test_a_batch_is_named_by_its_id_or_its_file(disagreeing: Corpus) -> None:
    first = disagreeing.batches()["batch"][0]
    assert arrivals(disagreeing, "old.jsonl").batch == arrivals(disagreeing, first).batch == first
    with pytest.raises(CorpusError, match="Unknown batch 'older'"):
        arrivals(disagreeing, "older")
    with pytest.raises(CorpusError, match="Unknown policy 'oldest'"):
        arrivals(disagreeing, on_conflict="oldest")
    with pytest.raises(CorpusError, match="Unknown embedding 'x'"):
        arrivals(disagreeing, embedding="x")


def test_an_empty_corpus_has_no_arrivals(corpus: Corpus) -> None:
    with pytest.raises(CorpusError, match="Nothing was ingested yet"):
        arrivals(corpus)


def test_neighbours_in_cells_are_those_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    there = (rng.normal(size=(40, 1, 16)) + 0.3 * rng.normal(size=(40, 100, 16))).reshape(-1, 16).astype(np.float32)
    asked = there[::7] + 0.05 * rng.normal(size=(572, 16)).astype(np.float32)
    exact = Neighbours(there, len(there))
    exact.add(there)
    monkeypatch.setattr("curation.subsets.neighbours.EXACT_UP_TO", 1000)
    cells = Neighbours(there, len(there))
    cells.add(there[:1])
    assert cells.nearest(asked)[1].tolist() == [0] * len(asked)
    cells.add(there[1:])
    assert (cells.nearest(asked)[1] == exact.nearest(asked)[1]).mean() > 0.98
    cosines, _ = exact.nearest(asked[:5])
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (asked[:5], there)]
    assert np.allclose(cosines, (unit[0] @ unit[1].T).max(axis=1), atol=1e-5)
