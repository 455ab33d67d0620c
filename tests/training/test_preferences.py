from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from training.data.encoding import Encoded
from training.judging.preferences import LOSSES, SAME, Gains, kto_loss, odds_loss, of_pairs, reasons, simpo_loss
from training.runs.preference_signs import preference_signs

GAINS = Gains(np.array([2.0, -1.0]), np.array([-1.0, -3.0]), np.array([4.0, 2.0]), np.array([2.0, 6.0]))
"""Margins 3 and 2; per token 1 and 0; the second chosen answer became less likely by 1 nat."""


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def minus_log_sigmoid(x: float) -> float:
    return -math.log(sigmoid(x))


@pytest.mark.parametrize(
    "loss, expected",
    [
        ("sigmoid", [minus_log_sigmoid(1.5), minus_log_sigmoid(1.0)]),
        ("sigmoid_norm", [minus_log_sigmoid(0.5), minus_log_sigmoid(0.0)]),
        ("ipo", [(1.0 - 1.0) ** 2, (0.0 - 1.0) ** 2]),
        ("hinge", [0.0, 0.0]),
        (
            "robust",
            [(0.9 * minus_log_sigmoid(m / 2) - 0.1 * minus_log_sigmoid(-m / 2)) / 0.8 for m in (3.0, 2.0)],
        ),
        ("apo_zero", [1 - sigmoid(1.0) + sigmoid(-0.5), 1 - sigmoid(-0.5) + sigmoid(-1.5)]),
        ("apo_down", [sigmoid(1.0) + 1 - sigmoid(1.5), sigmoid(-0.5) + 1 - sigmoid(1.0)]),
        # The second pair: a margin of 2 less 50 times the nat that its chosen answer lost.
        ("dpo-positive", [minus_log_sigmoid(1.5), minus_log_sigmoid(0.5 * (2 - 50))]),
    ],
)
def test_a_preference_loss_is_what_the_hand_computes(loss: str, expected: list[float]) -> None:
    assert LOSSES[loss](GAINS, 0.5, 0.1).tolist() == pytest.approx(expected)


def test_orpo_simpo_and_kto_are_what_the_hand_computes() -> None:
    chosen, rejected = np.array([math.log(0.5)]), np.array([math.log(0.2)])
    # Odds 1 against a quarter: sigmoid(log 4) = 4 / 5.
    assert odds_loss(chosen, rejected).tolist() == pytest.approx([-math.log(0.8)])
    assert simpo_loss(chosen, rejected, 2.0, 1.0).tolist() == pytest.approx([minus_log_sigmoid(2 * math.log(2.5) - 1)])
    judged = kto_loss(np.array([2.0, 2.0]), np.array([True, False]), 0.5)
    assert judged.tolist() == pytest.approx([1 - sigmoid(1.0), 1 - sigmoid(-1.0)])


def rows(*sources: str) -> list[Encoded]:
    return [Encoded(str(i), source, [1, 2], [False, True]) for i, source in enumerate(sources)]


def test_pairs_are_counted_over_all_by_source_and_by_length() -> None:
    gains = Gains(np.array([2.0, 1.0, -1.0]), np.array([0.0, 2.0, -3.0]), np.array([9, 9, 3]), np.array([5, 5, 5]))
    found = of_pairs(rows("a", "a", "b"), gains.margin, gains)
    assert found["pairs"] == 3
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["accuracy_interval"] == pytest.approx([0.2077, 0.9385], abs=1e-4)
    assert found["margin"] == pytest.approx(1.0)
    assert (found["chosen_tokens"], found["rejected_tokens"], found["chosen_longer"]) == (
        7.0,
        5.0,
        pytest.approx(2 / 3),
    )
    assert found["accuracy_when_shorter"] == 1.0
    assert [(s, v["pairs"], v["accuracy"]) for s, v in found["preference_by_source"].items()] == [
        ("a", 2, 0.5),
        ("b", 1, 1.0),
    ]


def test_a_model_that_is_its_reference_has_no_accuracy_and_a_reason() -> None:
    nothing = np.array([0.0, 1e-6])
    gains = Gains(nothing, nothing * 0, np.array([5, 5]), np.array([3, 3]))
    found = of_pairs(rows("a", "a"), gains.margin, gains)
    assert (found["accuracy"], found["accuracy_interval"], found["accuracy_when_shorter"]) == (None, None, None)
    told = reasons({**found, "kl": None}, {})
    assert told["accuracy"] == SAME
    assert told["accuracy_when_shorter"] == "every chosen answer is the longer one"
    assert "no model" in told["kl"]


def held_out(**fields: Any) -> dict[str, Any]:
    return {"type": "held_out", "pairs": 50, "chosen_log_ratio": 1.0, "margin": 2.0, "accuracy": 0.7, **fields}


def test_chosen_answers_that_become_unlikely_are_warned_of() -> None:
    assert preference_signs([held_out()]) == []
    (sign,) = preference_signs([held_out(), held_out(chosen_log_ratio=-12.0, margin=8.0)])
    assert "-12.0 nats an answer) while the margin rose to 8.0" in sign
    logs = [{"type": "log", "reward_chosen": -0.01 * i, "reward_margins": 0.02 * i} for i in range(30)]
    (sign,) = preference_signs(logs)
    assert "reward -0.245" in sign
    assert preference_signs(logs[:15]) == []


def test_length_that_explains_the_preference_is_warned_of() -> None:
    (sign,) = preference_signs([held_out(chosen_longer=0.8, accuracy=0.75, accuracy_when_shorter=0.2)])
    assert "In 80% of the held-out pairs the chosen answer is the longer one" in sign
    assert "right in 20% only (over all 75%)" in sign
    assert preference_signs([held_out(chosen_longer=0.8, accuracy_when_shorter=0.7)]) == []
    assert preference_signs([held_out(chosen_longer=0.8, accuracy_when_shorter=0.2, pairs=5)]) == []
    (before,) = preference_signs([held_out(chosen_longer=0.8, accuracy=None, chosen_log_ratio=0.0)])
    assert "may learn to write more" in before
