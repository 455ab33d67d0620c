"""Training a model on its own answers, round by round."""

from __future__ import annotations

from training.iterating.plan import PATIENCE, ROUNDS, Plan
from training.iterating.ratings import JudgeRater, Rater, VerifiedRater
from training.iterating.rounds import IterateReport, iterate_dpo
from training.iterating.step import Round

__all__ = [
    "PATIENCE",
    "ROUNDS",
    "IterateReport",
    "JudgeRater",
    "Plan",
    "Rater",
    "Round",
    "VerifiedRater",
    "iterate_dpo",
]
