"""Supervised fine-tuning: imitate the answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from training.config import TrainConfig
from training.data.encoding import Encoder
from training.data.mix_folder import MixFolder
from training.data.packing import Row
from training.data.rows import columns, related, rows_of, staged, told_of
from training.data.training_set import TrainingSet, training_set
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
    formats: ClassVar[tuple[str, ...]] = ("messages", "prompt-completion", "preference", "sharegpt", "alpaca")
    reads: ClassVar[frozenset[str]] = frozenset({"packing", "loss_on", "reasoning", "order", "replay"})

    def data(self, mix: MixFolder, config: TrainConfig, encoder: Encoder) -> TrainingSet:
        """The rows of the run's arm; with `order` related, similar ones next to each other."""
        return imitated(mix, config, encoder)

    def build(self, setup: Setup) -> Built:
        """TRL's SFTTrainer over rows that are token ids already."""
        return imitating(setup)


def imitated(mix: MixFolder, config: TrainConfig, encoder: Encoder) -> TrainingSet:
    """The rows of the run's arm; with `order` related, similar ones next to each other."""
    data = training_set(mix, config, encoder)
    return replace(data, rows=related(data.rows, encoder.tokenizer)) if config.order == "related" else data


def imitating(setup: Setup) -> Built:
    """TRL's SFTTrainer over rows that are token ids already, in the config's order and packing."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    config = setup.config
    # Samples side by side become one sequence; attention over a batch of them would cost the square of its size.
    single = config.packing == "best-fit"
    arguments = SFTConfig(
        **common(setup),
        per_device_train_batch_size=1 if single else config.batch_size,
        gradient_accumulation_steps=config.accumulation * (config.batch_size if single else 1),
        max_length=None,
        padding_free=single,
        packing=False,
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        train_sampling_strategy="sequential" if config.order in ("mix", "staged") else "random",
    )
    if config.order == "staged":
        layout = staged(setup.data, config, arguments.world_size)
        # Each stage has its passes in the order itself.
        arguments.num_train_epochs = 1
    else:
        layout = rows_of(setup.data, config)
    if config.order == "related" and config.packing != "wrapped":
        setup.note(f"Related samples do not see each other with packing {config.packing!r}; with wrapped they do.")
    dataset = Dataset.from_dict(_columns(setup.data, layout.rows))
    trainer = SFTTrainer(
        model=setup.model,
        args=arguments,
        train_dataset=dataset if layout.drawn is None else dataset.select(layout.drawn),
        processing_class=setup.tokenizer,
        peft_config=peft_config(config),
        callbacks=setup.callbacks,
    )
    source_loss = SourceLoss(setup.data.sources)
    source_loss.attach(trainer)
    return Built(trainer, source_loss, told_of(setup.data, config, layout))


def _columns(data: TrainingSet, rows: list[Row]) -> dict[str, Any]:
    number = {source: i for i, source in enumerate(data.sources)}
    return columns(data.rows, rows, {CHANNELS: [number[row.source] for row in data.rows]})
