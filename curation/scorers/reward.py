"""Reward: how much a reward model likes an answer, and how much more than the one that was not preferred."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from curation.language_models.causal_lm import fingerprint_of
from curation.operators import Scorer

if TYPE_CHECKING:
    import polars as pl

Turns = list[dict[str, Any]]

EMPTY = "the answer is empty"
NOT_PREFERRED = "of the answer that was not preferred: "
"""How a reason begins that leaves `reward` its number."""


class Reward(Scorer):
    """What a reward model, any Hugging Face sequence classifier, gives the conversation up to its last answer.

    Source: reward models as in Ouyang et al. 2022 (arXiv 2203.02155, section 3.5): a classification head with one
        output, whose logit is the reward; such as Skywork-Reward-V2 (arXiv 2507.01352). MoDS (arXiv 2311.15653) keeps
        what reward-model-deberta-v3-large-v2 puts above its threshold.

    Columns:
        reward (DOUBLE): raw logit of the only label, or of `label`; on the model's own scale.
        reward_rejected (DOUBLE): of the answer that was not preferred; null where there is none, and, with the reason,
            where it can't be told from which turn on it stands for the chosen ones.
        reward_margin (DOUBLE): reward less reward_rejected; below 0 the model disagrees with the preference.

    Differs from the source: a model with a chat template reads the conversation in it, one without reads the turns
        before the answer and the answer as a pair; what does not fit in the window is null, never cut.
    """

    name: ClassVar[str] = "reward"
    needs: ClassVar[tuple[str, ...]] = ("messages", "instruction", "response", "rejected")
    batch_rows: ClassVar[int] = 512

    model: str = Field(description="hf:PATH or hub name, such as Skywork/Skywork-Reward-V2-Qwen3-0.6B")
    label: str | None = Field(None, description="Whose logit is the reward, where the model has more than one label")
    max_tokens: int | None = Field(None, ge=2, description="Longest conversation; empty: the model's window")
    batch_tokens: int | None = Field(None, ge=1, description="Tokens per forward pass; empty: what suits the device")

    @property
    def columns(self) -> dict[str, str]:
        return dict.fromkeys(("reward", "reward_rejected", "reward_margin"), "DOUBLE")

    def fingerprint(self) -> str:
        return fingerprint_of(self.model)

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        from curation.language_models.reward_model import open_reward_model

        model = open_reward_model(self.model, self.label)
        rows = list(batch.select(self.needs).iter_rows())
        chosen = [_answered(messages or _pair(*text)) for messages, *text, _ in rows]
        rejected = [_other(messages or _pair(*text), other) for messages, *text, other in rows]
        asked = [turns for turns in (*chosen, *rejected) if turns and not isinstance(turns, str)]
        marks = iter(model.rewards(asked, self.max_tokens, self.batch_tokens))
        found = [
            (None, turns) if isinstance(turns, str) else next(marks) if turns else (None, EMPTY)
            for turns in (*chosen, *rejected)
        ]
        good, bad = found[: len(rows)], found[len(rows) :]
        lacking = [
            NOT_PREFERRED + why if other and why else None for (*_, other), (_, why) in zip(rows, bad, strict=True)
        ]
        measured = pl.DataFrame(
            {
                "reward": pl.Series([value for value, _ in good], dtype=pl.Float64),
                "reward_rejected": pl.Series([value for value, _ in bad], dtype=pl.Float64),
                "reason": pl.Series(
                    [why or more for (_, why), more in zip(good, lacking, strict=True)], dtype=pl.String
                ),
            }
        )
        margin = (pl.col("reward") - pl.col("reward_rejected")).alias("reward_margin")
        return measured.select("reward", "reward_rejected", margin, "reason")


def _pair(instruction: str | None, response: str | None) -> Turns:
    return [{"role": "user", "content": instruction or ""}, {"role": "assistant", "content": response or ""}]


def _answered(turns: Turns) -> Turns:
    """The conversation up to its last answer; nothing where that is empty or missing."""
    last = max((i for i, turn in enumerate(turns) if turn["role"] == "assistant"), default=-1)
    return turns[: last + 1] if last >= 0 and turns[last]["content"] else []


def _other(turns: Turns, rejected: Turns | None) -> Turns | str:
    """The conversation as the rejected side goes on; nothing where there is none, a reason where that can't be told."""
    from curation.files.formats import chosen_from
    from curation.sample import Message

    if not rejected:
        return []
    sides = [[Message(turn["role"], turn["content"] or "") for turn in side] for side in (turns, rejected)]
    split = chosen_from(*sides)
    return split if isinstance(split, str) else _answered([*turns[:split], *rejected])
