"""What a user decides about a training run: one frozen object, one JSON file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from curation.errors import WinnowError
from curation.operators import translated
from training.rates import BETAS, held, suggested

BASE_UNCHANGED = ("lora", "qlora", "prompt", "prefix", "p-tuning")
"""Adapters beside a base whose own weights stay as they are, and so need no float32."""


class TrainConfig(BaseModel):
    """How a mix trains a base model. Equal config, mix and machine give equal losses."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    base_model: str = Field(min_length=1, description="A causal language model: a folder, or a name on the model hub.")
    method: Literal["sft", "pretrain", "dpo", "kto", "orpo", "simpo", "reward", "grpo"] = Field(
        "sft", description="How the mix trains: sft imitates answers; dpo prefers chosen to rejected."
    )
    adapter: Literal["full", "lora", "qlora", "freeze", "prompt", "prefix", "p-tuning"] = Field(
        "lora", description="Train every weight, small matrices beside them, some layers, or virtual tokens."
    )
    lora_rank: int = Field(16, ge=1, description="Width of the LoRA matrices.")
    lora_alpha: int = Field(32, ge=1, description="LoRA scale; the update is multiplied by alpha / rank.")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="Share of LoRA inputs set to zero while training.")
    lora_variant: Literal["lora", "rslora", "dora", "pissa"] = Field(
        "lora", description="Plain LoRA, scaled by the root of the rank, with magnitudes apart, or begun from the SVD."
    )
    trained_layers: int = Field(2, description="freeze: layers that are trained, the last n; negative: the first n.")
    virtual_tokens: int = Field(20, ge=1, description="prompt, prefix, p-tuning: trained vectors before every text.")
    learning_rate: float | None = Field(
        None, gt=0, description="Highest learning rate; empty chooses one by method, adapter and model size."
    )
    epochs: float = Field(1.0, gt=0, description="Passes over the mix; not used when max_steps is given.")
    max_steps: int | None = Field(None, ge=1, description="Optimizer steps; empty lets the epochs decide.")
    max_length: int = Field(1024, ge=8, description="Tokens of the longest sample; what is longer is cut and counted.")
    packing: Literal["none", "wrapped", "best-fit"] = Field(
        "best-fit",
        description="sft, pretrain: fill sequences of max_length by samples that do not see each other (best-fit), or "
        "by cutting one long text (wrapped).",
    )
    batch_size: int = Field(
        8, ge=1, description="Sequences per process and forward pass; with best-fit one at a time, and as many passes."
    )
    accumulation: int = Field(
        1, ge=1, description="Forward passes per optimizer step; a step has batch_size x accumulation x processes."
    )
    warmup_ratio: float = Field(0.03, ge=0, lt=1, description="Share of the steps in which the learning rate rises.")
    scheduler: Literal["cosine", "linear", "constant", "constant_with_warmup", "wsd"] = Field(
        "cosine", description="How the learning rate falls after the warm-up; wsd: only in the last decay_ratio."
    )
    decay_ratio: float = Field(0.1, gt=0, lt=1, description="wsd: share of the steps in which the rate falls.")
    weight_decay: float = Field(0.0, ge=0, description="How strongly weights are pulled to zero (AdamW).")
    max_grad_norm: float = Field(1.0, gt=0, description="Longer gradients are shortened to this norm.")
    optimizer: Literal["adamw_torch", "adamw_8bit", "paged_adamw_8bit", "adafactor"] = Field(
        "adamw_torch", description="8bit and paged need bitsandbytes and a GPU; they save memory."
    )
    activation_checkpointing: Literal["auto", "on", "off"] = Field(
        "auto", description="Compute activations twice to save memory; auto: on a GPU from a billion parameters."
    )
    loss_on: Literal["assistant", "last", "all"] = Field(
        "assistant", description="sft: what carries loss: every assistant turn, the last one, or the whole text."
    )
    reasoning: Literal["keep", "drop"] = Field(
        "keep", description="Whether reasoning before an answer is trained on or left out."
    )
    order: Literal["shuffled", "mix", "staged", "related"] = Field(
        "shuffled",
        description="sft, pretrain: by the seed, as in the mix's file, stage by stage, or similar samples together.",
    )
    replay: float = Field(0.0, ge=0, lt=1, description="staged: share of each later stage that repeats earlier ones.")
    preference_loss: Literal[
        "sigmoid", "sigmoid_norm", "ipo", "hinge", "robust", "apo_zero", "apo_down", "dpo-positive"
    ] = Field("sigmoid", description="dpo: the loss, as TRL names it.")
    beta: float | None = Field(
        None,
        gt=0,
        description="dpo, kto, grpo: how strongly the model is held to the base; orpo: weight of the preference; "
        "simpo: scale of the margin. Empty chooses one by method.",
    )
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="robust: share of pairs thought to be swapped.")
    sft_weight: float = Field(0.0, ge=0, description="dpo: weight of imitating chosen answers beside the preference.")
    reward_margin: float = Field(
        1.0, ge=0, description="simpo: by how much chosen should be ahead, times beta (gamma; the paper: half of beta)."
    )
    rewards: tuple[str, ...] = Field(("final-answer",), description="grpo: what is verified in a written answer.")
    answers_per_prompt: int = Field(8, ge=2, description="grpo: answers that are written to each prompt and compared.")
    max_answer_tokens: int = Field(256, ge=1, description="Longest answer that is written while training.")
    temperature: float = Field(1.0, gt=0, description="grpo: how freely answers are drawn.")
    seed: int = Field(0, ge=0, description="Seed of adapter weights, dropout and the order of samples.")
    save_steps: int = Field(100, ge=1, description="Steps between checkpoints.")
    checkpoints_kept: int = Field(
        2, ge=1, description="Checkpoints that stay (1: two); `less` wants one for each epoch."
    )
    eval_steps: int | None = Field(50, ge=1, description="Steps between held-out losses; empty: only before and after.")
    patience: int | None = Field(
        None,
        ge=1,
        description="Stop after so many held-out losses (eval_steps) without a better one; the best weights are kept.",
    )
    sample_answers: int = Field(3, ge=0, description="Held-out prompts that are answered at every held-out loss.")
    logging_steps: int = Field(1, ge=1, description="Steps per logged loss, which is their mean by tokens.")
    processes: int = Field(
        1, ge=1, description="Processes that train together over all machines, one per GPU; accelerate launches them."
    )
    strategy: Literal["ddp", "fsdp2", "zero2", "zero3"] = Field(
        "ddp", description="Several processes: copies of the model, or weights and optimizer spread over them."
    )
    offload: bool = Field(False, description="fsdp2, zero2, zero3: keep weights or optimizer in CPU memory.")
    arm: Literal["mix", "random"] = Field(
        "mix", description="Train on the mix, or on random samples of its pool with as many tokens."
    )

    @field_validator("packing", mode="before")
    @classmethod
    def _packing_was_a_switch(cls, value: Any) -> Any:
        if not isinstance(value, bool | str):
            return value
        return {True: "best-fit", False: "none", "true": "best-fit", "false": "none"}.get(value, value)

    @field_validator("learning_rate", "beta", "max_steps", "eval_steps", "patience", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("rewards", mode="before")
    @classmethod
    def _rewards_as_words(cls, value: Any) -> Any:
        return tuple(word.strip() for word in value.split(",")) if isinstance(value, str) else value

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

    def deciding(self) -> dict[str, Any]:
        """The fields as JSON, with the beta that is used: a run that was begun under another default goes on."""
        fields = self.model_dump(mode="json")
        fields["beta"] = self.strength()[0] if self.method in BETAS else None
        return fields if self.method == "simpo" else {name: fields[name] for name in fields if name != "reward_margin"}

    def rate(self, parameters: int) -> tuple[float, str]:
        """The learning rate for a model with this many parameters, and why it is that."""
        if self.learning_rate is not None:
            return self.learning_rate, "given in the config"
        return suggested(self.method, self.adapter, parameters)

    def strength(self) -> tuple[float, str]:
        """The beta of a method that reads one, and why it is that."""
        return held(self.method, self.preference_loss) if self.beta is None else (self.beta, "given in the config")
