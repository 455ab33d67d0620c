from __future__ import annotations

import numpy as np
import pytest

from training.judging.references import (
    NOT_INSTALLED,
    Tokens,
    _bleu,
    _of_counts,
    _statistics,
    corpus_bleu,
    rouge,
    sentence_bleu,
)
from training.judging.verified import references_of, score

sacrebleu = pytest.importorskip("sacrebleu")
pytest.importorskip("rouge_score")


def test_rouge_equals_what_one_counts_by_hand() -> None:
    # Answer 3 words, reference 4, two in common and in order; of 2 and 3 bigrams one.
    found = rouge(["the cat ran"], ["The cat sat down"])[0]
    assert found["rouge1"] == pytest.approx(4 / 7)
    assert found["rouge2"] == pytest.approx(2 * (1 / 2 * 1 / 3) / (1 / 2 + 1 / 3))
    assert found["rougeL"] == pytest.approx(4 / 7)


def test_chinese_is_counted_by_characters_and_other_letters_are_words() -> None:
    assert Tokens().tokenize("龙井茶 is Grün, 3杯") == ["龙", "井", "茶", "is", "grün", "3", "杯"]
    assert rouge(["绿茶很香"], ["红茶很香"])[0]["rouge1"] == pytest.approx(3 / 4)
    assert sentence_bleu(["这是一种香气很好的茶"], ["这是一种香气很好的茶"])[0] == pytest.approx(100)


def test_japanese_is_counted_by_characters_kana_too() -> None:
    japanese = "これはとてもおいしいお茶です"
    assert sentence_bleu([japanese[:-1] + "だ"], [japanese])[0] > 80
    assert _bleu([japanese, "绿茶"]).tokenizer.signature() == "char"


def test_bleu_of_a_corpus_has_an_interval_that_holds_it() -> None:
    references = [f"the number {n} comes after the number {n - 1} and is not small" for n in range(30)]
    answers = [r if i % 2 else r.replace("number", "figure") for i, r in enumerate(references)]
    found = corpus_bleu(answers, references, resamples=200)
    assert found.low is not None
    assert found.high is not None
    assert 0 < found.low < found.mean < found.high < 100
    assert corpus_bleu(answers[:3], references[:3]).low is None


@pytest.mark.parametrize(
    "answers, references",
    [
        (["a b c d e f", "x y z w v"], ["a b c d e g", "x y z q v"]),
        (["a b q r", "n o p x"], ["a b c d e g", "x y z q v"]),
    ],
)
def test_the_score_of_resampled_counts_is_sacrebleus_own(answers: list[str], references: list[str]) -> None:
    # In the second case no three words in a row are right: the smoothing counts too.
    bleu = _bleu(references, effective_order=True)
    counts = np.array([_statistics(bleu, a, r) for a, r in zip(answers, references, strict=True)])
    assert _of_counts(bleu, counts.sum(axis=0)) == pytest.approx(sacrebleu.corpus_bleu(answers, [references]).score)


def test_without_a_reference_or_the_libraries_there_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.training.test_judging_answers import answer

    rows = score([answer("2")], {})
    assert references_of(rows, [answer("2")]) == ([], "there is no reference answer")
    monkeypatch.setattr("training.judging.references.installed", lambda: False)
    rows = score([answer("2", reference="2")], {})
    assert references_of(rows, [answer("2")]) == ([], NOT_INSTALLED)
