"""What a call of iterative DPO is given: who answers what, and who says how good that is."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from curation.errors import WinnowError
from training.config import TrainConfig
from training.data.encoding import Account, Encoder
from training.data.mix_folder import Example, MixFolder
from training.iterating.ratings import Rater
from training.methods.grpo import verifiable_prompts

HELD_OUT_PROMPTS = 64
"""Held-out prompts that are answered at most, the first ones."""
ROUNDS, PATIENCE = 3, 1


@dataclass(frozen=True)
class Plan:
    """What decides a call: equal plans give equal rounds."""

    mix: Path
    config: TrainConfig
    name: str
    runs: Path
    """Folder of the training runs."""
    mixes: Path
    """Folder of the rounds' pairs."""
    rater: Rater
    rounds: int = ROUNDS
    patience: int = PATIENCE
    """Rounds without a higher accuracy after which it stops."""
    prompts: int | None = None
    """Prompts that are answered in each round at most, the first of the mix; null for all."""


@dataclass(frozen=True)
class Material:
    """What is asked, and how the model reads it."""

    encoder: Encoder
    asked: list[Example]
    asked_ids: list[list[int]]
    held_out: list[Example]
    held_out_ids: list[list[int]]
    account: Account

    def sha256(self) -> str:
        """Of what is asked and what it is verified by."""
        told = [[e.messages, e.checks] for e in (*self.asked, *self.held_out)]
        text = json.dumps([told, self.asked_ids, self.held_out_ids], default=str)
        return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def material_of(plan: Plan) -> Material:
    """The prompts of the plan's mix that leave room for an answer that can be rated.

    Raises:
        WinnowError: there is none, or answers leave no room for prompts.
        ModelError: the base model's tokenizer can't be opened.
    """
    from training.methods.opening import open_tokenizer, window_of

    config, mix, account = plan.config, MixFolder(plan.mix), Account()
    window = window_of(config.base_model)
    encoder = Encoder(
        open_tokenizer(config.base_model),
        max_length=min(config.max_length, window or config.max_length),
        loss_on=config.loss_on,
    )
    if config.max_answer_tokens >= encoder.max_length:
        raise WinnowError(
            f"max_answer_tokens {config.max_answer_tokens} leaves no room for a prompt in {encoder.max_length} tokens.",
            fix="lower max_answer_tokens, or raise max_length where the model can read more",
        )
    found = partial(
        verifiable_prompts, encoder=encoder, rewards=plan.rater.rewards, max_answer_tokens=config.max_answer_tokens
    )
    asked, rows = found(mix.examples("train"), account=account)
    held_out, held_out_rows = found(mix.examples("eval"), account=Account())
    if not asked:
        reason, count = account.dropped.most_common(1)[0] if account.dropped else ("it has no rows", 0)
        raise WinnowError(
            f"No row of {mix.path} can be a prompt; the commonest reason ({count} rows): {reason}.",
            fix="choose rewards that fit the mix, or export another one",
        )
    return Material(
        encoder,
        asked[: plan.prompts],
        [row.ids for row in rows[: plan.prompts]],
        held_out[:HELD_OUT_PROMPTS],
        [row.ids for row in held_out_rows[:HELD_OUT_PROMPTS]],
        account,
    )
