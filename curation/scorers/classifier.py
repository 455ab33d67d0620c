"""A quality classifier that is taught by a few labels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from curation.errors import OperatorError
from curation.operators import Scorer

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from curation.texts.linear_head import Head


class Classifier(Scorer):
    """How likely a sample is one of those that you call good, judged from its vector by a head trained on your labels.

    Score, look at the border (`classifier_border`, highest first), label there, and score again.

    Source: the loops of DeepSeekMath (Shao et al. 2024, arXiv:2402.03300, section 2.1: positives against pages drawn
    from the pool, repeated with what was found) and FineWeb-Edu (Penedo et al. 2024, arXiv:2406.17557, section 4: a
    linear head on sentence vectors, taught by a judge, F1 at a threshold). Platt's calibration as in his paper of 1999.

    Columns:
        classifier (DOUBLE): calibrated probability of a positive, 0..1, at the share of positives among the labels.
        classifier_border (DOUBLE): 1 - |2p - 1|, 0..1; highest where the head is least sure: label these next.
        classifier_label (BOOLEAN): what the sample counted as in training, drawn negatives included; null elsewhere.

    Differs from the source: the head is a logistic regression on the corpus' own embedding instead of fastText or a
    regression on Snowflake vectors; folds keep samples of one instruction together; negatives are drawn from the pool
    only where fewer than five are labelled, because what lies there may well be good.
    """

    name: ClassVar[str] = "classifier"
    whole: ClassVar[bool] = True

    positive: str = Field("good", min_length=1, description="Tag of the positives")
    negative: str = Field("bad", min_length=1, description="Tag of the negatives")
    score_column: str | None = Field(None, description="Score column, such as a judge's, that labels what has no tag")
    at_least: float | None = Field(None, description="Positives by the score have this or more")
    at_most: float | None = Field(
        None, description="Negatives by the score have this or less; null: all below at_least"
    )
    drawn: float = Field(1.0, ge=0, description="Negatives drawn per positive where fewer than 5 are labelled; 0: none")
    calibration: Literal["platt", "isotonic"] = Field(
        "platt", description="Curve from score to probability; isotonic needs a thousand labels"
    )
    embedding: str | None = Field(None, description="Embedding to judge by; null takes the latest")
    concept: str = Field(
        "classifier", pattern=r"^[a-z][a-z0-9_]*$", description="What it is taught, and its columns are called"
    )
    seed: int = Field(0, description="Of the folds and of the negatives drawn")

    @property
    def needs(self) -> tuple[str, ...]:
        return ("instruction", "tags", *([self.score_column] if self.score_column else []))

    @property
    def needs_vectors(self) -> bool:
        return True

    @property
    def columns(self) -> dict[str, str]:
        return {self.concept: "DOUBLE", f"{self.concept}_border": "DOUBLE", f"{self.concept}_label": "BOOLEAN"}

    def fingerprint(self) -> str:
        """Nothing: labels and vectors are part of the batch.

        Raises:
            OperatorError: a score without a threshold, or a threshold without a score.
        """
        if (self.score_column is None) != (self.at_least is None):
            raise OperatorError(
                "The classifier takes labels from a score only with both score_column and at_least.",
                fix="add --set score_column=COLUMN --set at_least=NUMBER",
            )
        return ""

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        taught = train(batch, self)
        names = list(self.columns)
        measures = pl.DataFrame(
            {
                names[0]: pl.Series(taught.probabilities, dtype=pl.Float64),
                names[2]: pl.Series(taught.labels, dtype=pl.Boolean),
            }
        ).fill_nan(None)
        border = 1 - (2 * pl.col(names[0]) - 1).abs()
        no_vector = pl.when(pl.col(names[0]).is_null()).then(pl.lit(taught.problem or NO_VECTOR))
        return measures.select(names[0], border.alias(names[1]), names[2], no_vector.alias("reason"))


NO_VECTOR = "the embedding has no vector for it"


@dataclass(frozen=True)
class Taught:
    """What a classifier learned from the labels in a frame, and how sure one can be of it."""

    head: Head | None
    """null where there are too few labels; `problem` says so. Its held-out numbers are in `head.held_out`."""
    probabilities: np.ndarray
    """float64 (rows of the frame,); NaN where there is no head or no vector."""
    labels: list[bool | None]
    """What each row of the frame counted as in training."""
    positives: int
    """Labelled rows that have a vector."""
    negatives: int
    """Labelled rows that have a vector, without the drawn ones."""
    drawn: int
    """Rows of the pool that were taken for negatives because too few are labelled."""
    problem: str | None = None


def train(frame: pl.DataFrame, classifier: Classifier | None = None) -> Taught:
    """Train a classifier's head on the labels of a frame, and let it judge every row.

    Args:
        frame: `id`, `vector` and the classifier's `needs`: labelled samples and the pool.
        classifier: whose tags, score and calibration; the default one when null.

    Raises:
        OperatorError: the score is no number.
    """
    import numpy as np

    from curation.texts.linear_head import FEWEST, train_head

    classifier = classifier or Classifier()
    seen = frame["vector"].is_not_null().to_numpy()
    vectors = frame["vector"].drop_nulls().to_numpy()
    by_hand = _labels(frame, classifier)
    labels = np.where(seen, by_hand, 0)
    positives, negatives = int((labels > 0).sum()), int((labels < 0).sum())
    taken = _drawn(frame["id"], np.flatnonzero(seen & (by_hand == 0)), classifier, positives, negatives)
    labels[taken] = -1
    known: list[bool | None] = [None if label == 0 else bool(label > 0) for label in labels]
    judged = np.full(frame.height, np.nan)
    taught = frame.select("id", "instruction").filter(labels != 0)
    groups = [_question(text) or i for i, text in taught.iter_rows()]
    mine = labels[labels != 0] > 0
    sides = [len({g for g, positive in zip(groups, mine, strict=True) if positive == side}) for side in (True, False)]
    if min(sides) < FEWEST:
        problem = _too_few(classifier, sides, FEWEST)
        return Taught(None, judged, [None] * frame.height, positives, negatives, 0, problem)
    known_vectors = vectors[labels[seen] != 0]
    head = train_head(known_vectors, mine, groups, calibration=classifier.calibration, seed=classifier.seed)
    judged[seen] = head.predict(vectors)
    return Taught(head, judged, known, positives, negatives, len(taken))


def _too_few(classifier: Classifier, sides: list[int], fewest: int) -> str:
    by_score = f" or by {classifier.score_column}" if classifier.score_column else ""
    return (
        f"too few labels: {sides[0]} different instructions are {classifier.positive!r}{by_score} and {sides[1]} are "
        f"negatives; {fewest} of each are needed"
    )


def _labels(frame: pl.DataFrame, classifier: Classifier) -> np.ndarray:
    """1, -1 or 0 for each row. What was tagged by hand outranks the score; what has both tags counts for nothing."""
    import polars as pl

    def has(tag: str) -> pl.Expr:
        return pl.col("tags").list.contains(tag).fill_null(False)

    by_tag = has(classifier.positive).cast(pl.Int8) - has(classifier.negative).cast(pl.Int8)
    untagged = ~(has(classifier.positive) | has(classifier.negative))
    label = pl.when(untagged).then(_by_score(frame, classifier)).otherwise(by_tag)
    return frame.select(label.fill_null(0).cast(pl.Int8).alias("label"))["label"].to_numpy().copy()


def _by_score(frame: pl.DataFrame, classifier: Classifier) -> pl.Expr:
    import polars as pl

    if classifier.score_column is None or classifier.at_least is None:
        return pl.lit(0, dtype=pl.Int8)
    kind = frame[classifier.score_column].dtype
    if not (kind.is_numeric() or kind == pl.Boolean):
        raise OperatorError(
            f"{classifier.score_column!r} is not a number but {kind}.", fix="choose a numeric score column"
        )
    value = pl.col(classifier.score_column).cast(pl.Float64)
    low = value < classifier.at_least if classifier.at_most is None else value <= classifier.at_most
    return pl.when(value >= classifier.at_least).then(1).when(low).then(-1).otherwise(0).cast(pl.Int8)


def _drawn(ids: pl.Series, free: np.ndarray, classifier: Classifier, positives: int, negatives: int) -> list[int]:
    """Rows of the pool to take for negatives; drawn by id, so that the order of the frame does not matter."""
    from curation.texts.linear_head import FEWEST

    wanted = round(classifier.drawn * positives) - negatives
    if negatives >= FEWEST or wanted <= 0:
        return []

    def draw(row: int) -> bytes:
        return hashlib.sha256(f"{classifier.seed}\x1f{ids[row]}".encode()).digest()

    return sorted((int(row) for row in free), key=draw)[:wanted]


def _question(text: str | None) -> str:
    """Equal for instructions that differ in nothing but case and white space; empty where there is none."""
    return " ".join((text or "").lower().split())
