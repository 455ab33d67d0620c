from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curation.embedding import embed
from curation.engines import checked
from curation.errors import OperatorError
from curation.files.benchmark_files import questions_of
from curation.ingestion import ingest
from curation.operators import build
from curation.scorers import SCORERS, Contamination
from curation.scoring import score
from curation.texts.overlap import COMMON, KnownTexts, common_passages, words_of
from studio.demo_corpus import DEMO
from tests.curation.samples import corpus_of, pair
from tests.data import shared

TRAIN = "A train covers 180 kilometres in 2.5 hours. What is its average speed in kilometres per hour?"
LAKE = "中国面积最大的淡水湖是哪个湖？"
WALL = "In which year did the Berlin Wall fall?"


def written(folder: Path, rows: Iterable[Any], name: str = "benchmark.jsonl") -> str:
    path = folder / name
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return str(path)


def asked(folder: Path, *questions: str) -> str:
    return written(folder, [{"question": question, "answer": "42"} for question in questions])


def measured(scorer: Contamination, instruction: str, response: str = "Let us see.") -> dict[str, Any]:
    batch = pl.DataFrame({"id": ["a"], "instruction": [instruction], "response": [response]})
    return checked(scorer, batch).row(0, named=True)


# -------------------------------------------------------------------- words and n-grams


def test_letters_and_numbers_beside_chinese_are_words_of_their_own():
    assert words_of(pl.Series(["AI模型：小明有36颗糖, it's"])).to_list() == [
        ["ai", "模", "型", "小", "明", "有", "36", "颗", "糖", "it", "s"]
    ]


def test_the_share_counts_the_words_in_common_n_grams_by_hand():
    known = KnownTexts(["one two three four five six seven eight"], n=8)  # under 12 words: looked up by 3-grams
    found = known.shared(pl.Series(["zero two three four five nine seven eight one"])).row(0, named=True)
    assert (found["share"], found["longest"], found["known_start"], found["text_start"]) == (4 / 8, 4, 1, 1)
    assert found["missing"] == 1  # six


def test_n_grams_do_not_cross_from_one_text_to_the_next():
    known = KnownTexts(["alpha beta gamma"])
    assert known.shared(pl.Series(["alpha beta", "gamma", "", None])).is_empty()


def test_equal_n_grams_are_found_wherever_python_finds_them():
    draw = random.Random(0)
    known = [" ".join(draw.choices("abcdefgh", k=draw.randint(3, 40))) for _ in range(6)]
    texts = [" ".join(draw.choices("abcdefgh", k=draw.randint(0, 60))) for _ in range(40)]
    index = KnownTexts(known, n=8)
    found = {(r["text"], r["known"]): r for r in index.shared(pl.Series(texts)).iter_rows(named=True)}
    for i, text in enumerate(texts):
        for j, other in enumerate(known):
            size, item, words = int(index.lengths[j]), other.split(), text.split()
            grams = {tuple(words[k : k + size]) for k in range(len(words) - size + 1)}
            hits = [k for k in range(len(item) - size + 1) if tuple(item[k : k + size]) in grams]
            covered = {place for k in hits for place in range(k, k + size)}
            assert (found[i, j]["share"] if (i, j) in found else 0) == pytest.approx(len(covered) / len(item))


def test_a_preamble_that_every_question_has_says_nothing():
    preamble = "read the following passage with care and then answer the question below it"
    known = KnownTexts([f"{preamble} about topic number{n} please" for n in range(COMMON + 1)])
    assert known.shared(pl.Series([preamble])).is_empty()
    whole = known.shared(pl.Series([f"{preamble} about topic number7 please"])).row(0, named=True)
    assert (whole["known"], whole["whole"], whole["share"]) == (7, True, 1.0)


def test_common_passages_are_places_in_both_texts():
    mine, its = common_passages("So: In which YEAR did it fall?", "in which year did the wall fall")
    assert [("So: In which YEAR did it fall?"[a:b]) for a, b in mine] == ["In which YEAR did"]
    assert [("in which year did the wall fall"[a:b]) for a, b in its] == ["in which year did"]


# -------------------------------------------------------------------- the rule


def test_a_question_inside_a_longer_text_is_found_whatever_its_case_and_punctuation(tmp_path: Path):
    found = measured(Contamination(benchmarks=(asked(tmp_path, WALL, TRAIN),)), f"Quiz! {TRAIN.upper()[:-1]}... Hurry.")
    assert (found["contamination"], found["contaminated"], found["contamination_way"]) == (1.0, True, "exact")
    assert (found["contamination_benchmark"], found["contamination_item"]) == ("benchmark.jsonl", 2)
    assert (found["contamination_span"], found["contamination_text"]) == (TRAIN.upper()[:-1], TRAIN)


@pytest.mark.parametrize(
    ("question", "instruction", "way"),
    [
        (WALL, "Answer the quiz question. In which year did the Berlin Wall come down?", "edited"),
        (LAKE, "请回答：我国面积最大的淡水湖是哪个湖？", "13-gram"),
        (TRAIN, TRAIN.replace("train", "tram").replace("kilometres per", "km per"), "13-gram"),
        (WALL, "In which decade did the Berlin airlift begin?", None),
        (TRAIN, "A train covers 90 kilometres in 3 hours. How fast is it?", None),
        ("How many sides does a heptagon have?", "How many sides does a hexagon have?", None),
        ("What is the square root of 144 rounded down?", "What is the square root of 169 rounded down?", None),
    ],
)
def test_a_question_with_two_words_changed_is_found_and_another_question_is_not(
    tmp_path: Path, question: str, instruction: str, way: str | None
):
    found = measured(Contamination(benchmarks=(asked(tmp_path, question),)), instruction)
    assert (found["contamination_way"], found["contaminated"]) == (way, way is not None)


def test_half_of_a_question_in_8_grams_contaminates_and_less_does_not(tmp_path: Path):
    words = [f"word{n}" for n in range(40)]
    scorer = Contamination(benchmarks=(asked(tmp_path, " ".join(words)),))
    parted = [*words[:10], "x", *words[14:24], "y"]
    assert measured(scorer, " ".join(parted))["contamination_way"] == "8-gram"
    assert measured(scorer, " ".join(parted))["contamination"] == 20 / 40
    less = measured(scorer, " ".join([*words[:10], "x", *words[14:23]]))
    assert (less["contaminated"], less["contamination"]) == (False, 19 / 40)


def test_a_list_of_numbers_does_not_contaminate(tmp_path: Path):
    numbers = " ".join(str(n) for n in range(20))
    scorer = Contamination(benchmarks=(asked(tmp_path, f"Add up all of these numbers now please {numbers}"),))
    found = measured(scorer, f"Count: {numbers}")
    assert (found["contaminated"], found["contamination_span"]) == (False, numbers)


def test_a_very_short_question_counts_only_where_it_is_all_that_is_asked(tmp_path: Path):
    scorer = Contamination(benchmarks=(asked(tmp_path, "Prove the Pythagorean theorem."),))
    assert measured(scorer, "Prove the Pythagorean Theorem!")["contaminated"]
    assert not measured(scorer, "In school we had to prove the Pythagorean theorem twice.")["contaminated"]


def test_a_question_is_found_in_a_response_and_a_long_answer_only_there(tmp_path: Path):
    solution = " ".join(f"step{n} follows" for n in range(15))
    scorer = Contamination(benchmarks=(written(tmp_path, [{"question": TRAIN, "answer": solution}]),))
    assert measured(scorer, "Make a quiz.", f"1. {TRAIN}")["contamination_way"] == "exact"
    assert measured(scorer, "Solve it.", solution)["contamination_text"] == solution
    assert not measured(scorer, solution)["contaminated"]
    only = Contamination(benchmarks=scorer.benchmarks, text="instruction")
    assert not measured(only, "Make a quiz.", f"1. {TRAIN}")["contaminated"]


def test_nothing_in_common_is_0_and_no_text_is_null_with_its_reason(tmp_path: Path):
    scorer = Contamination(benchmarks=(asked(tmp_path, WALL),))
    assert measured(scorer, "Sing!") | {"id": ""} == {
        "id": "", "contamination": 0.0, "contaminated": False, "contamination_way": None,
        "contamination_benchmark": None, "contamination_item": None, "contamination_span": None,
        "contamination_text": None, "reason": None,
    }  # fmt: skip
    empty = measured(scorer, " ", "")
    assert (empty["contamination"], empty["contaminated"], empty["reason"]) == (None, None, "it has no text to look at")


# -------------------------------------------------------------------- files


@pytest.mark.parametrize(
    ("row", "question", "answer"),
    [
        ({"question": "Why?", "answer": "So #### 4"}, ("Why?",), "So #### 4"),
        ({"prompt": "def f():", "canonical_solution": "    return 1", "test": "t"}, ("def f():",), "    return 1"),
        ({"question_id": 81, "turns": ["First.", "Then."]}, ("First.", "Then."), ""),
        ({"instruction": "Sort.", "input": "3 1 2", "output": "1 2 3"}, ("Sort.\n\n3 1 2",), "1 2 3"),
        ({"messages": [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Ho."}]}, ("Hi?",), "Ho."),
        ({"id": "7", "passage": "The longest text of this row.", "n": 3}, ("The longest text of this row.",), ""),
    ],
)  # fmt: skip
def test_questions_are_read_from_the_usual_shapes(tmp_path: Path, row: Any, question: tuple[str, ...], answer: str):
    (found,) = questions_of(written(tmp_path, [row]))
    assert (found.asked, found.answer, found.row) == (question, answer, 1)


def test_text_csv_and_parquet_are_benchmarks_too(tmp_path: Path):
    (tmp_path / "a.txt").write_text("First line?\n\nThird line?\n")
    (tmp_path / "b.csv").write_text('id,question\n1,"What, now?"\n')
    pl.DataFrame({"turns": [["One?", "Two?"]]}).write_parquet(tmp_path / "c.parquet")
    assert [(q.text, q.row) for q in questions_of(str(tmp_path / "a.txt"))] == [("First line?", 1), ("Third line?", 3)]
    assert [q.text for q in questions_of(str(tmp_path / "b.csv"))] == ["What, now?"]
    assert [q.asked for q in questions_of(str(tmp_path / "c.parquet"))] == [("One?", "Two?")]


def test_a_missing_or_empty_benchmark_is_two_lines(tmp_path: Path):
    with pytest.raises(OperatorError, match=r"nowhere\.jsonl can't be read"):
        Contamination(benchmarks=("nowhere.jsonl",)).fingerprint()
    with pytest.raises(OperatorError, match="holds no question"):
        questions_of(written(tmp_path, [{"n": 1}]))


def test_another_content_of_the_file_is_looked_for_anew(tmp_path: Path):
    corpus = corpus_of(tmp_path / "c", [pair(WALL, "1989")])
    scorer = Contamination(benchmarks=(asked(tmp_path, TRAIN),))
    assert (score(corpus, scorer).scored, score(corpus, scorer).scored) == (1, 0)
    asked(tmp_path, WALL)
    assert score(corpus, scorer).scored == 1
    assert corpus.frame(["contaminated"])["contaminated"].to_list() == [True]


def test_files_are_named_with_commas_and_told_apart_by_their_path(tmp_path: Path):
    (tmp_path / "other").mkdir()
    first, second = asked(tmp_path, WALL), asked(tmp_path / "other", TRAIN)
    scorer = build("scorer", SCORERS, "contamination", {"benchmarks": f"{first}, {second}"})
    assert isinstance(scorer, Contamination)
    assert measured(scorer, TRAIN)["contamination_benchmark"] == second


# -------------------------------------------------------------------- embeddings


def test_a_question_in_other_words_is_found_by_its_embedding(tmp_path: Path):
    questions = [f"Tell me how the {thing} works." for thing in ("lighthouse", "printing press", "violin", "compass")]
    corpus = corpus_of(tmp_path / "c", [pair(q, "Well.") for q in questions])
    embed(corpus, text="instruction")
    near = asked(tmp_path, "The lighthouse: how does it work? Tell me.")
    assert score(corpus, Contamination(benchmarks=(near,), min_similarity=0.5)).scored == 4
    found = corpus.frame(["contamination_way", "contamination_similarity"], where="contaminated")
    assert found["contamination_way"].to_list() == ["embedding"]
    assert found["contamination_similarity"][0] > 0.5


# -------------------------------------------------------------------- the demo and real benchmarks


def test_all_leaked_rows_of_the_demo_are_found_and_no_other(tmp_path: Path):
    from curation.corpus import Corpus

    corpus = Corpus.create(tmp_path / "c")
    ingest(corpus, [p for p in sorted(DEMO.glob("*.jsonl")) if p.name not in ("benchmark.jsonl", "replies.jsonl")])
    score(corpus, Contamination(benchmarks=(str(DEMO / "benchmark.jsonl"),)))
    leaked = corpus.frame(["id"], where="metadata->>'defect' = 'leaked'")["id"].to_list()
    assert corpus.frame(["id"], where="contaminated")["id"].to_list() == leaked
    assert len(leaked) == 14


def edited(text: str, draw: random.Random) -> str:
    parts = re.split(r"(\s+)", text)
    for place in draw.sample([i for i, part in enumerate(parts) if re.search(r"\w", part)], 2):
        parts[place] = draw.choice(["garden", "quickly", "seven", "of", "blue", "between", "sentence", "them"])
    return "".join(parts)


@pytest.mark.parametrize("name", ["gsm8k_test", "humaneval", "mt_bench"])
def test_every_planted_question_of_a_real_benchmark_is_found_and_9_in_10_with_two_words_changed(name: str):
    path = str(shared(f"data/{name}.jsonl"))
    scorer, draw = Contamination(benchmarks=(path,)), random.Random(1)
    first = [question.asked[0] for question in questions_of(path)]
    for texts, least in (
        (first, 1.0),
        ([f"Help me with this one. {text} Think step by step." for text in first], 1.0),
        ([edited(text, draw) for text in first], 0.95),
    ):
        batch = pl.DataFrame({"instruction": texts, "response": ["So."] * len(texts)})
        assert scorer.score(batch)["contaminated"].mean() >= least


def test_under_half_a_percent_of_gsm8k_train_is_flagged_against_its_test():
    rows = pl.read_ndjson(shared("data/gsm8k_train.jsonl")).rename({"question": "instruction", "answer": "response"})
    scorer = Contamination(benchmarks=(str(shared("data/gsm8k_test.jsonl")),))
    assert scorer.score(rows)["contaminated"].mean() < 0.005
