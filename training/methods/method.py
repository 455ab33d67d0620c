"""What a way of training says of itself, and what it is given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from training.config import TrainConfig
    from training.data.encoding import Encoder
    from training.data.mix_folder import MixFolder
    from training.data.training_set import TrainingSet
    from training.judging.held_out import HeldOutSet
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
    note: Callable[[str], None] = lambda text: None
    """Tells the user something about this run; the same words are shown once."""

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
    measure_of: Callable[[HeldOutSet], Measure] | None = None
    """Held-out rows -> what measures a model on them; null: their loss is enough."""


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

    def opened(self, config: TrainConfig) -> Model:
        """The base model that `build` is given, as the config's adapter wants it.

        Raises:
            WinnowError: it can't be opened.
        """
        from training.methods.adapters import opened

        return opened(config)

    @abstractmethod
    def build(self, setup: Setup) -> Built:
        """The trainer. Losses by source are attached, checkpoints and callbacks are those of the run."""

    def data(self, mix: MixFolder, config: TrainConfig, encoder: Encoder) -> TrainingSet:
        """The rows of the run's arm."""
        from training.data.training_set import training_set

        return training_set(mix, config, encoder, pairs=self.compares, conversations=self.compares)

    def held_out(self, built: Built, mix: MixFolder, encoder: Encoder) -> tuple[Measure | None, Any]:
        """What measures a model on the held-out rows while it trains, and the account of those rows.

        The measure is null where there are none. Its fields: `loss` (nats per answer token), `loss_by_source` where
        there are sources, `objective` where something else than the loss is to fall, and what else the method has, such
        as `accuracy`.
        """
        from training.judging.held_out import held_out_set

        held_out = held_out_set(mix, encoder, pairs=self.compares)
        return (measure(built, held_out) if held_out.rows else None), held_out.account

    def finished(self, built: Built, config: TrainConfig, folder: Path) -> None:
        """Make what was saved in the run's last folder something that others can open."""
        from training.methods.adapters import finished

        finished(built.trainer, config, folder)


def measure(built: Built, held_out: HeldOutSet) -> Measure:
    """What measures a model on rows that are there."""
    return built.measure_of(held_out) if built.measure_of else held_out.measure
