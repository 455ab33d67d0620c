"""Learning rates by method, adapter and model size, and betas by method, each with where it comes from."""

from __future__ import annotations

Rate = tuple[float, float, str]
"""Up to this many billion parameters, learning rate, why."""

_SMALL = "models this small need large steps"
_ANY = float("inf")
_TEN = "an adapter takes about ten times the rate of full training (TRL, 'LoRA without regret')"

RATES: dict[tuple[str, str], tuple[Rate, ...]] = {
    ("sft", "full"): (
        (0.05, 5e-4, _SMALL),
        (1.5, 2e-5, "TRL's default for full fine-tuning"),
        (30, 5e-6, "the Tulu 3 recipe for 8B"),
        (_ANY, 2e-6, "the Tulu 3 recipe for 70B"),
    ),
    ("sft", "adapter"): (
        (0.05, 2e-3, _SMALL),
        (_ANY, 2e-4, "LoRA takes about ten times the full rate (TRL, 'LoRA without regret')"),
    ),
    ("pretrain", "full"): (
        (0.05, 5e-4, _SMALL),
        (1.5, 5e-5, "a sixth of what such models are pre-trained with: enough to learn, little to forget"),
        (_ANY, 1e-5, "a thirtieth of what such models are pre-trained with: enough to learn, little to forget"),
    ),
    ("pretrain", "adapter"): ((0.05, 2e-3, _SMALL), (_ANY, 2e-4, _TEN)),
    ("dpo", "full"): ((0.05, 1e-4, _SMALL), (_ANY, 5e-7, "the Tulu 3 recipe for DPO on 8B")),
    ("dpo", "adapter"): ((0.05, 3e-4, _SMALL), (_ANY, 5e-6, "LoRA takes about ten times the full rate")),
    ("kto", "full"): ((0.05, 1e-4, _SMALL), (_ANY, 1e-6, "TRL's default for KTO")),
    ("kto", "adapter"): ((0.05, 3e-4, _SMALL), (_ANY, 1e-5, _TEN)),
    ("orpo", "full"): ((0.05, 3e-4, _SMALL), (_ANY, 5e-6, "its loss imitates too, so it bears ten times DPO's rate")),
    ("orpo", "adapter"): ((0.05, 1e-3, _SMALL), (_ANY, 5e-5, _TEN)),
    ("simpo", "full"): ((0.05, 1e-4, _SMALL), (_ANY, 6e-7, "the SimPO authors search from 3e-7 to 1e-6")),
    ("simpo", "adapter"): ((0.05, 3e-4, _SMALL), (_ANY, 6e-6, _TEN)),
    ("reward", "full"): ((0.05, 5e-4, _SMALL), (_ANY, 1e-5, "a new head must be learnt, the rest only bent")),
    ("reward", "adapter"): ((0.05, 1e-3, _SMALL), (_ANY, 1e-4, "TRL's default for reward models")),
    ("grpo", "full"): ((0.05, 1e-4, _SMALL), (_ANY, 1e-6, "TRL's default for GRPO")),
    ("grpo", "adapter"): ((0.05, 3e-4, _SMALL), (_ANY, 1e-5, _TEN)),
}
"""(method, full or adapter) -> rows by size, the smallest first."""

VIRTUAL: dict[str, tuple[float, str]] = {
    "prompt": (1e-2, "virtual tokens need steps far longer than weights (PEFT's examples take 1e-3 to 3e-2)"),
    "prefix": (1e-2, "virtual tokens need steps far longer than weights (PEFT's examples take 1e-3 to 3e-2)"),
    "p-tuning": (1e-3, "virtual tokens need steps far longer than weights (PEFT's examples take 1e-3 to 3e-2)"),
}
"""Adapters that train vectors before the text -> rate and why, whatever the size."""

BETAS: dict[str, tuple[float, str]] = {
    "dpo": (0.1, "the DPO paper's value for dialogue (Rafailov et al. 2023)"),
    "sigmoid_norm": (5.0, "margins per token are small; the Tulu 3 recipe takes 5"),
    "kto": (0.1, "the KTO paper's value (Ethayarajh et al. 2024)"),
    "orpo": (0.1, "the ORPO paper's weight of the odds ratio for 7B (Hong et al. 2024)"),
    "simpo": (2.0, "it scales a margin per token; the SimPO authors take 2 to 2.5 (Meng et al. 2024)"),
    "grpo": (0.04, "the DeepSeekMath paper's weight of the divergence (Shao et al. 2024)"),
}
"""Method, or loss of dpo with a scale of its own -> beta and why."""


def held(method: str, preference_loss: str) -> tuple[float, str]:
    """The beta of a method that reads one, and why it is that.

    Args:
        method: dpo, kto, orpo, simpo or grpo.
        preference_loss: of dpo.
    """
    key = preference_loss if method == "dpo" and preference_loss in BETAS else method
    beta, reason = BETAS[key]
    return beta, f"{key}: {reason}"


def suggested(method: str, adapter: str, parameters: int) -> tuple[float, str]:
    """The learning rate for a method, an adapter and a model with this many parameters, and why it is that."""
    told = f"{method}, {adapter}, {parameters:,} parameters"
    if adapter in VIRTUAL:
        rate, reason = VIRTUAL[adapter]
        return rate, f"{told}: {reason}"
    rows = RATES[method, "adapter" if adapter in ("lora", "qlora") else "full"]
    _, rate, reason = next(row for row in rows if parameters / 1e9 <= row[0])
    return rate, f"{told}: {reason}"
