from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training.judging.groups import Group
from training.judging.seesaw import Measured, by_chance, groups_of, measured, seesaw


def side(losses: dict[str, float], *, tokens: int = 10, sources: tuple[str, ...] = ("a", "b")) -> Measured:
    rows = {i: (sources[int(i) % len(sources)], tokens, tokens * loss) for i, loss in losses.items()}
    return Measured("m", losses=rows)


def by_source(after: Measured) -> list[Group]:
    ids = sorted(after.losses)
    return [
        Group("source", s, tuple(n for n, i in enumerate(ids) if after.losses[i][0] == s))
        for s in sorted({row[0] for row in after.losses.values()})
    ]


def test_a_source_that_rose_and_one_that_fell_are_told_apart_and_the_larger_change_comes_first() -> None:
    noise = np.random.default_rng(0).normal(0, 0.01, 40)
    before = side({str(i): 2.0 for i in range(40)})
    after = side({str(i): (1.5 if i % 2 == 0 else 2.2) + noise[i] for i in range(40)})
    table = seesaw(before, after, by_source(after))
    assert [(row.name, row.verdict) for row in table] == [("a", "better"), ("b", "worse"), ("all", "better")]
    assert [round(row.size, 2) for row in table] == sorted((round(row.size, 2) for row in table), reverse=True)
    assert table[0].difference == pytest.approx(-0.5, abs=0.01)
    assert table[0].low is not None
    assert table[0].low < -0.5 < (table[0].high or 0)


def test_a_change_whose_interval_crosses_zero_is_not_proven() -> None:
    swing = np.tile([0.3, -0.3], 20)
    before = side({str(i): 2.0 for i in range(40)}, sources=("a",))
    after = side({str(i): 2.0 + swing[i] - 0.01 for i in range(40)}, sources=("a",))
    (row,) = [row for row in seesaw(before, after, []) if row.kind == "all"]
    assert row.verdict == "not proven"
    assert (row.low or 0) < 0 < (row.high or 0)


def test_few_examples_have_no_interval_and_say_so() -> None:
    (row,) = seesaw(side({"0": 2.0, "1": 2.0}), side({"0": 1.0, "1": 1.5}), [])
    assert (row.verdict, row.low) == ("no interval", None)
    assert row.reason == "2 examples, and an interval needs 10"


def test_tokenizers_that_differ_are_not_compared_row_by_row() -> None:
    before, after = side({"0": 2.0}, tokens=10), side({"0": 1.0}, tokens=12)
    before, after = Measured("b", before.losses, {"all": 2.0}), Measured("a", after.losses, {"all": 1.0})
    (row,) = seesaw(before, after, [])
    assert "their tokenizers, templates or longest lengths differ" in (row.reason or "")
    assert row.low is None


def test_rows_that_happen_to_have_as_many_tokens_under_two_tokenizers_are_no_sample() -> None:
    before = {str(i): ("a", 10, 20.0 + i % 3) for i in range(200)}
    after = {str(i): ("a", 10 if i < 13 else 12, 15.0 + i % 3) for i in range(200)}
    table = seesaw(Measured("b", before, {"all": 2.0}), Measured("a", after, {"all": 1.4}), [])
    assert [(row.verdict, row.examples) for row in table] == [("no interval", None)]
    assert "of 187 of 200 rows alike" in (table[0].reason or "")


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_losses_that_are_no_number_are_neither_better_nor_worse(broken: float) -> None:
    losses = {str(i): 2.0 for i in range(20)}
    (row,) = seesaw(side(losses), side({**losses, "7": broken}), [])
    assert (row.verdict, row.low, row.size) == ("no interval", None, 0.0)
    assert "not finite" in (row.reason or "")


def test_scores_are_paired_only_where_the_same_was_asked_in_the_same_way() -> None:
    ids = [str(i) for i in range(30)]
    right, wrong = ({"right final answers": dict.fromkeys(ids, value)} for value in (1.0, 0.0))
    same = dict.fromkeys(ids, "what is 2 + 2?")
    other = {**same, "3": "what is 2 + 3?"}
    (row,) = seesaw(Measured("b", scores=wrong, asked=same), Measured("a", scores=right, asked=other), [])
    assert row.examples == 29


def test_many_intervals_are_said_to_leave_0_out_by_chance_now_and_then() -> None:
    losses = {str(i): 2.0 + i / 7 for i in range(40)}
    found = [Group("tag", str(n), tuple(range(40))) for n in range(39)]
    table = seesaw(side(losses), side({i: loss + int(i) % 2 for i, loss in losses.items()}), found)
    assert (by_chance(table) or "").startswith("40 intervals of 95 %, each on its own: about 2 would")
    assert by_chance(table[:5]) is None


def test_more_right_answers_are_better_and_are_paired_by_prompt() -> None:
    ids = [str(i) for i in range(30)]
    right = {"right final answers": dict.fromkeys(ids, 1.0)}
    wrong = {"right final answers": {**dict.fromkeys(ids, 0.0), "only here": 1.0}}
    (row,) = seesaw(Measured("b", scores=wrong), Measured("a", scores=right), [])
    assert (row.metric, row.examples, row.before, row.after, row.verdict) == ("right final answers", 30, 0, 1, "better")


def written(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_runs_folder_gives_losses_by_example_or_else_the_means_of_its_events(tmp_path: Path) -> None:
    told = [
        {"seq": 1, "type": "held_out", "step": 0, "loss": 3.0, "loss_by_source": {"a": 2.5}},
        {"seq": 2, "type": "held_out", "step": 9, "loss": 2.0, "loss_by_source": {"a": 2.6}},
    ]
    written(tmp_path, "events.jsonl", told)
    only_means = seesaw(measured(tmp_path, "base"), measured(tmp_path), [])
    assert [(row.name, row.difference, row.verdict) for row in only_means] == [
        ("all", -1.0, "no interval"),
        ("a", pytest.approx(0.1), "no interval"),
    ]
    rows = [{"id": str(i), "source": "a", "tokens": 4, "base": 8.0, "trained": 6.0 + i % 2} for i in range(12)]
    written(tmp_path, "held_out_losses.jsonl", rows)
    after = measured(tmp_path)
    table = seesaw(measured(tmp_path, "base"), after, groups_of(tmp_path, after))
    assert {row.kind for row in table} == {"all", "source"}
    assert all(row.verdict == "better" for row in table)
    assert table[0].difference == pytest.approx(-0.375)
