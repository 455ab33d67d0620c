from __future__ import annotations

import polars as pl
import pytest

from curation.engines import checked
from curation.sample import Message, Sample, to_frame
from curation.scorers.perplexity import Perplexity
from curation.scorers.target_fit import TargetFit
from curation.scoring import score
from curation.selection import select
from curation.selectors.top_k import TopK
from tests.curation.samples import corpus_of, pair
from tests.data import shared

CANDIDATES = [
    pair("Name a colour.", "Red is a color."),
    pair("What is 1 + 1?", "2"),
    pair("Name a colour.", "zq xv 7 ## kjh"),
    pair("Name a colour.", ""),
    pair("Name a colour.", "The color blue."),
]


@pytest.fixture(scope="module")
def model() -> str:
    return str(shared("reference/tiny_causal_lm"))


def test_the_fit_is_the_mean_log_likelihood_and_places_are_among_answers_to_one_instruction(model):
    batch = to_frame(CANDIDATES)
    found = checked(TargetFit(model=model), batch)
    losses = Perplexity(model=model, template="alpaca").score(batch)["perplexity"].log()
    for fit, loss in zip(found["target_fit"], losses, strict=True):
        assert fit == (pytest.approx(-loss, abs=1e-5) if loss is not None else None)
    colours = found[[0, 2, 4]].sort("target_fit", descending=True)
    assert colours["target_fit_rank"].to_list() == [1, 2, 3]
    assert found["target_fit_candidates"].to_list() == [3, 1, 3, None, 3]
    assert found["target_fit_rank"][1] == 1
    assert found.row(3)[1:] == (None, None, None, "the answer is empty")


def test_equal_fits_are_placed_by_id_and_other_system_prompts_are_other_instructions(model):
    turns = Message("user", "Name a colour."), Message("assistant", "Red.")
    twin = Sample(turns, label=True)
    system = Sample((Message("system", "Be brief."), *turns))
    found = TargetFit(model=model).score(to_frame([Sample(turns), twin, system]))
    first = 0 if Sample(turns).id < twin.id else 1
    assert found["target_fit_rank"].to_list() == [1 + (first == 1), 1 + (first == 0), 1]
    assert found["target_fit_candidates"].to_list() == [2, 2, 1]


def test_the_best_answer_to_each_instruction_can_be_selected_and_new_answers_change_the_places(model, tmp_path):
    corpus = corpus_of(tmp_path / "c", CANDIDATES[1:])
    score(corpus, TargetFit(model=model))
    before = select(corpus, TopK(score="target_fit"), 2, name="fit", where="target_fit_rank = 1")
    fits = corpus.frame(["id", "instruction", "target_fit"]).drop_nulls().sort("target_fit", descending=True)
    assert before.ids == fits.unique("instruction", keep="first", maintain_order=True)["id"].to_list()
    corpus_of(corpus.path, [CANDIDATES[0]])
    report = score(corpus, TargetFit(model=model))
    assert (report.scored, report.unscored) == (4, {"the answer is empty": 1})
    best = corpus.frame(["id"], where="target_fit_rank = 1")["id"].to_list()
    together = checked(TargetFit(model=model), to_frame(CANDIDATES)).filter(pl.col("target_fit_rank") == 1)
    assert set(best) == set(together["id"])
    assert TargetFit(model=model).score(to_frame([])).shape == (0, 4)
