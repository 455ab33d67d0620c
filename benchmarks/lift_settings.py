"""With which parameters `selection_lift` tries each selector, and where a stand-in takes a published score's place.

Stand-ins (named as such in the table):
    words     the rarest words of an instruction that others share, where InsTag and MIG have a tagging model's tags
    taste     a linear head on the embedding, taught by AlpacaEval's preferences, as DEITA has a trained scorer
    ifd       by the base model, as DEITA has a trained scorer of complexity
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from curation.operators import Selector, build
from curation.selectors import SELECTORS

TEXTS, STATES = "texts", "states"
"""The embedding of the texts, and the base model's hidden states (weighted by position)."""
TARGET = "source = 'target'"


@dataclass(frozen=True)
class Setting:
    """One line of the table."""

    name: str
    selector: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    vectors: str = TEXTS
    stands_in: str = ""
    """What takes the place of the method's own signal."""

    def build(self) -> Selector:
        """The selector.

        Raises:
            OperatorError: there is no such selector, or it has no such parameter.
        """
        return build("selector", SELECTORS, self.selector, self.parameters)


def _top(name: str, score: str, **parameters: Any) -> Setting:
    return Setting(name, "top-k", {"score": score, **parameters})


SETTINGS = (
    Setting("longest", "longest"),
    _top("shortest", "response_chars", descending=False, min=1),
    Setting("stratified by first word", "stratified", {"by": "first_word"}),
    _top("top-k ifd (loss ratio, <= 1)", "ifd", max=1),
    _top("top-k ifd (perplexity ratio, < 1)", "ifd_ppl", max=0.999999),
    _top("top-k perplexity, high", "ifd_conditional_loss"),
    _top("top-k perplexity, low", "ifd_conditional_loss", descending=False),
    _top("top-k taste", "taste"),
    Setting("quantile-band perplexity 25-75 %", "quantile-band", {"score": "ifd_conditional_loss"}),
    Setting("threshold heuristics = 0", "threshold", {"score": "heuristics", "max": 0}),
    Setting("importance-resampling (GSM8K)", "importance-resampling"),
    _top("top-k importance (GSM8K)", "importance"),
    Setting("k-center", "k-center"),
    Setting("facility-location", "facility-location"),
    Setting("rds, hidden states (GSM8K)", "rds", {"target": TARGET}, STATES),
    Setting("rds, texts (GSM8K)", "rds", {"target": TARGET}),
    Setting("deita", "deita", {"complexity": "ifd", "quality": "taste"}, stands_in="ifd, taste"),
    Setting("instag-diverse", "instag-diverse", {"tags": "words"}, stands_in="words"),
    Setting("mig", "mig", {"tags": "words", "score": "taste"}, stands_in="words, taste"),
    Setting("qdit", "qdit", {"quality": "taste"}, stands_in="taste"),
    Setting("dpp (linear)", "dpp", {"quality": "taste", "kernel": "linear"}, stands_in="taste"),
    Setting("semdedup", "semdedup", {"quality": "taste"}, stands_in="taste"),
    Setting("cluster-quota", "cluster-quota", {"quality": "taste"}, stands_in="taste"),
    Setting("hybrid: ifd + taste, then k-center", "hybrid", {"scores": "ifd=1,taste=1"}, stands_in="taste"),
)


def unset() -> list[str]:
    """Selectors that no line of the table tries; `random` is the band that all are held against."""
    tried = {setting.selector for setting in SETTINGS} | {"random"}
    return [selector.name for selector in SELECTORS if selector.name not in tried]
