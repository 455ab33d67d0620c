"""How near answers are to reference answers: ROUGE and BLEU, for languages with and without spaces.

Source: ROUGE of Lin 2004, as the package rouge-score has it; BLEU of Papineni et al. 2002, as sacreBLEU has it (Post
    2018, arXiv 1804.08771).

Differs from the source: tokens for ROUGE are words in lower case and single Chinese or Japanese characters (the
    package's own tokens leave all letters but a-z out); no stemming. BLEU takes sacreBLEU's tokens `char` as soon as
    one reference has kana (`zh` leaves those together), `zh` as soon as one has Chinese characters, else `13a`.

Both measure wording, not truth: a right answer in other words scores low.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from training.judging.comparison import FEWEST_EXAMPLES, RESAMPLES, Difference, resampled

ROUGES = {"rouge1": "rouge1", "rouge2": "rouge2", "rougeL": "rougeL"}
NOT_INSTALLED = "sacrebleu or rouge-score is not installed: pip install 'winnow-studio[judge]'"
NO_REFERENCE = "there is no reference answer"
_CHINESE = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_KANA = re.compile(r"[\u3040-\u30ff]")
_TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[^\W_\u3040-\u30ff\u3400-\u9fff]+")


@dataclass(frozen=True)
class References:
    """What one model's answers have in common with the references."""

    model: str
    answers: int
    rouge1: Difference
    """F1, 0..1, mean over answers; so are the next two."""
    rouge2: Difference
    rougeL: Difference  # noqa: N815 - its name everywhere
    bleu: Difference
    """Of the whole corpus of answers, 0..100, resampled over answers."""


class Tokens:
    """Words in lower case; of scripts without spaces each character."""

    def tokenize(self, text: str) -> list[str]:
        """The tokens of a text."""
        return _TOKEN.findall(text.casefold())


def installed() -> bool:
    """Whether the libraries are here; loads neither."""
    return all(importlib.util.find_spec(name) is not None for name in ("sacrebleu", "rouge_score"))


def rouge(answers: Sequence[str], references: Sequence[str]) -> list[dict[str, float]]:
    """F1 of ROUGE-1, 2 and L of each answer, 0..1."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(list(ROUGES), tokenizer=Tokens())
    found = (scorer.score(reference, answer) for answer, reference in zip(answers, references, strict=True))
    return [{name: float(scores[name].fmeasure) for name in ROUGES} for scores in found]


def sentence_bleu(answers: Sequence[str], references: Sequence[str]) -> list[float]:
    """BLEU of each answer by itself, 0..100, with only the orders of n-grams that it has; to sort by, not to report."""
    bleu = _bleu(references, effective_order=True)
    return [float(bleu.sentence_score(a, [r]).score) for a, r in zip(answers, references, strict=True)]


def corpus_bleu(answers: Sequence[str], references: Sequence[str], *, resamples: int = RESAMPLES) -> Difference:
    """BLEU of all answers together, 0..100, with the interval of bootstrap samples of answers."""
    import numpy as np

    score = float(_bleu(references).corpus_score(list(answers), [list(references)]).score)
    if len(answers) < FEWEST_EXAMPLES:
        return Difference(score, None, None)
    bleu = _bleu(references, effective_order=True)  # counts are the same, without a warning for each short answer
    counts = np.array([_statistics(bleu, a, r) for a, r in zip(answers, references, strict=True)], dtype=np.int64)
    generator = np.random.default_rng(0)
    drawn = (counts[generator.integers(0, len(counts), len(counts))].sum(axis=0) for _ in range(resamples))
    low, high = np.percentile([_of_counts(bleu, total) for total in drawn], [2.5, 97.5])
    return Difference(score, float(low), float(high))


def summary(
    model: str, rows: Sequence[dict[str, Any]], answers: Sequence[str], references: Sequence[str]
) -> References:
    """The means over one model's answers; `rows` as `rouge` gives them."""
    rouges = {name: mean([row[name] for row in rows]) for name in ROUGES}
    return References(model, len(rows), **rouges, bleu=corpus_bleu(answers, references))


def mean(values: Sequence[float]) -> Difference:
    """The mean with its bootstrap interval."""
    import numpy as np

    return resampled(np.array(values, dtype=float), np.ones(len(values)))


def is_chinese(text: str) -> bool:
    """Whether there are Chinese or Japanese characters in it."""
    return _CHINESE.search(text) is not None


def _bleu(references: Sequence[str], *, effective_order: bool = False) -> Any:
    from sacrebleu.metrics.bleu import BLEU

    tokens = "char" if any(map(_KANA.search, references)) else "zh" if any(map(is_chinese, references)) else "13a"
    return BLEU(tokenize=tokens, effective_order=effective_order)


def _statistics(bleu: Any, answer: str, reference: str) -> list[int]:
    one = bleu.sentence_score(answer, [reference])
    return [one.sys_len, one.ref_len, *one.counts, *one.totals]


def _of_counts(bleu: Any, total: Any) -> float:
    n = (len(total) - 2) // 2
    made = bleu.compute_bleu(
        correct=total[2 : 2 + n].tolist(),
        total=total[2 + n :].tolist(),
        sys_len=int(total[0]),
        ref_len=int(total[1]),
        smooth_method=bleu.smooth_method,
        smooth_value=bleu.smooth_value,
    )
    return float(made.score)
