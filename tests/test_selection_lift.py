"""The arithmetic of the benchmark of selections, on data small enough to count by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from benchmarks.lift_data import parted, words
from benchmarks.lift_preferences import kept, random_band, shares, top_share, unjudged
from benchmarks.lift_settings import SETTINGS, unset
from benchmarks.lift_tables import band, bands_of, lines_of, tables
from benchmarks.lift_training import Piece, batches, rate, steps_of, stream
from curation.selectors import SELECTORS


def test_every_step_has_exactly_its_tokens_and_an_answer_on_a_cut_goes_on_in_the_next():
    steps = list(steps_of([0, 1, 2], np.array([3, 4, 9]), tokens=10, per_step=5))

    assert steps == [[Piece(0, 0, 3), Piece(1, 0, 2)], [Piece(1, 2, 4), Piece(2, 0, 3)]]


def test_of_a_selection_with_more_tokens_than_the_budget_only_the_best_come_up():
    answers = np.full(10, 10)

    order = stream(np.array([7, 3, 5, 1]), answers, tokens=20, seed=0)

    assert sorted(order) == [3, 7]


def test_a_selection_with_fewer_tokens_comes_again_all_of_it_before_any_a_third_time():
    order = stream(np.array([2, 0]), np.array([4, 9, 6]), tokens=30, seed=0)

    assert [sorted(order[i : i + 2]) for i in (0, 2, 4)] == [[0, 2]] * 3


@pytest.mark.parametrize("lengths", [[5], [3, 1, 1, 7], [40, 2, 2, 2, 2]])
def test_short_and_long_selections_are_trained_on_equally_many_tokens(lengths: list[int]):
    answers = np.array(lengths)
    order = stream(np.arange(len(lengths)), answers, tokens=60, seed=1)

    steps = list(steps_of(order.tolist(), answers, tokens=60, per_step=20))

    assert [sum(p.last - p.first for p in step) for step in steps] == [20, 20, 20]


def test_equal_seeds_give_equal_orders_and_others_others():
    rows, answers = np.arange(50), np.full(50, 2)

    first, again, other = (stream(rows, answers, 100, seed).tolist() for seed in (0, 0, 1))

    assert first == again != other


def test_no_text_is_padded_to_twice_its_length_and_none_is_lost():
    lengths = [100, 10, 61, 9, 55, 12]

    found = batches(lengths)

    assert sorted(i for batch in found for i in batch) == list(range(6))
    assert all(lengths[i] >= 0.6 * lengths[batch[0]] for batch in found for i in batch)


def test_the_learning_rate_rises_and_then_falls():
    shares_of_it = [rate(step, 20) for step in range(20)]

    assert shares_of_it[:3] == [0.5, 1.0, 1.0]
    assert all(a >= b for a, b in pairwise(shares_of_it[2:]))


def test_what_is_held_out_is_asked_nowhere_else():
    frame = pl.DataFrame({"instruction": ["a", "b", "a", "c"], "response": ["1", "2", "3", "4"]})

    first, rest = parted(frame, 2)

    assert len(first) == 2
    assert not set(first["instruction"]) & set(rest["instruction"])
    assert parted(frame.reverse(), 2)[0]["instruction"].to_list() == first["instruction"].to_list()


def test_words_that_nobody_shares_and_words_that_everybody_has_are_no_tags():
    instructions = pl.Series([f"please sort number{'x' * i}" for i in range(15)] + ["please add"] * 985)

    found = words(instructions)

    assert found[0].to_list() == ["sort"]
    assert found[20].to_list() == []


def test_a_signal_keeps_the_highest_answer_and_shares_where_it_can_not_tell():
    group = np.array([0, 0, 0, 1, 1])

    assert shares(np.array([1.0, 3.0, 3.0, np.nan, 0.0]), group).tolist() == [0, 0.5, 0.5, 0, 1]
    assert shares(np.full(5, np.nan), group).tolist() == pytest.approx([1 / 3] * 3 + [1 / 2] * 2)


def test_the_highest_tenth_shares_its_last_place():
    assert top_share(np.array([5.0, 4.0, 4.0, 1.0]), 0.5).tolist() == [1, 0.5, 0.5, 0]


def judged() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "instruction": ["a", "a", "b", "b"],
            "response": ["long one", "x", "y", "longer one"],
            "won": [1.0, 0.0, 0.5, 0.25],
        }
    )


def test_the_worth_of_a_signal_is_the_mean_preference_of_what_it_keeps():
    by_length = kept("longest", np.array([8.0, 1.0, 1.0, 10.0]), judged())
    oracle = kept("oracle", judged()["won"].to_numpy(), judged())

    assert by_length.best == pytest.approx((1 + 0.25) / 2)
    assert by_length.chars == 9
    assert oracle.best == 0.75
    assert by_length.low <= by_length.best <= by_length.high


def test_a_random_choice_is_worth_the_mean_of_each_instruction():
    mean, low, high = random_band(judged())

    assert mean == pytest.approx((0.5 + 0.375) / 2)
    assert low < mean < high


def test_answers_without_a_preference_are_left_out_and_counted():
    answers = judged().with_columns(won=pl.Series([1.0, 0.0, None, None]))

    assert unjudged(np.array([8.0, 1.0, 1.0, 10.0]), answers) == (1, 1, 1.0)


def row(name: str, seed: int, loss: float, percent: float = 5) -> dict[str, object]:
    losses = dict.fromkeys(("gsm8k", "code", "alpaca_eval", "chinese", "alpaca"), loss)
    about = {"name": name, "seed": seed, "percent": percent, "budget": 9, "tokens": 99, "steps": 3, "epochs": 1.0}
    return about | {"losses": losses}


def test_the_band_of_random_choices_marks_what_is_better_and_worse():
    found = band([2.0, 1.0, 1.5])

    assert (found.low, found.mean, found.high, found.draws) == (1.0, 1.5, 2.0, 3)
    assert [found.mark(loss) for loss in (0.9, 1.0, 2.0, 2.1)] == ["v", "", "", "^"]


def test_a_selection_that_was_trained_in_several_orders_is_one_line_with_their_mean():
    rows = [row("k-center", 0, 1.0), row("k-center", 1, 2.0), row("random", 0, 1.2), row("k-center", 0, 9.0, percent=1)]

    (line,) = lines_of(rows, 5)

    assert (line.name, line.trainings, line.losses["mean"]) == ("k-center", 2, 1.5)
    assert bands_of(rows, 5)["gsm8k"].mean == 1.2


def test_the_table_shows_the_random_band_and_names_what_it_has_no_result_for():
    shown = "\n".join(tables([row("longest", 0, 1.0), row("random", 0, 1.2), row("random", 1, 1.4)], [5]))

    assert "| longest |  | 1.00 | 1.000v |" in shown
    assert "| **random, band** |  | 1.00 | 1.200-1.400 |" in shown
    assert "no result: k-center" in shown


def test_every_selector_has_a_setting_or_is_named_as_having_none():
    assert {s.selector for s in SETTINGS} | {"random", *unset()} == {s.name for s in SELECTORS}
    assert [s.build().name for s in SETTINGS] == [s.selector for s in SETTINGS]
