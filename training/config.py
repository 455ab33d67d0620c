"""What a user decides about a training run: one frozen object, one JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from curation.errors import WinnowError
from curation.operators import translated

Rate = tuple[float, float, str]

RATES: dict[tuple[str, str], tuple[Rate, ...]] = {
    ("sft", "full"): (
        (0.05, 5e-4, "models this small need large steps"),
        (1.5, 2e-5, "TRL's default for full fine-tuning"),
        (30, 5e-6, "the Tulu 3 recipe for 8B"),
        (float("inf"), 2e-6, "the Tulu 3 recipe for 70B"),
    ),
    ("sft", "lora"): (
        (0.05, 2e-3, "models this small need large steps"),
        (float("inf"), 2e-4, "LoRA takes about ten times the full rate (TRL, 'LoRA without regret')"),
    ),
    ("dpo", "full"): (
        (0.05, 1e-4, "models this small need large steps"),
        (float("inf"), 5e-7, "the Tulu 3 recipe for DPO on 8B"),
    ),
    ("dpo", "lora"): (
        (0.05, 3e-4, "models this small need large steps"),
        (float("inf"), 5e-6, "LoRA takes about ten times the full rate"),
    ),
}
"""(method, adapter) -> rows of (up to this many billion parameters, learning rate, why)."""


class TrainConfig(BaseModel):
    """How a mix trains a base model. Equal config, mix and machine give equal losses."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    base_model: str = Field(min_length=1, description="A causal language model: a folder, or a name on the model hub.")
    method: Literal["sft", "dpo"] = Field("sft", description="sft imitates answers; dpo prefers chosen to rejected.")
    adapter: Literal["full", "lora"] = Field("lora", description="Train every weight, or small matrices beside them.")
    lora_rank: int = Field(16, ge=1, description="Width of the LoRA matrices.")
    lora_alpha: int = Field(32, ge=1, description="LoRA scale; the update is multiplied by alpha / rank.")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="Share of LoRA inputs set to zero while training.")
    learning_rate: float | None = Field(
        None, gt=0, description="Highest learning rate; empty chooses one by method, adapter and model size."
    )
    epochs: float = Field(1.0, gt=0, description="Passes over the mix; not used when max_steps is given.")
    max_steps: int | None = Field(None, ge=1, description="Optimizer steps; empty lets the epochs decide.")
    max_length: int = Field(1024, ge=8, description="Tokens of the longest sample; what is longer is cut and counted.")
    packing: bool = Field(
        True, description="Fill sequences of max_length with several samples that do not see each other (sft only)."
    )
    batch_size: int = Field(8, ge=1, description="Sequences per device and forward pass; packed ones go one at a time.")
    accumulation: int = Field(1, ge=1, description="Forward passes per optimizer step.")
    warmup_ratio: float = Field(0.03, ge=0, lt=1, description="Share of the steps in which the learning rate rises.")
    scheduler: Literal["cosine", "linear", "constant", "constant_with_warmup"] = Field(
        "cosine", description="How the learning rate falls after the warm-up."
    )
    beta: float = Field(0.1, gt=0, description="dpo: how strongly the model is held to the base model.")
    loss_on: Literal["assistant", "last", "all"] = Field(
        "assistant",
        description="What carries loss: every assistant turn, the last one, or the whole text (sft only).",
    )
    seed: int = Field(0, ge=0, description="Seed of adapter weights, dropout and the order of samples.")
    save_steps: int = Field(100, ge=1, description="Steps between checkpoints.")
    checkpoints_kept: int = Field(2, ge=1, description="Checkpoints that stay; `less` wants one for each epoch.")
    eval_steps: int | None = Field(50, ge=1, description="Steps between held-out losses; empty: only before and after.")
    logging_steps: int = Field(1, ge=1, description="Steps per logged loss, which is their mean by tokens.")
    arm: Literal["mix", "random"] = Field(
        "mix", description="Train on the mix, or on random samples of its pool with as many tokens."
    )

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a JSON config.

        Raises:
            WinnowError: the file can't be read, is no JSON object, or a field is unknown or out of range.
        """
        try:
            fields = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise WinnowError(f"Can't read the training config {path}: {error}.", fix="give a JSON file") from None
        if not isinstance(fields, dict):
            raise WinnowError(f"The training config {path} is not a JSON object.", fix='write {"base_model": "..."}')
        return cls.checked(fields)

    @classmethod
    def checked(cls, fields: dict[str, Any]) -> Self:
        """A config from plain fields (strings are converted, as `--set` gives them).

        Raises:
            WinnowError: a field is unknown, missing or out of range.
        """
        try:
            return cls(**fields)
        except ValidationError as error:
            raise translated("training config", error, cls.model_fields) from None

    def to_json(self) -> str:
        """Every field, defaults included, as `from_file` reads it."""
        return self.model_dump_json(indent=2)

    def rate(self, parameters: int) -> tuple[float, str]:
        """The learning rate for a model with this many parameters, and why it is that."""
        if self.learning_rate is not None:
            return self.learning_rate, "given in the config"
        rows = RATES[self.method, self.adapter]
        _, rate, reason = next(row for row in rows if parameters / 1e9 <= row[0])
        return rate, f"{self.method}, {self.adapter}, {parameters / 1e9:.3g}B parameters: {reason}"
