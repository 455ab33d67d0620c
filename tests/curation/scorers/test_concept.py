from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from curation.annotating import annotate, ask
from curation.corpus import Corpus
from curation.errors import WinnowError
from curation.operators import build
from curation.scorers import SCORERS
from curation.scorers.concept import Concept
from curation.scoring import score
from curation.selection import select
from curation.selectors import TopK
from curation.teaching import propose, teach
from curation.vectors import store
from tests.curation.samples import corpus_of, pair

SIZE = 200


@pytest.fixture
def corpus(tmp_path: Path) -> Iterator[Corpus]:
    """200 samples on a half circle: the first 100 on the right are of the concept; the last one has no vector."""
    corpus = corpus_of(tmp_path / "c", [pair(f"q{n:03d}", "a") for n in range(SIZE)])
    angles = np.linspace(0, np.pi, SIZE)
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    folder = corpus.path / "embeddings" / "circle"
    folder.mkdir(parents=True)
    ids = corpus.frame(["id"])["id"].to_list()
    store(folder, ids[:-1], [vectors[:-1]], {"name": "circle", "model": "file:circle.npy", "text": "both"})
    with corpus.database.held():
        yield corpus


def ids_of(corpus: Corpus, *numbers: int) -> list[str]:
    ids = corpus.frame(["id"])["id"].to_list()
    return [ids[n] for n in numbers]


def taught(corpus: Corpus) -> Corpus:
    teach(corpus, "right", yes=ids_of(corpus, 5, 20, 40, 70, 90), no=ids_of(corpus, 110, 130, 150, 170, 190), who="ann")
    return corpus


def test_a_few_answers_score_all_samples_on_their_side(corpus: Corpus) -> None:
    report = score(taught(corpus), Concept(concept="right"))
    assert report.columns == ("concept_right",)
    assert report.scored == SIZE - 1
    assert report.unscored == {"the embedding has no vector for it": 1}
    values = corpus.frame(["concept_right"])["concept_right"].to_list()
    assert values[0] > values[60] > values[140] > values[198]
    assert values[0] > 0.5 > values[198]
    assert values[-1] is None


def test_scoring_twice_scores_nothing_and_another_answer_scores_anew(corpus: Corpus) -> None:
    scorer = Concept(concept="right")
    before = score(taught(corpus), scorer)
    assert score(corpus, scorer).scored == 0
    annotate(corpus, "right", "no", ids=ids_of(corpus, 99), who="ann")
    after = score(corpus, scorer)
    assert (after.scored, after.run == before.run) == (SIZE - 1, False)


def test_a_run_keeps_what_it_was_taught_with_and_can_be_made_again(corpus: Corpus) -> None:
    import json

    score(taught(corpus), Concept(concept="right"))
    kept = json.loads(corpus.score_runs()[0].operator)["parameters"]
    assert sorted(kept["yes"]) == sorted(ids_of(corpus, 5, 20, 40, 70, 90))
    first = corpus.frame(["concept_right"])["concept_right"]
    annotate(corpus, "right", "no", ids=ids_of(corpus, 99), who="ann")
    score(corpus, Concept(concept="right"))
    score(corpus, build("scorer", SCORERS, "concept", kept))
    assert corpus.frame(["concept_right"])["concept_right"].equals(first)


def test_the_order_of_answers_does_not_matter(corpus: Corpus) -> None:
    yes, no = ids_of(corpus, 1, 2, 3, 4, 5), ids_of(corpus, 195, 196, 197, 198, 194)
    one = Concept(concept="c", yes=tuple(yes), no=tuple(no)).in_corpus(corpus.path)
    other = Concept(concept="c", yes=tuple(yes[::-1]), no=tuple(no[::-1])).in_corpus(corpus.path)
    assert one.fingerprint() == other.fingerprint() != ""


def test_too_few_answers_score_nothing_and_say_why(corpus: Corpus) -> None:
    teach(corpus, "right", yes=ids_of(corpus, 1, 2, 3), no=ids_of(corpus, 190, 191), who="ann")
    report = score(corpus, Concept(concept="right"))
    assert report.scored == 0
    assert report.unscored == {"too few answers: 3 yes and 2 no; 3 of each are needed": SIZE}


def test_how_sure_it_is_is_told_from_five_answers_of_each_kind_on(corpus: Corpus) -> None:
    few = teach(corpus, "right", yes=ids_of(corpus, 5, 20, 40, 70), no=ids_of(corpus, 110, 130, 150, 170), who="ann")
    assert few.sureness.auc is None
    assert few.sureness.reason == "too few answers: 4 yes and 4 no; 5 of each are needed"
    sure = teach(corpus, "right", yes=ids_of(corpus, 90), no=ids_of(corpus, 190), who="ann").sureness
    assert sure.auc is not None
    assert sure.auc_interval is not None
    assert sure.auc_interval[0] < sure.auc <= sure.auc_interval[1]
    assert sure.auc > 0.9


def test_the_least_sure_is_asked_next_and_every_third_time_the_likeliest(corpus: Corpus) -> None:
    taught(corpus)
    (unsure,) = propose(corpus, "right", kind="unsure")
    tops = propose(corpus, "right", kind="top", many=3)
    assert unsure.probability is not None
    assert abs(unsure.probability - 0.5) < 0.1
    assert [p.id for p in tops] == ids_of(corpus, 0, 1, 2)
    assert propose(corpus, "right", kind="top", without=[tops[0].id])[0].id == tops[1].id
    annotate(corpus, "right", "yes", ids=ids_of(corpus, 30), who="ann")
    assert propose(corpus, "right")[0].why == "top"  # after 11 answers
    assert propose(corpus, "right", where="instruction > 'q150'", many=9)[0].id in ids_of(corpus, *range(151, SIZE))


def test_before_there_is_a_yes_and_a_no_something_is_proposed(corpus: Corpus) -> None:
    report = teach(corpus, "right", text="on the right", who="ann")
    assert len(report.next) == 5
    assert {p.probability for p in report.next} == {None}
    likes = teach(corpus, "right", yes=ids_of(corpus, 50, 52), who="ann").next
    assert {p.id for p in likes} == set(ids_of(corpus, 49, 51, 53, 48, 54))


def test_annotators_who_disagree_teach_nothing_until_it_is_settled(corpus: Corpus) -> None:
    taught(corpus)
    annotate(corpus, "right", "no", ids=ids_of(corpus, 5), who="bob")
    assert teach(corpus, "right").yes == 4
    annotate(corpus, "right", "yes", ids=ids_of(corpus, 5), who="cyd", settles=True)
    assert teach(corpus, "right").yes == 5


def test_a_selection_takes_the_highest_of_a_concept(corpus: Corpus) -> None:
    score(taught(corpus), Concept(concept="right"))
    select(corpus, TopK(score="concept_right"), 3, name="most")
    assert corpus.selection("most").ids == ids_of(corpus, 0, 1, 2)


@pytest.mark.parametrize("name", ["Polite", "x y", "1st", "", "a'; DROP TABLE questions; --"])
def test_a_concept_has_a_plain_name(corpus: Corpus, name: str) -> None:
    with pytest.raises(WinnowError, match="No concept can be called"):
        teach(corpus, name)


def test_a_question_with_other_answers_is_no_concept(corpus: Corpus) -> None:
    ask(corpus, "quality", ["good", "bad"])
    with pytest.raises(WinnowError, match="answered with good, bad"):
        teach(corpus, "quality")


def test_a_sample_can_not_be_of_it_and_not(corpus: Corpus) -> None:
    with pytest.raises(WinnowError, match="said to be of 'right' and not"):
        teach(corpus, "right", yes=ids_of(corpus, 1), no=ids_of(corpus, 1))
