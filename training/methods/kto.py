"""Learning from answers that were judged one by one: good or bad."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from curation.errors import WinnowError
from training.config import TrainConfig
from training.data.encoding import Account, Encoded, Encoder, rejected_side
from training.data.mix_folder import Example, MixFolder
from training.methods.adapters import peft_config
from training.methods.arguments import batches, common
from training.methods.method import Built, Measure, Method, Setup, measure
from training.methods.preference import Masking, Reference, answer_ids, answer_loss, prepared, reference_model

if TYPE_CHECKING:
    import numpy as np

    from training.data.training_set import TrainingSet
    from training.judging.held_out import JudgedSet


MASKS = {"completion_mask": ("completion_loss",), "KL_completion_mask": ("KL_completion_loss",)}
"""Mask of a batch -> the column of `judged_rows` that says what carries loss."""


class UnpairedMix(MixFolder):
    """A mix whose pairs are taken apart: two answers, one good and one bad."""

    def examples(self, name: str) -> Iterator[Example]:
        """Every answer with its label.

        Raises:
            WinnowError: as `MixFolder.examples`, and where an answer has neither a label nor a counterpart.
        """
        for number, example in enumerate(MixFolder.examples(self, name), start=1):
            if example.rejected is None and example.label is None:
                raise WinnowError(
                    f"Row {number} of {self.path / name}.jsonl has no label: kto can't tell whether it is good.",
                    fix="export the mix as unpaired-preference or preference",
                )
            yield from unpaired(example)


def unpaired(example: Example) -> list[Example]:
    """The answer as it is; a pair as two answers to one prompt."""
    if example.rejected is None:
        return [example]
    chosen = replace(example, id=f"{example.id}:chosen", rejected=None, label=True)
    rejected = replace(rejected_side(example), id=f"{example.id}:rejected", label=False)
    return [chosen, rejected]


class KTO(Method):
    """Kahneman-Tversky optimisation: good answers up, bad ones down, against the base model.

    Source: Ethayarajh et al. 2024, arXiv:2402.01306. The rarer kind of answer weighs more, so that both kinds together
    weigh the same (its equation 9).
    """

    name = "kto"
    title = "KTO: from answers judged good or bad, one by one"
    formats = ("unpaired-preference", "preference")
    reads: ClassVar[frozenset[str]] = frozenset({"beta", "reasoning"})

    def data(self, mix: MixFolder, config: TrainConfig, encoder: Encoder) -> TrainingSet:
        """The judged answers of the run's arm."""
        from training.data.training_set import training_set

        return training_set(UnpairedMix(mix.path), config, encoder, conversations=True)

    def build(self, setup: Setup) -> Built:
        """TRL's KTOTrainer over rows that are token ids already."""
        from datasets import Dataset
        from trl import KTOConfig, KTOTrainer

        config = setup.config
        weights = balance([example.label is True for example in setup.data.examples])
        trainer = prepared(KTOTrainer)(
            model=setup.model,
            ref_model=reference_model(config),
            args=KTOConfig(
                **common(setup),
                **batches(config),
                **weights,
                max_length=config.max_length,
                beta=config.strength()[0],
                remove_unused_columns=False,
            ),
            train_dataset=Dataset.from_list(judged_rows(setup)),
            processing_class=setup.tokenizer,
            peft_config=peft_config(config),
            callbacks=setup.callbacks,
        )
        trainer.data_collator = Masking(trainer.data_collator, MASKS)
        return Built(trainer, told=weights, measure_of=lambda rows: judged_measure(trainer, rows, config))

    def held_out(self, built: Built, mix: MixFolder, encoder: Encoder) -> tuple[Measure | None, Any]:
        """Also how often an answer became likelier when it is good, and less likely when it is bad."""
        held_out = judged_set(mix, encoder)
        return (measure(built, held_out) if held_out.rows else None), held_out.account


def judged_set(mix: MixFolder, encoder: Encoder) -> JudgedSet:
    """The judged answers of eval.jsonl; none where there are none."""
    from training.judging.held_out import JudgedSet

    account, rows, good = Account(), [], []
    for example in UnpairedMix(mix.path).examples("eval"):
        for row in encoder.encode_all([example], account):
            rows.append(row)
            good.append(example.label is True)
    return JudgedSet(rows, [], account, tuple(good))


def balance(good: Iterable[bool]) -> dict[str, float]:
    """Weights of good and bad answers that make up for their numbers; the commoner kind has 1."""
    labels = list(good)
    many, few = sum(labels), len(labels) - sum(labels)
    if not many or not few:
        return {"desirable_weight": 1.0, "undesirable_weight": 1.0}
    return {"desirable_weight": max(1.0, few / many), "undesirable_weight": max(1.0, many / few)}


def judged_rows(setup: Setup) -> list[dict[str, Any]]:
    """The training rows with the columns that the collator reads, in an order of their own.

    TRL takes KTO's rows one after the other: it pairs each prompt with its neighbour's answer to tell how likely any
    answer has become. So pairs that were taken apart must not stay together.
    """
    labels = [example.label is True for example in setup.data.examples]
    rows = [{**judged_row(row), "label": label} for row, label in zip(setup.data.rows, labels, strict=True)]
    random.Random(setup.config.seed).shuffle(rows)
    size = setup.config.batch_size
    for start in range(0, len(rows), size):
        batch = rows[start : start + size]
        for i, row in enumerate(batch):
            row["KL_completion_ids"] = batch[i - 1]["completion_ids"]
            row["KL_completion_loss"] = batch[i - 1]["completion_loss"]
    return rows


def judged_row(row: Encoded) -> dict[str, Any]:
    """An answer, what comes before it, and which tokens of it carry loss."""
    prompt, answer = answer_ids(row)
    return {"prompt_ids": prompt, "completion_ids": answer, "completion_loss": answer_loss(row, len(prompt))}


def judged_measure(trainer: Any, held_out: Any, config: TrainConfig) -> Measure:
    """What measures a model on answers that were judged one by one (a `JudgedSet`)."""
    reference = Reference(trainer, config, held_out)

    def measured(model: Any) -> dict[str, Any]:
        import numpy as np

        from training.judging.held_out import answer_losses, by_source, per_token
        from training.judging.preferences import kto_loss, reasons

        losses, good = answer_losses(model, held_out.rows), np.array(held_out.good, dtype=bool)
        gained = reference.losses[0] - losses
        found = {
            "loss": per_token(held_out.rows, losses),
            "loss_by_source": by_source(held_out.rows, losses),
            "objective": float(kto_loss(gained, good, config.strength()[0]).mean()),
            **of_judged(held_out.rows, gained, good),
            **reference.divergence(model, held_out.rows),
        }
        return {**found, "reasons": reasons(found, dict.fromkeys(KINDS, ONE_KIND))}

    return measured


ONE_KIND = "all held-out answers are judged alike"
KINDS = ("margin", "chosen_log_ratio", "rejected_log_ratio", "chosen_tokens", "rejected_tokens")


def of_judged(rows: Sequence[Encoded], gained: np.ndarray, good: np.ndarray) -> dict[str, Any]:
    """How often the sign of what an answer gained agrees with its label, and the means of good and bad ones."""
    from training.judging.preferences import answer_tokens, by_source, shares

    agreeing = gained * (2 * good - 1)
    right, tokens = agreeing > 0, answer_tokens(rows)
    up, down = _mean(gained[good]), _mean(gained[~good])
    return {
        "pairs": len(rows),
        **shares(right, agreeing),
        "margin": up - down if up is not None and down is not None else None,
        "chosen_log_ratio": up,
        "rejected_log_ratio": down,
        "chosen_tokens": _mean(tokens[good]),
        "rejected_tokens": _mean(tokens[~good]),
        "preference_by_source": by_source(rows, right, agreeing),
    }


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
