"""What held-out preferences say of a model: how often it is right, by how much, and at what cost in likelihood."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from curation.intervals import wilson
from training.data.encoding import Encoded

if TYPE_CHECKING:
    import numpy as np

PENALTY = 50.0
"""DPO-positive: weight of the likelihood that chosen answers lose (lambda); the paper's value."""
ROUNDING = 1e-4
"""Nats by which an answer's likelihood differs where only the order of sums does."""
SAME = "the model is still its reference: there is nothing to be right about"

NO_REFERENCE = "no model that stays as the base is in memory"


@dataclass(frozen=True, slots=True)
class Gains:
    """By how much pairs became likelier than they were to the reference."""

    chosen: np.ndarray
    """Per pair log pi(chosen) - log ref(chosen), in nats over the whole answer."""
    rejected: np.ndarray
    chosen_tokens: np.ndarray
    rejected_tokens: np.ndarray

    @property
    def margin(self) -> np.ndarray:
        """By how much more the chosen one gained."""
        result: np.ndarray = self.chosen - self.rejected
        return result

    @property
    def margin_per_token(self) -> np.ndarray:
        """The same of the gains per answer token."""
        result: np.ndarray = self.chosen / self.chosen_tokens - self.rejected / self.rejected_tokens
        return result


Loss = Callable[[Gains, float, float], "np.ndarray"]
"""(gains, beta, label smoothing) -> loss per pair."""


def _sigmoid(gains: Gains, beta: float, smoothing: float) -> np.ndarray:
    return softplus(-beta * gains.margin)


def _sigmoid_norm(gains: Gains, beta: float, smoothing: float) -> np.ndarray:
    return softplus(-beta * gains.margin_per_token)


def _ipo(gains: Gains, beta: float, smoothing: float) -> np.ndarray:
    result: np.ndarray = (gains.margin_per_token - 1 / (2 * beta)) ** 2
    return result


def _hinge(gains: Gains, beta: float, smoothing: float) -> np.ndarray:
    result: np.ndarray = (1 - beta * gains.margin).clip(min=0)
    return result


def _robust(gains: Gains, beta: float, smoothing: float) -> np.ndarray:
    kept, swapped = softplus(-beta * gains.margin), softplus(beta * gains.margin)
    result: np.ndarray = ((1 - smoothing) * kept - smoothing * swapped) / (1 - 2 * smoothing)
    return result


def _apo_zero(gains: Gains, beta: float, smoothing: float) -> np.ndarray:
    result: np.ndarray = 1 - logistic(beta * gains.chosen) + logistic(beta * gains.rejected)
    return result


def _apo_down(gains: Gains, beta: float, smoothing: float) -> np.ndarray:
    result: np.ndarray = logistic(beta * gains.chosen) + 1 - logistic(beta * gains.margin)
    return result


def _positive(gains: Gains, beta: float, smoothing: float) -> np.ndarray:
    return softplus(-beta * (gains.margin - PENALTY * (-gains.chosen).clip(min=0)))


LOSSES: Mapping[str, Loss] = {
    "sigmoid": _sigmoid,
    "sigmoid_norm": _sigmoid_norm,
    "ipo": _ipo,
    "hinge": _hinge,
    "robust": _robust,
    "apo_zero": _apo_zero,
    "apo_down": _apo_down,
    "dpo-positive": _positive,
}
"""DPO's family, as TRL computes it where it has it.

Source: Rafailov et al. 2023 (sigmoid); Azar et al. 2024 (ipo, per token as its authors advise); Zhao et al. 2023
(hinge); Chowdhury et al. 2024 (robust); D'Oosterlinck et al. 2024, equations 7 and 8 (apo); Lambert et al. 2024
(sigmoid_norm); Pal et al. 2024, arXiv:2402.13228, equation 3 (dpo-positive).
"""


def odds_loss(chosen: np.ndarray, rejected: np.ndarray) -> np.ndarray:
    """ORPO's odds-ratio loss per pair, from log-probabilities per token.

    Source: Hong et al. 2024, arXiv:2403.07691, equation 7.
    """
    import numpy as np

    return softplus(rejected - chosen + np.log1p(-np.exp(chosen)) - np.log1p(-np.exp(rejected)))


def simpo_loss(chosen: np.ndarray, rejected: np.ndarray, beta: float, margin: float) -> np.ndarray:
    """SimPO's loss per pair, from log-probabilities per token.

    Source: Meng et al. 2024, arXiv:2405.14734, equation 6.
    """
    return softplus(-(beta * (chosen - rejected) - margin))


def kto_loss(gained: np.ndarray, good: np.ndarray, beta: float) -> np.ndarray:
    """KTO's loss per answer with its reference point at 0: training takes that from the other answers of a batch.

    Source: Ethayarajh et al. 2024, arXiv:2402.01306, equation 8.
    """
    import numpy as np

    result: np.ndarray = 1 - logistic(beta * np.where(good, gained, -gained))
    return result


def of_pairs(rows: Sequence[Encoded], margin: np.ndarray, gains: Gains) -> dict[str, Any]:
    """How often and by how much the model prefers what was chosen, over all and by source, and how long answers are.

    Args:
        rows: the chosen sides.
        margin: per pair by how much the chosen one is preferred; 0 is not.
        gains: what both sides gained against the reference, and their lengths.
    """
    right, longer = margin > 0, gains.chosen_tokens > gains.rejected_tokens
    return {
        "pairs": len(rows),
        **shares(right, margin),
        "chosen_log_ratio": float(gains.chosen.mean()),
        "rejected_log_ratio": float(gains.rejected.mean()),
        "chosen_tokens": float(gains.chosen_tokens.mean()),
        "rejected_tokens": float(gains.rejected_tokens.mean()),
        "chosen_longer": float(longer.mean()),
        "accuracy_when_shorter": float(right[~longer].mean()) if differs(margin) and (~longer).any() else None,
        "preference_by_source": by_source(rows, right, margin),
    }


def shares(right: np.ndarray, margin: np.ndarray) -> dict[str, Any]:
    """Accuracy with its interval (Wilson, 95 %) and the mean margin; null accuracies where no margin differs from 0."""
    some = differs(margin)
    return {
        "accuracy": float(right.mean()) if some else None,
        "accuracy_interval": list(wilson(int(right.sum()), len(right))) if some else None,
        "margin": float(margin.mean()),
    }


def differs(margin: np.ndarray) -> bool:
    """Whether any margin is more than the rounding of sums."""
    return bool((abs(margin) > ROUNDING).any())


def by_source(rows: Sequence[Encoded], right: np.ndarray, margin: np.ndarray) -> dict[str, dict[str, Any]]:
    """Number, accuracy with its interval, and margin of every source."""
    import numpy as np

    sources = np.array([row.source for row in rows])
    return {
        str(source): {
            "pairs": int((sources == source).sum()),
            **shares(right[sources == source], margin[sources == source]),
        }
        for source in np.unique(sources)
    }


def reasons(measured: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, str]:
    """Why numbers are null, by field."""
    found = {"accuracy": SAME, "accuracy_interval": SAME, "kl": NO_REFERENCE, **known}
    if measured.get("chosen_longer") == 1:
        found["accuracy_when_shorter"] = "every chosen answer is the longer one"
    elif measured.get("accuracy") is None:
        found["accuracy_when_shorter"] = SAME
    return {name: why for name, why in found.items() if name in measured and measured[name] is None}


def answer_tokens(rows: Sequence[Encoded]) -> np.ndarray:
    """Tokens that carry loss, per row."""
    import numpy as np

    return np.array([sum(row.loss) for row in rows], dtype=float)


def softplus(x: np.ndarray) -> np.ndarray:
    """log(1 + exp(x)), also where x is large: -log sigmoid(-x)."""
    import numpy as np

    result: np.ndarray = np.logaddexp(0.0, x)
    return result


def logistic(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), also where x is far from 0."""
    import numpy as np

    result: np.ndarray = np.exp(-softplus(-x))
    return result
