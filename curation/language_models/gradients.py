"""Per-sample gradients of a LoRA adapter at the checkpoints of a training run, projected to few dimensions.

A run's folder is read as files: config.json, and per checkpoint the adapter, its tokenizer, the optimizer's moments and
the learning rates so far. The projection is drawn block by block from its seed, so that it never stands in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.errors import ModelError
from curation.language_models.hidden_states import with_adapter

if TYPE_CHECKING:
    import numpy as np
    import torch

HELD = 2**27
"""Numbers of gradients that are held at a time: 512 MiB."""
BLOCK = 2**25
"""Entries of the projection that are drawn at a time: 128 MiB in float32."""
IGNORED = -100


@dataclass(frozen=True)
class Checkpoint:
    """A point of a LoRA run that gradients can be taken at."""

    folder: Path
    step: int
    learning_rate: float
    """Mean over the steps since the checkpoint before."""
    max_length: int
    """Tokens after which the run cut its samples."""


@dataclass(frozen=True)
class Tokens:
    """A conversation as the model reads it, with the tokens that carry loss."""

    ids: list[int]
    labels: list[int]
    """The ids that carry loss, -100 elsewhere."""


def checkpoints_of(run: Path) -> list[Checkpoint]:
    """The complete checkpoints of a LoRA run by `winnow train --method sft`, the earliest first.

    Raises:
        ModelError: there is no such run, it trained no adapter, or it has no checkpoint.
    """
    try:
        config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ModelError(f"There is no training run at {run}.", fix="winnow train MIX --adapter lora") from None
    if (config.get("adapter"), config.get("method")) != ("lora", "sft"):
        raise ModelError(
            f"{run} is a run with method {config.get('method')} and adapter {config.get('adapter')}.",
            fix="train another: winnow train MIX --method sft --adapter lora",
        )
    folders = [p.parent for p in (run / "checkpoints").glob("checkpoint-*/complete")]
    if not folders:
        raise ModelError(f"The run {run} has no complete checkpoint.", fix="winnow train MIX --set save_steps=20")
    found = [_checkpoint(folder, config) for folder in folders]
    return sorted(found, key=lambda c: c.step)


def _checkpoint(folder: Path, config: Mapping[str, Any]) -> Checkpoint:
    state = json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
    step, before = state["global_step"], state["global_step"] - config["save_steps"]
    rates = [e["learning_rate"] for e in state["log_history"] if "learning_rate" in e and before < e["step"] <= step]
    if not rates:
        raise ModelError(f"{folder} does not say its learning rates.", fix="train again with: --set logging_steps=1")
    return Checkpoint(folder, step, sum(rates) / len(rates), config["max_length"])


class AdapterGradients:
    """The adapter of a checkpoint, opened to take gradients."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        """Load the base model, the adapter and the optimizer's moments.

        Raises:
            ModelError: a library is missing, or a file can't be read or does not fit the others.
        """
        model, self.tokenizer = with_adapter(checkpoint.folder, trainable=True)
        self.model = model.eval()
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.size = sum(p.numel() for p in self.parameters)
        self.device = self.parameters[0].device
        window = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self.max_length = min(checkpoint.max_length, window or checkpoint.max_length)
        self._first, self._second, group = _moments(checkpoint.folder, self.parameters)
        self._betas, self._eps = group["betas"], group["eps"]

    def features(self, rows: Sequence[Tokens], projection: Projection, *, adam: bool) -> Iterator[np.ndarray]:
        """Unit gradients, float32 (some of the rows, dimensions), in order; a zero or endless one gives a row of zeros.

        Args:
            rows: samples, each with a token that carries loss.
            projection: to few dimensions.
            adam: as Adam would apply them at this checkpoint; else as they are.
        """
        import torch

        at_once = max(1, HELD // self.size)
        for start in range(0, len(rows), at_once):
            part = rows[start : start + at_once]
            gradients = torch.empty(len(part), self.size, device=self.device)
            for place, row in enumerate(part):
                gradient = self.gradient(row)
                gradients[place] = self._as_adam(gradient) if adam else gradient
            vectors = projection.of(gradients).double()
            lengths = vectors.norm(dim=1, keepdim=True)
            fine = torch.isfinite(lengths) & (lengths > 0)
            unit = torch.where(fine, vectors / torch.where(fine, lengths, 1.0), 0.0)
            yield unit.float().cpu().numpy()

    def gradient(self, row: Tokens) -> torch.Tensor:
        """Of the mean loss of a sample, float32 (parameters,)."""
        import torch

        ids = torch.tensor([row.ids], device=self.device)
        labels = torch.tensor([row.labels], device=self.device)
        loss = self.model(input_ids=ids, labels=labels, use_cache=False).loss
        return torch.cat([g.reshape(-1).float() for g in torch.autograd.grad(loss, self.parameters)])

    def _as_adam(self, gradient: torch.Tensor) -> torch.Tensor:
        return preconditioned(gradient, self._first, self._second, betas=self._betas, eps=self._eps)


def preconditioned(
    gradient: torch.Tensor, first: torch.Tensor, second: torch.Tensor, *, betas: tuple[float, float], eps: float
) -> torch.Tensor:
    """The direction of Adam's next step, were it taken with this gradient alone; without bias correction.

    Args:
        gradient: float32 (parameters,).
        first: Adam's running mean of gradients.
        second: Adam's running mean of their squares.
        betas: how much of the running means stays.
        eps: added to the root.
    """
    mean = betas[0] * first + (1 - betas[0]) * gradient
    square = betas[1] * second + (1 - betas[1]) * gradient**2
    return mean / (square.sqrt() + eps)


class Projection:
    """A random matrix of +1 and -1 that keeps angles: seeded, drawn anew block by block at each use."""

    def __init__(self, dimensions: int, seed: int = 0) -> None:
        """Nothing is drawn yet.

        Args:
            dimensions: of the result; gradients of no more numbers than that are left as they are.
            seed: equal seed and device, equal matrix.
        """
        self.dimensions, self.seed = dimensions, seed

    def of(self, gradients: torch.Tensor) -> torch.Tensor:
        """Float32 (rows, dimensions) of float32 (rows, parameters)."""
        import torch

        rows, size = gradients.shape
        if size <= self.dimensions:
            return gradients
        signs = torch.Generator(device=gradients.device).manual_seed(self.seed)
        result = torch.zeros(rows, self.dimensions, device=gradients.device)
        width = max(1, BLOCK // self.dimensions)
        for start in range(0, size, width):
            shape = (min(width, size - start), self.dimensions)
            drawn = torch.randint(0, 2, shape, generator=signs, device=gradients.device, dtype=torch.int8)
            result.addmm_(gradients[:, start : start + width], drawn.float().mul_(2).sub_(1))
        return result / self.dimensions**0.5


def _moments(folder: Path, parameters: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, Mapping[str, Any]]:
    """Adam's two running means, each laid end to end in the parameters' order, and its settings."""
    import torch

    path = folder / "optimizer.pt"
    try:
        state = torch.load(path, map_location=parameters[0].device, weights_only=True)
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(f"{path} can't be read: {reason}", fix="train the run again") from None
    groups = [group for group in state["param_groups"] if group["params"]]
    held = [state["state"].get(i, {}) for group in groups for i in group["params"]]
    fits = len(held) == len(parameters) and all(
        s.get("exp_avg") is not None and s["exp_avg"].shape == p.shape for s, p in zip(held, parameters, strict=True)
    )
    if len(groups) != 1 or not fits:
        raise ModelError(f"{path} does not hold Adam's moments of this adapter.", fix="train the run again")
    first, second = (torch.cat([s[name].reshape(-1).float() for s in held]) for name in ("exp_avg", "exp_avg_sq"))
    return first, second, groups[0]


def tokens_of(
    tokenizer: Any, turns: Sequence[Mapping[str, Any]], max_length: int, tools: Sequence[Any] | None = None
) -> Tokens | str:
    """A conversation with its answers as labels, cut as training cuts it, or the reason why it has none.

    Where the chat template marks what the assistant says, every answer carries loss; else the last turn does.
    """
    from jinja2.exceptions import TemplateError

    if not turns or turns[-1]["role"] != "assistant":
        return "it does not end in an answer"
    try:
        ids, carries = (_marked if _marks(tokenizer) else _last_turn)(tokenizer, turns, tools)
    except (TemplateError, TypeError, ValueError):
        return "the chat template refuses it"
    ids, carries = ids[:max_length], [mark and place > 0 for place, mark in enumerate(carries[:max_length])]
    if not any(carries):
        return f"no token of its answer is among the first {max_length}"
    return Tokens(ids, [token if mark else IGNORED for token, mark in zip(ids, carries, strict=True)])


def _marks(tokenizer: Any) -> bool:
    return "endgeneration" in str(tokenizer.chat_template) and bool(tokenizer.is_fast)


def _marked(
    tokenizer: Any, turns: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None
) -> tuple[list[int], list[bool]]:
    rendered = tokenizer.apply_chat_template(
        list(turns), tools=tools, return_dict=True, return_assistant_tokens_mask=True
    )
    return list(rendered["input_ids"]), [bool(mark) for mark in rendered["assistant_masks"]]


def _last_turn(
    tokenizer: Any, turns: Sequence[Mapping[str, Any]], tools: Sequence[Any] | None
) -> tuple[list[int], list[bool]]:
    def ids(turns: Sequence[Mapping[str, Any]], prompts: bool) -> list[int]:
        rendered = tokenizer.apply_chat_template(
            list(turns), tools=tools, add_generation_prompt=prompts, return_dict=True
        )
        return list(rendered["input_ids"])

    whole, before = ids(turns, False), ids(turns[:-1], True)
    start = next((i for i, (a, b) in enumerate(zip(before, whole, strict=False)) if a != b), len(before))
    return whole, [place >= start for place in range(len(whole))]
