"""A method's trainer, built and trained in this process without a run around it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.config import TrainConfig
from training.data.encoding import Encoder
from training.data.mix_folder import MixFolder
from training.methods import adapters, method_named
from training.methods.method import Built, Setup
from training.methods.opening import open_tokenizer
from training.runs.run_folder import RunFolder


@dataclass
class ShortRun:
    """A trainer and what measures its model."""

    config: TrainConfig
    built: Built
    encoder: Encoder
    mix: MixFolder
    measure: Any

    @property
    def trainer(self) -> Any:
        return self.built.trainer

    def saved(self, folder: Path) -> Path:
        """The trained model as a run leaves it."""
        self.trainer.save_model(str(folder))
        method_named(self.config.method).finished(self.built, self.config, folder)
        self.encoder.tokenizer.save_pretrained(folder)
        return folder


def short_run(mix: Path, config: TrainConfig, folder: Path) -> ShortRun:
    """Built, not yet trained."""
    adapters.check(config)
    method, folder_of_mix = method_named(config.method), MixFolder(mix)
    encoder = Encoder(open_tokenizer(config.base_model), max_length=config.max_length)
    data = method.data(folder_of_mix, config, encoder)
    setup = Setup(config, RunFolder(folder), method.opened(config), encoder, data, [])
    built = method.build(setup)
    adapters.attach(built.trainer, config)
    return ShortRun(config, built, encoder, folder_of_mix, method.held_out(built, folder_of_mix, encoder)[0])
