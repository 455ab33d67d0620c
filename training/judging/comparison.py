"""Comparing models over the same held-out examples: differences with intervals, and what they prove."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from training.data.encoding import Encoded
from training.judging.held_out import margins

if TYPE_CHECKING:
    import numpy as np

RESAMPLES = 2000
"""Bootstrap samples behind an interval."""
FEWEST_EXAMPLES = 10
"""Held-out examples under which a bootstrap interval says nothing."""
_RESAMPLED_AT_ONCE = 2**22


@dataclass(frozen=True)
class Difference:
    """Trained minus random, in nats per answer token; negative is better than random."""

    mean: float
    low: float | None
    """Ends of the 95 % interval over the held-out examples, paired; null with fewer than `FEWEST_EXAMPLES`."""
    high: float | None


@dataclass(frozen=True)
class SourceRow:
    """Held-out losses, in nats per answer token."""

    source: str | None
    """null for all sources together."""
    examples: int
    tokens: int
    """Answer tokens."""
    base: float
    trained: float
    random: float | None
    difference: Difference | None


@dataclass(frozen=True)
class Preference:
    """How often a model prefers chosen to rejected by more than the base does (summed log-probabilities)."""

    pairs: int
    trained: float
    trained_interval: tuple[float, float]
    """Wilson, 95 %."""
    random: float | None
    random_interval: tuple[float, float] | None


def source_row(source: str | None, rows: Sequence[Encoded], losses: dict[str, np.ndarray]) -> SourceRow:
    """The losses per token of these rows.

    Args:
        source: their name; null for all.
        rows: held-out examples.
        losses: summed loss per example by `base`, `trained` and, where there is a random arm, `random`.
    """
    import numpy as np

    tokens = np.array([sum(row.loss) for row in rows])
    mean = {name: float(values.sum() / tokens.sum()) for name, values in losses.items()}
    found = difference(losses["trained"] - losses["random"], tokens) if "random" in losses else None
    return SourceRow(source, len(rows), int(tokens.sum()), mean["base"], mean["trained"], mean.get("random"), found)


def rows_by_source(rows: Sequence[Encoded], losses: dict[str, np.ndarray]) -> list[SourceRow]:
    """One row per source, sorted by name."""
    result = []
    for source in sorted({row.source for row in rows}):
        at = [i for i, row in enumerate(rows) if row.source == source]
        result.append(source_row(source, [rows[i] for i in at], {name: v[at] for name, v in losses.items()}))
    return result


def difference(differences: np.ndarray, tokens: np.ndarray, *, seed: int = 0) -> Difference:
    """Mean per token with its 95 % bootstrap interval over examples.

    Args:
        differences: summed loss of the one model minus that of the other, per example.
        tokens: answer tokens per example; an example is drawn with all its tokens.
        seed: of the resampling.
    """
    import numpy as np

    mean = float(differences.sum() / tokens.sum())
    count = len(tokens)
    if count < FEWEST_EXAMPLES:
        return Difference(mean, None, None)
    generator = np.random.default_rng(seed)
    means: list[np.ndarray] = []
    for _ in range(0, RESAMPLES, at_once := max(1, min(RESAMPLES, _RESAMPLED_AT_ONCE // count))):
        drawn = generator.integers(0, count, (at_once, count))
        means.append(differences[drawn].sum(axis=1) / tokens[drawn].sum(axis=1))
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return Difference(mean, float(low), float(high))


def verdict(overall: SourceRow) -> str:
    """One sentence; it claims nothing that the interval does not show."""
    found = overall.difference
    if found is None:
        change = overall.trained - overall.base
        return f"held-out loss {overall.trained:.4f}, base {overall.base:.4f} ({change:+.4f}); not compared with random"
    if found.low is None or found.high is None:
        return f"not proven: only {overall.examples} held-out examples, an interval needs {FEWEST_EXAMPLES}"
    shown = f"{found.mean:+.4f} nats per token, 95 % interval {found.low:+.4f} to {found.high:+.4f}"
    if found.high < 0:
        return f"better than random: {shown}"
    if found.low > 0:
        return f"worse than random: {shown}"
    return f"not proven: the interval crosses 0 ({shown})"


def preference(losses: dict[str, tuple[np.ndarray, np.ndarray]]) -> Preference:
    """Accuracy of `trained` and `random` against `base` as the reference; losses are (of chosen, of rejected)."""
    trained = margins(losses["trained"], losses["base"]) > 0
    random = margins(losses["random"], losses["base"]) > 0 if "random" in losses else None
    return Preference(
        pairs=len(trained),
        trained=float(trained.mean()),
        trained_interval=wilson(int(trained.sum()), len(trained)),
        random=None if random is None else float(random.mean()),
        random_interval=None if random is None else wilson(int(random.sum()), len(random)),
    )


def wilson(hits: float, trials: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927): holds also for few trials and shares near 0 or 1."""
    z = 1.959964
    share = hits / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials)) / (1 + z * z / trials)
    return max(0.0, centre - half), min(1.0, centre + half)
