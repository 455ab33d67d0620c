import json
from pathlib import Path
from typing import ClassVar

import numpy as np
import polars as pl
import pytest

from curation.corpus import Corpus
from curation.engines import checked
from curation.errors import OperatorError, WinnowError
from curation.operators import Scorer, build
from curation.sample import Message, Sample
from curation.scorers import SCORERS, File, Heuristics, Length, Metadata
from curation.scoring import score
from tests.curation.samples import corpus_of, pair


class Vowels(Scorer):
    """Vowels of the answer; an answer without letters can't be measured."""

    name: ClassVar[str] = "vowels"
    batch_rows: ClassVar[int] = 2
    limit: int | None = None

    @property
    def columns(self) -> dict[str, str]:
        return {"vowels": "DOUBLE"}

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        text = batch["response"]
        if self.limit is not None and text.str.contains("stop").any():
            raise KeyboardInterrupt
        counts = text.str.count_matches("[aeiou]").cast(pl.Float64)
        nan = pl.Series([float("nan") if t == "" else None for t in text])
        return pl.DataFrame({"vowels": nan.fill_null(counts) if (text == "").any() else counts})


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    answers = ["banana", "", "xyz", "queue", "sky", "aeiou"]
    return corpus_of(
        tmp_path / "c", [pair(f"q{i}", a, source="s", metadata={"stars": i}) for i, a in enumerate(answers)]
    )


def test_scoring_twice_scores_nothing(corpus: Corpus) -> None:
    first, second = score(corpus, Vowels()), score(corpus, Vowels())
    assert (first.scored, first.already, second.scored, second.already) == (5, 0, 0, 6)


def test_what_is_not_a_number_is_null_with_a_reason(corpus: Corpus) -> None:
    assert score(corpus, Vowels()).unscored == {"could not be measured": 1}
    assert corpus.frame(["vowels"])["vowels"].to_list() == [3, None, 0, 4, 0, 5]


def test_new_samples_are_scored_when_they_come(corpus: Corpus) -> None:
    from curation.sample import to_frame

    score(corpus, Vowels())
    corpus.add(to_frame([pair("q9", "eau")]))
    assert score(corpus, Vowels()).scored == 1


def test_other_parameters_are_another_run(corpus: Corpus) -> None:
    score(corpus, Vowels())
    assert score(corpus, Vowels(limit=3)).scored == 5


def test_a_killed_run_goes_on_after_its_last_shard(corpus: Corpus, tmp_path: Path) -> None:
    from curation.sample import to_frame

    corpus.add(to_frame([pair("q9", "stop here")]))
    with pytest.raises(KeyboardInterrupt):
        score(corpus, Vowels(limit=1), folder=tmp_path / "job")
    assert len(list((tmp_path / "job").glob("out-*.parquet"))) == 3
    report = score(corpus, Vowels(limit=1), folder=tmp_path / "job", where="response <> 'stop here'")
    assert (report.scored, report.already) == (0, 6)


def test_a_shard_that_was_written_but_not_taken_is_taken_first(corpus: Corpus, tmp_path: Path) -> None:
    score(corpus, Vowels(), folder=tmp_path / "job")
    run = corpus.score_runs()[0].run
    corpus.database.run(f'DELETE FROM "score_{run}"', "DELETE FROM shards")
    assert score(corpus, Vowels(), folder=tmp_path / "job").already == 6


def test_only_the_working_set_is_scored(corpus: Corpus) -> None:
    assert score(corpus, Vowels(), where="response = 'queue'").scored == 1


def test_processes_measure_the_same_in_the_same_order(tmp_path: Path) -> None:
    samples = [pair(f"q{i}", "word " * (i % 30), metadata={"stars": i}) for i in range(300)]
    other = corpus_of(tmp_path / "other", samples)
    for scorer in (Length(), Heuristics()):
        score(other, scorer, engine="processes", workers=2)
    here = corpus_of(tmp_path / "here", samples)
    for scorer in (Length(), Heuristics()):
        score(here, scorer)
    columns = ["id", *here.score_columns()]
    assert other.frame(columns).equals(here.frame(columns))


class Wrong(Vowels):
    """Answers with a row too few."""

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        return pl.DataFrame({"vowels": [1.0]})


def test_a_scorer_that_breaks_the_contract_is_told(corpus: Corpus) -> None:
    with pytest.raises(OperatorError, match="other rows or columns"):
        score(corpus, Wrong())


BATCH = pl.DataFrame(
    {
        "id": ["1", "2", "3"],
        "instruction": ["Add 2 and 2", "", "写一首诗"],
        "response": ["4", "", "春眠不觉晓"],
        "metadata": ["{}", '{"stars": "x"}', '{"stars": 2}'],
        "messages": [[{"role": "user", "content": c, "reasoning": None, "tool_calls": None}] for c in ("a", "", "诗")],
    },
    schema_overrides={
        "messages": pl.List(pl.Struct(dict.fromkeys(("role", "content", "reasoning", "tool_calls"), pl.String)))
    },
)


@pytest.mark.parametrize("scorer", [Length(), Heuristics(), Metadata(field="stars")], ids=lambda s: s.name)
def test_every_scorer_keeps_its_contract_on_odd_samples(scorer: Scorer) -> None:
    measured = checked(scorer, BATCH.select("id", *scorer.needs))
    assert measured.columns == ["id", *scorer.columns, "reason"]
    assert measured["id"].to_list() == ["1", "2", "3"]


@pytest.mark.parametrize("scorer", SCORERS, ids=lambda s: s.name)
def test_every_scorer_says_where_it_is_from_and_what_its_columns_mean(scorer: type[Scorer]) -> None:
    assert scorer.__doc__ is not None
    assert "Source:" in scorer.__doc__
    assert "Columns:" in scorer.__doc__
    assert all(field.description for field in scorer.model_fields.values())


def test_length_counts_words_digits_marks_and_chinese_characters() -> None:
    from curation.sample import to_frame

    corpus_frame = to_frame(
        [Sample((Message("system", "Be."), Message("user", "Hi you 12"), Message("assistant", "你好。")))]
    )
    measured = Length().score(corpus_frame)
    assert measured.row(0, named=True) == {
        "length": 15, "length_tokens": 2 + 4 + 3, "length_response_tokens": 3, "length_turns": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("question", "answer", "flag"),
    [
        ("Hi?", "", "empty"),
        ("Tell me", "The sea is deep. It is also very cold and full of fish, and it is home to the", "truncated"),
        ("Tell me", "As an AI language model, I cannot do this.", "refusal"),
        ("告诉我", "作为一个人工智能，我无法回答。", "refusal"),
        ("Tell me", "It wasnâ€™t me", "mojibake"),
        ("Write to me", "at jane.doe@example.com", "personal_data"),
        (
            "请介绍一下长城的历史",
            "The Great Wall was built over many centuries to guard the northern border.",
            "script_mismatch",
        ),
        ("Sing", "la la la\nla la la\nla la la\nla la la\nla la la", "repetitive"),
        ("Draw", "*** --- *** --- ***", "symbols"),
    ],
)
def test_each_heuristic_catches_its_defect(question: str, answer: str, flag: str) -> None:
    row = (
        Heuristics()
        .score(pl.DataFrame({"id": ["1"], "instruction": [question], "response": [answer]}))
        .row(0, named=True)
    )
    assert row[flag]
    assert row["heuristics"] >= 1


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Tell me", "The sea is deep, cold and full of fish of all kinds and colours, and nobody has seen the bottom."),
        (
            "Translate into English: 你好，最近怎么样？",
            "Hello, how are you these days? I hope that all is well with you.",
        ),
        ("怎么用 Python 打印？", "```python\nprint('hello, this is a line of text to print')\n```"),
        ("List", "- apples\n- pears\n- plums\n- cherries and all the other fruit that grows on trees here"),
        ("What is the number?", "It is 42."),
        ("Écrire", "Voilà l'été : à la plage, où il fait très chaud, même le soir."),
    ],
)
def test_clean_samples_raise_no_flag(question: str, answer: str) -> None:
    row = (
        Heuristics()
        .score(pl.DataFrame({"id": ["1"], "instruction": [question], "response": [answer]}))
        .row(0, named=True)
    )
    assert row["heuristics"] == 0, row


def test_a_metadata_number_becomes_a_score(corpus: Corpus) -> None:
    report = score(corpus, Metadata(field="stars", column="rating"))
    assert report.scored == 6
    assert corpus.frame(["rating"])["rating"].to_list() == [0, 1, 2, 3, 4, 5]
    assert score(corpus, Metadata(field="moons")).unscored == {"no field 'moons' in the metadata": 6}


def test_scores_by_id_come_from_a_file(corpus: Corpus, tmp_path: Path) -> None:
    ids = corpus.frame(["id"])["id"].to_list()
    (tmp_path / "s.csv").write_text(f"id,reward,words\n{ids[0]},0.5,7\n{ids[2]},NaN,8\n")
    report = score(corpus, File(path=str(tmp_path / "s.csv")))
    assert report.columns == ("reward", "words")
    assert corpus.frame(["reward"])["reward"].to_list() == [0.5] + [None] * 5
    assert corpus.frame(["words"])["words"].to_list()[2] == 8


def test_a_file_without_ids_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("name,reward\nx,1\n")
    with pytest.raises(OperatorError, match="needs a column 'id'"):
        _ = File(path=str(tmp_path / "s.csv")).columns


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("lenght", {}, "Unknown scorer 'lenght'"),
        ("metadata", {}, "needs the parameter 'field'"),
        ("length", {"foo": "1"}, "has no parameter 'foo'"),
        ("heuristics", {"max_repetition": "2"}, "less than or equal to 1"),
    ],
)
def test_a_wrong_name_or_parameter_is_two_lines(name: str, settings: dict[str, str], message: str) -> None:
    with pytest.raises(WinnowError, match=message) as error:
        build("scorer", SCORERS, name, settings)
    assert error.value.fix


def test_planted_defects_of_the_demo_are_caught(tmp_path: Path) -> None:
    from curation.ingestion import ingest
    from studio.demo_corpus import DEMO, FILES

    corpus = Corpus.create(tmp_path / "demo")
    ingest(corpus, [DEMO / f"{name}.jsonl" for name in FILES])
    score(corpus, Heuristics())
    flags = {"refusal": "refusal", "mojibake": "mojibake", "personal_data": "personal_data", "truncated": "truncated"}
    rows = corpus.frame(["metadata", "heuristics", *flags.values()], where="rejected IS NULL")
    defects = [json.loads(m).get("defect") for m in rows["metadata"]]
    for defect, flag in flags.items():
        caught = np.mean([bool(f) for f, d in zip(rows[flag], defects, strict=True) if d == defect])
        assert caught >= 0.8, (defect, caught)
    clean = [h for h, d in zip(rows["heuristics"], defects, strict=True) if d is None]
    assert np.mean([h > 0 for h in clean]) < 0.05


def test_a_partial_run_does_not_hide_the_scores_of_an_earlier_one(corpus: Corpus) -> None:
    score(corpus, Vowels())
    score(corpus, Vowels(limit=9), where="response = 'queue'")
    assert corpus.frame(["vowels"])["vowels"].to_list() == [3, None, 0, 4, 0, 5]


@pytest.mark.parametrize("name", ["reason", "Source", " "])
def test_a_score_may_not_be_called_like_a_column_in_any_case(corpus: Corpus, name: str) -> None:
    with pytest.raises(WinnowError, match="can't be called"):
        score(corpus, Metadata(field="stars", column=name))


def test_an_infinite_score_is_no_score(corpus: Corpus, tmp_path: Path) -> None:
    ids = corpus.frame(["id"])["id"].to_list()
    (tmp_path / "s.csv").write_text(f"id,reward\n{ids[0]},inf\n{ids[1]},1.5\n")
    score(corpus, File(path=str(tmp_path / "s.csv")))
    assert corpus.frame(["reward"])["reward"].to_list()[:2] == [None, 1.5]


def test_a_blank_filter_is_no_filter(corpus: Corpus) -> None:
    assert score(corpus, Vowels(), where=" ").scored == 5
