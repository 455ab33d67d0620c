"""Which small runs a search makes: sizes, or weights of sources. Equal seed, equal design."""

from __future__ import annotations

from collections.abc import Mapping

from curation.errors import WinnowError

CONCENTRATION = 4.0
"""Of the Dirichlet draws, per source: low enough to reach mixes of half and double a source's share."""
TRIES = 2_000


def shares_of_size(smallest: float, runs: int) -> list[float]:
    """Shares of the mix from `smallest` to all of it, each as many times the one before.

    Raises:
        WinnowError: the share is not between 0 and 1, or there are fewer than two runs.
    """
    if not 0 < smallest < 1 or runs < 2:
        raise WinnowError(
            f"Sizes from {smallest:g} of the mix in {runs} runs can't be made.",
            fix="give --smallest between 0 and 1, such as 0.0625, and --runs of at least 2",
        )
    return [round(smallest ** (1 - i / (runs - 1)), 6) for i in range(runs)]


def in_words(weights: Mapping[str, float]) -> str:
    """Weights of sources in one line."""
    return ", ".join(f"{name} {share:.0%}" for name, share in weights.items())


def source_weights(
    natural: Mapping[str, float], runs: int, *, most: Mapping[str, float], seed: int = 0
) -> list[dict[str, float]]:
    """Weights of the sources for each run: first the mix as it is, then Dirichlet draws around it.

    Each draw is the best spread of a few: farthest from those before, as a dozen runs should not repeat one another.

    Args:
        natural: source -> share of the mix; together 1.
        runs: how many.
        most: source -> highest share that its samples allow.
        seed: of the draws.

    Raises:
        WinnowError: no weights but the mix's own are possible.
    """
    import numpy as np

    names = sorted(natural)
    centre = np.array([natural[name] for name in names])
    ceiling = np.array([most[name] for name in names])
    generator = np.random.default_rng(seed)
    drawn = generator.dirichlet(np.maximum(centre, 1e-3) * CONCENTRATION * len(names), TRIES)
    possible = drawn[(drawn <= ceiling + 1e-9).all(axis=1)]
    if len(possible) < runs - 1:
        raise WinnowError(
            f"Hardly any weights of {len(names)} sources can be made: no source has many more samples than it gives.",
            fix="give a smaller --share, so that the runs leave samples to choose from",
        )
    chosen = [centre]
    for _ in range(runs - 1):
        apart = np.min([np.abs(possible - other).sum(axis=1) for other in chosen], axis=0)
        # The farthest of a part of the draws: the farthest of all would be the corners.
        few = generator.choice(len(possible), min(len(possible), 12), replace=False)
        chosen.append(possible[few[int(apart[few].argmax())]])
    return [dict(zip(names, map(float, point.round(4)), strict=True)) for point in chosen]
