import json
from pathlib import Path

import polars as pl
import pytest

from curation.scorers.instag import InsTag, tags_in
from curation.scoring import score
from tests.curation.samples import corpus_of, pair
from tests.synthesis.loopback import Loopback


def tagged(*tags: str) -> str:
    return json.dumps([{"tag": tag, "explanation": "it asks so"} for tag in tags], ensure_ascii=False)


@pytest.mark.parametrize(
    ("answer", "tags"),
    [
        (tagged("Poetry", "Translation"), ["Poetry", "Translation"]),
        (f"Here they are:\n```json\n{tagged('Poetry')}\n```\nTell me if you need more [1].", ["Poetry"]),
        ('{"tag": "Poetry", "explanation": "a poem"}', ["Poetry"]),
        ('{"tag": "Poetry", "explanation": "a"}\n{"tag": "Rhyme", "explanation": "b"}', ["Poetry", "Rhyme"]),
        ('{"tags": [{"tag": "Poetry"}, {"tag": "Rhyme"}]}', ["Poetry", "Rhyme"]),
        ('["Poetry", "Rhyme"]', ["Poetry", "Rhyme"]),
        (tagged("Poetry", " Poetry ", "poetry"), ["Poetry", "poetry"]),
        (tagged("数学", "翻译"), ["数学", "翻译"]),
        ('[{"tag": "Poetry", "explanation": "it says "poem" here"}, {"tag": "Rhyme"}]', ["Poetry", "Rhyme"]),
        ("[{'tag': 'Poetry', 'explanation': 'it says so'}]", ["Poetry"]),
        ("[]", []),
        ("```json\n[]\n```", []),
    ],
)
def test_a_list_of_tags_is_read_however_it_is_wrapped(answer: str, tags: list[str]) -> None:
    assert tags_in(answer) == tags


def test_of_a_list_that_was_cut_off_the_complete_entries_are_kept() -> None:
    assert tags_in('[{"tag": "Poetry", "explanation": "a poem"}, {"tag": "Rhyme", "expla') == ["Poetry"]
    assert tags_in('[{"tag": "Poe') is None


@pytest.mark.parametrize("answer", ["I can't help with that.", "", "Score: 4 {x} [2]", '[{"tag": null}]', "x = []"])
def test_what_is_no_list_of_tags_is_null(answer: str) -> None:
    assert tags_in(answer) is None


def test_the_tags_their_number_and_the_answer_are_columns_and_an_unreadable_answer_keeps_its_text(
    tmp_path: Path,
) -> None:
    corpus = corpus_of(tmp_path / "c", [pair("Write a poem.", "Roses."), pair("Refuse this.", "No.")])
    with Loopback(lambda body, _: "Sorry." if "Refuse" in str(body) else tagged("Poetry", "Short Text")) as server:
        report = score(corpus, InsTag(model=server.spec))
        again = score(corpus, InsTag(model=server.spec))
    assert (report.scored, report.unscored) == (1, {"the answer holds no list of tags": 1})
    assert (again.already, server.requests) == (2, 2)
    found = corpus.frame(["instag", "instag_count", "instag_raw"])
    assert found.to_dict(as_series=False) == {
        "instag": [["Poetry", "Short Text"], None],
        "instag_count": [2, None],
        "instag_raw": [tagged("Poetry", "Short Text"), "Sorry."],
    }
    assert corpus.count("list_contains(instag, 'Poetry')") == 1
    assert corpus.count("len(instag) > 2") == 0


def test_a_failed_call_and_an_empty_instruction_say_so() -> None:
    batch = pl.DataFrame({"id": ["1", "2"], "instruction": ["Write.", " "]})
    with Loopback(lambda _body, _n: "") as server:
        measured = InsTag(model=server.spec).score(batch)
    assert server.requests == 1
    assert measured["instag"].to_list() == [None, None]
    assert measured["reason"].to_list() == ["the answer holds no list of tags", "the instruction is empty"]


def test_the_published_tagger_gets_the_text_it_was_trained_on() -> None:
    batch = pl.DataFrame({"id": ["1"], "instruction": ['Sort {"a": 1} in Python.']})
    with Loopback(lambda _body, _n: '[{"tag": "coding", "explanation": "..."}]') as server:
        measured = InsTag(model=server.spec, format="instagger", max_tokens=512).score(batch)
    assert measured["instag"].to_list() == [["coding"]]
    [sent] = server.bodies
    assert sent["messages"][0]["content"] == (
        "Please identify tags of user intentions in the following user query and provide an explanation for each tag. "
        'Please respond in the JSON format {"tag": str, "explanation": str}.\nUser query: Sort {"a": 1} in Python.'
    )
    assert (sent["temperature"], sent["max_tokens"]) == (0.0, 512)
