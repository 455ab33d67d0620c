import json
import re
from hashlib import sha256
from itertools import pairwise
from math import log
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curation.errors import OperatorError
from curation.scorers.importance import Importance, bucket_of, hashed
from curation.scoring import score
from tests.curation.samples import corpus_of, pair
from tests.data import shared


def frame(texts: list[str], tags: list[list[str]] | None = None) -> pl.DataFrame:
    rows = {"id": [str(i) for i in range(len(texts))], "instruction": texts, "response": [""] * len(texts)}
    labels = pl.Series("tags", tags or [[] for _ in texts], dtype=pl.List(pl.String))
    return pl.DataFrame(rows).with_columns(labels, pl.Series("source", ["a"] * len(texts), dtype=pl.String))


def test_buckets_are_those_of_the_reference_code() -> None:
    assert bucket_of("alice") == 6720
    assert bucket_of("alice went") == 114


def test_words_and_pairs_are_hashed_in_their_own_text_only() -> None:
    found = hashed(pl.Series(["Alice went home!", "", "home"]))
    assert found.tokens.tolist() == [4, 0, 1]
    words = ["alice", "went", "home", "!", "home"]
    pairs = ["alice went", "went home", "home !"]
    assert found.bucket.tolist() == [bucket_of(w) for w in words + pairs]


def test_chinese_characters_are_words() -> None:
    assert hashed(pl.Series(["我爱 Python3 语言。"])).tokens.tolist() == [6]


def test_the_weight_of_a_sample_by_hand() -> None:
    # Two words a and b, in buckets of their own: the target is half a, the pool a quarter.
    samples = frame(["a", "b", "b", "b", "a b"], [["t"], ["t"], [], [], []]).head(4)
    measured = Importance(target_tag="t", smoothing=0, min_tokens=1, text="instruction").score(samples)
    assert measured["importance"].to_list() == pytest.approx([log(0.5 / 0.25), *[log(0.5 / 0.75)] * 3], abs=1e-6)


def test_it_is_the_source_s_sum_when_asked() -> None:
    texts = ["Tom has 3 apples. He eats 1.", "The sea, the sea is deep; and blue!", "3 apples and 4 pears are 7."]
    samples = frame(texts, [[], [], ["t"]])
    measured = Importance(target_tag="t", smoothing=0, length_normalised=False, min_tokens=1, text="instruction")
    assert measured.score(samples)["importance"].to_list() == pytest.approx(plain_dsir(texts, texts[2:]), abs=1e-9)


def plain_dsir(texts: list[str], target: list[str]) -> list[float]:
    """The formula one text at a time: log-ratio of the shares of 10,000 buckets, plus 1e-8 each, summed."""

    def grams(text: str) -> list[int]:
        words = re.findall(r"\w+|[^\w\s]+", text.lower())
        both = words + [f"{a} {b}" for a, b in pairwise(words)]
        return [int(sha256(g.encode()).hexdigest(), 16) % 10_000 for g in both]

    def shares(texts: list[str]) -> np.ndarray:
        counts = np.bincount([g for t in texts for g in grams(t)], minlength=10_000)
        return np.log(counts / counts.sum() + 1e-8)

    weights = shares(target) - shares(texts)
    return [float(weights[grams(t)].sum()) for t in texts]


def test_trap_14_dsir_length_does_not_decide_but_the_plain_sum_is_length() -> None:
    lines = [json.loads(line) for line in shared("data/gsm8k_train.jsonl").open(encoding="utf-8")][:300]
    rows = json.loads(shared("data/alpaca_en_demo.json").read_text(encoding="utf-8"))
    samples = frame([f"{r['instruction']} {r['input']}\n{r['output']}" for r in rows])
    target = frame([f"{r['question']}\n{r['answer']}" for r in lines], [["t"]] * 300)

    def against_length(**settings: bool) -> tuple[float, np.ndarray]:
        both = pl.concat([samples, target])
        measured = Importance(target_tag="t", **settings).score(both).head(len(rows)).drop_nulls("importance")
        ranks = measured.select(pl.col("importance", "importance_tokens").rank())
        return float(np.corrcoef(ranks.to_numpy().T)[0, 1]), measured["importance"].to_numpy()

    assert abs(against_length()[0]) < 0.3
    assert against_length(length_normalised=False)[0] < -0.8


def test_samples_like_the_target_come_first() -> None:
    sums = [f"Tom has {n} apples and buys {n + 2} more. How many apples are there now?" for n in range(30)]
    tales = [f"Tell a story of a dragon that slept for {n} years under the blue mountain." for n in range(30)]
    target = ["Ann has 9 apples and eats 4. How many apples does Ann have now?"]
    measured = Importance(target_tag="t").score(frame([*sums, *tales, *target], [[]] * 60 + [["t"]]))
    values = measured["importance"].to_numpy()
    assert values[:30].min() > values[30:60].max()


def test_a_short_sample_is_not_measured_and_says_why() -> None:
    measured = Importance(target_source="a").score(frame(["", "three short words", "word " * 20]))
    assert measured["importance"].is_null().to_list() == [True, True, False]
    assert measured["reason"].to_list() == ["it has fewer than 10 tokens"] * 2 + [None]
    assert measured["importance_tokens"].to_list() == [0, 3, 20]


def test_a_target_file_is_read_in_any_shape_and_its_content_is_part_of_the_run(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path / "c", [pair(f"How many are {n} and {n}?", f"They are {2 * n}.") for n in range(9)])
    target = tmp_path / "target.jsonl"
    target.write_text('{"question": "How many are 3 and 4?", "answer": "7"}\nbroken\n')
    scorer = Importance(target=str(target), min_tokens=3)
    assert score(corpus, scorer).scored == 9
    assert score(corpus, scorer).scored == 0
    target.write_text('{"question": "Who is she?", "answer": "A queen"}\n')
    assert score(corpus, scorer).scored == 9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "needs one target"),
        ({"target_tag": "t", "target_source": "a"}, "needs one target"),
        ({"target": "nowhere.jsonl"}, "can't be read"),
        ({"target_tag": "unheard"}, "the tag 'unheard', has no sample"),
    ],
)
def test_a_target_that_is_none_is_two_lines(settings: dict[str, str], message: str) -> None:
    with pytest.raises(OperatorError, match=message) as error:
        Importance(**settings).score(frame(["some words"]))
    assert error.value.fix


def test_a_file_without_samples_says_what_its_rows_are(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"colour": "a long red line"}\n')
    with pytest.raises(OperatorError, match="no known shape: it has colour"):
        Importance(target=str(tmp_path / "t.jsonl")).score(frame(["some words"]))
