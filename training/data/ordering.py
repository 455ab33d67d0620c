"""Staged mixes: which samples every stage trains on, and in what order rows are drawn. Pure and seeded.

Stages follow one another as the manifest has them. A later stage repeats some samples of earlier ones (replay), so that
what came first is not forgotten. With a rate that falls at the end (wsd) the last stage, where the best data belongs,
is laid into the fall: it always comes last, and where it is shorter than the fall it is mixed with samples that the
stage before would have had at its end, so that it is spread over the whole fall and nothing of it is seen at the high
rate. Where it is longer, it begins before the rate falls. Either way no sample is lost.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Phase:
    """What is trained on in one stage."""

    stage: str
    samples: list[int]
    """Numbers of the samples, shuffled by the seed; one that is replayed more than once stands here as often."""
    replayed: int = 0
    """Samples among them that repeat earlier stages."""
    brought: int = 0
    """Samples among them of the stages before, which fill up the fall of the rate."""


def phases(
    stages: Sequence[str | None],
    names: Sequence[str],
    *,
    seed: int,
    replay: float = 0.0,
    fall: float | None = None,
    costs: Sequence[int] = (),
) -> list[Phase]:
    """The stages of a run; one that has no samples is left out.

    Args:
        stages: of every sample.
        names: the stages in their order; samples of another stage, or of none, come before all of them.
        seed: of the order inside a stage and of what is replayed.
        replay: share of every later stage that repeats earlier ones, from 0 to below 1.
        fall: share of the run in which the rate falls, where the last stage is to be laid into it.
        costs: how long every sample takes, in any unit; for `fall` alone.
    """
    own: dict[str, list[int]] = {name: [] for name in ("", *names)}
    for sample, stage in enumerate(stages):
        own[stage if stage in own else ""].append(sample)
    made: list[Phase] = []
    earlier: list[int] = []
    for name, samples in own.items():
        if not samples:
            continue
        again = _replayed(earlier, len(samples), replay, random.Random(f"{seed}/replay/{name}"))
        made.append(Phase(name, _shuffled(samples + again, f"{seed}/{name}"), len(again)))
        earlier += samples
    if fall is not None and len(made) > 1:
        _lay_into_the_fall(made, fall, costs, seed)
    return [phase for phase in made if phase.samples]


def drawn(counts: Sequence[int], *, epochs: float, seed: int, total: int | None = None) -> list[int]:
    """Numbers of the rows in the order they are trained on: phase after phase, each shuffled anew in every pass.

    Args:
        counts: rows of every phase; those of the first phase have the first numbers.
        epochs: passes over every phase before the next one begins.
        seed: of the shuffling.
        total: rows in all, instead of epochs: the phases share them as they share the rows there are.
    """
    wanted = [round(count * epochs) for count in counts] if total is None else _apportioned(counts, total)
    order: list[int] = []
    first = 0
    for phase, (count, want) in enumerate(zip(counts, wanted, strict=True)):
        rows: list[int] = []
        for epoch in range(-(-want // count) if count else 0):
            rows += _shuffled(range(first, first + count), f"{seed}/{phase}/{epoch}")
        order += rows[:want]
        first += count
    return order


def _replayed(earlier: Sequence[int], own: int, replay: float, chance: random.Random) -> list[int]:
    wanted = round(own * replay / (1 - replay)) if earlier else 0
    again: list[int] = []
    while len(again) < wanted:
        again += chance.sample(earlier, min(len(earlier), wanted - len(again)))
    return again


def _lay_into_the_fall(made: list[Phase], fall: float, costs: Sequence[int], seed: int) -> None:
    total = sum(costs[i] for phase in made for i in phase.samples)
    last = made[-1]
    missing = fall * total - sum(costs[i] for i in last.samples)
    before = [phase for phase in made[:-1] if phase.samples]
    while before:
        taken = costs[before[-1].samples[-1]]
        # To the nearest sample: half of one too many is as good as half too few.
        if missing < taken / 2:
            break
        last.samples.append(before[-1].samples.pop())
        last.brought += 1
        missing -= taken
        before = [phase for phase in before if phase.samples]
    last.samples = _shuffled(last.samples, f"{seed}/fall")


def _apportioned(counts: Sequence[int], total: int) -> list[int]:
    """The total shared by the counts; what rounding leaves over goes to the largest remainders."""
    exact = [count * total / max(sum(counts), 1) for count in counts]
    shares = [int(share) for share in exact]
    by_remainder = sorted(range(len(counts)), key=lambda i: (shares[i] - exact[i], i))
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return shares


def _shuffled(samples: Sequence[int], seed: str) -> list[int]:
    shuffled = list(samples)
    random.Random(seed).shuffle(shuffled)
    return shuffled
