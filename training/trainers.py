"""From a config to a TRL trainer: opening the base model, packing, arguments.

The defaults of TRL 1.16 that are set here on purpose: `bf16` (on, also on a CPU, where it is four times slower),
activation checkpointing (on), `max_length` (cuts answers without counting them) and the filter that hides NaN losses.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from curation.errors import ModelError
from training.config import TrainConfig
from training.encoding import Tokenizer
from training.held_out import Model
from training.run_folder import RunFolder
from training.source_loss import CHANNELS, SourceLoss
from training.training_set import TrainingSet, preference_rows

CHECKPOINTING_FROM = 1_000_000_000
"""Parameters from which a GPU run gives a fifth of its speed for the memory of the activations."""


def open_tokenizer(base_model: str) -> Tokenizer:
    """The tokenizer of a model folder or name; it has a padding token.

    Raises:
        ModelError: there is none, or it can't be read.
    """
    from transformers import AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(base_model)
    except (OSError, ValueError) as error:
        raise _not_opened("tokenizer", base_model, error) from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    return tokenizer


def open_model(base_model: str, *, dtype: str = "float32") -> Model:
    """A causal language model on the CPU; the folder of an adapter gives its base with the adapter merged in.

    Raises:
        ModelError: there is none, or it can't be read.
    """
    from transformers import AutoModelForCausalLM

    adapter = Path(base_model) / "adapter_config.json"
    if adapter.is_file():
        from peft import PeftModel

        below = json.loads(adapter.read_text(encoding="utf-8"))["base_model_name_or_path"]
        model = PeftModel.from_pretrained(open_model(below, dtype=dtype), base_model).merge_and_unload()
        model.name_or_path = base_model
        return model
    try:
        return AutoModelForCausalLM.from_pretrained(base_model, dtype=dtype)
    except (OSError, ValueError) as error:
        raise _not_opened("model", base_model, error) from None


def window_of(base_model: str) -> int | None:
    """Longest sequence the model was built for, in tokens; null where its config does not say."""
    from transformers import AutoConfig

    adapter = Path(base_model) / "adapter_config.json"
    if adapter.is_file():
        return window_of(json.loads(adapter.read_text(encoding="utf-8"))["base_model_name_or_path"])
    try:
        config = AutoConfig.from_pretrained(base_model)
    except (OSError, ValueError) as error:
        raise _not_opened("model", base_model, error) from None
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def weights_dtype(config: TrainConfig) -> str:
    """How the weights are held: those that an optimizer changes in float32, those under an adapter on a GPU in bf16."""
    return "bfloat16" if config.adapter == "lora" and _bf16() else "float32"


def sft_trainer(
    config: TrainConfig, run: RunFolder, model: Model, tokenizer: Tokenizer, data: TrainingSet, callback: Any
) -> tuple[Any, SourceLoss, dict[str, Any]]:
    """The trainer, the losses by source attached to it, and what is to be told about the packing."""
    from trl import SFTConfig, SFTTrainer

    dataset, packed = _sft_dataset(config, data)
    one_by_one = config.packing
    # A packed batch becomes one sequence: attention over a batch of them would cost the square of the batch size.
    arguments = SFTConfig(
        **_arguments(config, run, model),
        per_device_train_batch_size=1 if one_by_one else config.batch_size,
        gradient_accumulation_steps=config.accumulation * (config.batch_size if one_by_one else 1),
        max_length=None,
        padding_free=config.packing,
        packing=False,
        remove_unused_columns=False,
        dataset_kwargs={"skip_prepare_dataset": True},
    )
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=dataset,
        processing_class=tokenizer,
        peft_config=_lora(config),
        callbacks=[callback],
    )
    source_loss = SourceLoss(data.sources)
    source_loss.attach(trainer)
    return trainer, source_loss, packed


def dpo_trainer(
    config: TrainConfig, run: RunFolder, model: Model, tokenizer: Tokenizer, data: TrainingSet, callback: Any
) -> Any:
    """The preference trainer; its reference is the base model, with an adapter the model without it."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    arguments = DPOConfig(
        **_arguments(config, run, model),
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=config.accumulation,
        max_length=config.max_length,
        beta=config.beta,
    )
    reference = None if config.adapter == "lora" else open_model(config.base_model, dtype=weights_dtype(config))
    return DPOTrainer(
        model=model,
        ref_model=reference,
        args=arguments,
        train_dataset=Dataset.from_list(preference_rows(data.examples)),
        processing_class=tokenizer,
        peft_config=_lora(config),
        callbacks=[callback],
    )


def _sft_dataset(config: TrainConfig, data: TrainingSet) -> tuple[Any, dict[str, Any]]:
    from datasets import Dataset
    from trl import pack_dataset

    number = {source: i for i, source in enumerate(data.sources)}
    columns = {
        "input_ids": [row.ids for row in data.rows],
        "labels": [row.labels for row in data.rows],
        CHANNELS: [[number[row.source]] * len(row.ids) for row in data.rows],
    }
    dataset = Dataset.from_dict(columns)
    if not config.packing:
        return dataset, {}
    # Packs every list column alike, so that the sources stay beside their tokens.
    packed = pack_dataset(dataset, config.max_length, "bfd")
    fill = data.account.tokens / (len(packed) * config.max_length)
    return packed, {"packed_rows": len(packed), "fill": round(fill, 4)}


def _arguments(config: TrainConfig, run: RunFolder, model: Model) -> dict[str, Any]:
    import torch

    cuda = torch.cuda.is_available()
    return {
        "output_dir": str(run.checkpoints),
        "learning_rate": config.rate(model.num_parameters())[0],
        "num_train_epochs": config.epochs,
        "max_steps": config.max_steps or -1,
        "warmup_steps": config.warmup_ratio,
        "lr_scheduler_type": config.scheduler,
        "logging_steps": config.logging_steps,
        "logging_nan_inf_filter": False,
        "save_strategy": "steps",
        "save_steps": config.save_steps,
        "save_total_limit": config.checkpoints_kept,
        "eval_strategy": "no",
        "use_cpu": not cuda,
        "bf16": _bf16(),
        "gradient_checkpointing": cuda and model.num_parameters() >= CHECKPOINTING_FROM,
        "seed": config.seed,
        "data_seed": config.seed,
        "report_to": "none",
        "disable_tqdm": True,
    }


def _lora(config: TrainConfig) -> Any:
    if config.adapter != "lora":
        return None
    from peft import LoraConfig

    return LoraConfig(
        task_type="CAUSAL_LM",
        target_modules="all-linear",
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
    )


def _bf16() -> bool:
    import torch

    return bool(torch.cuda.is_available() and torch.cuda.is_bf16_supported())


def _not_opened(what: str, base_model: str, error: Exception) -> ModelError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ModelError(
        f"The {what} of the base model {base_model!r} could not be opened: {reason}",
        fix="give the folder of a Hugging Face causal language model, or the name of one that can be downloaded",
    )
