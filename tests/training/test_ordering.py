from __future__ import annotations

from collections import Counter

from training.data.ordering import drawn, phases
from training.data.relatedness import path_through

GENERAL, SPECIAL = ["general"] * 80, ["special"] * 20
NAMES = ["general", "special"]


def test_stages_follow_one_another_each_shuffled_by_the_seed() -> None:
    first, second = phases(GENERAL + SPECIAL, NAMES, seed=0)
    assert (first.stage, second.stage) == ("general", "special")
    assert sorted(first.samples) == list(range(80))
    assert sorted(second.samples) == list(range(80, 100))
    assert first.samples != sorted(first.samples)
    assert phases(GENERAL + SPECIAL, NAMES, seed=0)[0].samples == first.samples
    assert phases(GENERAL + SPECIAL, NAMES, seed=1)[0].samples != first.samples
    assert [p.stage for p in phases(GENERAL + SPECIAL, NAMES[::-1], seed=0)] == ["special", "general"]


def test_a_later_stage_repeats_its_share_of_earlier_samples() -> None:
    first, second = phases(GENERAL + SPECIAL, NAMES, seed=0, replay=0.2)
    assert (first.replayed, second.replayed) == (0, 5)
    again = [i for i in second.samples if i < 80]
    assert len(again) == len(set(again)) == 5 == len(second.samples) * 0.2


def test_what_is_replayed_comes_again_where_the_earlier_stages_have_too_few() -> None:
    _, second = phases(["general"] * 2 + ["special"] * 10, NAMES, seed=0, replay=0.5)
    assert Counter(i for i in second.samples if i < 2) == {0: 5, 1: 5}


def test_a_short_last_stage_is_spread_over_the_fall_of_the_rate() -> None:
    first, second = phases(GENERAL + SPECIAL, NAMES, seed=0, fall=0.3, costs=[2] * 100)
    assert second.brought == 10
    assert len(second.samples) == 30
    assert sorted(first.samples + second.samples) == list(range(100))
    halves = [sum(i >= 80 for i in half) for half in (second.samples[:15], second.samples[15:])]
    assert min(halves) > 5


def test_a_long_last_stage_begins_before_the_rate_falls() -> None:
    _, second = phases(GENERAL + SPECIAL, NAMES, seed=0, fall=0.1, costs=[1] * 100)
    assert (second.brought, len(second.samples)) == (0, 20)


def test_samples_without_a_stage_come_first() -> None:
    made = phases([None, "special", "special"], ["special"], seed=0)
    assert [(p.stage, sorted(p.samples)) for p in made] == [("", [0]), ("special", [1, 2])]


def test_every_stage_has_all_its_passes_before_the_next_begins() -> None:
    order = drawn([4, 2], epochs=2, seed=0)
    assert sorted(order[:4]) == sorted(order[4:8]) == [0, 1, 2, 3]
    assert sorted(order[8:10]) == sorted(order[10:]) == [4, 5]
    assert len(drawn([4, 2], epochs=0.5, seed=0)) == 3


def test_a_number_of_steps_is_shared_by_the_stages_as_they_share_the_rows() -> None:
    order = drawn([60, 30, 10], epochs=1, seed=0, total=20)
    assert [sum(low <= row < high for row in order) for low, high in ((0, 60), (60, 90), (90, 100))] == [12, 6, 2]
    assert len(drawn([3, 3, 3], epochs=1, seed=0, total=20)) == 20


def test_a_path_goes_to_the_nearest_that_is_left() -> None:
    import numpy as np

    angles = np.radians([0, 90, 10, 80, 20])
    assert path_through(np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)) == [0, 2, 4, 3, 1]


def test_a_path_through_more_than_a_group_visits_every_row_once() -> None:
    import numpy as np

    from training.data.relatedness import GROUP

    vectors = np.random.default_rng(0).normal(size=(GROUP + 300, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    path = path_through(vectors)
    assert sorted(path) == list(range(len(vectors)))
    steps = (vectors[path[1:]] * vectors[path[:-1]]).sum(axis=1)
    assert float(steps.mean()) > 0.9
