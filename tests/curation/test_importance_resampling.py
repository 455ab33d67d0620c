import numpy as np
import polars as pl
import pytest

from curation.errors import OperatorError
from curation.operators import Pool
from curation.selectors.importance_resampling import ImportanceResampling


def pool(scores: list[float | None]) -> Pool:
    ids = [f"{i:04d}" for i in range(len(scores))]
    return Pool(pl.DataFrame({"id": ids, "source": ["s"] * len(ids), "importance": scores}))


def test_the_first_one_is_drawn_in_proportion_to_the_exponential_of_its_score() -> None:
    candidates = pool([0.0, 1.0, 2.0])
    firsts = [ImportanceResampling(seed=s, standardised=False).select(candidates, 1).ids[0] for s in range(3000)]
    shares = np.bincount([int(i) for i in firsts], minlength=3) / 3000
    assert shares == pytest.approx(np.exp([0, 1, 2]) / np.exp([0, 1, 2]).sum(), abs=0.03)


def test_a_low_temperature_takes_the_highest_and_a_high_one_takes_any() -> None:
    candidates = pool([float(i) for i in range(1000)])
    assert ImportanceResampling(temperature=1e-6).select(candidates, 3).ids == ["0999", "0998", "0997"]

    def mean(temperature: float) -> float:
        return np.mean([int(i) for i in ImportanceResampling(temperature=temperature).select(candidates, 200).ids])

    assert mean(0.2) > mean(1) > mean(5)
    assert mean(1000) == pytest.approx(500, abs=50)


def test_standardised_scores_draw_the_same_whatever_their_unit() -> None:
    scores = [float(i % 37) for i in range(300)]
    small = ImportanceResampling().select(pool([s / 1000 for s in scores]), 50).ids
    assert ImportanceResampling().select(pool([s * 1000 - 5 for s in scores]), 50).ids == small


def test_what_has_no_score_is_never_drawn() -> None:
    chosen = ImportanceResampling().select(pool([None, 1.0, float("nan"), 2.0]), 2)
    assert set(chosen.ids) == {"0001", "0003"}
    assert chosen.rejected == {"0000": "no importance", "0002": "no importance"}
    with pytest.raises(OperatorError, match="2 of 4 have the score 'importance'"):
        ImportanceResampling().select(pool([None, 1.0, float("nan"), 2.0]), 3)
