from pathlib import Path
from typing import ClassVar

import pytest

from curation import normalizing
from curation.actions import history, undo
from curation.corpus import Corpus
from curation.deciding import drop, edit
from curation.errors import OperatorError
from curation.normalizing import normalize
from curation.operators import Normalizer
from curation.sample import Message, Sample
from tests.curation.samples import corpus_of, pair


class Lower(Normalizer):
    """Small letters."""

    name: ClassVar[str] = "lower"

    def normalize(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        return tuple(m._replace(content=m.content.lower()) for m in messages)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    return corpus_of(tmp_path / "c", [pair("Q", "A"), pair("q2", "a2"), pair("Q3", "A3"), pair("q", "a")])


def test_every_changed_sample_is_a_new_version_and_the_others_stay(corpus: Corpus) -> None:
    report = normalize(corpus, Lower())
    assert (report.looked_at, report.changed) == (4, 2)
    assert corpus.frame(["response"])["response"].to_list() == ["a2", "a3", "a"]
    made = corpus.frame(["operator", "parents"], where="response = 'a3'").row(0)
    assert made == (Lower().spec_json(), [Sample(pair("Q3", "A3").messages).id])
    assert normalize(corpus, Lower()).changed == 0
    assert history(corpus)["kind"].to_list() == ["normalize"]


def test_it_is_undone_as_one_action(corpus: Corpus) -> None:
    normalize(corpus, Lower())
    assert undo(corpus).changed > 0
    assert corpus.frame(["response"])["response"].to_list() == ["A", "a2", "A3", "a"]


def test_dropped_samples_and_those_outside_the_filter_are_left_alone(corpus: Corpus) -> None:
    drop(corpus, where="response = 'A'", reason="no")
    assert normalize(corpus, Lower(), where="response <> 'A3'").changed == 0


def test_both_sides_of_a_preference_pair_are_rewritten(corpus: Corpus) -> None:
    corpus_of(corpus.path, [pair("Which?", "This", rejected=(Message("assistant", "THAT"),))])
    normalize(corpus, Lower(), where="rejected IS NOT NULL")
    made = corpus.frame(where="rejected IS NOT NULL").row(0, named=True)
    assert [made["response"], made["rejected"][0]["content"]] == ["this", "that"]


def test_what_others_decide_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = corpus_of(tmp_path / "c", [pair(f"Q{n}", f"A{n}") for n in range(6)])
    monkeypatch.setattr(normalizing, "SHARD_ROWS", 2)
    last = corpus.frame(["id"])["id"][5]

    def meanwhile(done: int, total: int | None, message: str) -> None:
        if done == 2:
            drop(corpus, where="response = 'a0'", reason="bad")
            edit(corpus, last, response="edited")

    normalize(corpus, Lower(), progress=meanwhile)
    assert corpus.frame(["response"])["response"].to_list() == ["a0", "a1", "a2", "a3", "a4", "edited"]
    assert corpus.frame(["decision"])["decision"].to_list() == ["drop", *[None] * 5]


def test_a_text_that_was_dropped_is_not_brought_back_and_nothing_is_merged_into_it(corpus: Corpus) -> None:
    drop(corpus, where="response = 'a'", reason="unsafe")
    assert normalize(corpus, Lower(), where="instruction IN ('Q', 'q')").changed == 0
    assert corpus.frame(["response"], where="decision IS NULL")["response"].to_list() == ["A", "a2", "A3"]


def test_a_normalizer_that_goes_in_a_circle_is_refused(corpus: Corpus) -> None:
    class Swap(Lower):
        """Large to small and small to large."""

        def normalize(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
            return tuple(m._replace(content=m.content.swapcase()) for m in messages)

    with pytest.raises(OperatorError):
        normalize(corpus, Swap())
    assert corpus.count() == 4


def test_all_that_became_one_text_are_its_parents(corpus: Corpus) -> None:
    corpus_of(corpus.path, [pair("q3", "A3")])
    normalize(corpus, Lower())
    assert len(corpus.frame(["parents"], where="response = 'a3'")["parents"][0]) == 2
