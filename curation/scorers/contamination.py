"""Contamination: which samples hold a question or an answer of a benchmark."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr, field_validator

from curation.errors import ModelError, OperatorError
from curation.operators import Scorer, parted

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from curation.files.benchmark_files import Benchmarks, Question
    from curation.texts.overlap import KnownTexts, Run

FEWEST_WORDS = 5
"""A question of fewer words counts only where it is all that is asked: `prove the Pythagorean theorem`."""
FEWEST_TELLING = 3
"""A question is found as a whole by so many words that are neither numbers nor single letters."""
FEWEST_WORDS_IN_AN_ANSWER = 8
"""A question of fewer words is not looked for in answers, where its words come by chance."""
FEWEST_WORDS_OF_AN_ANSWER = 24
"""The answer of a benchmark that has fewer words is not looked for: `72`, `return sum(numbers)`."""
FEWEST_WORDS_EDITED = 8
"""In a question of fewer words, another word is another question: `What is the capital of France?`"""


class Contamination(Scorer):
    """How much of a benchmark's question (or answer) a sample repeats; 1 is all of it.

    A sample is contaminated if it holds a whole question, `run` of its words in a row, n-grams that cover at least
    `min_overlap` of it, or all of it but `max_edits` words; of a long answer, n-grams that cover `min_overlap`. Runs
    that are mostly numbers or single letters do not count, nor n-grams that more than 20 questions have. Look at the
    passages before you drop: short questions of one pattern (`What is the largest ... in the world?`) are a word apart.
    Looked at are the user's turns and the last answer; not system prompts, earlier answers and rejected ones.

    Source: 13 words in a row: Brown et al. 2020, GPT-3 (arXiv 2005.14165, appendix C). 8-grams that cover more than
        half of a question: Lambert et al. 2024, Tulu 3 (arXiv 2411.15124, section 3.2). Edited questions: own rule.

    Columns:
        contamination (DOUBLE): share of the question's words in n-grams that the sample has too (n = 8, of questions
            under 24 words 4, under 12 words 3), or of an edited question all words in place; of the question that
            contaminates it, else of the one with the largest share; 0..1.
        contaminated (BOOLEAN): by the rule above.
        contamination_way (VARCHAR): what found it: exact, 13-gram, 8-gram, edited or embedding; null below the rule.
        contamination_benchmark (VARCHAR), contamination_item (BIGINT): file, and its line or row, counted from 1.
        contamination_span (VARCHAR): longest passage that both have, as the sample writes it.
        contamination_text (VARCHAR): the question, or the answer, that was found.
        contamination_similarity (DOUBLE): cosine to the nearest question, only where `min_similarity` is set; -1..1.

    Differs from the source: GPT-3 cuts out the matching part, here the sample is marked; Tulu 3 counts a benchmark's
        questions, here each sample gets its number.
    """

    name: ClassVar[str] = "contamination"

    benchmarks: tuple[str, ...] = Field(min_length=1, description="Benchmark files, separated by commas")
    n: int = Field(8, ge=3, description="Length of the n-grams that are counted, in words or Chinese characters")
    min_overlap: float = Field(0.5, gt=0, le=1, description="Share of a question in common n-grams that contaminates")
    run: int = Field(13, ge=5, description="So many words in a row contaminate by themselves")
    max_edits: int = Field(
        2, ge=0, description="A question with so many changed words (or a tenth of them) is still found; 0: off"
    )
    text: Literal["both", "instruction", "response"] = Field("both", description="Where to look")
    min_similarity: float | None = Field(
        None, gt=0, le=1, description="Cosine of the embeddings that contaminates, such as 0.9; empty: off"
    )
    embedding: str | None = Field(None, description="Embedding for the cosine; empty: the latest")

    _corpus_folder: Path | None = PrivateAttr(None)

    @field_validator("benchmarks", mode="before")
    @classmethod
    def _parted(cls, value: Any) -> Any:
        return parted(value)

    @property
    def needs_vectors(self) -> bool:
        return self.min_similarity is not None

    @property
    def columns(self) -> dict[str, str]:
        similarity = {"contamination_similarity": "DOUBLE"} if self.min_similarity is not None else {}
        return {**COLUMNS, **similarity}

    def in_corpus(self, folder: Path) -> Self:
        """This scorer, which now finds the encoder of the corpus' embedding."""
        mine = self.model_copy()
        mine._corpus_folder = folder
        return mine

    def fingerprint(self) -> str:
        """Hash of the benchmark files: a changed one is looked for anew."""
        digest = hashlib.sha256()
        for path in self.benchmarks:
            try:
                digest.update(hashlib.sha256(Path(path).expanduser().read_bytes()).digest())
            except OSError as error:
                raise OperatorError(
                    f"The benchmark {path} can't be read: {error.strerror}.",
                    fix="name files that exist: --set benchmarks=FILE,FILE",
                ) from None
        return digest.hexdigest()[:16]

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        from curation.files.benchmark_files import named_benchmarks

        benchmarks = named_benchmarks(self.benchmarks, self.n)
        looked_at = [c for c in ("instruction", "response") if self.text in ("both", c)]
        pairs = pl.concat([self._judged(batch[column], column, benchmarks) for column in looked_at])
        order = ["contaminated", "share", "longest", "known", "column"]
        best = pairs.sort("text", *order, descending=[False, True, True, True, False, False]).group_by("text").first()
        found = _described(best, batch, benchmarks)
        if self.min_similarity is not None:
            found = self._with_similarity(found, batch, benchmarks)
        empty = pl.all_horizontal(batch[c].fill_null("").str.strip_chars() == "" for c in looked_at)
        return _unmeasured(found, batch.select(empty).to_series())

    def _judged(self, texts: pl.Series, column: str, benchmarks: Benchmarks) -> pl.DataFrame:
        """The pairs of a text and a part of a benchmark, with the `way` it was found: null below the rule."""
        import polars as pl

        from curation.texts.overlap import words_of

        known = benchmarks.known
        parts = pl.DataFrame(
            {"size": known.sizes, "weight": known.weights, "is_answer": [p.is_answer for p in benchmarks.parts]}
        )
        pairs = known.shared(texts)
        pairs = pl.concat([pairs, parts[pairs["known"]]], how="horizontal").with_columns(pl.lit(column).alias("column"))
        fewest = pl.when("is_answer").then(FEWEST_WORDS_OF_AN_ANSWER).otherwise(FEWEST_WORDS_IN_AN_ANSWER)
        pairs = pairs.filter(~pl.col("is_answer") if column == "instruction" else pl.col("size") >= fewest)
        pairs = pairs.with_columns(self._allowed().alias("allowed"))
        runs_or_edited = (pl.col("longest") >= self.run) | (pl.col("missing") <= pl.col("allowed"))
        suspect = pl.col("whole") | (pl.col("share") >= self.min_overlap) | (runs_or_edited & ~pl.col("is_answer"))
        pairs = pairs.with_columns(suspect.alias("suspect"))
        wanted = pairs.filter("suspect")["text"].unique()
        words = dict(zip(wanted, words_of(texts.gather(wanted)).to_list(), strict=True))
        found = [
            self._way(pair, words[pair["text"]], known) if pair["suspect"] else (None, pair["share"])
            for pair in pairs.iter_rows(named=True)
        ]
        ways = pl.DataFrame(found, schema={"way": pl.String, "share": pl.Float64}, orient="row")
        return pairs.with_columns(*ways, ways["way"].is_not_null().alias("contaminated"))

    def _allowed(self) -> pl.Expr:
        """How many words of a question may be others."""
        import polars as pl

        many = pl.max_horizontal(pl.lit(float(self.max_edits)), pl.col("weight") / 10)
        allowed = pl.when(pl.col("weight") < 8).then(min(self.max_edits, 1)).otherwise(many)
        can_be = (pl.col("size") >= FEWEST_WORDS_EDITED) & (self.max_edits > 0)
        return pl.when(can_be).then(allowed).otherwise(-1.0)

    def _way(self, pair: dict[str, Any], other: list[str], known: KnownTexts) -> tuple[str | None, float]:
        """By which rule the text is contaminated, null if by none; and the share it repeats."""
        words, share = known.words[pair["known"]], pair["share"]
        if pair["whole"]:
            enough = len(words) >= FEWEST_WORDS and _telling(words) >= FEWEST_TELLING
            return ("exact" if enough or pair["words"] == len(words) else None), share
        runs = known.aligned(pair["known"], other, pair["shift"])
        # Number lists and the alphabet are in any text: of a run, half must be words.
        telling = [size for start, _, size in runs if 2 * _telling(words[start : start + size]) >= size]
        if max(telling, default=0) >= self.run and not pair["is_answer"]:
            return f"{self.run}-gram", share
        if sum(size for size in telling if size >= self.n) >= self.min_overlap * len(words):
            return f"{self.n}-gram", share
        # Loops and steps of a calculation are alike in many answers: of an answer, half must be there word by word.
        if pair["is_answer"] or not _edited(words, other, runs, pair["allowed"]):
            return None, share
        return "edited", sum(size for *_, size in runs) / len(words)

    def _with_similarity(self, found: pl.DataFrame, batch: pl.DataFrame, benchmarks: Benchmarks) -> pl.DataFrame:
        import numpy as np
        import polars as pl

        vectors, questions = self._encoded(benchmarks)
        known = batch["vector"].is_not_null().to_numpy()
        cosines = np.full(batch.height, np.nan)
        nearest = np.zeros(batch.height, dtype=np.int64)
        if known.any():
            products = batch["vector"].drop_nulls().to_numpy() @ vectors.T
            nearest[known] = products.argmax(axis=1)
            cosines[known] = products.max(axis=1)
        near = [questions[i] for i in nearest.tolist()]
        own: dict[str, Any] = {
            "contaminated": pl.lit(True),
            "contamination_way": pl.lit("embedding"),
            "contamination_benchmark": pl.Series([benchmarks.names[q.file] for q in near], dtype=pl.String),
            "contamination_item": pl.Series([q.row for q in near], dtype=pl.Int64),
            "contamination_span": pl.lit(None, dtype=pl.String),
            "contamination_text": pl.Series([q.text for q in near], dtype=pl.String),
        }
        found = found.with_columns(pl.Series("contamination_similarity", cosines).fill_nan(None))
        only_near = (pl.col("contamination_similarity") >= self.min_similarity).fill_null(False)
        only_near &= ~pl.col("contaminated")
        return found.with_columns(
            pl.when(only_near).then(value).otherwise(name).alias(name) for name, value in own.items()
        )

    def _encoded(self, benchmarks: Benchmarks) -> tuple[np.ndarray, tuple[Question, ...]]:
        from curation.language_models.encoders import open_encoder

        about = self._embedding()
        if str(about["model"]).startswith("file:"):
            raise ModelError(
                f"The embedding {about['name']!r} was brought as a file: there is no encoder for the questions.",
                fix="make one with an encoder (winnow embed CORPUS) and name it: --set embedding=NAME",
            )
        assert self._corpus_folder is not None
        encoder = open_encoder(about["model"], folder=self._corpus_folder / "embeddings" / about["name"])
        texts = {
            "instruction": [q.text for q in benchmarks.questions],
            "response": [q.answer for q in benchmarks.questions],
            "both": [f"{q.text}\n\n{q.answer}" for q in benchmarks.questions],
        }
        return encoder.encode(texts[about["text"]]), benchmarks.questions

    def _embedding(self) -> dict[str, Any]:
        import json

        folder = (self._corpus_folder or Path()) / "embeddings"
        files = sorted(folder.glob(f"{self.embedding or '*'}/about.json"), key=lambda p: p.stat().st_mtime)
        if self._corpus_folder is None or not files:
            raise OperatorError(
                "The corpus has no such embedding to compare with.", fix="winnow embed CORPUS, or leave min_similarity"
            )
        about: dict[str, Any] = json.loads(files[-1].read_text())
        return about


COLUMNS = {
    "contamination": "DOUBLE",
    "contaminated": "BOOLEAN",
    "contamination_way": "VARCHAR",
    "contamination_benchmark": "VARCHAR",
    "contamination_item": "BIGINT",
    "contamination_span": "VARCHAR",
    "contamination_text": "VARCHAR",
}


def _edited(words: Sequence[str], other: Sequence[str], runs: Sequence[Run], allowed: float) -> bool:
    """Whether the runs are a question of which only so many words are others, and little was put in between."""
    kept = [place for start, _, size in runs for place in range(start, start + size)]
    changed = [words[place] for place in set(range(len(words))).difference(kept)]
    if len(words) < 24 and any(c.isdigit() for word in changed for c in word):
        return False  # with another number, a short question is another question
    first, last = runs[0][1], runs[-1][1] + runs[-1][2]
    put_in = sum(map(_weight, other[first:last])) - sum(_weight(words[place]) for place in kept)
    enough = _telling([words[place] for place in kept]) >= FEWEST_TELLING
    return enough and sum(map(_weight, changed)) <= allowed and put_in <= allowed + 1


def _described(best: pl.DataFrame, batch: pl.DataFrame, benchmarks: Benchmarks) -> pl.DataFrame:
    """One row for each sample of the batch; `best` has one for each that shares anything."""
    import polars as pl

    from curation.texts.overlap import places_of

    kinds = {"DOUBLE": pl.Float64, "BOOLEAN": pl.Boolean, "VARCHAR": pl.String, "BIGINT": pl.Int64}
    schema = {"text": pl.Int64, **{name: kinds[kind] for name, kind in COLUMNS.items()}}
    texts = [batch[pair["column"]][pair["text"]] for pair in best.iter_rows(named=True)]
    rows = []
    for pair, text, places in zip(
        best.iter_rows(named=True), texts, places_of(pl.Series(texts, dtype=pl.String)), strict=True
    ):
        part, start = benchmarks.parts[pair["known"]], pair["text_start"]
        span = text[places[start][0] : places[start + pair["longest"] - 1][1]]
        told = (pair["way"], benchmarks.names[part.question.file], part.question.row, span, part.text)
        rows.append((pair["text"], pair["share"], pair["contaminated"], *told))
    found = pl.DataFrame(rows, schema=schema, orient="row")
    all_rows = pl.DataFrame({"text": range(batch.height)}, schema={"text": pl.Int64})
    joined = all_rows.join(found, on="text", how="left", maintain_order="left").drop("text")
    return joined.with_columns(pl.col("contamination").fill_null(0.0), pl.col("contaminated").fill_null(False))


def _unmeasured(found: pl.DataFrame, empty: pl.Series) -> pl.DataFrame:
    import polars as pl

    kept = [pl.when(~empty).then(pl.col(name)).alias(name) for name in ("contamination", "contaminated")]
    reason = pl.when(empty).then(pl.lit("it has no text to look at")).alias("reason")
    return found.with_columns(*kept, reason)


def _telling(words: Sequence[str]) -> int:
    """How many are neither numbers nor single letters."""
    return sum((len(word) > 1 and not word.isdigit()) or _is_han(word) for word in words)


def _weight(word: str) -> float:
    """A Chinese word has two characters on average."""
    return 0.5 if _is_han(word) else 1.0


def _is_han(word: str) -> bool:
    return len(word) == 1 and "\u3040" <= word <= "\U000323af" and word.isalpha()
