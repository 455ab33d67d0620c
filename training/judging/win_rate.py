r"""How often one model's answers beat another's, and how often they would at equal length.

Source: Dubois et al. 2024, Length-Controlled AlpacaEval (arXiv 2404.04475): a logistic regression predicts the judge's
    verdict; the win rate at equal length is its mean prediction with the length term set to zero.

        P(m beats b | x) = logistic(theta + phi * tanh((len_m(x) - len_b(x)) / sigma))
        length-controlled win rate = logistic(theta)

    len is in characters, sigma the standard deviation of the differences over the prompts.

Differs from the source: its third term, the difficulty of each instruction for a model, is fitted once over all models
    of a leaderboard; with two models there is nothing to fit it on, and it is left out. theta and phi are fitted for
    this pair of models alone, phi with a weak penalty (half its square), so that lengths that part wins from losses
    exactly give a finite answer. Ties count as half, where the source's judge gives a probability.

The interval of a rate with ties is Wilson's for wins plus half of the ties, which is on the wide side; that of the
length-controlled rate comes from bootstrap samples of prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from curation.intervals import wilson
from training.judging.comparison import FEWEST_EXAMPLES, RESAMPLES, clopper_pearson

if TYPE_CHECKING:
    import numpy as np

PENALTY = 1.0
STEPS = 50
FARTHEST = 30.0
"""Bound of theta: a probability that differs from 0 or 1 by 1e-13."""
SAME_LENGTHS = "all answers are as long as each other"
ONE_SIDED = "all verdicts are the same"


@dataclass(frozen=True)
class WinRate:
    """Trained against another model, by a judge that saw each pair in both orders."""

    against: str
    """base or random."""
    prompts: int
    """Pairs with a verdict."""
    wins: int
    ties: int
    """Equal texts, verdicts of a tie, and verdicts that changed with the order."""
    losses: int
    rate: float | None
    """Wins and half of the ties, of all; null where there is no verdict."""
    low: float | None
    """Wilson, 95 %."""
    high: float | None
    controlled: float | None
    """At equal length."""
    controlled_low: float | None
    """Bootstrap over prompts, 95 %."""
    controlled_high: float | None
    controlled_reason: str | None
    """Why it is null."""
    longer: float | None
    """Share of the pairs in which the trained model's answer is the longer one, in characters."""
    inconsistent: int
    """Pairs whose two orders have different verdicts; they are among the ties."""
    first: float | None
    """Share of the verdicts other than a tie that go to the answer shown first; 0.5 is no position bias."""
    first_low: float | None
    first_high: float | None
    unread: int
    """Pairs of which an answer of the judge could not be read, or did not come."""
    reasons: dict[str, int]
    """Why -> such pairs."""


def win_rate(against: str, pairs: Sequence[Mapping[str, Any]]) -> WinRate:
    """Add up judged pairs.

    Args:
        against: the other model.
        pairs: with `verdict` (1.0 the trained model won, 0.5 tie, 0.0 lost, null), `orders` (in each order `first`,
            `second`, `tie` or null: which of the shown answers won), `inconsistent`, `lengths` (of trained and other,
            characters) and `why`.
    """
    import numpy as np

    read = [pair for pair in pairs if pair["verdict"] is not None]
    verdicts = np.array([pair["verdict"] for pair in read], dtype=float)
    lengths = np.array([pair["lengths"][0] - pair["lengths"][1] for pair in read], dtype=float)
    wins, losses = int((verdicts == 1).sum()), int((verdicts == 0).sum())
    ties = len(read) - wins - losses
    low, high = wilson_of(wins + ties / 2, len(read))
    controlled, why = length_controlled(verdicts, lengths)
    # Both orders or none: what could be read of half a pair would look like a position bias.
    shown = [order for pair in read for order in pair["orders"] if order in ("first", "second")]
    first = shown.count("first")
    reasons: dict[str, int] = {}
    for pair in pairs:
        if pair["verdict"] is None:
            reasons[str(pair["why"])] = reasons.get(str(pair["why"]), 0) + 1
    return WinRate(
        against, len(read), wins, ties, losses,
        float(verdicts.mean()) if read else None, low, high,
        *controlled, why,
        float((lengths > 0).mean()) if read else None,
        sum(pair["inconsistent"] for pair in read),
        first / len(shown) if shown else None, *wilson_of(first, len(shown)),
        len(pairs) - len(read), reasons,
    )  # fmt: skip


def conclusion(rate: Mapping[str, Any]) -> str:
    """better, worse, or why neither is said of a `WinRate` (as a dict).

    Its interval and the exact sign test of wins against losses both have to leave a half out.
    """
    if rate["prompts"] < FEWEST_EXAMPLES:
        return f"not proven with fewer than {FEWEST_EXAMPLES} verdicts"
    decided = rate["wins"] + rate["losses"]
    low, high = clopper_pearson(rate["wins"], decided) if decided else (0.0, 1.0)
    if min(low, rate["low"]) > 0.5:
        return "better"
    return "worse" if max(high, rate["high"]) < 0.5 else "not proven"


def wilson_of(hits: float, trials: int) -> tuple[float | None, float | None]:
    """Wilson's 95 % interval, also for halves; null without trials."""
    return wilson(hits, trials) if trials else (None, None)


def length_controlled(
    verdicts: np.ndarray, lengths: np.ndarray, *, seed: int = 0
) -> tuple[tuple[float | None, float | None, float | None], str | None]:
    """(win rate at equal length, lower, upper end of its interval), and why it is null.

    Args:
        verdicts: 1 won, 0.5 tie, 0 lost.
        lengths: by how many characters the winner-to-be's answer is longer than the other.
        seed: of the bootstrap.
    """
    import numpy as np

    none = (None, None, None)
    if len(verdicts) < FEWEST_EXAMPLES:
        return none, f"only {len(verdicts)} verdicts, it needs {FEWEST_EXAMPLES}"
    if len(set(verdicts.tolist())) < 2:
        return none, ONE_SIDED
    if lengths.std() == 0:
        return none, SAME_LENGTHS
    x = np.tanh(lengths / lengths.std())
    rate = float(fitted(verdicts, x, np.ones((1, len(x))))[0])
    counts = np.random.default_rng(seed).multinomial(len(x), np.full(len(x), 1 / len(x)), RESAMPLES)
    low, high = np.percentile(fitted(verdicts, x, counts.astype(float)), [2.5, 97.5])
    return (rate, float(low), float(high)), None


def fitted(y: np.ndarray, x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """logistic(theta) of each fit by Newton's method, all fits at once.

    Args:
        y: verdicts (n).
        x: what is controlled for (n).
        weights: how often each counts, one row per fit (fits, n).
    """
    import numpy as np

    theta, phi = np.zeros(len(weights)), np.zeros(len(weights))
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-np.clip(theta[:, None] + phi[:, None] * x, -FARTHEST, FARTHEST)))
        residual, spread = weights * (y - p), weights * p * (1 - p)
        gradient = residual.sum(1), residual @ x - PENALTY * phi
        a, b, c = spread.sum(1) + 1e-9, spread @ x, spread @ (x * x) + PENALTY
        determinant = a * c - b * b
        up = (c * gradient[0] - b * gradient[1]) / determinant, (a * gradient[1] - b * gradient[0]) / determinant
        # Steps are bounded, or a draw in which one side always won would overshoot.
        theta = np.clip(theta + np.clip(up[0], -2, 2), -FARTHEST, FARTHEST)
        phi = phi + np.clip(up[1], -2, 2)
        if max(np.abs(up[0]).max(), np.abs(up[1]).max()) < 1e-9:
            break
    result: np.ndarray = 1 / (1 + np.exp(-theta))
    return result
