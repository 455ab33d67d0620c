"""What a way of training says of itself, and what it is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from training.config import TrainConfig
    from training.data.encoding import Encoder
    from training.data.mix_folder import MixFolder
    from training.data.training_set import TrainingSet
    from training.methods.opening import Model
    from training.methods.source_loss import SourceLoss
    from training.runs.run_folder import RunFolder

Measure = Callable[[Any], dict[str, Any]]
"""Model -> the fields of a `held_out` event."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What a trainer is built from, in the process that trains."""

    config: TrainConfig
    run: RunFolder
    model: Model
    """The base model on the CPU, without adapters."""
    encoder: Encoder
    data: TrainingSet
    callbacks: list[Any]
    """For the trainer: what records the run, and what belongs to it."""

    @property
    def tokenizer(self) -> Any:
        """The encoder's."""
        return self.encoder.tokenizer


@dataclass(frozen=True, slots=True)
class Built:
    """A trainer that is ready to train."""

    trainer: Any
    """With `train`, `save_model`, `model`, `args` and `state` of Transformers' Trainer."""
    source_loss: SourceLoss | None = None
    """Losses by source, where the method has them."""
    told: dict[str, Any] = field(default_factory=dict)
    """More fields of the `loaded` event."""


class Method(ABC):
    """A way of training. To add one: a class in a file here, an entry in `METHODS`, a name in the config."""

    name: ClassVar[str]
    """As the config has it."""
    title: ClassVar[str]
    """One line for people."""
    formats: ClassVar[tuple[str, ...]]
    """Formats of mixes that it can train on."""
    compares: ClassVar[bool] = False
    """Whether every row needs a rejected answer beside the chosen one."""
    learns_a_judge: ClassVar[bool] = False
    """Whether the result is a model that judges answers: it can't write, and has no loss of answers."""
    reads: ClassVar[frozenset[str]] = frozenset()
    """Fields of the config that this method reads and some other does not."""

    @abstractmethod
    def build(self, setup: Setup) -> Built:
        """The trainer. Losses by source are attached, checkpoints and callbacks are those of the run."""

    def data(self, mix: MixFolder, config: TrainConfig, encoder: Encoder) -> TrainingSet:
        """The rows of the run's arm."""
        from training.data.training_set import training_set

        return training_set(mix, config, encoder, pairs=self.compares, conversations=self.compares)

    def held_out(self, built: Built, mix: MixFolder, encoder: Encoder) -> tuple[Measure | None, Any]:
        """What measures a model on the held-out rows while it trains, and the account of those rows.

        The measure is null where there are none. Its fields: `loss` (what is to fall), `loss_by_source` where there are
        sources, and what else the method has, such as `accuracy`.
        """
        from training.judging.held_out import held_out_set

        held_out = held_out_set(mix, encoder, pairs=self.compares)
        return (held_out.measure if held_out.rows else None), held_out.account
