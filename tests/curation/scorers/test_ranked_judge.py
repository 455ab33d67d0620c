"""The judge that sees several candidates at once."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curation.engines import checked
from curation.sample import to_frame
from curation.scorers import RankedJudge
from curation.scorers.ranked_judge import _split, _with_one_more
from curation.scoring import score
from tests.curation.samples import corpus_of, pair
from tests.synthesis.loopback import Loopback, refusal

MARKED = re.compile(r"<([A-M])>\n(.*?)\n</\1>", re.DOTALL)


def by_length(body: Any, number: int = 0) -> str:
    """A judge that finds a text the better the longer it is: 1 for up to 9 characters, one more for each further 10."""
    shown = MARKED.findall(body["messages"][0]["content"])
    scores = {letter: min(6, 1 + len(text) // 10) for letter, text in shown}
    order = sorted(scores, key=lambda letter: -scores[letter])
    return f'{{"ranking": {order}, "scores": {scores}}}'.replace("'", '"')


def batch(*instructions: str, parents: list[list[str]] | None = None, responses: list[str] | None = None) -> Any:
    return pl.DataFrame(
        {
            "id": [f"s{i}" for i in range(len(instructions))],
            "instruction": list(instructions),
            "response": responses or ["answer"] * len(instructions),
            "parents": parents or [[] for _ in instructions],
        },
        schema_overrides={"parents": pl.List(pl.String)},
    )


def groups_of(frame: pl.DataFrame, **settings: Any) -> tuple[list[list[str]], list[dict[str, Any]]]:
    """(what was shown together, the measures)."""
    with Loopback(by_length) as server:
        rows = checked(RankedJudge(model=server.spec, **settings), frame).to_dicts()
        shown = [[text for _, text in MARKED.findall(b["messages"][0]["content"])] for b in server.bodies]
    return shown, rows


def test_all_candidates_stand_in_one_prompt_and_get_their_own_score():
    shown, rows = groups_of(batch("short", "x" * 25, "y" * 45), rounds=1)
    assert [sorted(group) for group in shown] == [["short", "x" * 25, "y" * 45]]
    assert [row["ranked_judge"] for row in rows] == [1, 3, 5]
    assert re.fullmatch(r"[ABC]: \{.*\}", rows[0]["ranked_judge_raw"])


def test_scores_of_several_rounds_are_averaged_over_those_that_can_be_read():
    def reply(body: Any, number: int) -> str:
        scores = {1: {"A": 6, "B": 2}, 2: {"A": 9, "B": 4}}[number]
        return f'{{"scores": {scores}}}'.replace("'", '"')

    with Loopback(reply) as server:
        rows = checked(RankedJudge(model=server.spec, rounds=2, concurrency=1), batch("one", "two")).to_dicts()
        letters = [{t: m for m, t in MARKED.findall(b["messages"][0]["content"])} for b in server.bodies]
    expected = {}
    for text in ("one", "two"):
        given = [({"A": 6, "B": 2}, {"A": None, "B": 4})[turn][letters[turn][text]] for turn in (0, 1)]
        known = [value for value in given if value is not None]
        expected[text] = sum(known) / len(known)
    assert {"one": rows[0]["ranked_judge"], "two": rows[1]["ranked_judge"]} == expected


def test_variants_of_one_lineage_stand_together_in_the_first_round():
    frame = batch(*"abcdef", parents=[[], ["s0"], ["s1"], [], ["s3"], ["gone"]])
    shown, _ = groups_of(frame, rounds=1, group=3)
    assert sorted("".join(sorted(group)) for group in shown) in (["abc", "def"], ["abcf", "de"])


def test_for_quality_the_answers_to_one_instruction_stand_together():
    frame = batch("p", "q", "p", "q", responses=["p one", "q one", "p two", "q two"])
    shown, _ = groups_of(frame, rounds=1, aspect="quality")
    assert sorted({text[-5] for text in group}.pop() for group in shown) == ["p", "q"]
    assert all(len(group) == 2 for group in shown)


def test_equal_instructions_are_asked_about_once_and_score_the_same():
    shown, rows = groups_of(batch("same", "same", "another one"), rounds=1)
    assert sorted(shown[0]) == ["another one", "same"]
    assert rows[0]["ranked_judge"] == rows[1]["ranked_judge"] == 1


def test_groups_have_at_most_one_more_than_asked_and_hold_everybody_once():
    names = [f"n{i}" for i in range(500)]
    groups = _split(names, 6, "0 0")
    assert sorted(name for group in groups for name in group) == sorted(names)
    assert {len(group) for group in groups} <= {2, 3, 4, 5, 6, 7}
    assert groups != _split(names, 6, "0 1")


@pytest.mark.parametrize("most", [2, 3, 6, 12])
def test_singles_that_are_left_over_never_make_a_group_larger_than_one_more(most: int):
    for turn in range(300):
        names = [f"{turn} {i}" for i in range(most + 1 + turn % 4)]
        groups = _split(names, most, "0 0")
        assert sorted(name for group in groups for name in group) == sorted(names)
        assert {len(group) for group in groups} <= set(range(2, most + 2))


def test_a_family_of_thirteen_and_a_lone_one_are_two_groups_of_seven():
    assert _with_one_more([list("abcdefghijklm")], ["n"], 12) == [list("abcdefg"), list("hijklmn")]
    assert _with_one_more([list("abc"), list("de")], ["f"], 2) == [list("abc"), list("def")]


def test_where_a_round_s_call_failed_there_is_no_score_yet(tmp_path: Path):
    corpus = corpus_of(tmp_path / "c", [pair("One?", "1"), pair("Two, too?", "2")])
    broken = [True]

    def reply(body: Any, number: int) -> Any:
        return refusal(405, "not now") if broken and number == 2 else by_length(body)

    with Loopback(reply) as server:
        judge = RankedJudge(model=server.spec, rounds=8, concurrency=1)  # each of the two orders comes up
        assert list(score(corpus, judge).unscored) == ["the model was not reached: Error code: 405 - not now"]
        broken.clear()
        assert score(corpus, judge).scored == 2
        assert server.requests == 3


def test_a_sample_more_changes_few_groups():
    names = [f"n{i}" for i in range(500)]
    before = {tuple(sorted(group)) for group in _split(names, 6, "0 0")}
    after = {tuple(sorted(group)) for group in _split([*names, "new"], 6, "0 0")}
    assert len(after - before) <= 3


def test_the_place_in_the_prompt_is_random_but_the_same_again():
    places: Counter[int] = Counter()
    for seed in range(20):
        shown, _ = groups_of(batch("one", "two", "three"), rounds=1, seed=seed)
        places[shown[0].index("one")] += 1
    assert len(places) == 3
    assert groups_of(batch("one", "two", "three"), rounds=1)[0] == groups_of(batch("one", "two", "three"), rounds=1)[0]


@pytest.mark.parametrize("said", ["I'd rather not compare them.", '{"scores": {"A": 8, "B": 0}}'])
def test_what_can_not_be_read_is_null_with_the_raw_text(said: str):
    with Loopback(lambda body, number: said) as server:
        rows = checked(RankedJudge(model=server.spec, rounds=1), batch("one", "two", "")).to_dicts()
    assert [row["ranked_judge"] for row in rows] == [None] * 3
    assert rows[0]["ranked_judge_raw"][3:] == said
    assert rows[0]["reason"] == "the judge's reply holds no score for this candidate"
    assert rows[2]["reason"] == "there is no text to compare"


def test_one_sample_alone_has_nobody_to_be_compared_with():
    shown, rows = groups_of(batch("alone"))
    assert shown == []
    assert rows[0]["reason"] == "there is no other candidate to compare with"


def test_adding_a_sample_asks_only_about_the_groups_it_changes(tmp_path: Path):
    corpus = corpus_of(tmp_path / "c", [pair(f"Question number {i}?", "1") for i in range(40)])
    with Loopback(by_length) as server:
        judge = RankedJudge(model=server.spec, rounds=2, group=4)
        assert score(corpus, judge).scored == 40
        first = server.requests
        assert score(corpus, judge).already == 40
        assert server.requests == first
        corpus.add(to_frame([pair("One more?", "1")]))
        assert score(corpus, judge).scored == 41
        assert server.requests - first <= 6
