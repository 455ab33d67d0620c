"""Advice before a run starts: whether it fits, what to set, how long it takes, each with its reason in one sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from training.advice.base_facts import BaseFacts, base_facts
from training.advice.compute import flops_per_token, peak_of
from training.advice.hardware import Hardware, hardware
from training.advice.memory import Memory, estimate, trained_parameters
from training.advice.mix_facts import DOCUMENTS, MixFacts, mix_facts
from training.config import TrainConfig
from training.rates import BETAS

LADDER = (128, 256, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 32768)
"""Lengths that are suggested."""
COVERED = 0.99
"""Share of the samples that the suggested length holds whole."""
USABLE = 0.92
"""Share of the memory that a run may take: the rest goes to what the estimate does not know."""
SMALL = 50_000_000
"""Parameters up to which many small steps do better than few large ones."""
FEWEST_STEPS = 60
"""Steps that an epoch should have."""
GPU_SHARE = 0.30
"""Of a GPU's peak that training reaches here; 25 to 40 % is usual for Transformers on one H100."""
CPU_FLOPS = 16e9
"""Per core and second; what a small model reached on two cores."""
START_SECONDS = 30.0
"""Until the first step: libraries, model, tokens."""
PACKED = ("sft", "pretrain")
"""Methods that pack samples."""
AUTOMATIC = ("learning_rate", "beta")
"""Fields that are chosen by themselves where they are left empty."""
PREFERENCES = ("dpo", "kto", "orpo", "simpo", "reward")
EPOCHS = ((500, 8), (2_000, 5), (20_000, 3), (200_000, 2))
"""(up to this many rows, epochs) for SFT; more rows take one."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A field of the training config, and why it should be that."""

    field: str
    value: Any
    reason: str
    """One sentence."""
    now: Any = None
    """What the config has."""

    @property
    def changes(self) -> bool:
        """Whether the config has another value; a learning rate or beta left empty is the suggested one."""
        return bool(self.value != self.now) and not (self.field in AUTOMATIC and self.now is None)


@dataclass(frozen=True, slots=True)
class Advice:
    """What can be said before the start. Numbers that can't be known are null; `reasons` says why."""

    method: str
    adapter: str
    rows: int
    held_out: int
    tokens_per_epoch: int
    """After cutting at the suggested max_length, template included."""
    tokens_counted: str
    """With what."""
    length_quantiles: dict[str, int]
    """p50, p90, p99, longest: tokens of a sample."""
    cut: float
    """Share of the samples that the config's max_length cuts; 0 of documents, which go on in the next row."""
    fill: float | None
    """Share of a packed sequence that holds tokens, at the suggested max_length; null without packing."""
    parameters: int | None
    trained: int | None
    hardware: Hardware
    memory: Memory
    """With the suggestions taken."""
    fits: bool | None
    """Null where the memory can't be estimated, or the machine does not tell its own."""
    suggestions: list[Suggestion]
    steps: int | None
    """With the suggestions taken."""
    seconds: float | None
    histogram: list[tuple[int, int, int]] = field(default_factory=list)
    """(from, to, samples): tokens of a sample."""
    reasons: dict[str, str] = field(default_factory=dict)
    """Field -> where its number comes from, or why it is null."""

    def taken(self, config: TrainConfig) -> TrainConfig:
        """The config with every suggestion."""
        return config.model_copy(update={s.field: s.value for s in self.suggestions})


def advise(
    mix: Path | str,
    config: TrainConfig,
    *,
    machine: Hardware | None = None,
    measured: tuple[float, str] | None = None,
) -> Advice:
    """Look at a mix, a base model and this machine, and say what to set. Nothing is loaded or downloaded.

    Args:
        mix: the folder.
        config: method, adapter and base model; other fields are looked at as they are.
        machine: that trains; this one if not given.
        measured: tokens per second that such a run has had here, and where that was seen.

    Raises:
        WinnowError: the mix can't be read.
    """
    facts = base_facts(config.base_model)
    return advice(mix_facts(mix, facts), facts, machine or hardware(), config, measured=measured)


def advice(
    mix: MixFacts,
    facts: BaseFacts,
    machine: Hardware,
    config: TrainConfig,
    *,
    measured: tuple[float, str] | None = None,
) -> Advice:
    """The same from facts that are known already."""
    length = _length(mix, facts, config)
    taken = config.model_copy(update={length.field: length.value})
    kind = _adapter(facts, machine, taken)
    taken = taken.model_copy(update={s.field: s.value for s in kind})
    batch = _batch(mix, facts, machine, taken)
    taken = taken.model_copy(update={s.field: s.value for s in batch})
    epochs = _epochs(mix, taken)
    taken = taken.model_copy(update={epochs.field: epochs.value})
    rest = [epochs, *_rate(facts, taken), *_held(mix, taken), *_preference(taken)]
    taken = taken.model_copy(update={s.field: s.value for s in rest})
    steps = _steps(mix, taken)
    rest += _evaluations(mix, steps, taken)
    memory = _memory(facts, machine, taken)
    seconds, why = _seconds(mix, facts, machine, taken, measured)
    packed = taken.method in PACKED and taken.packing != "none"
    suggestions = [length, *kind, *batch, *rest]
    return Advice(
        method=config.method,
        adapter=taken.adapter,
        rows=mix.rows,
        held_out=mix.held_out,
        tokens_per_epoch=mix.trained_tokens(taken.max_length),
        tokens_counted=mix.how,
        length_quantiles={f"p{q}": mix.quantile(q / 100) for q in (50, 90, 99)} | {"longest": max(mix.lengths or (0,))},
        cut=round(mix.cut(config.max_length), 4),
        fill=round(mix.sequences(taken.max_length, taken.packing)[1], 4) if packed else None,
        parameters=facts.parameters,
        trained=trained_parameters(facts, taken) or None if facts.parameters else None,
        hardware=machine,
        memory=memory,
        fits=_fits(memory, machine),
        suggestions=[_with_now(s, config) for s in suggestions],
        steps=steps,
        seconds=seconds,
        histogram=mix.histogram(),
        reasons={"parameters": facts.reason, "memory": memory.reason, "seconds": why, "hardware": machine.reason},
    )


def _with_now(suggestion: Suggestion, config: TrainConfig) -> Suggestion:
    return Suggestion(suggestion.field, suggestion.value, suggestion.reason, getattr(config, suggestion.field))


def _length(mix: MixFacts, facts: BaseFacts, config: TrainConfig) -> Suggestion:
    needed, window = mix.quantile(COVERED), facts.window or LADDER[-1]
    value = min(next((n for n in LADDER if n >= needed), LADDER[-1]), window)
    if value < needed:
        rest = f"{mix.cut(value):.0%} of the samples are longer and are cut"
        rest = "longer documents go on in the next row" if mix.format == DOCUMENTS else rest
        told = f"the model reads at most {window:,} tokens; {rest}"
    else:
        told = f"99 % of the samples have at most {needed:,} tokens"
    return Suggestion("max_length", value, told)


def _adapter(facts: BaseFacts, machine: Hardware, config: TrainConfig) -> list[Suggestion]:
    """Another way of training where this one does not fit."""
    if config.adapter not in ("full", "lora", "freeze") or _fits(_memory(facts, machine, config), machine) is not False:
        return []
    ways: list[dict[str, Any]] = [{"activation_checkpointing": "on"}, {"adapter": "lora"}]
    ways += [{"adapter": "lora", "activation_checkpointing": "on"}]
    ways += [{"adapter": "qlora", "activation_checkpointing": "on"}] if machine.on_gpu else []
    for way in ways:
        memory = _memory(facts, machine, config.model_copy(update=way))
        if _fits(memory, machine):
            told = f"without it {_memory(facts, machine, config).total:.1f} GiB are needed, with it {memory.total:.1f}"
            return [Suggestion(name, value, told) for name, value in way.items() if value != getattr(config, name)]
    return []


def _batch(mix: MixFacts, facts: BaseFacts, machine: Hardware, config: TrainConfig) -> list[Suggestion]:
    if config.method == "grpo":
        return []
    count = mix.sequences(config.max_length, config.packing if config.method in PACKED else "none")[0]
    whole, why = _whole_batch(count, facts, config)
    share = max(1, whole // config.processes)
    if _one_at_a_time(config):
        told = f"{whole} packed sequences a step: {why}"
        return [
            Suggestion("batch_size", share, told),
            Suggestion("accumulation", 1, "packed sequences go one at a time already"),
        ]
    most = share
    while most > 1 and not _batch_fits(facts, machine, config, most):
        most //= 2
    limit = "" if most == share else f"; {most} at a time is what fits"
    return [
        Suggestion("batch_size", most, f"{whole} sequences a step: {why}{limit}"),
        Suggestion(
            "accumulation", max(1, share // most), f"{most} x {max(1, share // most)} = {share} sequences a step"
        ),
    ]


def _batch_fits(facts: BaseFacts, machine: Hardware, config: TrainConfig, batch: int) -> bool:
    return _fits(_memory(facts, machine, config.model_copy(update={"batch_size": batch})), machine) is not False


def _whole_batch(count: int, facts: BaseFacts, config: TrainConfig) -> tuple[int, str]:
    """Sequences of a step, and why."""
    adapter = config.adapter not in ("full", "freeze")
    most, why = (
        (32, "adapters do worse with large batches (TRL, 'LoRA without regret')") if adapter else (128, "Tulu 3")
    )
    if facts.parameters is not None and facts.parameters <= SMALL:
        most, why = 8, "at this model size many small steps do better than few large ones"
    room = max(1, count // FEWEST_STEPS)
    if room >= most:
        return most, why
    return max(min(4, most), 2 ** int(math.log2(room))), f"few enough that {count:,} of them make enough steps"


def _epochs(mix: MixFacts, config: TrainConfig) -> Suggestion:
    if config.method == "pretrain":
        return Suggestion("epochs", 1.0, "documents are read once: more passes are learnt by heart")
    if config.method in PREFERENCES:
        return Suggestion("epochs", 1.0, "preferences are overfitted in more than one pass (Tulu 3 takes one)")
    if config.method == "grpo":
        return Suggestion("epochs", 1.0, "answers are new in every pass, and the reward shows when to go on")
    value = next((n for most, n in EPOCHS if mix.rows <= most), 1)
    small = "a small set needs several passes; watch the held-out loss by source" if value >= 3 else "enough rows"
    return Suggestion("epochs", float(value), f"{mix.rows:,} samples: {small}")


def _rate(facts: BaseFacts, config: TrainConfig) -> list[Suggestion]:
    if facts.parameters is None:
        return []
    rate, why = config.model_copy(update={"learning_rate": None}).rate(facts.parameters)
    return [Suggestion("learning_rate", rate, why)]


def _held(mix: MixFacts, config: TrainConfig) -> list[Suggestion]:
    if not mix.held_out or config.epochs < 3 or config.method in ("grpo",):
        return []
    return [Suggestion("patience", 3, "several passes: it ends when held-out loss no longer falls, and keeps the best")]


def _evaluations(mix: MixFacts, steps: int | None, config: TrainConfig) -> list[Suggestion]:
    if not mix.held_out or not steps:
        return []
    every = max(1, round(steps / 20))
    return [Suggestion("eval_steps", every, f"{steps:,} steps: about 20 held-out losses on the way")]


def _preference(config: TrainConfig) -> list[Suggestion]:
    if config.method not in BETAS:
        return []
    found = [Suggestion("beta", *config.model_copy(update={"beta": None}).strength())]
    if config.method == "simpo":
        found.append(Suggestion("reward_margin", found[0].value / 2, "half of beta, as in the paper"))
    return found


def _one_at_a_time(config: TrainConfig) -> bool:
    """Whether sequences go through the model one after the other: samples side by side are one long sequence."""
    return config.method in PACKED and config.packing == "best-fit"


def _memory(facts: BaseFacts, machine: Hardware, config: TrainConfig) -> Memory:
    sequences = 1 if _one_at_a_time(config) else config.batch_size
    return estimate(facts, config, on_gpu=machine.on_gpu, sequences=sequences, length=config.max_length)


def _fits(memory: Memory, machine: Hardware) -> bool | None:
    limit = machine.memory_gib if machine.on_gpu else machine.free_gib or machine.memory_gib
    if limit is None:
        return None
    known = sum(part or 0.0 for part in (memory.weights, memory.gradients, memory.optimizer))
    if memory.total is None:
        return False if known > limit else None
    return memory.total <= USABLE * limit


def _steps(mix: MixFacts, config: TrainConfig) -> int | None:
    if config.max_steps is not None:
        return config.max_steps
    if config.method == "grpo":
        return None
    count = mix.sequences(config.max_length, config.packing if config.method in PACKED else "none")[0]
    whole = config.batch_size * config.accumulation * config.processes
    return max(1, math.ceil(math.ceil(count / whole) * config.epochs))


def _seconds(
    mix: MixFacts, facts: BaseFacts, machine: Hardware, config: TrainConfig, measured: tuple[float, str] | None
) -> tuple[float | None, str]:
    if config.method == "grpo":
        return None, "most of the time goes into writing answers, whose length is not known"
    tokens = mix.trained_tokens(config.max_length) * config.epochs
    if config.max_steps is not None:
        tokens *= config.max_steps / max(1, _steps(mix, config.model_copy(update={"max_steps": None})) or 1)
    if measured is not None:
        return START_SECONDS + tokens / measured[0], f"{measured[0]:,.0f} tokens per second, as {measured[1]}"
    if not facts.parameters or not facts.layers or not facts.hidden:
        return None, facts.reason
    cost = flops_per_token(
        parameters=facts.parameters - facts.looked_up,
        trained=trained_parameters(facts, config),
        layers=facts.layers,
        hidden=facts.hidden,
        length=mix.quantile(0.5),
    )
    peak = peak_of(machine.device)
    if machine.on_gpu and peak.tflops is None:
        return None, peak.reason
    rate = GPU_SHARE * peak.tflops * 1e12 * config.processes if peak.tflops else CPU_FLOPS * machine.cores
    how = f"{GPU_SHARE:.0%} of {peak.reason}" if peak.tflops else f"{CPU_FLOPS / 1e9:.0f} GFLOP/s for each CPU core"
    return START_SECONDS + tokens * cost / rate, f"an estimate to a factor of two: {how}"
