"""A model that judges: trained on preferences, it gives an answer a number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from training.config import TrainConfig
from training.methods.adapters import finished, freeze, peft_config, weights_dtype
from training.methods.arguments import batches, common
from training.methods.method import Built, Measure, Method, Setup
from training.methods.opening import Model, open_model
from training.methods.preference import pairs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

    from training.data.encoding import Encoded
    from training.judging.held_out import HeldOutSet

KIND = "SEQ_CLS"
HEAD = "score"
"""Name of the head in Transformers' decoders."""


class Reward(Method):
    """A reward model: the base with a head of one number, higher for chosen than for rejected answers.

    Source: Ouyang et al. 2022, arXiv:2203.02155, equation 1. The result is a whole sequence classifier, as the scorer
    `reward` opens it.
    """

    name = "reward"
    title = "Reward model: a judge of answers"
    formats = ("preference",)
    compares = True
    learns_a_judge = True
    reads: ClassVar[frozenset[str]] = frozenset({"reasoning"})

    def opened(self, config: TrainConfig) -> Model:
        """The base's layers with a new head, or the base as it is where it is a reward model already."""
        judge = _judge(config.base_model, weights_dtype(config), config.seed)
        if config.adapter == "freeze":
            freeze(judge, config.trained_layers)
            getattr(judge, HEAD).requires_grad_(True)
        return judge

    def build(self, setup: Setup) -> Built:
        """TRL's RewardTrainer over rows that are token ids already."""
        from datasets import Dataset
        from trl import RewardConfig, RewardTrainer

        config = setup.config
        rows = [{"chosen_ids": pair.chosen.ids, "rejected_ids": pair.rejected.ids} for pair in pairs_of(setup)]
        trainer = RewardTrainer(
            model=setup.model,
            args=RewardConfig(**common(setup), **batches(config), max_length=None),
            train_dataset=Dataset.from_list(rows),
            processing_class=setup.tokenizer,
            peft_config=peft_config(config, model_kind=KIND),
            callbacks=setup.callbacks,
        )
        return Built(trainer, measure_of=judge_measure)

    def finished(self, built: Built, config: TrainConfig, folder: Path) -> None:
        """Save the judge whole: what opens it knows no adapters."""
        if not (folder / "adapter_config.json").is_file():
            return
        finished(built.trainer, config, folder)
        from peft import PeftModel

        judge = PeftModel.from_pretrained(_judge(config.base_model, weights_dtype(config), config.seed), str(folder))
        whole = judge.merge_and_unload()
        whole.config.get_text_config().pad_token_id = built.trainer.processing_class.pad_token_id
        whole.save_pretrained(folder)
        for file in folder.glob("adapter_*"):
            file.unlink()


def _judge(base_model: str, dtype: str, seed: int) -> Model:
    """A sequence classifier with one output and the layers of a causal model; the head is drawn by the seed."""
    import torch
    from transformers import AutoModelForSequenceClassification

    if _judges(base_model):
        return AutoModelForSequenceClassification.from_pretrained(base_model, dtype=dtype)
    writer = open_model(base_model, dtype=dtype)
    torch.manual_seed(seed)
    judge = AutoModelForSequenceClassification.from_config(_with_one_label(writer.config), dtype=writer.dtype)
    judge.base_model.load_state_dict(writer.base_model.state_dict())
    judge.name_or_path = base_model
    return judge


def _with_one_label(config: Any) -> Any:
    from copy import deepcopy

    judging = deepcopy(config)
    judging.num_labels = 1
    return judging


def _judges(base_model: str) -> bool:
    file = Path(base_model) / "config.json"
    kinds = json.loads(file.read_text(encoding="utf-8")).get("architectures") if file.is_file() else None
    return any(kind.endswith("ForSequenceClassification") for kind in kinds or ())


def judge_measure(held_out: HeldOutSet) -> Measure:
    """Measures a judge on held-out pairs: how often and by how much the chosen answer gets the higher number."""

    def measure(model: Any) -> dict[str, Any]:
        from training.judging.preferences import Gains, answer_tokens, of_pairs, reasons, softplus

        chosen, rejected = rewards(model, held_out.rows), rewards(model, held_out.rejected)
        margin = chosen - rejected
        loss = float(softplus(-margin).mean())
        lengths = answer_tokens(held_out.rows), answer_tokens(held_out.rejected)
        found = of_pairs(held_out.rows, margin, Gains(chosen, rejected, *lengths))
        told = {name: value for name, value in found.items() if not name.endswith("_log_ratio")}
        measured = {
            "loss": loss,
            "objective": loss,
            **told,
            "reward_chosen": float(chosen.mean()),
            "reward_rejected": float(rejected.mean()),
        }
        return {**measured, "reasons": reasons(measured, {})}

    return measure


def rewards(model: Model, rows: Sequence[Encoded]) -> np.ndarray:
    """The number that the judge gives each conversation; it keeps its mode and device."""
    import numpy as np
    import torch

    from training.judging.held_out import evaluating, in_batches

    found = np.zeros(len(rows))
    device = next(model.parameters()).device
    pad = model.config.get_text_config().pad_token_id
    with evaluating(model), torch.no_grad():
        for batch in in_batches(rows, TOKENS_PER_BATCH):
            ids = [torch.tensor(rows[i].ids) for i in batch]
            padded = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=pad)
            attention = torch.nn.utils.rnn.pad_sequence([torch.ones_like(one) for one in ids], batch_first=True)
            logits = model(input_ids=padded.to(device), attention_mask=attention.to(device), use_cache=False).logits
            found[batch] = logits[:, 0].double().cpu().numpy()
    return found


TOKENS_PER_BATCH = 4096
"""Padded tokens per forward pass: a head of one number needs no memory worth naming."""
