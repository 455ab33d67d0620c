"""Preference optimisation without a reward model: prefer chosen to rejected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from training.data.training_set import preference_rows
from training.methods.adapters import peft_config, weights_dtype
from training.methods.arguments import batches, common
from training.methods.method import Built, Measure, Method, Setup
from training.methods.opening import open_model

if TYPE_CHECKING:
    import numpy as np

    from training.data.encoding import Encoder
    from training.data.mix_folder import MixFolder
    from training.judging.held_out import HeldOutSet


class DPO(Method):
    """Direct preference optimisation; the reference is the base model, with an adapter the model without it.

    Source: Rafailov et al. 2023, arXiv:2305.18290.
    """

    name = "dpo"
    title = "DPO: prefer chosen to rejected"
    formats = ("preference",)
    compares = True
    reads: ClassVar[frozenset[str]] = frozenset({"beta", "preference_loss", "label_smoothing", "sft_weight"})

    def build(self, setup: Setup) -> Built:
        """TRL's DPOTrainer."""
        from datasets import Dataset
        from trl import DPOConfig, DPOTrainer

        config = setup.config
        reference = None if config.adapter == "lora" else open_model(config.base_model, dtype=weights_dtype(config))
        trainer = DPOTrainer(
            model=setup.model,
            ref_model=reference,
            args=DPOConfig(**common(setup), **batches(config), max_length=config.max_length, beta=config.beta),
            train_dataset=Dataset.from_list(preference_rows(setup.data.examples)),
            processing_class=setup.tokenizer,
            peft_config=peft_config(config),
            callbacks=setup.callbacks,
        )
        return Built(trainer)

    def held_out(self, built: Built, mix: MixFolder, encoder: Encoder) -> tuple[Measure | None, Any]:
        """Also the share of pairs that the model gets right against its reference."""
        from training.judging.held_out import held_out_set

        held_out = held_out_set(mix, encoder, pairs=True)
        return (against_reference(built.trainer, held_out) if held_out.rows else None), held_out.account


def against_reference(trainer: Any, held_out: HeldOutSet) -> Measure:
    """Measures a model beside the trainer's reference, whose losses are taken once."""
    losses: list[tuple[np.ndarray, np.ndarray]] = []

    def measure(model: Any) -> dict[str, Any]:
        if not losses:
            losses.append(_reference_losses(trainer, held_out))
        return held_out.measure(model, losses[0])

    return measure


def _reference_losses(trainer: Any, held_out: HeldOutSet) -> tuple[np.ndarray, np.ndarray]:
    if trainer.ref_model is not None:
        return held_out.reference(trainer.ref_model)
    with trainer.model.disable_adapter():
        return held_out.reference(trainer.model)
