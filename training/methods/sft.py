"""Supervised fine-tuning: imitate the answers."""

from __future__ import annotations

from typing import Any, ClassVar

from training.config import TrainConfig
from training.data.training_set import TrainingSet
from training.methods.adapters import peft_config
from training.methods.arguments import common
from training.methods.method import Built, Method, Setup
from training.methods.source_loss import CHANNELS, SourceLoss


class SFT(Method):
    """Every answer token is a label.

    Rows are encoded, masked and packed here, not by the trainer: training and held-out loss have the same masks.
    """

    name = "sft"
    title = "SFT: imitate the answers"
    formats = ("messages", "prompt-completion", "preference", "sharegpt", "alpaca")
    reads: ClassVar[frozenset[str]] = frozenset({"packing", "loss_on", "reasoning", "order", "replay"})

    def build(self, setup: Setup) -> Built:
        """TRL's SFTTrainer over rows that are token ids already."""
        from trl import SFTConfig, SFTTrainer

        config = setup.config
        dataset, packed = _dataset(config, setup.data)
        packed_rows = config.packing != "none"
        # A packed batch becomes one sequence: attention over a batch of them would cost the square of the batch size.
        arguments = SFTConfig(
            **common(setup),
            per_device_train_batch_size=1 if packed_rows else config.batch_size,
            gradient_accumulation_steps=config.accumulation * (config.batch_size if packed_rows else 1),
            max_length=None,
            padding_free=packed_rows,
            packing=False,
            remove_unused_columns=False,
            dataset_kwargs={"skip_prepare_dataset": True},
        )
        trainer = SFTTrainer(
            model=setup.model,
            args=arguments,
            train_dataset=dataset,
            processing_class=setup.tokenizer,
            peft_config=peft_config(config),
            callbacks=setup.callbacks,
        )
        source_loss = SourceLoss(setup.data.sources)
        source_loss.attach(trainer)
        return Built(trainer, source_loss, packed)


def _dataset(config: TrainConfig, data: TrainingSet) -> tuple[Any, dict[str, Any]]:
    from datasets import Dataset
    from trl import pack_dataset

    number = {source: i for i, source in enumerate(data.sources)}
    columns = {
        "input_ids": [row.ids for row in data.rows],
        "labels": [row.labels for row in data.rows],
        CHANNELS: [[number[row.source]] * len(row.ids) for row in data.rows],
    }
    dataset = Dataset.from_dict(columns)
    if config.packing == "none":
        return dataset, {}
    # Packs every list column alike, so that the sources stay beside their tokens.
    packed = pack_dataset(dataset, config.max_length, "bfd")
    fill = data.account.tokens / (len(packed) * config.max_length)
    return packed, {"packed_rows": len(packed), "fill": round(fill, 4)}
