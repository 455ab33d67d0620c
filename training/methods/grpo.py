"""Group-relative policy optimisation: of several answers to a prompt, those above their average are reinforced."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from curation.errors import WinnowError
from training.config import TrainConfig
from training.data.encoding import Account, Encoded, Encoder, prefix_of_tokens
from training.data.mix_folder import Example, MixFolder
from training.data.training_set import TrainingSet
from training.methods.adapters import peft_config
from training.methods.arguments import common
from training.methods.method import Built, Measure, Method, Setup
from training.rewards import REWARDS, Answer, Question, checked_rewards, prompt_of, question_of, rated, unfit
from training.rewards.diagnosis import NO_SIGNAL, without_signal
from training.rewards.shaping import repeated_share

if TYPE_CHECKING:
    from training.judging.generation import Written

HELD_OUT_PROMPTS = 64
"""Held-out prompts that are answered at most, the first ones."""
PROGRAMS_AT_ONCE = 4
"""Code that is run against tests at the same time."""
EARLY = 10
"""Logged steps without any difference after which the user is told, and not only at the end."""


class GRPO(Method):
    """Every prompt is answered several times; what counts is by how much an answer's reward is above their mean.

    The rewards of the config are added. The reference that `beta` holds the model to is the base model, with an adapter
    the model without it. Answers are written by the model as it is at that step, so that nothing is off-policy.

    Source: Shao et al. 2024, DeepSeekMath, arXiv:2402.03300; the loss is averaged over the tokens of all answers as in
    DAPO, Yu et al. 2025, arXiv:2503.14476, section 3.3 (TRL's default).
    """

    name = "grpo"
    title = "GRPO: reinforce answers that can be verified"
    formats = ("messages", "prompt-completion", "sharegpt", "alpaca")
    reads: ClassVar[frozenset[str]] = frozenset(
        {"beta", "rewards", "answers_per_prompt", "max_answer_tokens", "temperature"}
    )

    def data(self, mix: MixFolder, config: TrainConfig, encoder: Encoder) -> TrainingSet:
        """The prompts; the answers that the mix has are references at most."""
        return prompt_set(mix, config, encoder)

    def build(self, setup: Setup) -> Built:
        """TRL's GRPOTrainer, which writes the answers with Transformers."""
        from trl import GRPOConfig, GRPOTrainer

        config = setup.config
        size = batches_of_groups(config)
        _check_enough(setup.data, size, config)
        if size.accumulation != config.accumulation:
            setup.note(
                f"accumulation is {size.accumulation}, not {config.accumulation}: a step holds whole groups of "
                f"{config.answers_per_prompt} answers, {size.prompts} prompts."
            )
        setup.callbacks.append(_signal_callback(setup.note))
        trainer = GRPOTrainer(
            model=setup.model,
            args=GRPOConfig(
                **common(setup),
                per_device_train_batch_size=config.batch_size,
                gradient_accumulation_steps=size.accumulation,
                num_generations=config.answers_per_prompt,
                max_completion_length=config.max_answer_tokens,
                temperature=config.temperature,
                beta=config.strength()[0],
            ),
            reward_funcs=_reward_functions(setup.data.examples, config),
            train_dataset=_dataset(setup.data.examples),
            processing_class=setup.tokenizer,
            peft_config=peft_config(config),
            callbacks=setup.callbacks,
        )
        if trainer.ref_model is not None:
            # TRL opens it by the name of the base model, which below an adapter is another model.
            trainer.accelerator.unwrap_model(trainer.ref_model).load_state_dict(trainer.model.state_dict())
        return Built(trainer, told={"prompts_per_step": size.prompts, "answers_per_step": size.answers})

    def held_out(self, built: Built, mix: MixFolder, encoder: Encoder) -> tuple[Measure | None, Any]:
        """The mean reward of greedy answers to held-out prompts."""
        arguments = built.trainer.args
        names = tuple(built.trainer.reward_func_names)
        config = {"rewards": names, "max_answer_tokens": arguments.max_completion_length}
        account = Account()
        examples, _ = verifiable_prompts(mix.examples("eval"), encoder, account, **config)
        chosen = examples[:HELD_OUT_PROMPTS]
        if not chosen:
            return None, account
        return rewards_of_greedy_answers(chosen, encoder, **config), account


# -------------------------------------------------------------------- batches


@dataclass(frozen=True, slots=True)
class GroupBatches:
    """How many answers a step takes."""

    accumulation: int
    """Forward passes per step; at least what the config says."""
    answers: int
    """Per step, over all processes."""
    prompts: int
    """Per step: answers / answers_per_prompt."""


def batches_of_groups(config: TrainConfig) -> GroupBatches:
    """The fewest forward passes per step, but no fewer than asked for, with which a step holds whole groups."""
    at_once = config.batch_size * config.processes
    unit = config.answers_per_prompt // math.gcd(config.answers_per_prompt, at_once)
    accumulation = -(-config.accumulation // unit) * unit
    answers = at_once * accumulation
    return GroupBatches(accumulation, answers, answers // config.answers_per_prompt)


def _check_enough(data: TrainingSet, size: GroupBatches, config: TrainConfig) -> None:
    if len(data.examples) < size.prompts:
        raise WinnowError(
            f"A step takes {size.prompts} prompts ({size.answers} answers), and there are {len(data.examples)}.",
            fix="lower batch_size or accumulation, raise answers_per_prompt, or train on more prompts",
        )


# -------------------------------------------------------------------- prompts


def prompt_set(mix: MixFolder, config: TrainConfig, encoder: Encoder) -> TrainingSet:
    """The prompts of the config's arm whose answers can be verified; no token of them carries loss.

    Raises:
        WinnowError: a reward is not known, answers have no room, or no row is left.
    """
    names = checked_rewards(config.rewards)
    check_room(config, encoder.max_length)
    account = Account()
    found = partial(verifiable_prompts, encoder=encoder, rewards=names, max_answer_tokens=config.max_answer_tokens)
    examples, rows = found(mix.examples("train"), account=account)
    mix_tokens = account.tokens
    if config.arm == "random":
        account = Account()
        examples, drawn = found(mix.examples("random"), account=Account())
        rows = list(prefix_of_tokens(drawn, mix_tokens))
        examples = examples[: len(rows)]
        for row in rows:
            account.add(row)
    if not rows:
        raise _nothing_left(mix, account, names)
    return TrainingSet(rows, examples, account, mix_tokens)


def check_room(config: TrainConfig, max_length: int) -> None:
    """Refuse answers that may be as long as all that the model reads.

    Raises:
        WinnowError: there is no room for a prompt in max_length tokens.
    """
    if config.max_answer_tokens >= max_length:
        raise WinnowError(
            f"max_answer_tokens {config.max_answer_tokens} leaves no room for a prompt in {max_length} tokens.",
            fix="lower max_answer_tokens, or raise max_length where the model can read more",
        )


def verifiable_prompts(
    examples: Iterable[Example], encoder: Encoder, account: Account, *, rewards: Sequence[str], max_answer_tokens: int
) -> tuple[list[Example], list[Encoded]]:
    """The rows whose answers these rewards can verify, and their prompts as the model reads them; `account` counts all.

    Without rewards any prompt will do that leaves room for an answer within the encoder's length.
    """
    kept, rows = [], []
    for example in examples:
        encoded = _prompt(example, encoder, rewards, encoder.max_length - max_answer_tokens)
        if isinstance(encoded, str):
            account.dropped[encoded] += 1
            continue
        account.add(encoded)
        kept.append(example)
        rows.append(encoded)
    return kept, rows


def _prompt(example: Example, encoder: Encoder, rewards: Sequence[str], room: int) -> Encoded | str:
    """The prompt as the model reads it, or why it can't be trained on."""
    from jinja2.exceptions import TemplateError

    from training.judging.generation import prompt_ids

    turns = prompt_of(example)
    if not any(turn["role"] == "user" for turn in turns):
        return "it asks nothing"
    if example.tools or any(turn.get("tool_calls") or turn["role"] == "tool" for turn in turns):
        return "it has tools, which answers can't call here"
    if rewards and (reason := unfit(question_of(example), rewards)) is not None:
        return f"its answers can't be verified: {reason}"
    try:
        ids = prompt_ids(encoder.tokenizer, _plain(turns))
    except (TemplateError, TypeError, ValueError) as error:
        return f"the chat template refuses it: {error}"
    if len(ids) > room:
        return f"its prompt has more than {room} tokens, max_length less max_answer_tokens"
    return Encoded(example.id, example.source, ids, [False] * len(ids))


def _plain(turns: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Role and content alone: what else a turn has, other rows would get as nothing."""
    return [{"role": turn["role"], "content": str(turn["content"])} for turn in turns]


def _nothing_left(mix: MixFolder, account: Account, names: Sequence[str]) -> WinnowError:
    said = f"No row of {mix.path} can be trained on with the rewards {', '.join(names)}"
    if not account.dropped:
        return WinnowError(f"{said}: there are none.", fix="export the mix again")
    reason, count = account.dropped.most_common(1)[0]
    fix = "raise max_length or lower max_answer_tokens" if "max_length" in reason else "choose rewards that fit the mix"
    return WinnowError(f"{said}; the commonest reason ({count} rows): {reason}.", fix=fix)


def _dataset(examples: Sequence[Example]) -> Any:
    from datasets import Dataset

    return Dataset.from_dict(
        {"prompt": [_plain(prompt_of(example)) for example in examples], "row": list(range(len(examples)))}
    )


# -------------------------------------------------------------------- rewards


def _reward_functions(examples: Sequence[Example], config: TrainConfig) -> list[Callable[..., list[float | None]]]:
    questions = [question_of(example) for example in examples]
    names = checked_rewards(config.rewards)
    rater = _Rater(questions, names, config.max_answer_tokens)
    return [rater.function(name) for name in names]


class _Rater:
    """Makes the functions that TRL calls with a batch of answers."""

    def __init__(self, questions: Sequence[Question], names: Sequence[str], most_tokens: int) -> None:
        self._questions, self._names, self._most = questions, names, most_tokens

    def function(self, name: str) -> Callable[..., list[float | None]]:
        """What TRL calls for each batch; it logs the mean under the function's name."""

        def reward(
            *, completions: list[Any], completion_ids: list[list[int]], row: list[int], log_metric: Any, **rest: Any
        ) -> list[float | None]:
            texts = [str(turns[0]["content"]) for turns in completions]
            if name == self._names[0]:
                log_metric("repetition", sum(map(repeated_share, texts)) / len(texts))
            answers = [Answer(t, len(ids), self._most) for t, ids in zip(texts, completion_ids, strict=True)]
            with ThreadPoolExecutor(PROGRAMS_AT_ONCE if name == "code-tests" else 1) as pool:
                found = pool.map(REWARDS[name], (self._questions[place] for place in row), answers)
                return [reward.value for reward in found]

        reward.__name__ = name
        return reward


def rewards_of_greedy_answers(
    examples: Sequence[Example], encoder: Encoder, *, rewards: Sequence[str], max_answer_tokens: int
) -> Measure:
    """Measures a model by the mean reward of its likeliest answers; `objective`, which is to fall, is minus that."""
    from training.judging.generation import generated, prompt_ids

    questions = [question_of(example) for example in examples]
    prompts = [prompt_ids(encoder.tokenizer, _plain(prompt_of(example))) for example in examples]

    def measure(model: Any) -> dict[str, Any]:
        written = dict(generated(model, encoder.tokenizer, prompts, most_tokens=max_answer_tokens))
        answers = [answer_of(written[i], max_answer_tokens) for i in range(len(prompts))]
        ratings = [rated(question, answer, rewards) for question, answer in zip(questions, answers, strict=True)]
        reward = mean_of([rating.total for rating in ratings])
        return {
            "objective": None if reward is None else -reward,
            "reward": reward,
            "rewards": {name: mean_of([rating.each[name].value for rating in ratings]) for name in rewards},
            "answer_tokens": sum(answer.tokens for answer in answers) / len(answers),
            "cut_off": sum(not answer.ended for answer in answers) / len(answers),
            "repetition": sum(repeated_share(answer.text) for answer in answers) / len(answers),
            "prompts": len(answers),
        }

    return measure


def answer_of(written: Written, most_tokens: int) -> Answer:
    """What was written, as rewards take it."""
    return Answer(written.answer, written.tokens, most_tokens, written.finish_reason == "stop")


def mean_of(values: Iterable[float | None]) -> float | None:
    """The mean of those that are known; null where none is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


# -------------------------------------------------------------------- telling


class _Signal:
    """Tells the user when no prompt has answers of different reward: then there is nothing to learn from."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._told = False
        self._logs: list[dict[str, Any]] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **rest: Any) -> None:
        """Remember the share of prompts without a difference."""
        if logs and logs.get("frac_reward_zero_std") is not None:
            self._logs.append({"no_spread": logs["frac_reward_zero_std"]})
            if len(self._logs) == EARLY:
                self._tell()

    def on_train_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        """Say so at the end, if it was not said before."""
        self._tell()

    def _tell(self) -> None:
        found = without_signal(self._logs)
        if found and not self._told:
            self._told = True
            self._note(f"{NO_SIGNAL} Nothing is learned from them: {found[0].fix}.")


def _signal_callback(note: Callable[[str], None]) -> Any:
    from transformers import TrainerCallback

    return type("Signal", (_Signal, TrainerCallback), {})(note)
