"""Which rows a run trains on: those of the mix, or as many tokens of random samples of its pool."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from curation.errors import WinnowError
from training.config import TrainConfig
from training.data.encoding import Account, Encoded, Encoder, prefix_of_tokens, rejected_side
from training.data.mix_folder import Example, MixFolder


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """The rows that are trained on."""

    rows: list[Encoded]
    examples: list[Example]
    """The same rows as conversations, for trainers that encode them themselves; empty where that was not asked for."""
    account: Account
    mix_tokens: int
    """Tokens of the mix: what the random arm must match."""
    stages: tuple[str, ...] = ()
    """The stages of a staged mix, in their order."""

    @property
    def sources(self) -> list[str]:
        """The names of the sources, sorted."""
        return sorted({row.source for row in self.rows})

    @property
    def notes(self) -> list[str]:
        """What the chat template could not take as it was, each with the number of rows."""
        return [f"{rows} rows: {note}." for note, rows in self.account.notes.items()]

    def sha256(self) -> str:
        """Hash of all token ids and labels: equal hash, equal batches."""
        digest = hashlib.sha256()
        for row in self.rows:
            digest.update(array("q", row.ids).tobytes() + array("q", row.labels).tobytes())
        return digest.hexdigest()


def training_set(
    mix: MixFolder, config: TrainConfig, encoder: Encoder, *, pairs: bool = False, conversations: bool = False
) -> TrainingSet:
    """Read and encode the rows of the config's arm.

    Args:
        mix: the folder.
        config: its arm and length.
        encoder: turns rows into token ids.
        pairs: leave out rows without a rejected answer that can be read.
        conversations: keep the rows as conversations too.

    Tokens are counted with the run's own tokenizer, template and prompts included, after cutting: what the model reads,
    and so what a step costs. Both arms pass over their rows equally often.

    Raises:
        WinnowError: no row is left.
    """
    examples: list[Example] = []
    account = Account()
    kept = examples if conversations else None
    rows = list(_encoded(encoder, mix.examples("train"), account, kept, pairs=pairs))
    mix_tokens = account.tokens
    if config.arm == "random":
        examples.clear()
        seen = Account()
        encoded = _encoded(encoder, mix.examples("random"), seen, kept, pairs=pairs)
        rows = list(prefix_of_tokens(encoded, mix_tokens))
        # Of the rows that were read, the last may not be among those that are trained on.
        account = Account(dropped=seen.dropped)
        for row in rows:
            account.add(row)
        del examples[len(rows) :]
    if not rows:
        raise _nothing_left(mix, config, account)
    stages = tuple(mix.stages()) if config.order == "staged" and config.arm == "mix" else ()
    return TrainingSet(rows, examples, account, mix_tokens, stages)


def _encoded(
    encoder: Encoder, examples: Iterable[Example], account: Account, kept: list[Example] | None, *, pairs: bool
) -> Iterator[Encoded]:
    for example in examples:
        pieces = encoder.pieces(example)
        rejected = _rejected(encoder, example) if pairs else None
        if isinstance(pieces, str) or isinstance(rejected, str):
            account.dropped[str(pieces if isinstance(pieces, str) else rejected)] += 1
            continue
        cut = rejected is not None and rejected.truncated
        for piece in (replace(piece, truncated=True) for piece in pieces) if cut else pieces:
            account.add(piece)
            if kept is not None:
                kept.append(encoder.prepared(example))
            yield piece


def _rejected(encoder: Encoder, example: Example) -> Encoded | str:
    if example.rejected is None:
        return "it has no rejected answer"
    rejected = encoder.encode(rejected_side(example))
    return f"rejected side: {rejected}" if isinstance(rejected, str) else rejected


def _nothing_left(mix: MixFolder, config: TrainConfig, account: Account) -> WinnowError:
    if not account.dropped:
        return WinnowError(f"The mix {mix.path} has no rows for the arm {config.arm!r}.", fix="export the mix again")
    reason, count = account.dropped.most_common(1)[0]
    return WinnowError(
        f"No row of {mix.path} can be trained on; the commonest reason ({count} rows): {reason}.",
        fix=f"raise max_length (it is {config.max_length})" if "max_length" in reason else "export another format",
    )
