"""From encoded samples to the rows that a trainer is given: packed, ordered, with their labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from curation.errors import WinnowError
from training.config import TrainConfig
from training.data.encoding import Encoded
from training.data.ordering import Phase, drawn, phases
from training.data.packing import PACKINGS, Piece, Row, efficiency, packed
from training.data.relatedness import related_order
from training.data.training_set import TrainingSet

_READ = 500
"""Tokens of a text that are compared with others."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The rows of a run."""

    rows: list[Row]
    """Pieces of the samples, whose numbers are places in the training set."""
    drawn: list[int] | None = None
    """Rows in the order they are trained on, all passes included; null: the trainer orders every pass."""
    phases: tuple[Phase, ...] = ()
    without_loss: int = 0
    """Wrapped rows that hold no label, as a long prompt fills them: they are left out."""


def rows_of(data: TrainingSet, config: TrainConfig) -> Layout:
    """The rows of a run that has no stages."""
    in_order = config.order in ("mix", "related")
    return _learnable(data, packed(_lengths(data), config.max_length, config.packing, in_order=in_order))


def staged(data: TrainingSet, config: TrainConfig, processes: int = 1) -> Layout:
    """The rows of a run in stages: samples are packed with those of their own stage only.

    Where max_steps is given, the stages share the steps as they share the rows: a short run sees every stage. Else each
    has all its epochs before the next begins.

    Args:
        data: with the stages of the mix. A random arm has none, and is one stage.
        config: with replay, and wsd's decay_ratio (see `training.data.ordering`).
        processes: that train together.

    Raises:
        WinnowError: the mix has no stages.
    """
    if not data.stages and config.arm == "mix":
        raise WinnowError(
            "The mix has no stages, which order 'staged' goes by.",
            fix="export it with --part NAME@STAGE for every part, or choose order shuffled",
        )
    fall = config.decay_ratio if config.scheduler == "wsd" else None
    lengths = _lengths(data)
    made = phases(
        [row.stage for row in data.rows],
        data.stages,
        seed=config.seed,
        replay=config.replay,
        fall=fall,
        costs=[1] * len(lengths) if config.packing == "none" else lengths,
    )
    rows: list[Row] = []
    counts, without_loss = [], 0
    for phase in made:
        places = packed([lengths[i] for i in phase.samples], config.max_length, config.packing)
        own = _learnable(
            data, [[piece._replace(sample=phase.samples[piece.sample]) for piece in row] for row in places]
        )
        rows += own.rows
        counts.append(len(own.rows))
        without_loss += own.without_loss
    total = config.max_steps * config.batch_size * config.accumulation * processes if config.max_steps else None
    order = drawn(counts, epochs=config.epochs, seed=config.seed, total=total)
    return Layout(rows, order, tuple(made), without_loss)


def related(rows: Sequence[Encoded], tokenizer: Any) -> list[Encoded]:
    """The rows with similar texts next to each other; the pieces of a document stay together."""
    texts = [list(pieces) for _, pieces in groupby(rows, key=_Whole())]
    order = related_order([tokenizer.decode(pieces[0].ids[:_READ], skip_special_tokens=True) for pieces in texts])
    return [row for i in order for row in texts[i]]


def columns(samples: Sequence[Encoded], rows: Sequence[Row], marks: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """What the trainer reads, per row: `input_ids`, `labels`, `seq_lengths` (of its pieces), and the marks.

    Args:
        samples: the training set.
        rows: pieces of them.
        marks: name of a column -> a number for each sample, which every token of it gets.
    """
    labels = [_labels(sample) for sample in samples]
    made: dict[str, Any] = {
        "input_ids": [[t for p in row for t in samples[p.sample].ids[p.start : p.stop]] for row in rows],
        "labels": [[t for p in row for t in labels[p.sample][p.start : p.stop]] for row in rows],
        "seq_lengths": [[piece.tokens for piece in row] for row in rows],
    }
    for name, numbers in marks.items():
        made[name] = [[numbers[p.sample] for p in row for _ in range(p.tokens)] for row in rows]
    return made


def told_of(data: TrainingSet, config: TrainConfig, layout: Layout) -> dict[str, Any]:
    """What the `loaded` event says of the rows: how full they are under every packing, and what each stage holds."""
    lengths = _lengths(data)
    fills = {name: efficiency(lengths, config.max_length, name, batch_size=config.batch_size) for name in PACKINGS}
    told: dict[str, Any] = {"packing": config.packing, "packings": {name: asdict(f) for name, f in fills.items()}}
    if config.packing != "none":
        tokens = sum(piece.tokens for row in layout.rows for piece in row)
        told |= {
            "packed_rows": len(layout.rows),
            "fill": round(tokens / (len(layout.rows) * config.max_length), 4),
            "rows_without_loss": layout.without_loss,
        }
    if layout.phases:
        told["stages"] = [
            {
                "stage": phase.stage,
                "rows": len(phase.samples),
                "tokens": sum(lengths[i] for i in phase.samples),
                "replayed": phase.replayed,
                "brought": phase.brought,
            }
            for phase in layout.phases
        ]
    return told


def _lengths(data: TrainingSet) -> list[int]:
    return [len(row.ids) for row in data.rows]


def _learnable(data: TrainingSet, rows: list[Row]) -> Layout:
    """Without the rows that hold no label: a step of nothing but such rows has no loss."""
    kept = [row for row in rows if any(_learns(data.rows[p.sample], p, first=p is row[0]) for p in row)]
    return Layout(kept, without_loss=len(rows) - len(kept))


def _learns(sample: Encoded, piece: Piece, *, first: bool) -> bool:
    # Nothing comes before a row's first token: it is never predicted.
    return any(sample.loss[piece.start + first : piece.stop])


def _labels(sample: Encoded) -> list[int]:
    labels = sample.labels
    if sample.continues:  # wrapped, it follows what it is predicted from; else the trainer has it begin a sequence
        labels[0] = sample.ids[0]
    return labels


class _Whole:
    """Key of `groupby`: a number for each run of rows that are pieces of one document."""

    def __init__(self) -> None:
        self._number = -1

    def __call__(self, row: Encoded) -> int:
        self._number += not row.continues
        return self._number
