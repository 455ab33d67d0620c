import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.sparse import coo_matrix, csr_matrix, eye

from curation.errors import OperatorError
from curation.operators import Pool
from curation.selectors.mig import MIG
from curation.subsets import information_gain
from curation.subsets.information_gain import Information, most_information, objective, spreading
from curation.subsets.tag_lists import tag_lists
from curation.subsets.tag_similarity import similarity
from tests.data import shared


def pool(tags: Sequence[Sequence[str] | None], scores: Sequence[float | None]) -> Pool:
    columns = {"id": [f"{i:04d}" for i in range(len(tags))], "tags": tags, "score": scores}
    return Pool(pl.DataFrame(columns, schema={"id": pl.String, "tags": pl.List(pl.String), "score": pl.Float64}))


def chosen(mig: MIG, tags: Sequence[Sequence[str] | None], scores: Sequence[float | None], budget: int) -> list[int]:
    return [int(i) for i in mig.select(pool(tags, scores), budget).ids]


def golden() -> tuple[Mapping[str, Any], csr_matrix, np.ndarray, csr_matrix]:
    """The recorded selections; the pool's tags, its scores, and how alike the tags are."""
    recorded = json.loads(shared("reference/golden/mig.json").read_text())
    lists = tag_lists(pl.Series("tags", [sample["labels"] for sample in recorded["pool"]]))
    assert lists.names == [name for name in recorded["labels"] if name in lists.names]
    row, column, cosine = np.array(recorded["wam_nonzero"]).T
    size = len(recorded["labels"])
    alike = coo_matrix((cosine, (row.astype(int), column.astype(int))), shape=(size, size)).tocsr()
    known = [recorded["labels"].index(name) for name in lists.names]
    matrix = coo_matrix(
        (np.ones(len(lists.codes)), (lists.rows, np.array(known)[lists.codes])), shape=(500, size)
    ).tocsr()
    return recorded, matrix, np.array([sample["score"] for sample in recorded["pool"]]), alike


@pytest.mark.parametrize("norm", [False, True])
def test_the_recorded_reference_selection_matches_in_order(norm: bool) -> None:
    recorded, tags, scores, alike = golden()
    choice = most_information(tags, scores, alike, 50, norm=norm)
    assert choice.rows == recorded[f"sel_norm_{str(norm).lower()}"]


@pytest.mark.parametrize("norm", [False, True])
def test_trap_11_mig_gradient_vs_exact_the_exact_gain_reaches_more_on_the_reference_pool(norm: bool) -> None:
    _, tags, scores, alike = golden()
    exact, gradient = Information("exact"), Information("gradient")
    by_gain = most_information(tags, scores, alike, 50, norm=norm, information=exact).rows
    by_slope = most_information(tags, scores, alike, 50, norm=norm, information=gradient).rows
    assert by_gain != by_slope
    reached = [objective(tags, scores, alike, rows, norm=norm) for rows in (by_gain, by_slope, list(range(50)))]
    assert reached == sorted(reached, reverse=True)


@pytest.mark.parametrize("gain", ["gradient", "exact"])
def test_what_is_watched_at_a_time_does_not_change_what_is_chosen(gain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, tags, scores, alike = golden()
    whole = most_information(tags, scores, alike, 300, information=Information(gain))
    monkeypatch.setattr(information_gain, "CHUNK", 9)
    assert most_information(tags, scores, alike, 300, information=Information(gain)).rows == whole.rows


def test_many_equal_samples_are_taken_by_row_whatever_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(information_gain, "CHUNK", 2)
    tags = csr_matrix(np.eye(5)[[4, 3, 2, 1, 0, 0, 1, 2, 3, 4]])
    choice = most_information(tags, np.ones(10), eye(5, format="csr"), 10)
    assert choice.rows == list(range(10))


def test_it_chooses_as_computed_by_hand() -> None:
    # phi'(0) is 0.8 * 1e-6 ** -0.2 = 12.7 and phi'(5) is 0.58: after the first, a new tag is worth twenty times more.
    mig = MIG(tags="tags", score="score", model="none")
    assert chosen(mig, [["a"], ["a"], ["b"]], [5.0, 4.0, 1.0], 3) == [0, 2, 1]
    told = mig.select(pool([["a"], ["a"], ["b"]], [5.0, 4.0, 1.0]), 2).rejected["0001"]
    assert told == "its tags bring too little: 2.319; the last chosen brought 12.68"


def test_trap_11_mig_column_normalisation_gives_every_tag_the_same_to_receive() -> None:
    alike = csr_matrix([[1.0, 0.5, 0.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]])
    spread = spreading(alike, propagation=0.5).toarray()
    assert spread == pytest.approx(np.array([[0.8, 0.2, 0], [0.2, 0.8, 0], [0, 0, 1]]))
    assert spreading(alike, propagation=0).toarray() == pytest.approx(np.eye(3))


def test_trap_11_mig_norm_flag_without_it_samples_of_many_tags_come_first() -> None:
    tags = [["a"], ["b", "c", "d"]]
    assert chosen(MIG(tags="tags", score="score"), tags, [2.0, 1.0], 1) == [1]
    assert chosen(MIG(tags="tags", score="score", norm=True), tags, [2.0, 1.0], 1) == [0]


def test_trap_11_mig_mean_over_turns_is_what_the_score_column_holds() -> None:
    # Turns of 2, 2, 2 and 2 against one turn of 3: a sum would prefer the longer conversation.
    mig = MIG(tags="tags", score="score")
    assert chosen(mig, [["a"], ["b"]], [8.0 / 4, 3.0 / 1], 1) == [1]
    assert "mean over its turns" in str(MIG.__doc__)


def test_similar_tags_share_what_is_known_about_them() -> None:
    tags = [["linear algebra"], ["Linear  Algebra"], ["cooking"]]
    scores = [3.0, 2.0, 1.0]
    assert chosen(MIG(tags="tags", score="score"), tags, scores, 2) == [0, 2]
    assert chosen(MIG(tags="tags", score="score", similarity_threshold=1), tags, scores, 2) == [0, 1]


def test_samples_without_a_tag_come_only_at_the_end_and_without_a_score_never() -> None:
    mig = MIG(tags="tags", score="score")
    tags: list[list[str] | None] = [None, ["a"], [], ["a"], ["b"]]
    scores = [9.0, 1.0, 9.0, 0.0, None]
    assert chosen(mig, tags, scores, 4) == [1, 3, 0, 2]
    assert mig.select(pool(tags, scores), 1).rejected["0004"] == "no score"
    assert mig.select(pool(tags, scores), 1).rejected["0000"] == "no tag in tags"
    with pytest.raises(OperatorError, match="4 of 5 have the score 'score'"):
        mig.select(pool(tags, scores), 5)


def test_without_a_score_every_sample_counts_the_same() -> None:
    assert chosen(MIG(tags="tags"), [["a"], ["a"], ["b"]], [None, None, None], 3) == [0, 2, 1]


def test_a_score_below_zero_is_refused() -> None:
    with pytest.raises(OperatorError, match="goes down to -1"):
        chosen(MIG(tags="tags", score="score"), [["a"]], [-1.0], 1)


def test_cosines_of_tags_are_symmetric_and_only_the_high_ones_are_kept() -> None:
    alike = similarity(["story writing", "story writings", "unit conversion"], threshold=0.5).toarray()
    assert (alike == alike.T).all()
    assert (alike > 0).tolist() == [[True, True, False], [True, True, False], [False, False, True]]
    assert alike.diagonal().tolist() == [1, 1, 1]


@pytest.mark.parametrize("gain", ["gradient", "exact"])
def test_it_chooses_what_a_loop_over_all_rows_would(gain: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(information_gain, "CHUNK", 16)
    rng = np.random.default_rng(5)
    tags = csr_matrix((rng.random((300, 12)) < 0.15).astype(float))
    scores, information = rng.integers(0, 4, 300).astype(float), Information(gain)
    alike = eye(12, format="csr")
    total, left = np.zeros(12), (np.diff(tags.indptr) > 0) & (scores > 0)
    expected: list[int] = []
    for _ in range(100):
        expected.append(
            int(np.argmax(np.where(left, information.gains(tags, scores, total, information.weights(total)), -1)))
        )
        left[expected[-1]] = False
        total += scores[expected[-1]] * tags[[expected[-1]]].toarray().ravel()
    assert most_information(tags, scores, alike, 100, information=information).rows == expected


def test_a_pool_without_any_tag_is_refused() -> None:
    with pytest.raises(OperatorError, match="none of 2 samples has a tag in 'tags'") as error:
        chosen(MIG(tags="tags"), [None, []], [None, None], 1)
    assert error.value.fix == "winnow score CORPUS instag"
