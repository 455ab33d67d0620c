"""The training loss of every source, taken from the step itself: no second forward pass.

TRL's fused head returns the log-probability of every label. Two hooks on the model keep them apart by source: the first
takes the source of every token out of the batch before the model sees it, the second adds up what came out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from training.runs.ranks import summed

CHANNELS = "channel_ids"
"""Column of the dataset: per token the number of its source."""


@dataclass(frozen=True, slots=True)
class Window:
    """What was trained on since the last look."""

    loss: float
    """Mean per token."""
    loss_by_source: dict[str, float]
    tokens_by_source: dict[str, int]
    """Tokens that carried loss."""


class SourceLoss:
    """Accumulates loss and tokens per source on the device; nothing waits for it until `take`."""

    def __init__(self, sources: Sequence[str]) -> None:
        """Sources in the order of their channel numbers."""
        self._sources = list(sources)
        self._channels: Any = None
        self._sums: Any = None

    def attach(self, trainer: Any) -> None:
        """Hook into a TRL SFTTrainer whose dataset has the column `CHANNELS`."""
        # After its construction: the trainer refuses a collator of ours when it runs without padding.
        trainer.data_collator = self._collate_with(trainer.data_collator, trainer.padding_free)
        trainer.model.register_forward_pre_hook(self._take_channels, with_kwargs=True)
        trainer.model.register_forward_hook(self._add)

    def take(self) -> Window | None:
        """The sums since the last call over all processes, which begin anew; null when nothing was trained on."""
        if self._sums is None:
            return None
        losses, tokens = summed(self._sums).cpu().tolist()
        self._sums = None
        seen = [i for i, count in enumerate(tokens) if count > 0]
        return Window(
            sum(losses) / max(sum(tokens), 1),
            {self._sources[i]: losses[i] / tokens[i] for i in seen},
            {self._sources[i]: int(tokens[i]) for i in seen},
        )

    def _collate_with(self, collate: Any, padding_free: bool) -> Any:
        import torch

        def with_channels(rows: list[dict[str, Any]]) -> dict[str, Any]:
            batch: dict[str, Any] = collate(rows)
            width = batch["input_ids"].shape[1]
            channels = [torch.tensor(row[CHANNELS]) for row in rows]
            if padding_free:
                channels = [torch.cat(channels)]
            padded = [torch.nn.functional.pad(c, (0, width - len(c))) for c in channels]
            return {**batch, CHANNELS: torch.stack(padded)}

        return with_channels

    def _take_channels(self, model: Any, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        self._channels = kwargs.pop(CHANNELS, None)
        return args, kwargs

    def _add(self, model: Any, args: Any, output: Any) -> None:
        import torch

        channels, self._channels = self._channels, None
        if channels is None or not model.training:
            return
        with torch.no_grad():
            # The first token of a sequence is nobody's label; virtual tokens of an adapter stand before all others.
            width = channels.shape[1] - 1
            carries = output.label_mask[:, -width:].reshape(-1)
            losses = -output.log_probs[:, -width:].detach().double().reshape(-1) * carries
            if self._sums is None:
                self._sums = torch.zeros(2, len(self._sources), dtype=torch.float64, device=losses.device)
            source = channels[:, 1:].reshape(-1)
            self._sums[0].index_add_(0, source, losses)
            self._sums[1].index_add_(0, source, carries.double())
