"""What the warnings of a run need to know of its base model: its vocabulary, and template tokens it never learnt."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

from training.config import TrainConfig
from training.data.mix_folder import MixFolder
from training.methods import method_named
from training.methods.method import Setup
from training.methods.settings import unread

ROWS_READ = 50
"""Training rows in which the template's tokens are looked for."""
NEAR_ZERO = 0.1
"""Of the median length of an embedding; shorter ones were never trained."""
MEDIAN_OF = 4096
"""Embeddings whose lengths are compared."""


def setup_facts(setup: Setup) -> dict[str, Any]:
    """The fields of the `base` event. Settings of the config that do nothing in this run are told as notes.

    - `vocabulary`: rows of the output
    - `untrained_tokens`: special tokens that the template writes and whose embeddings were never trained; null with
      `untrained_reason` where that can't be seen
    - `suggested_rate` and `rate`: what the advice says of the learning rate, and what is used
    """
    _tell_unread(setup)
    parameters = setup.model.num_parameters()
    suggested, _ = setup.config.model_copy(update={"learning_rate": None}).rate(parameters)
    vocabulary = getattr(setup.model.config.get_text_config(), "vocab_size", None)
    return {
        "vocabulary": vocabulary,
        "suggested_rate": suggested,
        "rate": setup.config.rate(parameters)[0],
        "adapter": setup.config.adapter,
        **_untrained(setup),
    }


def strength_told(config: TrainConfig) -> dict[str, Any]:
    """`beta` and `beta_reason` of the `plan` event: what is used and why; nothing for a method that reads none."""
    if "beta" not in method_named(config.method).reads:
        return {}
    beta, reason = config.strength()
    return {"beta": beta, "beta_reason": reason}


def _tell_unread(setup: Setup) -> None:
    for text in unread(setup.config):
        setup.note(text)
    mix = setup.run.read("data.json").get("mix")
    if setup.config.patience is not None and mix and not MixFolder(Path(mix)).has("eval"):
        setup.note(f"patience {setup.config.patience} is not used: the mix has no held-out rows (eval.jsonl).")


def _untrained(setup: Setup) -> dict[str, Any]:
    embedding = setup.model.get_input_embeddings()
    weight = getattr(embedding, "weight", None)
    if weight is None or weight.dim() != 2 or not weight.numel():
        return {"untrained_tokens": None, "untrained_reason": "the embeddings can't be read"}
    special = set(setup.tokenizer.all_special_ids)
    used = {token for row in islice(setup.data.rows, ROWS_READ) for token in row.ids} & special
    names = setup.tokenizer.convert_ids_to_tokens(sorted(used))
    return {"untrained_tokens": [name for name, bad in zip(names, _blank(weight, sorted(used)), strict=True) if bad]}


def _blank(weight: Any, tokens: list[int]) -> list[bool]:
    """Per token whether its embedding is nearly nothing, or the same as that of another token here."""
    import torch

    if not tokens:
        return []
    with torch.no_grad():
        every = max(1, len(weight) // MEDIAN_OF)
        usual = weight[::every].float().norm(dim=1).median()
        rows = weight[torch.tensor(tokens)].float()
        short = rows.norm(dim=1) < NEAR_ZERO * usual
        alike = torch.cdist(rows, rows) < 1e-3 * usual
    return [bool(short[i]) or int(alike[i].sum()) > 1 for i in range(len(tokens))]
