"""Memory of a run before it starts: weights, gradients, optimizer, activations.

Bytes per parameter follow what this project does: weights that an optimizer changes are held in float32, those under an
adapter in bf16 on a GPU; on a CPU all is float32. Activations are those of a transformer layer, 34 bytes per token and
unit of width in bf16 (Korthikanti et al. 2022, arXiv:2205.05198, without the attention scores, which fused attention
does not keep), or its input alone where the layer is computed again in the backward pass.
"""

from __future__ import annotations

from dataclasses import dataclass

from training.advice.base_facts import BaseFacts
from training.config import TrainConfig

GIB = 2**30
LAYER_BYTES = 34
"""Per token, unit of width and layer, in bf16."""
CHECKPOINT_BYTES = 2
"""The same where activations are computed again."""
CPU_PROCESS_GIB = 0.95
GPU_CONTEXT_GIB = 0.8
"""What torch and its libraries take before the first tensor."""
CHECKPOINTING_FROM = 1_000_000_000
"""Parameters from which a GPU run gives a fifth of its speed for the memory of the activations."""
QUANTISED = 0.6
"""Bytes per parameter in 4 bits, with the scales."""
OPTIMIZERS = {"adamw_torch": 8.0, "adamw_8bit": 2.1, "paged_adamw_8bit": 2.1, "adafactor": 0.1}
"""Bytes of state per trained parameter."""
PAIRS = ("dpo", "orpo", "simpo", "reward")
"""Methods that see two answers at a time."""
REFERENCES = ("dpo", "kto", "grpo")
"""Methods that hold a second model beside the trained one, unless an adapter can be switched off."""


@dataclass(frozen=True, slots=True)
class Memory:
    """An estimate in GiB; what is null could not be estimated."""

    total: float | None
    weights: float | None = None
    gradients: float | None = None
    optimizer: float | None = None
    activations: float | None = None
    overhead: float | None = None
    """The process itself: torch, its libraries, the driver's context."""
    reason: str = ""


def estimate(facts: BaseFacts, config: TrainConfig, *, on_gpu: bool, sequences: int, length: int) -> Memory:
    """Memory of one process.

    Args:
        facts: of the base model.
        config: method, adapter, optimizer, checkpointing.
        on_gpu: where it runs.
        sequences: in one forward pass (pairs count once).
        length: tokens of each.
    """
    if facts.parameters is None:
        return Memory(None, reason=facts.reason)
    trained = trained_parameters(facts, config)
    frozen = facts.parameters - (trained if config.adapter in ("full", "freeze") else 0)
    weights = trained * 4.0 + _frozen(facts, config, frozen, on_gpu=on_gpu)
    weights += _reference(facts, config, on_gpu=on_gpu)
    if on_gpu and trained > 0.01 * facts.parameters:
        weights += 2.0 * trained  # autocast keeps a bf16 copy of the matrices during a pass
    activations = _activations(facts, config, on_gpu=on_gpu, tokens=sequences * length)
    overhead = (GPU_CONTEXT_GIB if on_gpu else CPU_PROCESS_GIB) * GIB
    gradients, optimizer = trained * 4.0, trained * OPTIMIZERS[config.optimizer]
    total = None if activations is None else _gib(weights + gradients + optimizer + activations + overhead)
    reason = f"{facts.parameters:,} parameters, {trained:,} of them trained, {sequences} x {length} tokens at once"
    if total is None:
        reason = f"layers and width are not known: {facts.reason}"
    return Memory(
        total=total,
        weights=_gib(weights),
        gradients=_gib(gradients),
        optimizer=_gib(optimizer),
        activations=None if activations is None else _gib(activations),
        overhead=_gib(overhead),
        reason=reason,
    )


def _gib(size: float) -> float:
    return round(size / GIB, 2)


def trained_parameters(facts: BaseFacts, config: TrainConfig) -> int:
    """How many weights a run changes, from the shapes; 0 where they are not known."""
    parameters, hidden, layers = facts.parameters or 0, facts.hidden or 0, facts.layers or 0
    if config.adapter == "full":
        return parameters
    if config.adapter in ("lora", "qlora"):
        middle = facts.intermediate or 4 * hidden
        narrow = hidden * (facts.kv_heads or facts.heads or 1) // (facts.heads or 1)
        sides = 2 * (hidden + hidden) + 2 * (hidden + narrow) + 3 * (hidden + middle)
        return config.lora_rank * sides * layers
    if config.adapter == "freeze":
        return min(abs(config.trained_layers), layers) * (facts.matrices // layers if layers else 0)
    each = 2 * layers if config.adapter == "prefix" else 1
    return config.virtual_tokens * hidden * each


def checkpoints_activations(config: TrainConfig, parameters: int, *, on_gpu: bool) -> bool:
    """Whether the run computes activations twice."""
    if config.adapter == "prefix":  # its trained keys and values stand in a cache, which checkpointing excludes
        return False
    if config.activation_checkpointing == "auto":
        return on_gpu and parameters >= CHECKPOINTING_FROM
    return config.activation_checkpointing == "on"


def _frozen(facts: BaseFacts, config: TrainConfig, frozen: int, *, on_gpu: bool) -> float:
    """Bytes of the weights that stay as they are; 4 bits are only for matrices, not for embeddings."""
    if config.adapter == "qlora":
        matrices = min(frozen, facts.matrices or frozen)
        return QUANTISED * matrices + 2.0 * (frozen - matrices)
    return frozen * (2.0 if on_gpu and config.adapter not in ("full", "freeze") else 4.0)


def _reference(facts: BaseFacts, config: TrainConfig, *, on_gpu: bool) -> float:
    """Bytes of a second model: where there is no adapter, or PiSSA's, without which the model is not the base."""
    pissa = config.adapter == "lora" and config.lora_variant == "pissa"
    if config.method not in REFERENCES or not (pissa or config.adapter in ("full", "freeze")):
        return 0.0
    return _frozen(facts, config, facts.parameters or 0, on_gpu=on_gpu)


def _activations(facts: BaseFacts, config: TrainConfig, *, on_gpu: bool, tokens: int) -> float | None:
    if not facts.hidden or not facts.layers:
        return None
    sides = 2 if config.method in PAIRS else 1
    units = sides * tokens * facts.hidden * (1 if on_gpu else 2)  # float32 on a CPU
    if checkpoints_activations(config, facts.parameters or 0, on_gpu=on_gpu):
        return float(units * (CHECKPOINT_BYTES * facts.layers + LAYER_BYTES)) + _logits(facts, config, tokens * sides)
    return float(units * LAYER_BYTES * facts.layers) + _logits(facts, config, tokens * sides)


def _logits(facts: BaseFacts, config: TrainConfig, tokens: int) -> float:
    """TRL's SFT head works in chunks; methods of preferences hold the logits of the batch, and their gradient."""
    if config.method in ("sft", "pretrain", "reward"):
        return 0.0
    return 2 * 4.0 * tokens * (facts.vocabulary or 0)
