"""What new samples are compared with: the corpus as it was before the run, and what the run has made."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from curation.errors import OperatorError
from curation.sample import Sample
from synthesis.known_texts import KnownTexts, Objection
from synthesis.synthesizer import Outcome

if TYPE_CHECKING:
    from synthesis.acceptance import Acceptance
    from synthesis.drawing import Samples
    from synthesis.known_texts import Encode

Kind = Literal["instruction", "both"]
FITTED_ON = 4_000
"""Texts that the lexical encoder is fitted on, the first ones by id: ids are hashes, so these are drawn at random."""
FEWEST_TO_FIT = 100
"""With fewer the lexical vectors have so few dimensions that texts with nothing in common are alike."""


class Compared:
    """Both, by instruction or by instruction and answer.

    Each kind of text is read and indexed when it is first asked for: after what earlier commands made is remembered,
    which is in the corpus too and does not count as such.
    """

    def __init__(self, rules: Acceptance, corpus: Samples, seeds: Sequence[Sample]) -> None:
        self._rules = rules
        self._corpus = corpus
        self._seeds = [seed for seed in seeds if given_text(seed)]
        self._before: dict[Kind, KnownTexts] = {}
        self._made: dict[Kind, KnownTexts] = {}
        self._rows: list[tuple[str, str, str]] = []
        self._own: set[str] = set()
        self._siblings: dict[str, list[str]] = {}
        self._reading = threading.Lock()
        self._encode: Encode | None = None
        if rules.max_cosine is not None and rules.encoder == "lexical":
            _check_enough(corpus.frame(["id"]).height)

    def remember(self, ids: Sequence[str], instructions: Sequence[str], responses: Sequence[str]) -> None:
        """Samples that earlier commands of the run have made."""
        self._own.update(ids)
        self._add(list(zip(ids, instructions, responses, strict=True)))

    def accept(self, seed: Sample, made: Sample) -> None:
        """A new sample that was accepted."""
        # All that is made of a seed sample is decided by one command, in one go.
        self._siblings.setdefault(seed.id, []).append(made.id)
        self._add([(made.id, made.instruction, made.response)])

    def _add(self, rows: list[tuple[str, str, str]]) -> None:
        self._rows += rows
        for kind, known in self._made.items():
            known.add([row[0] for row in rows], _texts(rows, kind))

    def to_corpus(self, seed: Sample, outcome: Outcome) -> Objection | None:
        """What the corpus has against an outcome."""
        kind = self._kind(seed, outcome)
        with self._reading:  # steps that run programs are resumed in threads
            if kind not in self._before:
                self._before[kind] = self._read(kind)
        return self._objection(self._before[kind], kind, seed, outcome)

    def to_made(self, seed: Sample, outcome: Outcome) -> Objection | None:
        """What the samples that were accepted before have against an outcome."""
        kind = self._kind(seed, outcome)
        if kind not in self._made:
            self._made[kind] = self._none_known()
            self._made[kind].add([row[0] for row in self._rows], _texts(self._rows, kind))
        return self._objection(self._made[kind], kind, seed, outcome)

    def _objection(self, known: KnownTexts, kind: Kind, seed: Sample, outcome: Outcome) -> Objection | None:
        made = Sample(outcome.messages)
        text = _texts([("", made.instruction, made.response)], kind)[0]
        if self._rules.parents_count:
            return known.objection(text, ())
        return known.objection(text, {seed.id, *outcome.parents}, self._siblings.get(seed.id, ()))

    def _kind(self, seed: Sample, outcome: Outcome) -> Kind:
        if self._rules.compare != "auto":
            return self._rules.compare
        asked = Sample(outcome.messages).instruction.strip()
        return "both" if not asked or asked == seed.instruction.strip() else "instruction"

    def _none_known(self) -> KnownTexts:
        rules = self._rules
        if rules.max_cosine is not None and self._encode is None:
            self._encode = self._opened()
        return KnownTexts(rules.exact, rules.max_rouge, rules.max_cosine, self._encode)

    def _read(self, kind: Kind) -> KnownTexts:
        known = self._none_known()
        rows = self._in_corpus()
        is_seed = {seed.id for seed in self._seeds}
        seeds = [row for row in rows if row[0] in is_seed]
        others = [row for row in rows if row[0] not in is_seed]
        known.add([row[0] for row in seeds], _texts(seeds, kind))
        known.add([row[0] for row in others], _texts(others, kind), encoded=False)
        return known

    def _in_corpus(self) -> list[tuple[str, str, str]]:
        """Id, instruction and response of the samples that were there before the run, by id."""
        frame = self._corpus.frame(["id", "instruction", "response", "operator"], order="id")
        rows = frame.iter_rows()
        return [(i, q or "", a or "") for i, q, a, by in rows if by is None or i not in self._own]

    def _opened(self) -> Encode:
        from curation.language_models.encoders import open_encoder

        def fit_on() -> list[str]:
            return _texts(self._in_corpus()[:FITTED_ON], "both")

        return open_encoder(self._rules.encoder, fit_on=fit_on).encode


def _check_enough(samples: int) -> None:
    if samples < FEWEST_TO_FIT:
        raise OperatorError(
            f"max_cosine: the lexical encoder has {samples} samples to learn from, fewer than {FEWEST_TO_FIT}.",
            fix="leave max_cosine out, or name another encoder (encoder=sentence-transformers:NAME)",
        )


def given_text(seed: Sample) -> str:
    """The instruction of a seed sample, or its text where it has none; empty where a synthesizer made it up."""
    from synthesis.shards import OWN_SEED  # that module imports the acceptance rules

    return "" if seed.metadata.get(OWN_SEED) else seed.instruction or seed.response


def _texts(rows: Sequence[tuple[str, str, str]], kind: Kind) -> list[str]:
    return [f"{asked}\n\n{answer}".strip() if kind == "both" else asked for _, asked, answer in rows]
