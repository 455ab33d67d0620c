"""How fast a run is: tokens per second, share of the device's peak, memory, and time left.

Only what this process did counts: a run that was resumed may be on another machine. Seconds of held-out losses, sample
answers and checkpoints are no training, but they are part of the time that is left.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from training.advice.compute import Peak, flops_per_token, peak_of, utilisation


class Pace:
    """Measures the steps of one process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin now; `begin` begins again.

        Args:
            clock: seconds.
        """
        self._clock = clock
        self._flops: float | None = None
        self._peak, self._devices = peak_of(None), 1
        self._no_flops = "the run has not begun"
        self.begin(0)

    def begin(self, step: int) -> None:
        """Steps are counted from here."""
        self._began, self._apart, self._step = self._clock(), 0.0, step
        self._first: tuple[int, float] | None = None
        self._last = (0.0, 0)

    def use(self, flops: float | None, peak: Peak, devices: int = 1, reason: str = "") -> None:
        """Say what a token costs (null with a reason) and what the devices could do."""
        self._flops, self._peak, self._devices, self._no_flops = flops, peak, devices, reason

    @contextmanager
    def apart(self) -> Iterator[None]:
        """What happens in here is no training."""
        began = self._clock()
        try:
            yield
        finally:
            self._apart += self._clock() - began

    def now(self) -> float:
        """The clock."""
        return self._clock()

    def not_since(self, moment: float) -> None:
        """What happened since `moment` was no training."""
        self._apart += self._clock() - moment

    def log(self, step: int, steps: int, tokens_seen: int) -> dict[str, Any]:
        """The fields of a `log` event.

        Args:
            step: that has ended.
            steps: of the whole run.
            tokens_seen: by this process since it began.
        """
        seconds = self._clock() - self._began - self._apart
        before, tokens_before = self._last
        self._last = (seconds, tokens_seen)
        speed = (tokens_seen - tokens_before) / (seconds - before) if seconds > before else None
        fields: dict[str, Any] = {
            "seconds": round(seconds, 3),
            "tokens_seen": tokens_seen,
            "tokens_per_second": round(speed, 1) if speed and tokens_seen > tokens_before else None,
            "peak_memory_gib": peak_memory_gib(),
            "seconds_left": self._left(step, steps),
        }
        return fields | self._mfu(fields["tokens_per_second"])

    def _left(self, step: int, steps: int) -> float:
        now = self._clock()
        self._first = self._first or (step, now)
        since, began = self._first
        # The first step bears what is only done once; until there is a second one it is all there is.
        done, seconds = (step - since, now - began) if step > since else (step - self._step, now - self._began)
        return round(seconds / max(done, 1) * max(0, steps - step), 1)

    def _mfu(self, speed: float | None) -> dict[str, Any]:
        if speed is None:
            return {"mfu": None, "mfu_reason": "the method does not count its tokens"}
        if self._flops is None:
            return {"mfu": None, "mfu_reason": self._no_flops}
        share = utilisation(speed, self._flops, self._peak, self._devices)
        return {"mfu": None, "mfu_reason": self._peak.reason} if share is None else {"mfu": round(share, 4)}


def cost(model: Any, length: float) -> tuple[float | None, str]:
    """Operations per token of a torch model, or null and the reason.

    Args:
        model: with its adapter.
        length: mean tokens of a sample.
    """
    config = getattr(model.config, "get_text_config", lambda: model.config)()
    if any(getattr(config, name, None) for name in ("num_experts", "num_local_experts", "n_routed_experts")):
        return None, "a mixture of experts: which weights a token meets is not known"
    layers, hidden = getattr(config, "num_hidden_layers", None), getattr(config, "hidden_size", None)
    if not layers or not hidden:
        return None, "the model's config does not name its layers and width"
    embedding = model.get_input_embeddings()
    head = model.get_output_embeddings()
    looked_up = sum(p.numel() for p in embedding.parameters()) if embedding is not None else 0
    tied = embedding is not None and head is not None and embedding.weight is head.weight
    parameters = sum(p.numel() for p in model.parameters()) - (0 if tied else looked_up)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return flops_per_token(
        parameters=parameters, trained=trained, layers=layers, hidden=hidden, length=length
    ), "counted from the model"


def device_name() -> str | None:
    """The GPU that torch would train on; null where there is none."""
    import torch

    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else None


def peak_memory_gib() -> float:
    """Of the GPU where this process uses one, else of this process."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return round(float(torch.cuda.max_memory_allocated()) / 2**30, 3)
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30, 3)
