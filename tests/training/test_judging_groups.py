from __future__ import annotations

import json
from pathlib import Path

from curation.corpus import Corpus
from curation.deciding import tag
from curation.ingestion import ingest
from curation.scorers.length import Length
from curation.scoring import score
from tests.training.conftest import WriteMix
from training.data.mix_folder import MixFolder
from training.judging.facts import Facts, keep_facts, read_facts
from training.judging.groups import by_band, groups
from training.runs.run_folder import RunFolder


def test_bands_are_thirds_of_the_rows_that_have_the_score() -> None:
    low, middle, high = by_band("ifd", [0.1, None, 0.6, 0.2, 0.5, 0.9, 0.3])
    assert (low.name, low.rows) == ("low (below 0.3)", (0, 3))
    assert (middle.name, middle.rows) == ("middle (0.3 to 0.6)", (4, 6))
    assert (high.name, high.rows) == ("high (0.6 or more)", (2, 5))


def test_equal_scores_are_in_one_band() -> None:
    assert [band.rows for band in by_band("judge", [4, 4, 4, 4, 5])] == [(0, 1, 2, 3), (4,)]
    assert [band.name for band in by_band("judge", [1, 5, 5, 5])] == ["low (below 5)", "high (5 or more)"]
    assert by_band("judge", [3, 3, 3]) == []


def test_a_row_is_in_one_source_and_in_every_tag_that_two_rows_have() -> None:
    facts = {
        "a": Facts("a", tags={"instag": ["sum", "sum", "tea"]}),
        "b": Facts("b", tags={"instag": ["sum"], "tags": ["mine"]}),
    }
    found = {(g.kind, g.name): g.rows for g in groups(["a", "b", "c"], ["x", "y", "x"], facts)}
    assert found == {("source", "x"): (0, 2), ("source", "y"): (1,), ("instag", "sum"): (0, 1)}


def test_a_corpus_tells_tags_scores_and_metadata_of_held_out_rows_and_the_run_keeps_them(
    tmp_path: Path, write_mix: WriteMix
) -> None:
    rows = [{"instruction": f"What is {n} plus 1?", "output": f"{n + 1}", "gold": n + 1} for n in range(4)]
    (tmp_path / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus = Corpus.create(tmp_path / "corpus")
    ingest(corpus, [tmp_path / "sums.jsonl"])
    score(corpus, Length())
    tag(corpus, "easy", where="instruction LIKE '%1 plus%'")
    ids = corpus.frame(["id"])["id"].to_list()
    mix = MixFolder(write_mix(eval=[{"id": i, "instruction": "q", "output": "a"} for i in ids]))
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    keep_facts(run, mix, corpus.path)
    keep_facts(run, mix, None)  # judged again where the corpus is not at hand
    facts = read_facts(run.path, mix)
    assert facts[ids[0]].metadata["gold"] == 1
    assert facts[ids[1]].tags["tags"] == ["easy"]
    assert facts[ids[1]].scores["length"] > 0


def test_rows_of_an_own_mix_may_carry_their_facts_themselves(tmp_path: Path, write_mix: WriteMix) -> None:
    mix = MixFolder(write_mix(eval=[{"id": "a", "instruction": "q", "output": "a", "tags": ["t"], "scores": {"d": 2}}]))
    assert read_facts(tmp_path, mix)["a"] == Facts("a", tags={"tags": ["t"]}, scores={"d": 2})


def test_a_row_without_an_id_has_the_facts_of_its_own_line(tmp_path: Path, write_mix: WriteMix) -> None:
    rows = [{"instruction": "q", "output": "a", "metadata": {"gold": n}} for n in (1, 2)]
    mix = MixFolder(write_mix(eval=rows))
    facts = read_facts(tmp_path, mix)
    assert [facts[example.id].metadata for example in mix.examples("eval")] == [{"gold": 1}, {"gold": 2}]


def test_scores_that_are_no_finite_numbers_are_left_out(tmp_path: Path, write_mix: WriteMix) -> None:
    scores = {"good": 2, "text": "3", "nan": float("nan"), "flag": True, "none": None}
    mix = MixFolder(write_mix(eval=[{"id": "a", "instruction": "q", "output": "a", "scores": scores}]))
    assert read_facts(tmp_path, mix)["a"].scores == {"good": 2}
