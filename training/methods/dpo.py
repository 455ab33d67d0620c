"""Preference optimisation without a reward model: prefer chosen to rejected."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING, Any, ClassVar

from training.config import TrainConfig
from training.methods.adapters import peft_config
from training.methods.arguments import batches, common
from training.methods.method import Built, Method, Setup
from training.methods.preference import (
    Masking,
    answer_ids,
    answer_loss,
    measured_with,
    pairs_of,
    prepared,
    reference_model,
)

if TYPE_CHECKING:
    import numpy as np

    from training.judging.held_out import Pair
    from training.judging.preferences import Gains
    from training.methods.preference import Objective, Sides

POSITIVE = "dpo-positive"
"""The loss that TRL does not have."""
MASKS = {"completion_mask": ("chosen_loss", "rejected_loss")}
"""Mask of a batch -> columns of `pair_row` that say what carries loss."""


class DPO(Method):
    """Direct preference optimisation and its family; the reference is the base model.

    Source: Rafailov et al. 2023, arXiv:2305.18290; the other losses: `training.judging.preferences.LOSSES`.
    """

    name = "dpo"
    title = "DPO: prefer chosen to rejected"
    formats = ("preference",)
    compares = True
    reads: ClassVar[frozenset[str]] = frozenset(
        {"beta", "preference_loss", "label_smoothing", "sft_weight", "reasoning"}
    )

    def build(self, setup: Setup) -> Built:
        """TRL's DPOTrainer over rows that are token ids already."""
        from datasets import Dataset
        from trl import DPOConfig, DPOTrainer

        config = setup.config
        losses, weights = _losses(config)
        trainer_class = prepared(DPOTrainer, **({"_compute_loss": positive_loss} if is_positive(config) else {}))
        trainer = trainer_class(
            model=setup.model,
            ref_model=reference_model(config),
            args=DPOConfig(
                **common(setup),
                **batches(config),
                max_length=config.max_length,
                beta=config.strength()[0],
                loss_type=losses,
                loss_weights=weights,
                label_smoothing=config.label_smoothing if config.preference_loss == "robust" else 0.0,
                remove_unused_columns=False,
            ),
            train_dataset=Dataset.from_list(pair_rows(setup)),
            processing_class=setup.tokenizer,
            peft_config=peft_config(config),
            callbacks=setup.callbacks,
        )
        trainer.data_collator = Masking(trainer.data_collator, MASKS)
        trainer.sft_weight = config.sft_weight
        return Built(trainer, measure_of=measured_with(trainer, config, objective(config), referred=True))


def is_positive(config: TrainConfig) -> bool:
    """Whether the loss is ours."""
    return config.preference_loss == POSITIVE


def _losses(config: TrainConfig) -> tuple[list[str], list[float]]:
    """TRL's names and weights."""
    first = "sigmoid" if is_positive(config) else config.preference_loss
    return ([first, "sft"], [1.0, config.sft_weight]) if config.sft_weight else ([first], [1.0])


def pair_rows(setup: Setup) -> list[dict[str, list[Any]]]:
    """The training pairs with the columns that the collator reads."""
    return [pair_row(pair) for pair in pairs_of(setup)]


def pair_row(pair: Pair) -> dict[str, list[Any]]:
    """What both sides begin with, how each goes on, and which tokens of that carry loss."""
    (before, chosen), (other, rejected) = answer_ids(pair.chosen), answer_ids(pair.rejected)
    # Nearly always the whole prompt; a template may write something else before a rejected answer.
    same = sum(1 for _ in takewhile(lambda ids: ids[0] == ids[1], zip(before, other, strict=False)))
    return {
        "prompt_ids": before[:same],
        "chosen_ids": before[same:] + chosen,
        "rejected_ids": other[same:] + rejected,
        "chosen_loss": answer_loss(pair.chosen, same),
        "rejected_loss": answer_loss(pair.rejected, same),
    }


def objective(config: TrainConfig) -> Objective:
    """The config's loss as a function of held-out pairs."""

    def per_pair(gains: Gains, sides: Sides) -> np.ndarray:
        from training.judging.preferences import LOSSES

        preferred = LOSSES[config.preference_loss](gains, config.strength()[0], config.label_smoothing)
        imitated: np.ndarray = config.sft_weight * sides[0].sum() / gains.chosen_tokens.sum()
        result: np.ndarray = preferred + imitated
        return result

    return per_pair


def positive_loss(trainer: Any, model: Any, inputs: dict[str, Any], return_outputs: bool) -> Any:
    """DPO-positive in place of the loss of TRL's DPOTrainer: a penalty where a chosen answer became less likely.

    Source: Pal et al. 2024, arXiv:2402.13228, equation 3.
    """
    from torch.nn.functional import logsigmoid

    from training.judging.preferences import PENALTY

    carries = inputs["completion_mask"]
    asked = {name: value for name, value in inputs.items() if name != "completion_mask"}
    labels = inputs["input_ids"].masked_fill(carries == 0, -100)
    output = model(**asked, use_cache=False, labels=labels, fused_lm_head=True)
    logps = output.log_probs[:, 1 - carries.shape[1] :].sum(dim=1).chunk(2)
    before = trainer.compute_ref_log_probs(model if trainer.ref_model is None else trainer.ref_model, inputs)
    chosen, rejected = logps[0] - before[0], logps[1] - before[1]
    loss = -logsigmoid(trainer.beta * (chosen - rejected - PENALTY * (-chosen).relu())).mean()
    if trainer.sft_weight:
        loss = loss - trainer.sft_weight * logps[0].sum() / carries.chunk(2)[0].sum()
    _tell(trainer, inputs, logps, trainer.beta * chosen.detach(), trainer.beta * rejected.detach())
    return (loss, output) if return_outputs else loss


def _tell(trainer: Any, inputs: dict[str, Any], logps: Any, chosen: Any, rejected: Any) -> None:
    """What TRL's own loss keeps for the next log."""
    mode = "train" if trainer.model.training else "eval"
    if mode == "train":
        tokens = trainer.accelerator.gather_for_metrics(inputs["attention_mask"].sum()).sum().item()
        trainer._total_train_tokens += tokens
    told = {
        "rewards/chosen": chosen,
        "rewards/rejected": rejected,
        "rewards/accuracies": (chosen > rejected).float(),
        "rewards/margins": chosen - rejected,
        "logps/chosen": logps[0].detach(),
        "logps/rejected": logps[1].detach(),
    }
    metrics = trainer._metrics[mode]
    metrics["num_tokens"] = [trainer._total_train_tokens]
    for name, values in told.items():
        metrics[name].append(trainer.accelerator.gather(values).mean().item())
