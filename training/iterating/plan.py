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
from training.methods.adapters import VIRTUAL, check
from training.methods.grpo import HELD_OUT_PROMPTS, check_room, verifiable_prompts
from training.methods.opening import check_base_model
from training.methods.settings import check_settings
from training.runs.launching import check_launch

WRITING = ("answers_per_prompt", "temperature")
"""Fields of the config that say how answers are written, not how a round trains."""
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


def trained_config(plan: Plan) -> TrainConfig:
    """The config of a round's training."""
    written = {name: TrainConfig.model_fields[name].default for name in WRITING}
    return plan.config.model_copy(update={"method": "dpo", **written})


def check_plan(plan: Plan) -> None:
    """Refuse what a round would refuse, before an answer is written.

    Raises:
        WinnowError: the config can't train, or not on what it has trained.
        ModelError: no base model lies where it is said to.
    """
    config = trained_config(plan)
    check(config)
    check_settings(config)
    check_launch(config)
    check_base_model(config.base_model)
    if plan.rounds > 1 and config.adapter in VIRTUAL:
        raise WinnowError(
            f"Round 2 would train on an adapter of virtual tokens ({config.adapter}), which nothing can train on.",
            fix="--adapter lora, or --rounds 1",
        )


def material_of(plan: Plan) -> Material:
    """The prompts of the plan's mix that leave room for an answer that can be rated.

    Raises:
        WinnowError: there is none, or answers leave no room for prompts.
        ModelError: the base model's tokenizer can't be opened.
    """
    from training.methods.opening import open_tokenizer, window_of

    mix, account = MixFolder(plan.mix), Account()
    window = window_of(plan.config.base_model) or plan.config.max_length
    config = trained_config(plan).model_copy(update={"max_length": min(plan.config.max_length, window)})
    encoder = Encoder.of(open_tokenizer(config.base_model), config)
    check_room(config, encoder.max_length)
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
