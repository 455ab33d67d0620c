from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curation.embedding import add_vectors
from curation.errors import OperatorError
from curation.scorers.classifier import Classifier, train
from curation.scoring import score
from curation.texts.linear_head import HeldOut, train_head
from tests.curation.samples import corpus_of, pair


def clouds(n: int, *, apart: float = 4.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of two clouds, and which cloud each is of: every second one is positive."""
    labels = np.arange(n) % 2 == 0
    points = np.random.default_rng(seed).normal(size=(n, 8))
    points[:, 0] += np.where(labels, apart / 2, -apart / 2)
    return (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32), labels


def frame(n: int, labelled: int, *, apart: float = 4.0, negatives: bool = True) -> tuple[pl.DataFrame, np.ndarray]:
    """Samples with vectors; the first `labelled` are tagged."""
    vectors, labels = clouds(n, apart=apart)
    bad = ["bad"] if negatives else []
    tags = [(["good"] if labels[i] else bad) if i < labelled else [] for i in range(n)]
    rows = {"id": [f"{i:04d}" for i in range(n)], "instruction": [f"q{i}" for i in range(n)], "tags": tags}
    made = pl.DataFrame(rows, schema_overrides={"tags": pl.List(pl.String)})
    return made.with_columns(pl.Series("vector", vectors, dtype=pl.Array(pl.Float32, 8))), labels


def test_thirty_labels_tell_two_clouds_apart() -> None:
    samples, truth = frame(2000, 30)
    measured = Classifier().score(samples)
    assert ((measured["classifier"].to_numpy() > 0.5) == truth).mean() > 0.95
    assert measured["classifier_label"].to_list()[:3] == [True, False, True]
    assert measured["classifier_label"].null_count() == 1970


def test_the_border_is_where_the_probability_is_near_one_half() -> None:
    measured = Classifier().score(frame(300, 60, apart=1.5)[0])
    expected = 1 - abs(2 * measured["classifier"] - 1)
    assert np.allclose(measured["classifier_border"], expected)
    assert measured.sort("classifier_border")["classifier"][-1] == pytest.approx(0.5, abs=0.05)


def test_fewer_than_five_labels_of_a_kind_measure_nothing_and_say_so() -> None:
    measured = Classifier().score(frame(100, 8)[0])
    assert measured["classifier"].null_count() == 100
    assert measured["reason"].unique().to_list() == [
        "too few labels: 4 different instructions are 'good' and 4 are negatives; 5 of each are needed"
    ]


def test_five_samples_of_one_instruction_are_one_label() -> None:
    samples = frame(100, 20)[0].with_columns(pl.lit("the same ").alias("instruction"))
    assert "1 different instructions are 'good'" in Classifier().score(samples)["reason"][0]


def test_negatives_are_drawn_from_the_pool_where_none_are_labelled() -> None:
    samples, _ = frame(400, 40, negatives=False)
    taught = train(samples)
    assert (taught.positives, taught.negatives, taught.drawn) == (20, 0, 20)
    again = train(samples.reverse())
    drawn = {i for i, label in zip(samples["id"], taught.labels, strict=True) if label is False}
    assert drawn == {i for i, label in zip(samples["id"].reverse(), again.labels, strict=True) if label is False}
    other = train(samples, Classifier(seed=1))
    assert drawn != {i for i, label in zip(samples["id"], other.labels, strict=True) if label is False}
    assert train(samples, Classifier(drawn=0)).head is None


def test_a_judge_labels_what_has_no_tag_and_a_tag_outranks_the_judge() -> None:
    samples, truth = frame(200, 2)
    judged = samples.with_columns(pl.Series("judge", np.where(truth, 4.0, 2.0)))
    judged = judged.with_columns(pl.when(pl.col("id") < "0002").then(3.0).otherwise("judge").alias("judge"))
    taught = train(judged, Classifier(score_column="judge", at_least=3))
    assert taught.labels[:2] == [True, False]
    assert (taught.positives, taught.negatives) == (100, 100)
    between = train(judged, Classifier(score_column="judge", at_least=4, at_most=1))
    assert (between.positives, between.negatives) == (100, 1)


def test_a_sample_with_both_tags_counts_for_nothing() -> None:
    samples, _ = frame(100, 40)
    both = pl.when(pl.col("id") == "0000").then(pl.lit(["good", "bad"])).otherwise("tags").alias("tags")
    assert train(samples.with_columns(both)).labels[0] is None


def test_a_sample_without_a_vector_has_no_probability() -> None:
    samples, _ = frame(100, 40)
    gone = samples.with_columns(pl.when(pl.col("id") != "0000").then("vector").alias("vector"))
    measured = Classifier().score(gone)
    assert measured.row(0) == (None, None, None, "the embedding has no vector for it")
    assert measured["classifier"].null_count() == 1


def test_probabilities_are_calibrated_and_held_out_numbers_hold_on_fresh_samples() -> None:
    vectors, labels = clouds(4000, apart=1.0)
    head = train_head(vectors[:2000], labels[:2000], range(2000))
    assert head.held_out.calibration_error < 0.04
    fresh = HeldOut(head.predict(vectors[2000:]), labels[2000:])
    assert fresh.at(0.5).f1 == pytest.approx(head.held_out.at(0.5).f1, abs=0.03)
    assert fresh.calibration_error < 0.04


def test_labels_that_mean_nothing_look_like_it() -> None:
    vectors, _ = clouds(600)
    labels = np.random.default_rng(1).random(600) < 0.3
    probabilities = train_head(vectors, labels, range(600)).predict(vectors)
    assert probabilities.std() < 0.05
    assert probabilities.mean() == pytest.approx(0.3, abs=0.05)


def test_samples_of_one_instruction_do_not_betray_each_other() -> None:
    # Fifty instructions of ten samples with nearly one vector each, and labels drawn per instruction: nothing to learn.
    rng = np.random.default_rng(0)
    vectors = (np.repeat(rng.normal(size=(50, 64)), 10, axis=0) + 0.01 * rng.normal(size=(500, 64))).astype(np.float32)
    labels, groups = np.repeat(rng.random(50) < 0.5, 10), np.repeat(np.arange(50), 10)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    def right(groups: np.ndarray) -> float:
        held_out = train_head(unit, labels, groups).held_out
        return float(((held_out.probabilities > 0.5) == labels).mean())

    assert right(np.arange(500)) > 0.9
    assert right(groups) < 0.7


def test_isotonic_calibration_is_a_rising_curve() -> None:
    vectors, labels = clouds(2000, apart=1.0)
    head = train_head(vectors, labels, range(2000), calibration="isotonic")
    order = np.argsort(vectors @ head.weights)
    assert (np.diff(head.predict(vectors)[order]) >= 0).all()
    assert head.held_out.calibration_error < 0.05


def test_precision_recall_f1_and_calibration_error_by_hand() -> None:
    held_out = HeldOut(np.array([0.95, 0.85, 0.65, 0.15]), np.array([True, False, True, False]))
    agreement = held_out.at(0.8)
    assert (agreement.precision, agreement.recall, agreement.f1) == (0.5, 0.5, 0.5)
    assert held_out.at(0.99).precision is None
    assert held_out.calibration_error == pytest.approx((0.05 + 0.85 + 0.35 + 0.15) / 4)


def test_a_concept_names_the_columns() -> None:
    assert list(Classifier(concept="safe").columns) == ["safe", "safe_border", "safe_label"]
    with pytest.raises(ValueError, match="concept"):
        Classifier(concept="not safe")


def test_a_score_without_a_threshold_is_two_lines() -> None:
    with pytest.raises(OperatorError, match="both score_column and at_least"):
        Classifier(score_column="judge").fingerprint()


def test_new_labels_score_the_corpus_anew(tmp_path: Path) -> None:
    vectors, labels = clouds(60)
    tags = [(("good",) if label else ("bad",)) if i < 20 else () for i, label in enumerate(labels)]
    samples = [pair(f"q{i}", f"a{i}", tags=t, metadata={"n": i}) for i, t in enumerate(tags)]
    corpus = corpus_of(tmp_path / "c", samples)
    np.save(tmp_path / "v.npy", vectors)
    add_vectors(corpus, tmp_path / "v.npy", "n")
    first = score(corpus, Classifier())
    assert (first.scored, first.columns[0]) == (60, "classifier")
    assert score(corpus, Classifier()).scored == 0
    corpus.database.run(f"INSERT INTO tags (id, tag, origin) VALUES ('{samples[20].id}', 'good', 'hand')")
    second = score(corpus, Classifier())
    assert (second.scored, second.run != first.run) == (60, True)
    found = corpus.frame(["classifier"])["classifier"].to_numpy()
    assert ((found > 0.5) == labels).mean() > 0.9
