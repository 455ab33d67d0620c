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
    """A mean with its interval: one model minus another (nats per answer token, share, points), or of one alone."""

    mean: float
    low: float | None
    """Ends of the 95 % interval over the examples, paired; null with fewer than `FEWEST_EXAMPLES`."""
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
    trained: float | None
    """null where no margin differs from 0: there is nothing to be right about."""
    trained_interval: tuple[float, float] | None
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
    """Mean per token with its 95 % interval over examples: of the bootstrap, for outcomes the exact one.

    Args:
        differences: summed loss of the one model minus that of the other, per example; or, with one token each, -1
            (lost), 0 and 1 (gained) where both are right or wrong.
        tokens: answer tokens per example; an example is drawn with all its tokens.
        seed: of the resampling.
    """
    import numpy as np

    if (tokens == 1).all() and np.isin(differences, (-1, 0, 1)).all():
        return of_outcomes(int((differences == 1).sum()), int((differences == -1).sum()), len(differences))
    return resampled(differences, tokens, seed=seed)


def of_outcomes(gained: int, lost: int, count: int) -> Difference:
    """Change of a share of right answers, with an interval that leaves 0 out only where McNemar's exact test does.

    The bootstrap of a few changes that all go one way never crosses 0; this one is Clopper and Pearson's for gained of
    all that changed, times the share that changed. Where nothing changed it is what of `count` may change unseen.
    """
    mean = (gained - lost) / count
    changed = gained + lost
    if count < FEWEST_EXAMPLES:
        return Difference(mean, None, None)
    if not changed:
        unseen = 1 - 0.025 ** (1 / count)
        return Difference(mean, -unseen, unseen)
    low, high = (changed / count * (2 * end - 1) for end in clopper_pearson(gained, changed))
    return Difference(mean, low, high)


def resampled(differences: np.ndarray, tokens: np.ndarray, *, seed: int = 0) -> Difference:
    """Mean per token with its 95 % bootstrap interval over examples; arguments as of `difference`."""
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
    if not all(math.isfinite(end) for end in (found.mean, found.low or 0.0, found.high or 0.0)):
        return "not proven: a held-out loss is no finite number"
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
    from training.judging.preferences import shares

    found: list[tuple[float | None, tuple[float, float] | None]] = []
    for name in ("trained", "random"):
        if name in losses:
            margin = margins(losses[name], losses["base"])
            told = shares(margin > 0, margin)
            interval = told["accuracy_interval"]
            found.append((told["accuracy"], None if interval is None else (interval[0], interval[1])))
        else:
            found.append((None, None))
    return Preference(len(losses["trained"][0]), *found[0], *found[1])


def clopper_pearson(hits: int, trials: int) -> tuple[float, float]:
    """The exact 95 % interval of a share (Clopper & Pearson 1934); `trials` is at least 1."""
    low = 0.0 if hits == 0 else _share_with_tail(hits, trials)
    high = 1.0 if hits == trials else 1 - _share_with_tail(trials - hits, trials)
    return low, high


def _share_with_tail(hits: int, trials: int) -> float:
    """The share under which `hits` or more come in 2.5 % of all cases."""
    import numpy as np

    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, trials + 1)))])
    k = np.arange(hits, trials + 1)
    ways = logs[trials] - logs[k] - logs[trials - k]
    low, high = 0.0, 1.0
    for _ in range(50):
        share = (low + high) / 2
        tail = np.exp(ways + k * math.log(share) + (trials - k) * math.log1p(-share)).sum()
        low, high = (share, high) if tail < 0.025 else (low, share)
    return low
