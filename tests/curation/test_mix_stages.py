from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curation.corpus import Corpus
from curation.errors import WinnowError
from curation.mixing import build_mix, export
from curation.scorers import Length
from curation.scoring import score
from curation.selection import hold_out, select
from curation.selectors import Longest, Random
from studio.commands.mixes import part_of
from tests.curation.samples import corpus_of, pair
from tests.curation.test_mixing import lines


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    corpus = corpus_of(tmp_path / "c", [pair(f"q{i}", "a" * (i + 1), source="ab"[i % 2]) for i in range(40)])
    hold_out(corpus, 4)
    select(corpus, Longest(), 10, name="long")
    select(corpus, Random(), 10, name="any")
    return corpus


STAGES = [{"selection": "long", "stage": "wide"}, {"where": "source = 'a'", "rows": 5, "stage": "deep"}]


def test_a_staged_mix_is_written_stage_after_stage_and_the_manifest_counts_them(corpus: Corpus, tmp_path: Path) -> None:
    score(corpus, Length())
    export(corpus, build_mix({"name": "m", "parts": STAGES}), tmp_path)
    rows = lines(tmp_path / "train.jsonl")
    assert [row["stage"] for row in rows] == ["wide"] * 10 + ["deep"] * 5
    assert {row["id"] for row in rows[:10]} == set(corpus.selection("long").ids)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert [(stage["stage"], stage["rows"]) for stage in manifest["stages"]] == [("wide", 10), ("deep", 5)]
    assert sum(stage["tokens"]["train"] for stage in manifest["stages"]) == manifest["tokens"]["train"]
    assert all("stage" not in row for name in ("eval", "random") for row in lines(tmp_path / f"{name}.jsonl"))


def test_a_mix_without_stages_or_repetition_says_nothing_of_them(corpus: Corpus, tmp_path: Path) -> None:
    export(corpus, build_mix({"name": "m", "parts": [{"selection": "long"}]}), tmp_path)
    assert all(set(row) == {"id", "messages", "source"} for row in lines(tmp_path / "train.jsonl"))
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert "stages" not in manifest
    assert set(manifest["mix"]["parts"][0]) == {"selection", "where", "rows", "weight"}
    assert "times" not in manifest["parts"][0]


def test_either_every_part_has_a_stage_or_none() -> None:
    with pytest.raises(WinnowError, match="either every part has a stage or none has"):
        build_mix({"name": "m", "parts": [{"selection": "a", "stage": "one"}, {"selection": "b"}]})


def test_a_part_that_is_repeated_comes_so_often_also_what_an_earlier_part_gave(corpus: Corpus, tmp_path: Path) -> None:
    parts = [{"where": "true"}, {"selection": "long", "times": 3}]
    report = export(corpus, build_mix({"name": "m", "parts": parts}), tmp_path)
    ids = [row["id"] for row in lines(tmp_path / "train.jsonl")]
    long = set(corpus.selection("long").ids)
    assert all(ids.count(i) == (3 if i in long else 1) for i in ids)
    assert report.rows == len(ids) == 36 + 2 * 10
    assert json.loads((tmp_path / "manifest.json").read_text())["parts"][1]["times"] == 3
    again = export(corpus, build_mix({"name": "m", "parts": parts}), tmp_path / "again")
    assert again.sha256 == report.sha256


@pytest.mark.parametrize(
    "text, part",
    [
        ("a@deep", {"selection": "a", "stage": "deep"}),
        ("a=5@deep", {"selection": "a=5", "stage": "deep"}),
        ("b=5@deep", {"selection": "b", "rows": 5, "stage": "deep"}),
        ("b=x2@stage-1", {"selection": "b", "weight": 2.0, "stage": "stage-1"}),
        ("a@b", {"selection": "a@b"}),
        ("where:source = 'a' @deep", {"where": "source = 'a'", "stage": "deep"}),
        ("where:url LIKE '%@example'", {"where": "url LIKE '%@example'"}),
    ],
)
def test_a_part_may_end_in_its_stage(text: str, part: dict[str, Any]) -> None:
    assert part_of(text, ["a", "a=5", "a@b"]) == part
