"""How toxic an answer is: by a word list that ships with the project, or by a classifier of yours."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from curation.operators import Scorer

if TYPE_CHECKING:
    import polars as pl

EMPTY = "the answer is empty"


class Toxicity(Scorer):
    """Toxicity of the answer, by words that it holds or by a classifier.

    Source: none for the list (`curation/texts/toxic_words.py`, English and Chinese, small); the choice beside it is any
    Hugging Face text classifier, such as unitary/toxic-bert. The list misses toxic talk in plain words; quotes count.

    Columns:
        toxicity (DOUBLE): of the list: severity of the worst word, 0.3 rude, 0.6 obscene or abusive, 1.0 a slur or a
            threat, 0 without any; of a model: probability of its label, for long answers the highest of their parts';
            0..1; null for an empty answer.
        toxic (BOOLEAN): toxicity reaches the threshold.
        toxic_words (VARCHAR): listed words found, joined by commas, also with a model; null where there is none.
    """

    name: ClassVar[str] = "toxicity"
    needs: ClassVar[tuple[str, ...]] = ("response",)

    model: str | None = Field(None, description="A text classifier: hf:PATH or a hub name; null uses the word list")
    label: str | None = Field(None, description="The classifier's label for toxic; null finds it by its name")
    threshold: float = Field(0.5, ge=0, le=1, description="Toxicity from which the answer is toxic")

    @property
    def columns(self) -> dict[str, str]:
        return {"toxicity": "DOUBLE", "toxic": "BOOLEAN", "toxic_words": "VARCHAR"}

    def fingerprint(self) -> str:
        from curation.language_models.causal_lm import fingerprint_of

        return fingerprint_of(self.model) if self.model else ""

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        answers = batch["response"].fill_null("")
        severity, words = _listed(answers)
        filled = answers.str.strip_chars() != ""
        toxicity = severity if self.model is None else self._judged(answers, filled)
        return pl.DataFrame({"filled": filled, "toxicity": toxicity, "toxic_words": words}).select(
            pl.when("filled").then("toxicity").alias("toxicity"),
            pl.when("filled").then(pl.col("toxicity") >= self.threshold).alias("toxic"),
            "toxic_words",
            pl.when(~pl.col("filled")).then(pl.lit(EMPTY)).alias("reason"),
        )

    def _judged(self, answers: pl.Series, filled: pl.Series) -> pl.Series:
        import polars as pl

        from curation.texts.text_classifier import open_classifier

        none = pl.Series([0.0]).new_from_index(0, len(answers))
        places = filled.arg_true()
        if self.model is None or places.is_empty():
            return none
        judged = open_classifier(self.model, self.label).probabilities(answers.gather(places).to_list())
        return none.scatter(places, pl.Series(judged))


def _listed(answers: pl.Series) -> tuple[pl.Series, pl.Series]:
    """Severity of the worst listed word of each answer, and the words."""
    import polars as pl

    from curation.texts.toxic_words import PATTERN, SEVERITY, severity_of

    # The automaton knows no word boundaries and no plurals, but it is six times faster than the pattern.
    suspects = [word.split(" ")[0] for word in SEVERITY]
    places = answers.str.contains_any(suspects, ascii_case_insensitive=True).arg_true()
    places = places.filter(answers.gather(places).str.contains(PATTERN))
    found = [list(dict.fromkeys(w.lower() for w in words)) for words in answers.gather(places).str.extract_all(PATTERN)]
    worst = [max(map(severity_of, words)) for words in found]
    zero = pl.Series([0.0]).new_from_index(0, len(answers))
    none = pl.Series([None], dtype=pl.String).new_from_index(0, len(answers))
    joined = pl.Series([", ".join(words) for words in found], dtype=pl.String)
    return zero.scatter(places, pl.Series(worst, dtype=pl.Float64)), none.scatter(places, joined)
