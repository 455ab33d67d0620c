"""How many floating-point operations a token costs, and how many a device could do."""

from __future__ import annotations

from dataclasses import dataclass

PEAKS: tuple[tuple[str, float, str], ...] = (
    ("GB200", 2500.0, "NVIDIA GB200 data sheet"),
    ("B200", 2250.0, "NVIDIA HGX B200 data sheet"),
    ("H200", 989.4, "NVIDIA H200 data sheet"),
    ("GH200", 989.4, "NVIDIA GH200 data sheet"),
    ("H100 PCIe", 756.0, "NVIDIA H100 data sheet, PCIe"),
    ("H100 NVL", 835.5, "NVIDIA H100 data sheet, NVL"),
    ("H100", 989.4, "NVIDIA H100 data sheet, SXM"),
    ("H800", 989.4, "NVIDIA H100 data sheet, SXM"),
    ("A100", 312.0, "NVIDIA A100 data sheet"),
    ("A800", 312.0, "NVIDIA A100 data sheet"),
    ("L40S", 362.0, "NVIDIA L40S data sheet"),
    ("L40", 181.0, "NVIDIA L40 data sheet"),
    ("L4", 121.0, "NVIDIA L4 data sheet"),
    ("A40", 149.7, "NVIDIA A40 data sheet"),
    ("A30", 165.0, "NVIDIA A30 data sheet"),
    ("A10G", 70.0, "NVIDIA A10G data sheet"),
    ("A10", 125.0, "NVIDIA A10 data sheet"),
    ("RTX 6000 Ada", 364.2, "NVIDIA RTX 6000 Ada data sheet"),
    ("RTX A6000", 154.8, "NVIDIA RTX A6000 data sheet"),
    ("RTX 5090", 209.5, "NVIDIA Blackwell RTX white paper, FP32 accumulation"),
    ("RTX 4090", 165.2, "NVIDIA Ada white paper, FP32 accumulation"),
    ("RTX 4080", 97.5, "NVIDIA Ada white paper, FP32 accumulation"),
    ("RTX 3090", 71.0, "NVIDIA Ampere GA102 white paper, FP32 accumulation"),
    ("RTX 3080", 59.5, "NVIDIA Ampere GA102 white paper, FP32 accumulation"),
    ("MI325X", 1307.4, "AMD MI325X data sheet"),
    ("MI300X", 1307.4, "AMD MI300X data sheet"),
    ("MI250X", 383.0, "AMD MI250X data sheet"),
)
"""(part of the device's name, dense bf16 TFLOP/s, where that stands); the first that fits is meant."""


@dataclass(frozen=True, slots=True)
class Peak:
    """What a device could do at best."""

    tflops: float | None
    """Dense bf16; null where it is not known."""
    reason: str
    """Where the number stands, or why there is none."""


def peak_of(device: str | None) -> Peak:
    """The peak of a GPU by its name; null for a CPU, which has no useful one.

    Args:
        device: the name that the driver gives; null where there is no GPU.
    """
    if device is None:
        return Peak(None, "no GPU: a CPU has no published peak that training could be compared with")
    for name, tflops, source in PEAKS:
        if f" {name.lower()}" in f" {device.lower().replace('-', ' ')}":
            return Peak(tflops, f"{tflops:g} TFLOP/s dense bf16 ({source})")
    return Peak(None, f"the peak of {device!r} is not in the table")


def flops_per_token(*, parameters: float, trained: float, layers: int, hidden: int, length: float) -> float:
    """Floating-point operations of one training step per token.

    Two for every weight in the forward pass, two in the backward pass to the activations, and two more for every weight
    that is trained: six for full training, about four under an adapter. Attention adds 6 x layers x hidden x length (a
    token sees half of its sequence on average), two thirds of it backwards. What checkpointing computes again is not
    useful work and is not counted.

    Args:
        parameters: weights that multiply: all but an input embedding that is only looked up.
        trained: those that change.
        layers: of the model.
        hidden: width of the model.
        length: tokens that attend to each other: a sample, not a packed sequence.
    """
    return 4 * parameters + 2 * min(trained, parameters) + 6 * layers * hidden * length


def utilisation(tokens_per_second: float, flops: float, peak: Peak, devices: int = 1) -> float | None:
    """Model FLOPs utilisation, 0 to 1; null where the peak is not known."""
    return tokens_per_second * flops / (peak.tflops * 1e12 * devices) if peak.tflops else None
