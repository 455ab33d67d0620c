"""Verified rewards: what can be said of a written answer without asking a model. Plain functions; no torch.

To add one: a function of (question, answer) with its source in the docstring, and an entry in `REWARDS`.
"""

from __future__ import annotations

from training.rewards.rating import REWARDS, SHAPING, Rating, checked_rewards, prompt_of, question_of, rated, unfit
from training.rewards.reward import Answer, Question, Reward, RewardFunction

__all__ = [
    "REWARDS",
    "SHAPING",
    "Answer",
    "Question",
    "Rating",
    "Reward",
    "RewardFunction",
    "checked_rewards",
    "prompt_of",
    "question_of",
    "rated",
    "unfit",
]
