"""How the held-out loss falls with data: a power law, what the runs leave open of it, and what more data would bring.

Source: the form L(n) = E + A n^-alpha of Hoffmann et al. 2022 (arXiv:2203.15556, equation 2, its term in the data).

Differs from the source: the model's size is fixed, so that E holds its own shortcoming; least squares instead of a
Huber loss of logarithms; intervals by profile likelihood, which stay honest with a handful of runs: for every exponent
the other two are linear, so the whole set of laws that fit nearly as well as the best one is known, not sampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

FEWEST_SIZES = 4
"""Three parameters, and one size more to contradict them."""
ALPHAS = (0.01, 4.0)
"""Exponents that are tried. Published ones for language models lie between 0.05 and 0.6."""
STEPS = 600
AVERAGED = 25
"""Of the exponents that the runs leave open, over which the worth of a run is averaged."""
CONFIDENCE = 0.95

Interval = tuple[float, float]


@dataclass(frozen=True)
class Law:
    """L(n) = floor + scale * n ** -exponent; each interval holds what 95 % of the likelihood leaves open."""

    floor: float
    """E: the loss that no amount of this data goes below, with this model; nats per token."""
    floor_interval: Interval
    scale: float
    """A, in nats per token at n = 1."""
    scale_interval: Interval
    exponent: float
    exponent_interval: Interval
    noise: float
    """Standard deviation of a run's loss about the law."""
    runs: int
    sizes: int

    def at(self, n: float) -> float:
        """The loss with so much data."""
        return float(self.floor + self.scale * n**-self.exponent)


@dataclass(frozen=True)
class Forecast:
    """What a run with more data is expected to reach."""

    n: float
    loss: float
    interval: Interval
    """Of the law at n, 95 %; the noise of a single run comes on top."""
    gain: float
    """How much lower than the law at the largest size that was run."""
    gain_interval: Interval


@dataclass(frozen=True)
class Fit:
    """A law or the reason why there is none, and the curve between the points."""

    law: Law | None
    reason: str | None
    band: list[Forecast]
    """Over the sizes that were run and beyond; empty without a law."""


@dataclass(frozen=True)
class _Slices:
    """Every exponent with its best line: row i of each array belongs to `alphas[i]`."""

    alphas: np.ndarray
    coefficients: np.ndarray
    """(alphas, 2): E, and A at the typical size."""
    covariances: np.ndarray
    """(alphas, 2, 2): inverse of X'X."""
    errors: np.ndarray
    """Sums of squares."""
    centre: float
    """The typical size: n is divided by it, so that E and A are of the same order."""


def fit(sizes: Sequence[float], losses: Sequence[float], *, ahead: Sequence[float] = ()) -> Fit:
    """The law through some runs.

    Args:
        sizes: data of each run, such as tokens; several runs may have the same.
        losses: their held-out losses, nats per token; runs whose loss is not finite are left out.
        ahead: more sizes to forecast, beside those between the smallest and the largest.

    The law is refused, with the reason, when fewer than four sizes were run, when the loss does not fall with data, or
    when exponents up to an end of the range that is tried fit as well.
    """
    import numpy as np

    n, y = _finite(sizes, losses)
    distinct = len(set(n.tolist()))
    if distinct < FEWEST_SIZES:
        return Fit(None, f"a law needs runs of {FEWEST_SIZES} sizes, and there are {distinct}", [])
    slices = _slices(n, y, np.geomspace(*ALPHAS, STEPS))
    best = int(slices.errors.argmin())
    if slices.coefficients[best, 1] <= 0:
        return Fit(None, "the held-out loss does not fall with more data", [])
    allowed = _allowed(slices, len(n), best)
    inside = np.flatnonzero(slices.errors <= allowed)
    if inside[0] == 0 or inside[-1] == STEPS - 1 or _flat_fits(y, allowed):
        return Fit(None, _unidentified(slices.alphas[inside], y, allowed), [])
    slices = _closer(n, y, slices, inside)
    best = int(slices.errors.argmin())
    law = _law(slices, best, _allowed(slices, len(n), best), len(n), distinct)
    grid = np.geomspace(n.min(), max([n.max(), *ahead]), 40).tolist()
    wanted = sorted({*grid, *n.tolist(), *map(float, ahead)})
    return Fit(law, None, [_forecast(slices, law, m, float(n.max()), len(n)) for m in wanted])


def worth_running(
    sizes: Sequence[float], losses: Sequence[float], candidates: Sequence[float], at: float
) -> list[float]:
    """For each candidate the share of the uncertainty about the loss at `at` that one run of this size would take away.

    By the delta method: the variance of the forecast with the candidate's row added to the design, beside that without
    it (a c-optimal design, one step ahead), averaged over the exponents that the runs leave open. Zeros where there are
    fewer than four sizes, or no falling law fits at all.
    """
    import numpy as np

    n, y = _finite(sizes, losses)
    if len(set(n.tolist())) < FEWEST_SIZES:
        return [0.0] * len(candidates)
    slices = _slices(n, y, np.geomspace(*ALPHAS, STEPS))
    best = int(slices.errors.argmin())
    if slices.coefficients[best, 1] <= 0:
        return [0.0] * len(candidates)
    open_ = np.flatnonzero((slices.errors <= _allowed(slices, len(n), best)) & (slices.coefficients[:, 1] > 0))
    few = open_[np.unique(np.linspace(0, len(open_) - 1, AVERAGED).astype(int))]
    worths = [_worth(n, slices, int(i), candidates, at) for i in few]
    return [float(worth) for worth in np.mean(worths, axis=0)]


def _finite(sizes: Sequence[float], losses: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    import numpy as np

    n, y = np.asarray(sizes, dtype=float), np.asarray(losses, dtype=float)
    kept = np.isfinite(n) & np.isfinite(y)
    return n[kept], y[kept]


def _worth(n: np.ndarray, slices: _Slices, place: int, candidates: Sequence[float], at: float) -> list[float]:
    """What the candidates are worth if the law in this place is the true one."""
    import numpy as np

    scale, alpha = slices.coefficients[place, 1], slices.alphas[place]

    def row(m: float) -> np.ndarray:
        power = (m / slices.centre) ** -alpha
        return np.array([1.0, power, -scale * power * np.log(m / slices.centre)])

    # A little of the identity: with an exponent at an end of the range, the design alone has no inverse.
    information = sum(np.outer(row(m), row(m)) for m in n) + 1e-9 * np.eye(3)
    target = row(at)
    before = float(target @ np.linalg.solve(information, target))
    after = (float(target @ np.linalg.solve(information + np.outer(row(m), row(m)), target)) for m in candidates)
    return [1 - found / before for found in after]


def _slices(n: np.ndarray, y: np.ndarray, alphas: np.ndarray) -> _Slices:
    import numpy as np

    centre = float(np.exp(np.log(n).mean()))
    powers = (n[None, :] / centre) ** -alphas[:, None]
    count, sums, squares = len(n), powers.sum(axis=1), (powers**2).sum(axis=1)
    determinant = np.maximum(count * squares - sums**2, 1e-300)
    inverse = np.stack([np.stack([squares, -sums], -1), np.stack([-sums, np.full_like(sums, count)], -1)], -2)
    covariances = inverse / determinant[:, None, None]
    products = np.stack([np.full(len(alphas), y.sum()), powers @ y], -1)
    found = np.einsum("aij,aj->ai", covariances, products)
    # A loss is never below 0: where the line would have a negative floor, it goes through 0.
    below = found[:, 0] < 0
    found[below] = np.stack([np.zeros(below.sum()), products[below, 1] / squares[below]], -1)
    rest = y[None, :] - found[:, :1] - found[:, 1:] * powers
    return _Slices(alphas, found, covariances, (rest**2).sum(axis=1), centre)


def _allowed(slices: _Slices, count: int, best: int) -> float:
    """The sum of squares up to which a law is not excluded: the noise is estimated from the runs themselves."""
    from scipy.stats import t

    freedom = count - 3
    quantile = float(t.ppf((1 + CONFIDENCE) / 2, freedom)) ** 2
    # Runs that happen to lie on the law to the last digit would exclude the truth.
    least = max(float(slices.errors[best]), count * (1e-6 * float(abs(slices.coefficients[best]).max())) ** 2)
    return least * (1 + quantile / freedom)


def _flat_fits(y: np.ndarray, allowed: float) -> bool:
    return float(((y - y.mean()) ** 2).sum()) <= allowed


def _unidentified(alphas: np.ndarray, y: np.ndarray, allowed: float) -> str:
    told = f"{len(y)} runs do not settle the exponent: any from {alphas[0]:.2g} to {alphas[-1]:.2g} fits about as well"
    if _flat_fits(y, allowed):
        told += f", and {len(y)} runs for 3 parameters do not even exclude that nothing falls"
    return f"{told} (tried: {ALPHAS[0]:g} to {ALPHAS[1]:g})"


def _closer(n: np.ndarray, y: np.ndarray, slices: _Slices, inside: np.ndarray) -> _Slices:
    """The same over the exponents that are not excluded alone, in as many steps."""
    import numpy as np

    low, high = slices.alphas[inside[0] - 1], slices.alphas[inside[-1] + 1]
    return _slices(n, y, np.geomspace(low, high, STEPS))


def _law(slices: _Slices, best: int, allowed: float, count: int, distinct: int) -> Law:
    import numpy as np

    inside = slices.errors <= allowed
    raised = slices.centre**slices.alphas
    floor, scale = slices.coefficients[best]
    return Law(
        floor=float(floor),
        floor_interval=_spread(slices, np.array([1.0, 0.0])[None, :], allowed),
        scale=float(scale * raised[best]),
        scale_interval=_spread(slices, np.stack([np.zeros_like(raised), raised], -1), allowed),
        exponent=float(slices.alphas[best]),
        exponent_interval=(float(slices.alphas[inside].min()), float(slices.alphas[inside].max())),
        noise=float(np.sqrt(slices.errors[best] / (count - 3))),
        runs=count,
        sizes=distinct,
    )


def _spread(slices: _Slices, functional: np.ndarray, allowed: float, *, least: float = 0.0) -> Interval:
    """Lowest and highest value of a linear function of (E, A) over all laws that are not excluded.

    Args:
        slices: the laws.
        functional: (alphas, 2) or (1, 2).
        allowed: sum of squares.
        least: no value is below.
    """
    import numpy as np

    inside = slices.errors <= allowed
    functional = np.broadcast_to(functional, slices.coefficients.shape)[inside]
    centre = (functional * slices.coefficients[inside]).sum(axis=1)
    variance = np.einsum("ai,aij,aj->a", functional, slices.covariances[inside], functional)
    half = np.sqrt(np.maximum(allowed - slices.errors[inside], 0) * np.maximum(variance, 0))
    return max(least, float((centre - half).min())), max(least, float((centre + half).max()))


def _forecast(slices: _Slices, law: Law, n: float, largest: float, count: int) -> Forecast:
    import numpy as np

    allowed = _allowed(slices, count, int(slices.errors.argmin()))
    powers = (n / slices.centre) ** -slices.alphas
    fallen = (largest / slices.centre) ** -slices.alphas - powers
    return Forecast(
        n=float(n),
        loss=law.at(n),
        interval=_spread(slices, np.stack([np.ones_like(powers), powers], -1), allowed),
        gain=law.at(largest) - law.at(n),
        gain_interval=_spread(slices, np.stack([np.zeros_like(fallen), fallen], -1), allowed, least=-np.inf),
    )
