import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curation.deciding import tag
from curation.errors import CorpusError, ModelError, OperatorError
from curation.scorers.instag_normalized import InsTagNormalized
from curation.scoring import score
from curation.tag_normalizing import Normalization, aliases, applied, clusters, normalized, spelling
from tests.curation.samples import corpus_of, pair

EVERY_TAG = Normalization(min_count=1, model="none", min_support=None)


def lists(*tags: Sequence[str] | None) -> pl.Series:
    return pl.Series("instag", list(tags), dtype=pl.List(pl.String))


def canonical(tags: pl.Series, how: Normalization, corrections: dict[str, str | None] | None = None) -> dict[str, str]:
    return {alias.tag: alias.canonical or "" for alias in normalized(tags, how, corrections)}


def test_tags_of_too_few_samples_are_left_out() -> None:
    tags = lists(["a", "b"], ["a", "a"], ["c"])
    [a, b, _] = normalized(tags)
    assert (a.canonical, a.count, a.merges) == ("a", 2, ())
    assert (b.canonical, b.merges[0].step) == (None, "frequency")
    assert applied(tags, normalized(tags)).to_list() == [["a"], ["a"], []]


def test_from_fifty_thousand_samples_on_a_tag_needs_twenty() -> None:
    tags = pl.concat([lists(*[["common"]] * 20, *[["rare"]] * 19), lists([]).new_from_index(0, 49_961)])
    assert canonical(tags, Normalization()) == {"common": "common", "rare": ""}
    assert canonical(tags[:-1], Normalization()) == {"common": "common", "rare": "rare"}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Story Writing", "story-writing", True),
        ("Story_Writing!", "stories  writing", True),
        ("C++", "C", False),
        ("C++", "C#", False),
        ("#C", "c", True),
        ("Q&A", "q a", True),
        ("数学 问题", "数学问题", True),
        ("数学问题", "数学", False),
        ("ＡＩ", "ai", True),
    ],
)
def test_spellings_that_differ_in_case_marks_or_endings_are_one(one: str, other: str, same: bool) -> None:
    assert (spelling(one) == spelling(other)) is same


def test_the_canonical_tag_is_the_most_frequent_spelling_and_a_sample_has_it_once() -> None:
    tags = lists(["Coding", "coding"], ["coding"], ["Coding!", "Maths"], None)
    found = normalized(tags, EVERY_TAG)
    assert {a.tag: a.canonical for a in found} == {
        "Coding": "coding", "Coding!": "coding", "Maths": "Maths", "coding": "coding"
    }  # fmt: skip
    assert applied(tags, found).to_list() == [["coding"], ["coding"], ["coding", "Maths"], None]


def test_tags_of_nearly_equal_vectors_are_one_and_the_diameter_is_told() -> None:
    tags = lists(*[["Unit Conversion"]] * 3, *[["Units Converter"]] * 2, ["Poem"])
    how = Normalization(min_count=1, distance=0.7, max_diameter=None, min_support=None)
    found = {a.tag: a for a in normalized(tags, how)}
    assert found["Poem"].merges == ()
    assert found["Units Converter"].canonical == "Unit Conversion"
    [merge] = found["Units Converter"].merges
    assert merge.step == "semantic"
    assert merge.similarity == pytest.approx(1 - (merge.diameter or 0), abs=1e-3)
    assert 0.3 < (merge.similarity or 0) < 0.95
    assert canonical(tags, Normalization(min_count=1))["Units Converter"] == "Units Converter"


def test_an_encoder_that_is_unknown_is_named() -> None:
    with pytest.raises(ModelError, match="nonsense"):
        normalized(lists(["a"], ["b"]), Normalization(min_count=1, model="nonsense"))


def test_a_chain_of_small_steps_is_cut_where_it_leads_too_far() -> None:
    angles = np.deg2rad([0, 15, 30, 45, 60])  # neighbours at cosine distance 0.034, the ends at 0.5
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    [(whole, apart)] = clusters(vectors, 0.05, None)
    assert whole.tolist() == [0, 1, 2, 3, 4]
    assert apart.max() == pytest.approx(0.5, abs=1e-6)
    parts = clusters(vectors, 0.05, 0.05)
    assert [rows.tolist() for rows, _ in parts] == [[0, 1], [2, 3]]
    assert all(distances.max() <= 0.05 for _, distances in parts)


def test_a_tag_that_hardly_ever_comes_alone_becomes_the_one_it_comes_with() -> None:
    together, alone, others = [["maths", "algebra"]] * 99, [["algebra"]], [["maths"]] * 50 + [["poem"]] * 400
    how = Normalization(model="none")
    found = {a.tag: a for a in normalized(lists(*together, *alone, *others), how)}
    [merge] = found["algebra"].merges
    assert (merge.into, merge.support, merge.confidence) == ("maths", 99, 0.99)
    assert found["maths"].merges == ()
    less_sure = lists(*together, *alone, *alone, *others)
    assert canonical(less_sure, how)["algebra"] == "algebra"
    too_few = lists(*[["maths", "algebra"]] * 39, *others)
    assert canonical(too_few, how)["algebra"] == "algebra"


def test_a_tag_of_half_of_the_samples_takes_no_other_in() -> None:
    assert canonical(lists(*[["instruction", "poem"]] * 60, *[["instruction"]] * 60), Normalization())["poem"] == "poem"


def test_a_rule_with_two_ends_leads_to_the_surer_and_then_the_rarer_and_chains_are_followed() -> None:
    tags = lists(*[["a", "b", "c"]] * 50, *[["b", "c"]] * 100, *[["c"]] * 100, *[["x"]] * 400)
    assert canonical(tags, Normalization()) == {"a": "c", "b": "c", "c": "c", "x": "x"}
    merges = {alias.tag: [m.into for m in alias.merges] for alias in normalized(tags)}
    assert merges == {"a": ["b", "c"], "b": ["c"], "c": [], "x": []}


def test_corrections_outrank_every_step_and_those_of_a_canonical_tag_go_for_its_members() -> None:
    tags = lists(["Coding"], ["Coding"], ["coding"], ["Codings"], ["Junk"])
    corrections = {"Coding": "Programming", "Codings": "Codings", "Junk": None}
    assert canonical(tags, EVERY_TAG, corrections) == {
        "Coding": "Programming", "coding": "Programming", "Codings": "Codings", "Junk": ""
    }  # fmt: skip


def tagged_corpus(folder: Path):
    corpus = corpus_of(folder, [pair(f"Question {i}?", "Answer.") for i in range(4)])
    for where, name in [("position <= 3", "Coding"), ("position >= 3", "coding"), ("position <= 2", "编程")]:
        tag(corpus, name, where=where)
    return corpus


def test_the_file_of_aliases_is_read_back_edited_and_given_as_corrections(tmp_path: Path) -> None:
    corpus = tagged_corpus(tmp_path / "c")
    with pytest.raises(CorpusError, match="have not been normalised"):
        aliases(corpus)
    report = score(corpus, InsTagNormalized(tags="tags"))
    assert report.scored == 4
    found = corpus.frame(["instag_normalized", "instag_normalized_count"])
    assert found["instag_normalized"].to_list() == [["Coding", "编程"], ["Coding", "编程"], ["Coding"], ["Coding"]]
    assert found["instag_normalized_count"].to_list() == [2, 2, 1, 1]
    assert [(a.tag, a.canonical) for a in aliases(corpus)] == [
        ("Coding", "Coding"), ("coding", "Coding"), ("编程", "编程")
    ]  # fmt: skip
    [file] = (tmp_path / "c" / "tags").iterdir()
    edited = tmp_path / "mine.jsonl"
    edited.write_text(file.read_text().replace('"canonical": "编程"', '"canonical": "Coding"'))
    score(corpus, InsTagNormalized(tags="tags", aliases=str(edited)))
    assert corpus.frame(["instag_normalized"])["instag_normalized"].to_list() == [["Coding"]] * 4
    assert [a.merges[-1].step for a in aliases(corpus) if a.tag == "编程"] == ["correction"]


def test_a_sample_that_was_not_tagged_is_null_and_says_so() -> None:
    batch = pl.DataFrame({"id": ["1", "2"], "instag": [None, []]}, schema_overrides={"instag": pl.List(pl.String)})
    measured = InsTagNormalized().score(batch)
    assert measured["instag_normalized"].to_list() == [None, []]
    assert measured["instag_normalized_count"].to_list() == [None, 0]
    assert measured["reason"].to_list() == ["no tags in instag", None]


@pytest.mark.parametrize("text", ["{}", '{"maths": "Mathematics", "junk": null}'])
def test_corrections_may_be_one_object(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.json"
    file.write_text(text)
    batch = pl.DataFrame({"id": ["1", "2"], "instag": [["maths"], ["maths"]]})
    expected = json.loads(text).get("maths", "maths")
    assert InsTagNormalized(aliases=str(file)).score(batch)["instag_normalized"].to_list() == [[expected]] * 2


def test_new_weights_of_the_encoder_are_another_run(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").write_text("old")
    scorer = InsTagNormalized(model=f"sentence-transformers:{tmp_path}")
    before = scorer.fingerprint()
    assert before == scorer.fingerprint() != ""
    (tmp_path / "weights.bin").write_text("new")
    assert scorer.fingerprint() != before
    assert InsTagNormalized().fingerprint() == ""


def test_a_wrong_line_of_corrections_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text('{"tag": "a", "canonical": "b"}\nnonsense\n')
    with pytest.raises(OperatorError, match=r"mine.jsonl:2 is no correction"):
        InsTagNormalized(aliases=str(file)).fingerprint()
    with pytest.raises(OperatorError, match="can't be read"):
        InsTagNormalized(aliases=str(tmp_path / "missing")).fingerprint()
