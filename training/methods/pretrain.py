"""Continued pre-training: learn whole texts."""

from __future__ import annotations

from typing import ClassVar

from training.config import TrainConfig
from training.data.encoding import Encoder
from training.data.mix_folder import MixFolder
from training.data.training_set import TrainingSet
from training.methods.method import Built, Method, Setup
from training.methods.sft import SFT, imitated, imitating


class Pretrain(Method):
    """Every token is a label: of documents (format text), and of conversations, written out by the chat template.

    A document ends in the end token; one longer than max_length goes on in the next row, nothing is cut off. With
    `order` related, documents of similar wording are packed together (see `training.data.relatedness`); they see each
    other with `packing` wrapped alone, which does not keep samples apart.
    """

    name = "pretrain"
    title = "Continued pre-training: learn whole texts"
    formats: ClassVar[tuple[str, ...]] = (*SFT.formats, "text")
    reads: ClassVar[frozenset[str]] = frozenset({"packing", "reasoning", "order", "replay"})

    def data(self, mix: MixFolder, config: TrainConfig, encoder: Encoder) -> TrainingSet:
        """The rows of the run's arm; with `order` related, similar ones next to each other."""
        return imitated(mix, config, encoder)

    def build(self, setup: Setup) -> Built:
        """TRL's SFTTrainer over rows that are token ids already."""
        return imitating(setup)
