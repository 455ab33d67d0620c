"""What the methods that learn from preferences share: rows as token ids, the reference, what is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from training.config import TrainConfig
from training.data.encoding import Account, Encoded
from training.methods.adapters import is_pissa, opened_reference, peft_config
from training.methods.method import Measure, Setup

if TYPE_CHECKING:
    import numpy as np

    from training.judging.held_out import HeldOutSet, Pair
    from training.judging.preferences import Gains

KL_ROWS = 64
"""Held-out answers whose divergence from the reference is measured: it takes another forward pass."""
Objective = Callable[["Gains", "Sides"], "np.ndarray"]
"""Loss per pair."""
Sides = tuple["np.ndarray", "np.ndarray"]
"""Per pair the summed loss (nats) of the chosen and of the rejected answer."""


def pairs_of(setup: Setup) -> list[Pair]:
    """The training pairs as token ids, masked as held-out ones are."""
    from training.judging.held_out import encode_pairs

    return encode_pairs(setup.encoder, setup.data.examples, Account())


def answer_ids(row: Encoded) -> tuple[list[int], list[int]]:
    """The ids before the answer, and those of the answer up to the last that carries loss."""
    carrying = [i for i, carries in enumerate(row.loss) if carries]
    return row.ids[: carrying[0]], row.ids[carrying[0] : carrying[-1] + 1]


def answer_loss(row: Encoded, start: int) -> list[bool]:
    """Which tokens of an answer that begins at `start` carry loss, up to the last that does.

    Not all do: the turns of users and tools between two answers, and what a template writes before one.
    """
    last = max(i for i, carries in enumerate(row.loss) if carries)
    return row.loss[start : last + 1]


class Masking:
    """TRL's collator of prompts and completions, for completions that do not carry loss on every token."""

    def __init__(self, collator: Any, masks: Mapping[str, tuple[str, ...]]) -> None:
        """Wrap a collator.

        Args:
            collator: makes batches whose masks have a 1 for every token after the prompt.
            masks: name of a mask of the batch -> the columns with what carries loss, one below the other in the batch.
        """
        self._collator, self._masks = collator, masks

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """The batch, with a 1 in its masks for the tokens that carry loss."""
        import torch

        batch: dict[str, Any] = self._collator(rows)
        for name, columns in self._masks.items():
            carrying = [[False] * len(row["prompt_ids"]) + list(row[column]) for column in columns for row in rows]
            for mask, carries in zip(batch[name], carrying, strict=True):
                mask[: len(carries)] *= torch.tensor(carries[: len(mask)], dtype=mask.dtype)
        return batch


def prepared(trainer_class: Any, **methods: Any) -> Any:
    """The trainer's class for datasets that are token ids already."""
    return type(
        trainer_class.__name__, (trainer_class,), {"_prepare_dataset": lambda self, rows, *rest: rows, **methods}
    )


def reference_model(config: TrainConfig) -> Any:
    """A model of its own that stays as the base is; null where the trained one without its adapter is that."""
    return None if peft_config(config) is not None and not is_pissa(config) else opened_reference(config)


class Reference:
    """The model that training began from, however it is kept.

    Made before the first step and before a checkpoint is loaded: then the trained model still is the base.
    """

    def __init__(self, trainer: Any, config: TrainConfig, held_out: HeldOutSet) -> None:
        """Take the losses that margins are compared with."""
        self._trainer = trainer
        self._model = getattr(trainer, "ref_model", None)
        self._off = self._model is None and peft_config(config) is not None and not is_pissa(config)
        self._held_out = held_out
        self._losses: Sides | None = None if self.kept else held_out.reference(trainer.model)

    @property
    def kept(self) -> bool:
        """Whether there is a model to be asked."""
        return self._model is not None or self._off

    @property
    def losses(self) -> Sides:
        """Of both sides of the held-out pairs; of the rows alone where there are no pairs."""
        if self._losses is None:
            with self.model() as model:
                self._losses = self._held_out.reference(model)
        return self._losses

    @contextmanager
    def model(self) -> Iterator[Any]:
        """The reference, while the context lasts."""
        if self._model is not None:
            yield self._model
            return
        with self._trainer.model.disable_adapter():
            yield self._trainer.model

    def divergence(self, model: Any, rows: Sequence[Encoded]) -> dict[str, Any]:
        """`kl`: KL per answer token of the first `KL_ROWS` rows; null where there is no model to compare with."""
        from training.judging.held_out import divergence

        if not self.kept:
            return {"kl": None, "kl_rows": 0}
        return {"kl": divergence(model, self.model, rows[:KL_ROWS]), "kl_rows": len(rows[:KL_ROWS])}


def measured_with(
    trainer: Any, config: TrainConfig, objective: Objective, *, referred: bool
) -> Callable[[HeldOutSet], Measure]:
    """Held-out pairs -> what measures a model on them.

    Args:
        trainer: keeps the reference.
        config: says how.
        objective: the method's own loss.
        referred: the preference is by how much more than the reference; else by log-probabilities per token.
    """
    return lambda held_out: _pair_measure(Reference(trainer, config, held_out), held_out, objective, referred)


def _pair_measure(reference: Reference, held_out: HeldOutSet, objective: Objective, referred: bool) -> Measure:
    def measure(model: Any) -> dict[str, Any]:
        from training.judging.held_out import answer_losses, by_source, per_token
        from training.judging.preferences import of_pairs, reasons

        sides = answer_losses(model, held_out.rows), answer_losses(model, held_out.rejected)
        gains = gains_of(held_out, sides, reference.losses)
        preferred = gains.margin if referred else per_token_margin(gains, sides)
        measured = {
            "loss": per_token(held_out.rows, sides[0]),
            "loss_by_source": by_source(held_out.rows, sides[0]),
            "objective": float(objective(gains, sides).mean()),
            **of_pairs(held_out.rows, preferred, gains),
            **reference.divergence(model, held_out.rows),
        }
        return {**measured, "reasons": reasons(measured, {})}

    return measure


def gains_of(held_out: HeldOutSet, sides: Sides, reference: Sides) -> Gains:
    """What both sides gained, and their lengths."""
    from training.judging.preferences import Gains, answer_tokens

    return Gains(
        reference[0] - sides[0],
        reference[1] - sides[1],
        answer_tokens(held_out.rows),
        answer_tokens(held_out.rejected),
    )


def per_token_margin(gains: Gains, sides: Sides) -> np.ndarray:
    """By how much likelier (nats per token) the chosen answer is than the rejected one."""
    result: np.ndarray = sides[1] / gains.rejected_tokens - sides[0] / gains.chosen_tokens
    return result
