"""`winnow warm-up`: which conversations the small model learns from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from curation.corpus import Corpus
from curation.errors import OperatorError, unknown
from curation.progress import Progress
from curation.storage.sql import working
from curation.warm_up import WarmUpSettings, warm_up

if TYPE_CHECKING:
    from curation.warm_up import WarmUpReport


def warm_up_corpus(corpus: Corpus, settings: Mapping[str, str], seed: int, progress: Progress) -> WarmUpReport:
    """Train the corpus' own causal LM on every sample that is not held out.

    Raises:
        OperatorError: a setting is unknown or no number.
        WinnowError: there is no text, or torch is not installed.
    """
    given = _settings(settings)
    frame = corpus.frame(["messages"], where=working("NOT held_out"))
    return warm_up(
        frame["messages"].to_list(), corpus.path / "models" / "warm-up", seed=seed, settings=given, progress=progress
    )


def _settings(given: Mapping[str, str]) -> WarmUpSettings:
    fields = {f.name: f for f in dataclasses.fields(WarmUpSettings)}
    values: dict[str, Any] = {}
    for name, text in given.items():
        if name not in fields:
            raise unknown("setting", name, fields)
        kind = float if fields[name].type in (float, "float") else int
        try:
            values[name] = kind(text)
        except ValueError:
            raise OperatorError(
                f"The setting {name!r} is not a number: {text!r}.", fix=f"write --set {name}=NUMBER"
            ) from None
    return WarmUpSettings(**values)
