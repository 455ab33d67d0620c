"""Preferences learnt without a reference model: by odds, or by log-probabilities per token with a margin."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from training.config import TrainConfig
from training.data.encoding import Encoded
from training.methods.adapters import peft_config
from training.methods.arguments import batches, common
from training.methods.method import Built, Method, Setup
from training.methods.preference import measured_with, pairs_of

if TYPE_CHECKING:
    import numpy as np

    from training.judging.preferences import Gains
    from training.methods.preference import Sides

SILENCE = "TRL_EXPERIMENTAL_SILENCE"
"""Set, TRL does not warn that these trainers may change: this project pins what it uses by tests."""


class ORPO(Method):
    """Odds-ratio preference optimisation: imitate chosen answers, with their odds ahead of the rejected ones'.

    Source: Hong et al. 2024, arXiv:2403.07691.
    Differs from the source: prompts are not imitated, only answers.
    """

    name = "orpo"
    title = "ORPO: imitate chosen, away from rejected, without a reference"
    formats = ("preference",)
    compares = True
    reads: ClassVar[frozenset[str]] = frozenset({"beta", "reasoning"})

    def build(self, setup: Setup) -> Built:
        """TRL's ORPOTrainer over rows that are token ids already."""
        os.environ.setdefault(SILENCE, "1")
        from trl.experimental.orpo import ORPOConfig, ORPOTrainer

        def forward(trainer: Any, model: Any, batch: dict[str, Any]) -> tuple[Any, ...]:
            found = ORPOTrainer.concatenated_forward(trainer, model, batch)
            return (*found[:4], imitation(found[0], batch["chosen_labels"]), *found[5:])

        trainer_class = type("ORPOTrainer", (ORPOTrainer,), {"concatenated_forward": forward})
        return _built(setup, trainer_class, ORPOConfig(**_arguments(setup)), orpo_objective(setup.config))


class SimPO(Method):
    """Simple preference optimisation: chosen answers ahead per token, by a margin.

    Source: Meng et al. 2024, arXiv:2405.14734.
    """

    name = "simpo"
    title = "SimPO: chosen ahead per token by a margin, without a reference"
    formats = ("preference",)
    compares = True
    reads: ClassVar[frozenset[str]] = frozenset({"beta", "reward_margin", "reasoning"})

    def build(self, setup: Setup) -> Built:
        """TRL's CPOTrainer with SimPO's loss and nothing of CPO's imitation."""
        os.environ.setdefault(SILENCE, "1")
        from trl.experimental.cpo import CPOConfig, CPOTrainer

        arguments = CPOConfig(
            **_arguments(setup), loss_type="simpo", cpo_alpha=0.0, simpo_gamma=setup.config.reward_margin
        )
        return _built(setup, CPOTrainer, arguments, simpo_objective(setup.config))


def imitation(per_token: Any, labels: Any) -> Any:
    """The loss per token of a batch of chosen answers, from the log-probability per token of each."""
    tokens = (labels[:, 1:] != -100).sum(dim=1)
    return -(per_token * tokens).sum() / tokens.sum()


def _arguments(setup: Setup) -> dict[str, Any]:
    config = setup.config
    return {
        **common(setup),
        **batches(config),
        "max_length": config.max_length,
        "beta": config.strength()[0],
        "remove_unused_columns": False,
    }


def _built(setup: Setup, trainer_class: Any, arguments: Any, objective: Callable[..., np.ndarray]) -> Built:
    from datasets import Dataset

    prepared = type(trainer_class.__name__, (trainer_class,), {"tokenize_row": lambda self, row, **rest: {}})
    trainer = prepared(
        model=setup.model,
        args=arguments,
        train_dataset=Dataset.from_list(side_rows(setup)),
        processing_class=setup.tokenizer,
        peft_config=peft_config(setup.config),
        callbacks=setup.callbacks,
    )
    return Built(trainer, measure_of=measured_with(trainer, setup.config, objective, referred=False))


def side_rows(setup: Setup) -> list[dict[str, list[int]]]:
    """The training pairs with the columns that TRL's collator pads."""
    return [{**_side("chosen", pair.chosen), **_side("rejected", pair.rejected)} for pair in pairs_of(setup)]


def _side(name: str, row: Encoded) -> dict[str, list[int]]:
    return {
        f"{name}_input_ids": row.ids,
        f"{name}_attention_mask": [1] * len(row.ids),
        f"{name}_labels": row.labels,
    }


def orpo_objective(config: TrainConfig) -> Callable[..., np.ndarray]:
    """ORPO's loss as a function of held-out pairs."""

    def per_pair(gains: Gains, sides: Sides) -> np.ndarray:
        from training.judging.preferences import odds_loss

        chosen, rejected = -sides[0] / gains.chosen_tokens, -sides[1] / gains.rejected_tokens
        imitated: np.ndarray = sides[0].sum() / gains.chosen_tokens.sum()
        result: np.ndarray = config.strength()[0] * odds_loss(chosen, rejected) + imitated
        return result

    return per_pair


def simpo_objective(config: TrainConfig) -> Callable[..., np.ndarray]:
    """SimPO's loss as a function of held-out pairs."""

    def per_pair(gains: Gains, sides: Sides) -> np.ndarray:
        from training.judging.preferences import simpo_loss

        chosen, rejected = -sides[0] / gains.chosen_tokens, -sides[1] / gains.rejected_tokens
        return simpo_loss(chosen, rejected, config.strength()[0], config.reward_margin)

    return per_pair
