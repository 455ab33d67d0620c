"""How the held-out loss depends on the weights of the sources, and the weights for which it is predicted lowest.

Source: data mixing laws, Ye et al. 2024 (arXiv:2403.16952), equation 1: the loss of each held-out source i is
c_i + k_i exp(t_i . r), with r the weights; the loss of all is their sum, weighted by held-out tokens.

Differs from the source: c_i is chosen by the error on runs left out, and t_i by ridge regression of log(loss - c_i),
because a search has a dozen runs, not dozens; intervals come from resampled residuals, and a mix is only called best
when the weights explain mixes that were left out better than chance does. RegMix (Liu et al. 2024,
arXiv:2407.01492) regresses the loss itself on the weights, linearly or by trees: a linear one has its best mix at a
corner always, and trees need hundreds of runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

PENALTIES = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Of the ridge, relative to the spread of the weights."""
FLOORS = 24
"""Values of c_i that are tried, from 0 to just below the smallest loss."""
RESAMPLES = 200
SHUFFLES = 199
"""Of the losses among the mixes: how well chance explains them."""
CHANCE = 0.05
"""Shuffles may do as well so often, at most."""
LEAST_EXPLAINED = 0.3
"""Of the variance among mixes that were left out; with less, a predicted best mix is a guess."""
CANDIDATES = 4096
"""Mixes that are looked at for the best one."""
Weights = tuple[float, ...]


@dataclass(frozen=True)
class Predicted:
    """A mix and what the fitted law says of it."""

    weights: dict[str, float]
    """Source -> share, together 1."""
    loss: float
    """Nats per token; of the best mix less what choosing the lowest of many predictions flatters it by."""
    interval: tuple[float, float]
    """95 %, from resampled residuals."""
    gain: float
    """Below the mix as it is."""
    gain_interval: tuple[float, float]
    improvement: float
    """Expected improvement over the best mix: the mean of what the resampled laws find it better by."""


@dataclass(frozen=True)
class WeightsFit:
    """What runs over weights have shown, or the reason why it is nothing."""

    reason: str | None
    best: Predicted | None = None
    natural: Predicted | None = None
    explained: float | None = None
    """Share of the variance of the loss that is predicted for mixes left out of all choices; 1 is all, below 0 is worse
    than the mean of the others."""
    effects: dict[str, dict[str, float]] | None = None
    """Held-out source -> source -> change of the former's loss (nats per token) for ten points more of the latter."""
    next: tuple[Predicted, ...] = ()
    """Mixes whose runs are expected to tell most, the first first."""


@dataclass(frozen=True)
class _Curve:
    """One held-out source: floor + exp(intercept + slopes . (r - centre))."""

    floor: float
    intercept: float
    slopes: np.ndarray
    fitted: np.ndarray
    """Logarithms at the runs."""
    residuals: np.ndarray
    """Of the logarithms; widened by the leverage, as a fit makes its own residuals small."""
    left_out: np.ndarray
    """The loss of each run as the fit without it has it."""

    def at(self, weights: np.ndarray) -> np.ndarray:
        """Losses of mixes: rows of `weights`, centred."""
        import numpy as np

        curve: np.ndarray = self.floor + np.exp(self.intercept + weights @ self.slopes)
        return curve


def fit_weights(
    sources: Sequence[str],
    weights: Sequence[Weights],
    losses: Sequence[Mapping[str, float]],
    shares: Mapping[str, float],
    natural: Weights,
    *,
    most: Weights | None = None,
    seed: int = 0,
) -> WeightsFit:
    """Fit the law, and look for the mix with the lowest predicted loss among those within what was tried.

    Args:
        sources: names, in the order of the weights.
        weights: of each run, summing to 1.
        losses: of each run: held-out source -> nats per token.
        shares: held-out source -> share of the held-out tokens.
        natural: weights of the mix as it is.
        most: highest weight of each source that its samples allow; no bound when null.
        seed: of the resampling and of the candidates.

    Runs of equal weights are one observation, their mean: what differs between them is noise. Refused, with the reason,
    when there are fewer mixes than sources + 3, or when the weights do not explain mixes left out better than chance.
    """
    import numpy as np

    if len(sources) < 2:
        return WeightsFit("the mix has one source: there is nothing to weigh")
    if len(set(weights)) < fewest_mixes(len(sources)):
        fewest = fewest_mixes(len(sources))
        return WeightsFit(f"{len(sources)} sources need runs of {fewest} mixes, and there are {len(set(weights))}")
    held = [name for name in shares if all(name in run for run in losses)]
    share = np.array([shares[name] for name in held]) / sum(shares[name] for name in held)
    centre, (tried, runs) = np.asarray(natural), _by_mix(weights, [[run[name] for name in held] for run in losses])
    design = tried - centre
    curves = [_curve(design, runs[:, i]) for i in range(len(held))]
    explained = _explained(runs @ share, _left_out(design, runs) @ share)
    effects = {name: _effects(curve, sources) for name, curve in zip(held, curves, strict=True)}
    doubt = _doubt(design, runs, share, curves, explained, seed)
    if doubt:
        return WeightsFit(doubt, explained=explained, effects=effects)
    ceiling = np.minimum(tried.max(axis=0), np.asarray(most) if most else 1.0)
    candidates = _candidates(centre, tried.min(axis=0), ceiling, seed)
    law = _Law(list(sources), centre, share, curves, _resampled(design, curves, seed))
    return law.answer(candidates, tried, explained, effects)


def fewest_mixes(sources: int) -> int:
    """So many different weights a law over them needs."""
    return sources + 3


def _by_mix(weights: Sequence[Weights], losses: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    """Each mix once, in the order of the runs, and the mean losses of its runs."""
    import numpy as np

    runs: dict[Weights, list[Sequence[float]]] = {}
    for mix, of_run in zip(weights, losses, strict=True):
        runs.setdefault(mix, []).append(of_run)
    return np.asarray(list(runs)), np.array([np.mean(of_mix, axis=0) for of_mix in runs.values()])


def _doubt(
    design: np.ndarray, runs: np.ndarray, share: np.ndarray, curves: Sequence[_Curve], explained: float, seed: int
) -> str | None:
    """Why the differences between mixes may be noise; null where they are not."""
    import numpy as np

    if explained <= 0:
        return "the weights explain nothing of the losses of mixes left out: their differences are noise so far"
    told = f"the weights explain {explained:.0%} of the losses of mixes left out"
    if explained < LEAST_EXPLAINED:
        return f"{told}, and a best mix needs {LEAST_EXPLAINED:.0%}: their differences may be noise"

    def fitted(losses: np.ndarray, of_sources: Sequence[_Curve]) -> float:
        return _explained(losses @ share, np.stack([curve.left_out for curve in of_sources], -1) @ share)

    reached, generator, as_well = fitted(runs, curves), np.random.default_rng(seed), 0
    for _ in range(SHUFFLES):
        losses = generator.permutation(runs)
        as_well += fitted(losses, [_curve(design, losses[:, i]) for i in range(runs.shape[1])]) >= reached
    chance = (1 + as_well) / (1 + SHUFFLES)
    return f"{told}, and losses dealt out at random are explained as well in {chance:.0%}" if chance > CHANCE else None


def _left_out(design: np.ndarray, runs: np.ndarray) -> np.ndarray:
    """(mixes, held-out sources): losses of each mix by curves that never saw it, floor and penalty included."""
    import numpy as np

    told = np.empty_like(runs)
    for i in range(len(runs)):
        others = np.arange(len(runs)) != i
        for source in range(runs.shape[1]):
            told[i, source] = _curve(design[others], runs[others, source]).at(design[i : i + 1])[0]
    return told


@dataclass(frozen=True)
class _Law:
    """The curves of all held-out sources, and as many again from resampled residuals."""

    sources: list[str]
    natural: np.ndarray
    share: np.ndarray
    curves: list[_Curve]
    resampled: list[list[_Curve]]

    def answer(
        self, candidates: np.ndarray, tried: np.ndarray, explained: float, effects: dict[str, dict[str, float]]
    ) -> WeightsFit:
        import numpy as np

        losses = self._total(self.curves, candidates)
        drawn = np.stack([self._total(curves, candidates) for curves in self.resampled])
        best = int(losses.argmin())
        # The first candidate is the mix as it is.
        improvement = np.maximum(drawn[:, best : best + 1] - drawn, 0).mean(axis=0)
        # Each resample chooses its own best mix: what it promises beyond what that mix has is what choosing flatters.
        chosen = drawn.argmin(axis=1)
        flattery = (drawn[:, 0] - drawn.min(axis=1)) - (losses[0] - losses[chosen])

        def told(i: int) -> Predicted:
            excess = flattery if i == best else (drawn[:, 0] - drawn[:, i]) - (losses[0] - losses[i])
            flattered = float(flattery.mean()) if i == best else 0.0
            gain = float(losses[0] - losses[i])
            low_excess, high_excess = _middle(excess)
            return Predicted(
                weights=dict(zip(self.sources, map(float, candidates[i].round(4)), strict=True)),
                loss=float(losses[i]) + flattered,
                interval=_middle(drawn[:, i] + flattered),
                gain=gain - flattered,
                gain_interval=(gain - high_excess, gain - low_excess),
                improvement=float(improvement[i]),
            )

        untried = [i for i in (best, *np.argsort(-improvement)) if _apart(candidates[i], tried)]
        following: list[int] = []
        for i in untried:
            if _apart(candidates[i], candidates[following]) and len(following) < 3:
                following.append(int(i))
        return WeightsFit(None, told(best), told(0), explained, effects, tuple(map(told, following)))

    def _total(self, curves: list[_Curve], candidates: np.ndarray) -> np.ndarray:
        total: np.ndarray = sum(
            share * curve.at(candidates - self.natural) for share, curve in zip(self.share, curves, strict=True)
        )
        return total


def _middle(values: np.ndarray) -> tuple[float, float]:
    import numpy as np

    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def _apart(weights: np.ndarray, others: np.ndarray, least: float = 0.02) -> bool:
    """Whether some weight differs from each of the others by two points or more."""
    return bool(len(others) == 0 or (abs(others - weights).max(axis=1) >= least).all())


def _curve(design: np.ndarray, losses: np.ndarray) -> _Curve:
    """Choose floor and penalty by the error on runs left out, in nats; then fit them all."""
    import numpy as np

    floors = losses.min() * np.append(0.0, 1 - np.geomspace(0.9, 0.002, FLOORS - 1))
    logs = np.log(losses[:, None] - floors)
    best: tuple[float, float, int, np.ndarray] | None = None
    for penalty in PENALTIES:
        hat = _hat(design, penalty)
        # What the fit without a run says of that run, by the leverage.
        kept = 1 - np.minimum(np.diag(hat), 0.999)[:, None]
        missed = floors + np.exp(logs - (logs - hat @ logs) / kept)
        errors = ((missed - losses[:, None]) ** 2).sum(axis=0)
        chosen = int(errors.argmin())
        if best is None or errors[chosen] < best[0] * (1 - 1e-9):
            best = (float(errors[chosen]), penalty, chosen, missed[:, chosen])
    assert best is not None
    _, penalty, chosen, left_out = best
    return _fitted(design, logs[:, chosen], float(floors[chosen]), penalty, left_out)


def _fitted(design: np.ndarray, logs: np.ndarray, floor: float, penalty: float, left_out: np.ndarray) -> _Curve:
    import numpy as np

    mean = design.mean(axis=0)
    centred = design - mean
    slopes = np.linalg.solve(_penalised(centred, penalty), centred.T @ (logs - logs.mean()))
    fitted = logs.mean() + centred @ slopes
    kept = 1 - np.minimum(np.diag(_hat(design, penalty)), 0.9)
    residuals = (logs - fitted) / np.sqrt(kept)
    return _Curve(floor, float(logs.mean() - mean @ slopes), slopes, fitted, residuals, left_out)


def _penalised(centred: np.ndarray, penalty: float) -> np.ndarray:
    import numpy as np

    spread = float((centred**2).sum()) / centred.shape[1]
    matrix: np.ndarray = centred.T @ centred + (penalty * spread + 1e-12) * np.eye(centred.shape[1])
    return matrix


def _hat(design: np.ndarray, penalty: float) -> np.ndarray:
    """Logarithms of the runs -> those the fit gives them; the mean is not penalised."""
    import numpy as np

    centred = design - design.mean(axis=0)
    matrix: np.ndarray = 1 / len(design) + centred @ np.linalg.solve(_penalised(centred, penalty), centred.T)
    return matrix


def _explained(losses: np.ndarray, left_out: np.ndarray) -> float:
    """1 - (squared error on runs left out) / (that of the mean of the others)."""
    means = (losses.sum() - losses) / (len(losses) - 1)
    return float(1 - ((losses - left_out) ** 2).sum() / max(((losses - means) ** 2).sum(), 1e-300))


def _resampled(design: np.ndarray, curves: Sequence[_Curve], seed: int) -> list[list[_Curve]]:
    """The curves again, from residuals drawn anew; those of one run stay together."""
    import numpy as np

    generator = np.random.default_rng(seed)
    drawn = generator.integers(0, len(design), (RESAMPLES, len(design)))
    return [
        [_curve(design, curve.floor + np.exp(curve.fitted + curve.residuals[rows])) for curve in curves]
        for rows in drawn
    ]


def _effects(curve: _Curve, sources: Sequence[str]) -> dict[str, float]:
    """Change of the loss for ten points more of each source, taken evenly from the others, at the centre."""
    import numpy as np

    slope = curve.slopes * float(np.exp(curve.intercept))
    others = (slope.sum() - slope) / max(1, len(slope) - 1)
    return dict(zip(sources, map(float, 0.1 * (slope - others)), strict=True))


def _candidates(natural: np.ndarray, low: np.ndarray, high: np.ndarray, seed: int) -> np.ndarray:
    """The mix as it is, then mixes drawn around it whose weights lie within what was tried."""
    import numpy as np

    generator = np.random.default_rng(seed)
    flat, near = np.ones(len(natural)), np.maximum(natural, 1e-3) * 4 * len(natural)
    drawn = np.concatenate([generator.dirichlet(a, 4 * CANDIDATES) for a in (flat, near)])
    inside = drawn[((drawn >= low - 1e-9) & (drawn <= high + 1e-9)).all(axis=1)]
    kept: np.ndarray = np.concatenate([natural[None, :], inside[:CANDIDATES]])
    return kept
