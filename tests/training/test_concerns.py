"""Warnings over made-up events: what each rule sees, and what it leaves alone."""

from __future__ import annotations

import math
from typing import Any

from training.concerns import Concern, concerns
from training.config import TrainConfig

SFT = TrainConfig(base_model="m")
DPO = TrainConfig(base_model="m", method="dpo")


def log(step: int, loss: float, **more: Any) -> dict[str, Any]:
    return {"type": "log", "step": step, "loss": loss, **more}


def held_out(step: int, loss: float, **sources: float) -> dict[str, Any]:
    return {"type": "held_out", "step": step, "loss": loss, "loss_by_source": sources}


def base(**facts: Any) -> dict[str, Any]:
    return {"type": "base", "vocabulary": 4096, "adapter": "full", "untrained_tokens": [], **facts}


def found(events: list[dict[str, Any]], config: TrainConfig = SFT) -> dict[str, Concern]:
    return {concern.name: concern for concern in concerns(events, config)}


def test_a_run_that_goes_well_has_no_warning() -> None:
    losses = [log(n, 3.0 - n / 200, grad_norm=1.0 + n % 3 / 10, epoch=n / 50) for n in range(1, 101)]
    assert not found([base(), held_out(0, 3.0, tea=3.0), *losses, held_out(100, 2.6, tea=2.6)])


def test_a_base_that_only_guesses_is_told_with_the_loss_of_guessing() -> None:
    warned = found([base(), held_out(0, 8.3)])["initial-loss"]
    assert warned.serious
    assert "begins at 8.30; guessing among 4,096 tokens gives 8.32" in warned.text
    assert not found([base(), held_out(0, 4.3)])


def test_training_rows_that_are_foreign_to_the_base_are_told() -> None:
    warned = found([base(), held_out(0, 2.0), log(1, 5.0)])["initial-loss"]
    assert "first training loss is 5.00, the base model has 2.00" in warned.text
    assert not found([base(), held_out(0, 2.0), log(1, 5.0)], DPO)


def test_template_tokens_that_were_never_learnt_are_serious_where_embeddings_are_frozen() -> None:
    warned = found([base(untrained_tokens=["<|im_start|>"], adapter="lora")])["untrained-tokens"]
    assert (warned.serious, "adapter=full" in warned.fix) == (True, True)
    assert not found([base(untrained_tokens=["<|im_start|>"])])["untrained-tokens"].serious


def test_rows_learnt_by_heart_show_in_a_held_out_loss_that_rises() -> None:
    events = [held_out(0, 3.0), held_out(50, 2.0), held_out(100, 2.2), *(log(n, 0.3) for n in range(90, 101))]
    warned = found(events)["held-out-rises"]
    assert warned.serious
    assert "2.000 at step 50, 2.200 at step 100" in warned.text
    assert "learnt by heart" in warned.text
    assert "held-out-rises" not in found([held_out(50, 2.0), held_out(100, 2.01), log(100, 0.3)])
    patient = found(events, SFT.model_copy(update={"patience": 2}))["held-out-rises"]
    assert not patient.serious
    assert "keeps the weights of step 50" in patient.fix


def test_a_method_with_an_objective_is_judged_by_it_and_not_by_its_loss() -> None:
    rising = [{**held_out(step, loss), "objective": 0.6 - step / 1000} for step, loss in ((50, 2.0), (100, 3.0))]
    assert "held-out-rises" not in found([*rising, log(100, 0.3)], DPO)


def test_a_loss_that_falls_only_between_epochs_is_a_staircase() -> None:
    stairs = [log(n, 2.0 - 0.5 * ((n - 1) // 40) + 0.02 * math.sin(n), epoch=n / 40) for n in range(1, 121)]
    assert "where epoch 2 begins" in found(stairs)["staircase"].text
    slope = [log(n, 2.0 - n / 100 + 0.02 * math.sin(n), epoch=n / 40) for n in range(1, 121)]
    assert "staircase" not in found(slope)


def test_a_source_that_is_worse_than_before_is_named_with_its_losses() -> None:
    warned = found([held_out(0, 2.0, tea=2.0, sums=1.0), held_out(50, 1.8, tea=2.3, sums=0.9)])["worse-source"]
    assert "tea 2.000 → 2.300" in warned.text
    assert "sums" not in warned.text
    assert not warned.serious


def test_a_jump_of_the_gradient_is_told_with_its_step() -> None:
    norms = [log(n, 2.0, grad_norm=40.0 if n == 30 else 1.0) for n in range(1, 60)]
    assert "40 times the usual at step 30" in found(norms)["gradient-spikes"].text


def test_a_learning_rate_far_from_the_suggested_one_is_told() -> None:
    warned = found([base(rate=1e-2, suggested_rate=2e-4)])["learning-rate"]
    assert "50 times" in warned.text
    assert "learning_rate=0.0002" in warned.fix
    assert not found([base(rate=5e-4, suggested_rate=2e-4)])


def test_a_training_loss_that_rises_is_told() -> None:
    assert "loss-rises" in found([log(n, 2.0 + n / 50 + n % 2 / 10) for n in range(1, 101)])


def test_numbers_that_are_none_or_no_numbers_break_no_rule() -> None:
    odd = [log(1, math.nan), log(2, 2.0, grad_norm=None), {"type": "held_out", "step": 0, "objective": -0.2}]
    assert not found([*odd, {"type": "held_out", "step": 5, "accuracy": None}])
