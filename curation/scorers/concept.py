"""A concept that is taught by a few yes/no answers: who says what it is like gets a score for all samples."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from pydantic import Field, PrivateAttr, field_validator

from curation.operators import Scorer, parted

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import polars as pl

    from curation.corpus import Corpus
    from curation.searching import Space

FEWEST = 3
"""Answers of each kind without which nothing is scored."""
STRENGTH = 0.03
"""Inverse regularisation, on vectors whose components have a mean square of about 1."""
DRAWN = 300
"""Samples of the corpus, drawn by chance, that count as no: answers alone say nothing of what is far from all of them.
On four concepts among Alpaca's 52,002 samples the area under the ROC curve after forty answers was 0.72 to 0.98 with
them, 0.58 to 0.99 without."""
DRAWN_OF = 10
"""Of a small corpus no more than one of so many are drawn."""
DRAWN_SHARE = 0.5
"""Of the weight of all that counts as no."""
FEWEST_JUDGED, FOLDS = 5, 5
"""Answers of each kind without which nothing is said of how sure it is, nor calibrated: one for each fold."""
KEPT = 8
"""Concepts as they were taught that are kept, so that a page does not learn them again."""
NO_VECTOR = "the embedding has no vector for it"
NAME = r"^[a-z][a-z0-9_]*$"


class Concept(Scorer):
    """How much a sample is of a concept that was taught by yes/no answers, judged from its vector.

    Teach it with `winnow teach` or on the page Concepts; ten to twenty answers do. It may be any question that is
    answered with yes and no. What annotators disagree on does not count until it is settled.

    Source: logistic regression on sentence vectors with few labels as in SetFit's head (Tunstall et al. 2022, arXiv
    2209.11055, section 3), uncertainty sampling (Lewis and Gale 1994, A Sequential Algorithm for Training Text
    Classifiers) to choose what is asked.

    Columns:
        concept_NAME (DOUBLE): probability of a yes among samples such as were asked about, 0..1; 0.5 is the border.
            Calibrated from five answers of each kind on.

    Differs from the source: the corpus' own embedding is not tuned; yes and no count the same in sum, and half of the
        no's weight lies on 300 samples that are drawn by chance.
    """

    name: ClassVar[str] = "concept"
    needs: ClassVar[tuple[str, ...]] = ()

    concept: str = Field("concept", pattern=NAME, description="Which concept: the question that was answered")
    embedding: str | None = Field(None, description="Embedding to judge by; null takes the latest")
    yes: tuple[str, ...] | None = Field(None, description="Ids of samples that are of it; null: as answered")
    no: tuple[str, ...] | None = Field(None, description="Ids of samples that are not; null: as answered")

    _taught: Taught | None = PrivateAttr(None)

    _parted = field_validator("yes", "no", mode="before")(parted)

    @property
    def needs_vectors(self) -> bool:
        return True

    @property
    def columns(self) -> dict[str, str]:
        return {f"concept_{self.concept}": "DOUBLE"}

    def in_corpus(self, folder: Path) -> Self:
        """With the answers there are, which are then part of its parameters, and what is learned from them."""
        from curation.corpus import Corpus
        from curation.searching import space_of

        corpus = Corpus(folder)
        yes, no = answered(corpus, self.concept)
        scorer = self.model_copy(
            update={"yes": yes if self.yes is None else self.yes, "no": no if self.no is None else self.no}
        )
        scorer._taught = learn(space_of(corpus, self.embedding), scorer.yes or (), scorer.no or ())
        return scorer

    def fingerprint(self) -> str:
        """The answers and the vectors they are about."""
        return self._taught.digest if self._taught is not None else ""

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        import numpy as np
        import polars as pl

        seen = batch["vector"].is_not_null()
        taught = self._taught
        problem = "the concept was not taught in this corpus" if taught is None else taught.problem(FEWEST)
        judged = np.full(batch.height, np.nan)
        if taught is not None and problem is None:
            judged[seen.to_numpy()] = taught.predict(batch["vector"].drop_nulls().to_numpy())
        column = next(iter(self.columns))
        return pl.DataFrame({column: pl.Series(judged, dtype=pl.Float64).fill_nan(None)}).with_columns(
            pl.when(pl.col(column).is_null()).then(pl.lit(problem or NO_VECTOR)).alias("reason")
        )


# -------------------------------------------------------------------- what was answered, and what is learned from it


@dataclass(frozen=True)
class Taught:
    """What is learned from answers."""

    yes: int
    """Answers whose sample has a vector."""
    no: int
    weights: np.ndarray | None
    """float64 (dimensions,); null where one of the two answers is missing."""
    bias: float
    vectors: np.ndarray
    """float32 (answers, dimensions), of unit length."""
    labels: np.ndarray
    """bool (answers,)."""
    held_out: np.ndarray | None
    """float64 (answers,): probability of a yes, of each answer foretold by what the others teach; null where there are
    too few."""
    digest: str

    def predict(self, vectors: np.ndarray) -> np.ndarray:
        """Probability of a yes for each vector, float64 (rows,)."""
        import numpy as np

        assert self.weights is not None
        return logistic(np.asarray(vectors @ self.weights.astype(np.float32), np.float64) + self.bias)

    def problem(self, fewest: int) -> str | None:
        """Why there are too few answers; null where there are enough of both kinds."""
        if min(self.yes, self.no) >= fewest:
            return None
        return f"too few answers: {self.yes} yes and {self.no} no; {fewest} of each are needed"


def answered(corpus: Corpus, concept: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The samples that are of a concept and those that are not, by id."""
    from curation.annotating import labels_of

    labels = labels_of(corpus, concept)
    yes, no = (tuple(i for i, answer in labels.items() if answer == wanted) for wanted in ("yes", "no"))
    return yes, no


_learned: OrderedDict[tuple[object, ...], Taught] = OrderedDict()


def learn(space: Space, yes: Sequence[str], no: Sequence[str]) -> Taught:
    """Learn a concept from the vectors of samples; deterministic, whatever their order. The last ones are kept."""
    key = (space.folder, space.version, tuple(sorted(yes)), tuple(sorted(no)))
    taught = _learned.get(key) or _learn(space, yes, no)
    _learned[key] = taught
    while len(_learned) > KEPT:
        _learned.popitem(last=False)
    return taught


def _learn(space: Space, yes: Sequence[str], no: Sequence[str]) -> Taught:
    import numpy as np

    rows = [np.sort(space.rows_of(dict.fromkeys(ids))) for ids in (yes, no)]
    own = np.concatenate(rows)
    vectors, drawn = _vectors(space, own), _vectors(space, _drawn(space, own))
    labels = np.arange(len(vectors)) < len(rows[0])
    content = f"{space.name} {space.model} {sorted(yes)} {sorted(no)}".encode() + vectors.tobytes() + drawn.tobytes()
    digest = hashlib.sha256(content).hexdigest()
    if labels.all() or not labels.any():
        return Taught(len(rows[0]), len(rows[1]), None, 0.0, vectors, labels, None, digest)
    weights, bias = _fitted(vectors, labels, drawn)
    held_out = None
    if min(map(len, rows)) >= FEWEST_JUDGED:
        (slope, offset), held_out = _calibrated(vectors, labels, drawn)
        weights, bias = weights * slope, bias * slope + offset
    return Taught(len(rows[0]), len(rows[1]), weights, bias, vectors, labels, held_out, digest)


def _calibrated(vectors: np.ndarray, labels: np.ndarray, drawn: np.ndarray) -> tuple[tuple[float, float], np.ndarray]:
    """Slope and offset of Platt's sigmoid, and the probability of each answer by folds that it is not in."""
    import numpy as np
    from sklearn.model_selection import StratifiedKFold

    from curation.texts.linear_head import platt

    folds = list(StratifiedKFold(FOLDS, shuffle=True, random_state=0).split(vectors, labels))
    told, held_out = np.empty(len(labels)), np.empty(len(labels))
    for rest, fold in folds:
        weights, bias = _fitted(vectors[rest], labels[rest], drawn)
        told[fold] = vectors[fold] @ weights + bias
    for rest, fold in folds:
        slope, offset = platt(told[rest], labels[rest])
        held_out[fold] = logistic(slope * told[fold] + offset)
    slope, offset = platt(told, labels)
    # Where they tell nothing yet, what was learned still says what to ask next.
    return (float(slope), float(offset)) if slope > 0 else (1.0, 0.0), held_out


def _vectors(space: Space, rows: np.ndarray) -> np.ndarray:
    import numpy as np

    found = np.asarray(space.matrix[rows], np.float32)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(found / np.where(lengths > 0, lengths, 1), np.float32)


def _drawn(space: Space, without: np.ndarray) -> np.ndarray:
    import numpy as np

    size = len(space.ids)
    rows = np.random.default_rng(0).choice(size, min(size, DRAWN + len(without)), replace=False)
    return np.sort(rows[~np.isin(rows, without)][: min(DRAWN, size // DRAWN_OF)])


def _fitted(vectors: np.ndarray, labels: np.ndarray, drawn: np.ndarray) -> tuple[np.ndarray, float]:
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    share = DRAWN_SHARE if len(drawn) else 0.0
    of_answers = np.where(labels, 1 / labels.sum(), (1 - share) / (~labels).sum())
    weights = np.concatenate([of_answers, np.full(len(drawn), share / max(1, len(drawn)))]) * len(labels) / 2
    scale = np.sqrt(vectors.shape[1])
    known = np.concatenate([labels, np.zeros(len(drawn), bool)])
    model = LogisticRegression(C=STRENGTH, max_iter=500)
    model.fit(np.concatenate([vectors, drawn]) * scale, known, sample_weight=weights)
    return model.coef_[0].astype(np.float64) * scale, float(model.intercept_[0])


def logistic(values: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-x)."""
    import numpy as np

    result: np.ndarray = 1 / (1 + np.exp(-np.clip(values, -500, 500)))
    return result
