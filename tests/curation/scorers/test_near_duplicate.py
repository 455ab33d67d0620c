from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curation.corpus import Corpus
from curation.errors import OperatorError
from curation.ingestion import ingest
from curation.operators import build
from curation.sample import Message, Sample, to_frame
from curation.scorers.near_duplicate import NearDuplicate
from curation.scoring import score
from curation.texts.shingles import band_keys, shingle_sets, string_hashes
from studio.demo_corpus import DEMO, FILES
from tests.curation.samples import corpus_of, pair
from tests.data import shared

LONG = "the quick brown fox jumps over the lazy dog while the old cat sleeps under a warm stone wall in the sun"


def scored(*texts: str, **parameters) -> pl.DataFrame:
    """The answers `texts` to one-word questions, compared by their answers alone unless said otherwise."""
    frame = to_frame([pair(f"q{i}", text) for i, text in enumerate(texts)])
    return NearDuplicate(**{"text": "response", **parameters}).score(frame).insert_column(0, frame["id"])


def flagged(*texts: str, **parameters) -> list[bool | None]:
    return scored(*texts, **parameters)["near_duplicate"].to_list()


def test_similarity_is_the_share_of_common_shingles():
    a, b = "one two three four five", "one two three four six"
    table = scored(a, b, threshold=0.5, permutations=512)  # 123 234 345 and 123 234 346: two of four
    assert table["near_duplicate_similarity"].to_list() == [0.5, 0.5]
    assert table["near_duplicate"].to_list() == [False, True]
    assert table["near_duplicate_of"].to_list() == [None, table["id"][0]]
    assert table["near_duplicate_partner"].to_list() == [table["id"][1], table["id"][0]]
    assert table["near_duplicate_cluster"].to_list() == [table["id"][0]] * 2
    assert table["near_duplicate_size"].to_list() == [2, 2]


def test_a_sample_that_is_like_no_other_is_alone():
    row = scored(LONG, "something else altogether and nothing more than that").drop("id").row(0)
    assert row == (False, None, None, None, None, 1, None)


def test_below_the_threshold_nothing_is_flagged():
    a, b = "one two three four five", "one two three four six"
    assert flagged(a, b, threshold=0.51, permutations=512) == [False, False]


def test_texts_shorter_than_a_shingle_are_alike_only_if_they_are_equal():
    assert flagged("Yes", "No", "blue sky", "sky blue", "blue") == [False] * 5
    assert flagged("Yes", "yes!", keep="first") == [False, True]


@pytest.mark.parametrize(
    "texts",
    [
        ("Multiply 4 and 7.\n28", "Multiply 4 and 8.\n32"),
        ("What is 15 % of 80?\n15 % of 80 is 12.", "What is 15 % of 60?\n15 % of 60 is 9."),
        ("Calculate 5 x 3.", "Calculate 5 x 4."),
        ("Calculate 5 + 3.", "Calculate 5 - 3.", "Calculate 5 * 3."),
        ("计算3加5等于多少？\n8", "计算3加6等于多少？\n9"),
    ],
)
def test_short_texts_that_differ_in_a_number_or_a_sign_survive(texts):
    assert flagged(*texts) == [False] * len(texts)


def test_distinct_chinese_texts_survive_and_edited_ones_are_found():
    assert flagged("请用一句话介绍一下北京的历史。", "请用一句话介绍一下上海的美食。") == [False, False]
    first = "为什么泡绿茶的水不宜太烫？因为绿茶的叶子嫩，用滚水冲泡，茶汤又苦又涩，叶子也会发黄，失去清香。"
    edited = "为什么泡绿茶的水不能太烫？因为绿茶的叶子嫩，用滚水冲泡，茶汤又苦又涩，叶子也会发黄，失去清香。"
    assert flagged(first, edited, keep="first") == [False, True]
    assert flagged(first, edited, keep="first", shingle="character", threshold=0.7) == [False, True]


def test_a_text_without_a_word_is_null_with_its_reason():
    table = scored("?!", "...", "", LONG)
    assert table["near_duplicate"].to_list() == [None, None, None, False]
    assert table["near_duplicate_size"].to_list() == [None, None, None, 1]
    assert table["reason"].to_list() == ["there is no word to compare"] * 3 + [None]


def chain() -> list[str]:
    """A like B, B like C, A not like C: each step replaces the two words at one end."""
    words = [f"w{i}" for i in range(24)]
    return [" ".join(words[i : i + 20]) for i in (0, 2, 4)]


def test_in_a_chain_only_what_is_like_a_kept_sample_is_dropped():
    table = scored(*chain(), threshold=0.7, keep="first")  # 16 of 20 shingles shared, then 14 of 22
    assert table["near_duplicate"].to_list() == [False, True, False]
    assert table["near_duplicate_of"].to_list() == [None, table["id"][0], None]
    assert table["near_duplicate_size"].to_list() == [3, 3, 3]
    assert table["near_duplicate_partner"][2] == table["id"][1]


def test_the_preferred_one_of_a_chain_decides():
    texts = [chain()[0], chain()[1] + "!" * 9, chain()[2]]  # marks make it longer, and are no words
    assert flagged(*texts, threshold=0.7) == [True, False, True]


def test_the_highest_score_is_kept_then_the_oldest_and_a_missing_score_comes_last():
    frame = to_frame([pair(f"q{i}", LONG) for i in range(4)]).with_columns(rating=pl.Series([None, 3, 5, 5]))
    scorer = NearDuplicate(text="response", keep="rating")
    assert scorer.needs == ("response", "rejected", "label", "rating")
    assert scorer.score(frame)["near_duplicate"].to_list() == [True, True, False, True]


def test_a_score_that_is_no_number_is_refused():
    frame = to_frame([pair("q", LONG)]).with_columns(topic=pl.lit("tea"))
    with pytest.raises(OperatorError, match="'topic' is not a number"):
        NearDuplicate(keep="topic").score(frame)


def test_more_bands_than_permutations_are_refused():
    with pytest.raises(OperatorError, match="bands is 9, above the 8 permutations"):
        build("scorer", [NearDuplicate], "near-duplicate", {"permutations": "8", "bands": "9"})


def test_bands_suit_the_threshold():
    assert NearDuplicate(threshold=0.7, permutations=128).banding() == (25, 5)
    assert NearDuplicate(threshold=0.9, permutations=128).banding() == (11, 11)
    assert NearDuplicate(bands=32).banding() == (32, 4)


def test_preference_pairs_with_other_rejected_answers_are_different():
    def preference(rejected: str) -> Sample:
        turns = (Message("user", "Where do cats sleep?"), Message("assistant", "In the sun."))
        return Sample(turns, rejected=(Message("assistant", rejected),))

    frame = to_frame([preference(LONG), preference("I have never seen one asleep, so there is no way for me to tell.")])
    assert NearDuplicate().score(frame)["near_duplicate"].to_list() == [False, False]


def test_a_crowd_of_equal_and_of_nearly_equal_texts_costs_no_square():
    texts = [LONG] * 10_000 + [f"{LONG} {i}" for i in range(1500)]
    table = scored(*texts, keep="first")
    assert table["near_duplicate"].sum() == 11_499
    assert table["near_duplicate_size"].unique().to_list() == [11_500]


def test_no_dropped_sample_lacks_a_kept_one_that_is_alike():
    words = np.random.default_rng(0).choice([f"w{i}" for i in range(60)], (60, 30))
    texts = [" ".join(words[i // 50][i % 7 :]) + f" {'x ' * (i % 3)}" for i in range(3000)]
    table = scored(*texts, threshold=0.6)
    kept = set(table.filter(~pl.col("near_duplicate"))["id"])
    place = {id_: i for i, id_ in enumerate(table["id"])}
    sets = shingle_sets(pl.Series(texts), 3)
    dropped = table.filter("near_duplicate")
    assert set(dropped["near_duplicate_of"]) <= kept
    mine = np.array([place[i] for i in dropped["id"]])
    theirs = np.array([place[i] for i in dropped["near_duplicate_of"]])
    assert (sets.jaccard(mine, theirs) >= 0.6).all()
    together = [place[i] for i in kept]
    left, right = (np.array(together)[k] for k in np.triu_indices(len(together), 1))
    assert (sets.jaccard(left, right) < 0.6).all()


HASHES = [
    0,
    18119689086777206668,
    15338562607947647910,
    15277439029823996600,
    6875693345335117267,
    1533152188014638354,
]
KEYS = [[3361544842, 3117337679, 1261486276]]


def test_hashes_are_those_of_every_other_day():
    texts = pl.Series(["", "a", "abcdefgh", "abcdefghi", "汉", "x" * 300])
    assert string_hashes(texts).tolist() == HASHES
    assert band_keys(shingle_sets(pl.Series([LONG]), 3), 3, 5).tolist() == KEYS


def test_minima_agree_as_often_as_the_sets_are_similar():
    words = [f"w{i}" for i in range(150)]
    texts = pl.Series([" ".join(words[:110]), " ".join(words[20:])])  # 88 of 148 shingles, 0.595
    keys = band_keys(shingle_sets(texts, 3), 4000, 1)
    assert (keys[0] == keys[1]).mean() == pytest.approx(88 / 148, abs=0.03)


def test_on_alpaca_it_finds_exactly_the_rows_of_the_exact_self_join():
    rows = json.loads(shared("data/alpaca_data.json").read_text())
    texts = pl.Series([f"{r['instruction']}\n{r['input']}\n{r['output']}" for r in rows])
    frame = pl.DataFrame({"id": [str(i) for i in range(len(rows))], "response": texts}).with_columns(
        label=None, rejected=None
    )
    scorer = NearDuplicate(text="response", shingle="whitespace", n=5, threshold=0.7, keep="first")
    table = scorer.score(frame)
    found = frame.filter(table["near_duplicate"])["id"].to_list()
    assert found == ["10460", "10589", "27354", "33963", "46065", "46068", "48503"]


def test_the_planted_near_duplicates_of_the_demo_corpus_are_found_and_nothing_else(tmp_path):
    corpus = Corpus.create(tmp_path / "corpus")
    ingest(corpus, [DEMO / f"{name}.jsonl" for name in FILES])
    frame = corpus.frame()
    table = NearDuplicate().score(frame).with_columns(
        id=frame["id"], planted=frame["metadata"].str.json_path_match("$.defect") == "near_duplicate"
    )  # fmt: skip
    clustered = table.filter(pl.col("near_duplicate_size") > 1)
    assert clustered["planted"].sum() == 14
    assert table["near_duplicate"].sum() == 14
    assert clustered["near_duplicate_size"].to_list() == [2] * 28


def test_an_undesirable_answer_its_correction_and_the_pair_of_both_repeat_nothing(tmp_path: Path) -> None:
    asked = Message("user", "Say in one short sentence what the capital of Australia is, please, and nothing else.")
    wrong, right = Message("assistant", "It is Sydney."), Message("assistant", "It is Canberra.")
    samples = [
        Sample((asked, wrong), label=False),
        Sample((asked, right)),
        Sample((asked, right), rejected=(wrong,)),
        Sample((asked, Message("assistant", "It is Canberra!"))),
    ]
    corpus = corpus_of(tmp_path / "c", samples)
    score(corpus, NearDuplicate())
    assert corpus.frame(["near_duplicate"])["near_duplicate"].to_list().count(True) == 1
    assert corpus.frame(["near_duplicate_size"])["near_duplicate_size"].to_list() == [1, 2, 1, 2]
