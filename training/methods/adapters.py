"""Which weights a run changes: all, some layers, small matrices beside them, or vectors before every text."""

from __future__ import annotations

import importlib.util
import json
import tempfile
from pathlib import Path
from typing import Any

from curation.errors import ModelError, WinnowError
from training.config import BASE_UNCHANGED, TrainConfig
from training.methods.opening import Model, bf16, open_model

VIRTUAL = ("prompt", "prefix", "p-tuning")
"""Adapters of virtual tokens: peft can neither merge them into weights nor train them further."""
VIRTUAL_TYPES = ("PROMPT_TUNING", "PREFIX_TUNING", "P_TUNING")
"""As adapter_config.json names them."""
TAKE_VIRTUAL = ("sft", "pretrain", "dpo", "kto")
"""Methods whose trainers reckon with tokens that are in no batch."""
KEPT_BY_REWARD = ("full", "lora", "freeze")
"""Adapters whose result can be saved as one whole classifier."""

_LORA = frozenset({"lora_rank", "lora_alpha", "lora_dropout", "lora_variant"})
_TOKENS = frozenset({"virtual_tokens"})
READS: dict[str, frozenset[str]] = {
    "full": frozenset(),
    "lora": _LORA,
    "qlora": _LORA,
    "freeze": frozenset({"trained_layers"}),
    "prompt": _TOKENS,
    "prefix": _TOKENS,
    "p-tuning": _TOKENS,
}
"""Adapter -> fields of the config that it reads and some other does not."""


def check(config: TrainConfig) -> None:
    """Refuse what can't be, before anything is loaded.

    Raises:
        WinnowError: the adapter lacks something on this machine, or does not go with another choice of the config.
    """
    found = _unfit_machine(config) or _unfit_virtual(config) or _unfit_choice(config)
    if found:
        raise found


def _unfit_machine(config: TrainConfig) -> WinnowError | None:
    if config.adapter == "qlora":
        return _lacks("qlora holds the base in 4 bits", "--set adapter=lora")
    if "8bit" in config.optimizer:
        return _lacks(f"{config.optimizer} keeps its state in 8 bits", "--set optimizer=adamw_torch")
    return None


def _lacks(why: str, otherwise: str) -> WinnowError | None:
    if importlib.util.find_spec("bitsandbytes") is None:
        return WinnowError(
            f"{why}, which bitsandbytes does: it is not installed.",
            fix=f"pip install bitsandbytes on a machine with a CUDA GPU, or train with {otherwise}",
        )
    import torch

    if not torch.cuda.is_available():
        return WinnowError(f"{why}, which needs a CUDA GPU: there is none here.", fix=f"train with {otherwise}")
    return None


def _unfit_virtual(config: TrainConfig) -> WinnowError | None:
    kind = adapter_type(config.base_model)
    if kind in VIRTUAL_TYPES:
        return WinnowError(
            f"The base model {config.base_model} is an adapter of virtual tokens ({kind}), which nothing can train on.",
            fix="train from the base below it, or give a model that was trained with lora, freeze or full",
        )
    if config.adapter not in VIRTUAL:
        return None
    if config.method not in TAKE_VIRTUAL:
        return WinnowError(
            f"{config.method} can't train virtual tokens ({config.adapter}).",
            fix=f"--set adapter=lora, or a method among {', '.join(TAKE_VIRTUAL)}",
        )
    if config.method in ("sft", "pretrain") and config.packing != "none":
        return WinnowError(
            f"{config.adapter} puts its vectors before a text; samples packed ({config.packing}) share one beginning.",
            fix="--set packing=none",
        )
    if config.adapter == "prefix" and config.activation_checkpointing == "on":
        return WinnowError(
            "prefix gives every layer a cache, which activation checkpointing throws away.",
            fix="--set activation_checkpointing=off",
        )
    if config.strategy != "ddp":
        return WinnowError(
            f"{config.adapter} keeps the embeddings outside the model that {config.strategy} spreads.",
            fix="--set strategy=ddp",
        )
    return None


def _unfit_choice(config: TrainConfig) -> WinnowError | None:
    if config.adapter == "freeze" and config.trained_layers == 0:
        return WinnowError("freeze with trained_layers 0 trains nothing.", fix="--set trained_layers=2 (the last two)")
    if config.adapter == "qlora" and config.lora_variant == "pissa":
        return WinnowError(
            "pissa begins from the singular values of weights, which a base in 4 bits does not have.",
            fix="--set lora_variant=lora, or adapter=lora",
        )
    if config.adapter == "qlora" and config.strategy in ("fsdp2", "zero3"):
        return WinnowError(
            f"qlora holds the base in 4 bits on each GPU, {config.strategy} spreads it over them.",
            fix="--set strategy=ddp, or adapter=lora",
        )
    if config.method == "reward" and config.adapter not in KEPT_BY_REWARD:
        return WinnowError(
            f"A reward model is saved whole, which {config.adapter} does not allow.",
            fix=f"--set adapter to one of: {', '.join(KEPT_BY_REWARD)}",
        )
    if config.method == "grpo" and is_pissa(config):
        return WinnowError(
            "grpo compares with the model without its adapter, and without pissa's it is not the base.",
            fix="--set lora_variant=lora",
        )
    if config.method == "kto" and config.batch_size < 2:
        return WinnowError(
            "kto compares an answer with those to other prompts of its batch, and batch_size is 1.",
            fix="--set batch_size=2 or more",
        )
    return None


def adapter_type(folder: str) -> str | None:
    """As peft names it; null where the folder holds no adapter.

    Raises:
        ModelError: its config is damaged.
    """
    file = Path(folder) / "adapter_config.json"
    if not file.is_file():
        return None
    try:
        return str(json.loads(file.read_text(encoding="utf-8"))["peft_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"{file} can't be read as that of an adapter: {type(error).__name__}: {error}.",
            fix="copy the adapter's folder again",
        ) from None


def virtual_tokens(config: TrainConfig) -> int:
    """Positions of the model's window that the adapter takes."""
    return config.virtual_tokens if config.adapter in VIRTUAL else 0


def opened(config: TrainConfig) -> Model:
    """The base model as it is trained: in 4 bits for qlora, with most layers held fast for freeze.

    Raises:
        WinnowError: it can't be opened, or has fewer layers than are to be trained.
    """
    if config.adapter == "qlora":
        return _in_4_bits(config)
    model = open_model(config.base_model, dtype=weights_dtype(config))
    if config.adapter == "freeze":
        freeze(model, config.trained_layers)
    return model


def _in_4_bits(config: TrainConfig) -> Model:
    if adapter_type(config.base_model) is None:
        return open_model(config.base_model, dtype=weights_dtype(config), quantization=quantization(config))
    # An adapter is merged before its base is quantized.
    with tempfile.TemporaryDirectory() as merged:
        open_model(config.base_model, dtype=weights_dtype(config)).save_pretrained(merged)
        model = open_model(merged, dtype=weights_dtype(config), quantization=quantization(config))
    model.name_or_path = config.base_model
    return model


def opened_reference(config: TrainConfig) -> Model:
    """The base model once more, to compare with: nothing of it is trained.

    Raises:
        WinnowError: it can't be opened.
    """
    return open_model(config.base_model, dtype=weights_dtype(config)).requires_grad_(False).eval()


def freeze(model: Model, count: int) -> None:
    """Hold all weights fast but those of some transformer layers.

    Args:
        model: Llama's, Qwen's or GPT-2's build: a list of layers, and a norm after them.
        count: the last so many layers, and the norm that follows them; negative: the first so many.

    Raises:
        WinnowError: there are fewer layers.
    """
    layers, after = _layers(model)
    if not 0 < abs(count) <= len(layers):
        raise WinnowError(
            f"freeze is to train {abs(count)} layers, and the model has {len(layers)}.",
            fix=f"--set trained_layers={min(2, len(layers))}",
        )
    model.requires_grad_(False)
    trained = [*layers[-count:], *after] if count > 0 else list(layers[:-count])
    for module in trained:
        module.requires_grad_(True)


def _layers(model: Model) -> tuple[Any, list[Any]]:
    """The list of transformer layers, and what has weights and comes after it in the same module."""
    import torch

    depth = model.config.get_text_config().num_hidden_layers
    for parent in model.modules():
        children = list(parent.children())
        for i, child in enumerate(children):
            if isinstance(child, torch.nn.ModuleList) and len(child) == depth:
                return child, children[i + 1 :]
    raise WinnowError(f"{type(model).__name__} has no list of {depth} layers.", fix="--set adapter=lora")


def quantization(config: TrainConfig) -> Any:
    """How the weights are quantized when they are loaded; null where they are not.

    Source: Dettmers et al. 2023 (QLoRA), arXiv:2305.14314: 4-bit NormalFloat, the scales quantized too.
    """
    if config.adapter != "qlora":
        return None
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if bf16() else torch.float32,
    )


def weights_dtype(config: TrainConfig) -> str:
    """How the weights are held: those that an optimizer changes in float32, those under an adapter on a GPU in bf16."""
    return "bfloat16" if config.adapter in BASE_UNCHANGED and bf16() else "float32"


def peft_config(config: TrainConfig, *, model_kind: str = "CAUSAL_LM") -> Any:
    """What TRL's trainers take as `peft_config`; null where the model's own weights are trained."""
    if config.adapter in ("lora", "qlora"):
        return _lora(config, model_kind)
    if config.adapter not in VIRTUAL:
        return None
    from peft import PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig

    fields = {"task_type": model_kind, "num_virtual_tokens": config.virtual_tokens}
    if config.adapter == "prompt":
        # Random vectors lie far from every embedding; those of words do not.
        return PromptTuningConfig(prompt_tuning_init="SAMPLE_VOCAB", **fields)
    return PrefixTuningConfig(**fields) if config.adapter == "prefix" else PromptEncoderConfig(**fields)


def _lora(config: TrainConfig, model_kind: str) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        task_type=model_kind,
        target_modules="all-linear",
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        use_rslora=config.lora_variant == "rslora",
        use_dora=config.lora_variant == "dora",
        init_lora_weights="pissa" if config.lora_variant == "pissa" else True,
    )


def is_pissa(config: TrainConfig) -> bool:
    """Whether the adapter took its beginning out of the base's weights: without it the model is not the base."""
    return config.adapter == "lora" and config.lora_variant == "pissa"


def attach(trainer: Any, config: TrainConfig) -> None:
    """Prepare a built trainer for saving and resuming its adapter; before it trains.

    peft loads virtual tokens only to use them, so that a resumed run would not train; and what PiSSA began from is
    needed when it has ended.
    """
    if config.adapter in VIRTUAL:
        trainer.model.load_adapter = _loading_trainable(trainer.model)
    elif is_pissa(config):
        from peft import get_peft_model_state_dict

        begun = get_peft_model_state_dict(trainer.model)
        trainer.begun = {name: value.detach().cpu().clone() for name, value in begun.items()}


def finished(trainer: Any, config: TrainConfig, folder: Path) -> None:
    """Make a saved adapter fit the base itself: PiSSA trains beside a base that lacks what the adapter began with."""
    if is_pissa(config):
        _as_plain_lora(folder, trainer.begun)


def _loading_trainable(model: Any) -> Any:
    load = model.load_adapter

    def load_adapter(folder: str, name: str, is_trainable: bool = False, **rest: Any) -> Any:
        trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        loaded = load(folder, name, is_trainable=False, **rest)
        for parameter in trained:
            parameter.requires_grad_(is_trainable)
        return loaded

    return load_adapter


def _as_plain_lora(folder: Path, begun: dict[str, Any]) -> None:
    """What was trained minus what it began from, as one LoRA of twice the rank.

    Source: Meng et al. 2024 (PiSSA), arXiv:2404.02948, appendix on conversion.
    """
    import torch
    from safetensors.torch import load_file, save_file

    weights, file = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    changed = {}
    for name, value in load_file(weights).items():
        before = begun[name].to(value.dtype)
        is_a = "lora_A" in name
        changed[name] = torch.cat([value, before] if is_a else [value, -before], dim=0 if is_a else 1).contiguous()
    save_file(changed, weights, metadata={"format": "pt"})
    told = json.loads(file.read_text(encoding="utf-8"))
    told |= {"init_lora_weights": True, "r": 2 * told["r"], "lora_alpha": 2 * told["lora_alpha"]}
    file.write_text(json.dumps(told, indent=2, sort_keys=True), encoding="utf-8")
