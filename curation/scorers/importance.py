"""Likeness to a target set, by words alone."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

from pydantic import Field

from curation.errors import OperatorError
from curation.operators import Scorer

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import polars as pl

TOKEN = r"[\p{Han}\p{Hiragana}\p{Katakana}]|[\w--\p{Han}--\p{Hiragana}--\p{Katakana}]+|[^\w\s]+"
"""A word, a run of marks, or one Chinese character or kana."""
LEAST = 1e-8
"""Added to both shares before the logarithm, as in the reference code: a bucket that never occurs has a weight too."""
CHUNK = 20_000
"""Texts that are taken apart at a time."""


class Importance(Scorer):
    """How much likelier a sample's words are in a target set than in the corpus: what to take to resemble the target.

    The target is a file, the samples with a tag, or those of a source. Choose with `importance-resampling` or `top-k`.

    Source: DSIR, Xie et al. 2023, arXiv:2302.03169, section 3: hashed word unigrams and bigrams in 10,000 buckets, log
    of the share in the target over the share in the corpus; code: p-lambda/dsir.

    Columns:
        importance (DOUBLE): that logarithm, summed over words and pairs and divided by the words, in nats; higher is
            more like the target.
        importance_tokens (BIGINT): tokens it was measured on; the shorter a sample, the wilder its mean.

    Differs from the source: the sum is divided by the tokens, because it is little but length otherwise (rank
    correlation with the tokens -0.97 on the source's toy data), and `length_normalised=false` gives the sum; counts are
    smoothed by one, because a target of some hundred rows leaves most buckets empty, and `smoothing=0` gives the
    source's; a Chinese character or kana is a word.
    """

    name: ClassVar[str] = "importance"
    whole: ClassVar[bool] = True

    target: str | None = Field(None, description="File of samples to resemble, in any shape that can be ingested")
    target_tag: str | None = Field(None, description="Or: the samples with this tag")
    target_source: str | None = Field(None, description="Or: the samples of this source")
    text: Literal["both", "instruction", "response"] = Field("both", description="What of a sample is compared")
    length_normalised: bool = Field(True, description="Divide by the tokens; the source's plain sum favours short ones")
    smoothing: float = Field(1.0, ge=0, description="Added to the count of every bucket, on both sides")
    min_tokens: int = Field(10, ge=1, description="Samples with fewer are not measured (the source leaves out < 100)")
    buckets: int = Field(10_000, ge=2, le=65_536, description="Hash buckets of the words and word pairs")

    @property
    def needs(self) -> tuple[str, ...]:
        return ("instruction", "response", "tags", "source")

    @property
    def columns(self) -> dict[str, str]:
        return {"importance": "DOUBLE", "importance_tokens": "BIGINT"}

    def fingerprint(self) -> str:
        """Hash of the target file: other content, other scores.

        Raises:
            OperatorError: no target is given or more than one, or the file can't be read.
        """
        if sum(t is not None for t in (self.target, self.target_tag, self.target_source)) != 1:
            raise OperatorError(
                "importance needs one target: a file, a tag or a source.", fix="add --set target=FILE, say"
            )
        if self.target is None:
            return ""
        try:
            return hashlib.sha256(Path(self.target).expanduser().read_bytes()).hexdigest()[:16]
        except OSError as error:
            raise OperatorError(
                f"The target {self.target} can't be read: {error.strerror}.", fix="give a file of samples"
            ) from None

    def score(self, batch: pl.DataFrame) -> pl.DataFrame:
        import numpy as np
        import polars as pl

        self.fingerprint()
        pool = [hashed(chunk, self.buckets) for chunk in _chunks(self._texts(batch))]
        in_pool = _counts(pool, self.buckets)
        weights = self._shares(self._target_counts(batch)) - self._shares(in_pool)
        tokens = np.concatenate([part.tokens for part in pool]) if pool else np.empty(0, np.int64)
        sums = np.concatenate([_sums(part, weights) for part in pool]) if pool else np.empty(0)
        values = sums / np.maximum(tokens, 1) if self.length_normalised else sums
        return pl.DataFrame({"importance": values, "importance_tokens": tokens}).select(
            pl.when(pl.col("importance_tokens") >= self.min_tokens).then("importance"),
            "importance_tokens",
            pl.when(pl.col("importance_tokens") < self.min_tokens)
            .then(pl.lit(f"it has fewer than {self.min_tokens} tokens"))
            .alias("reason"),
        )

    def _texts(self, frame: pl.DataFrame) -> pl.Series:
        import polars as pl

        both = pl.concat_str("instruction", "response", separator="\n\n", ignore_nulls=True)
        return frame.select(both if self.text == "both" else pl.col(self.text)).to_series().fill_null("")

    def _shares(self, counts: np.ndarray) -> np.ndarray:
        import numpy as np

        smoothed = counts + self.smoothing
        logs: np.ndarray = np.log(smoothed / max(smoothed.sum(), 1) + LEAST)
        return logs

    def _target_counts(self, batch: pl.DataFrame) -> np.ndarray:
        import polars as pl

        if self.target is not None:
            frame, what = frame_of_file(Path(self.target).expanduser()), f"the file {self.target}"
        elif self.target_tag is not None:
            tagged = pl.col("tags").list.contains(self.target_tag).fill_null(False)
            frame, what = batch.filter(tagged), f"the tag {self.target_tag!r}"
        else:
            frame, what = batch.filter(pl.col("source") == self.target_source), f"the source {self.target_source!r}"
        counts = _counts((hashed(chunk, self.buckets) for chunk in _chunks(self._texts(frame))), self.buckets)
        if not counts.any():
            raise OperatorError(
                f"The target of importance, {what}, has no sample with text.", fix="give a target with samples"
            )
        return counts


class Hashed(NamedTuple):
    """The words and word pairs of some texts, as buckets laid end to end."""

    bucket: np.ndarray
    """uint16; the words of all texts, in order, and then the pairs."""
    tokens: np.ndarray
    """int64, words of each text; it has one pair fewer."""


def bucket_of(words: str, buckets: int = 10_000) -> int:
    """The bucket of a lower-cased word, or of two words with a space between: its SHA-256 as a number, modulo."""
    return int.from_bytes(hashlib.sha256(words.encode("utf-8", "surrogatepass")).digest()) % buckets


def hashed(texts: pl.Series, buckets: int = 10_000) -> Hashed:
    """Each word, and each pair of neighbouring words of one text, as a bucket; every different one is hashed once."""
    import numpy as np
    import polars as pl

    found = texts.str.to_lowercase().str.extract_all(TOKEN)
    tokens = found.list.len().to_numpy().astype(np.int64)
    flat = found.explode(empty_as_null=False)
    row = np.repeat(np.arange(len(texts)), tokens)
    words = flat.unique()
    known = pl.DataFrame({"word": words, "code": np.arange(len(words))})
    code = pl.DataFrame({"word": flat}).join(known, on="word", how="left", maintain_order="left")["code"].to_numpy()
    spelled = words.to_list()
    singles = np.array([bucket_of(word, buckets) for word in spelled], np.uint16)
    inside = row[1:] == row[:-1]
    pair_keys, place = np.unique(code[:-1][inside] * len(words) + code[1:][inside], return_inverse=True)
    left, right = np.divmod(pair_keys, max(1, len(words)))
    pairs = np.array(
        [bucket_of(f"{spelled[a]} {spelled[b]}", buckets) for a, b in zip(left, right, strict=True)], np.uint16
    )
    return Hashed(np.concatenate([singles[code], pairs[place]]), tokens)


def _chunks(texts: pl.Series) -> Iterator[pl.Series]:
    for start in range(0, len(texts), CHUNK):
        yield texts.slice(start, CHUNK)


def _counts(parts: list[Hashed] | Iterator[Hashed], buckets: int) -> np.ndarray:
    import numpy as np

    total = np.zeros(buckets)
    for part in parts:
        total += np.bincount(part.bucket, minlength=buckets)
    return total


def _sums(part: Hashed, weights: np.ndarray) -> np.ndarray:
    import numpy as np

    texts = np.arange(len(part.tokens))
    row = np.concatenate([np.repeat(texts, part.tokens), np.repeat(texts, np.maximum(part.tokens - 1, 0))])
    return np.bincount(row, weights=weights[part.bucket], minlength=len(texts))


def frame_of_file(path: Path) -> pl.DataFrame:
    """The samples of a file; rows that are none are passed over.

    Raises:
        OperatorError: no row is a sample.
        IngestError: the file can't be read at all.
    """
    from curation.files.reading import BrokenRow, read_chunks
    from curation.files.shapes import to_sample
    from curation.files.turns import Unreadable
    from curation.sample import to_frame

    samples, problem = [], "it has no rows"
    for chunk in read_chunks(path):
        for _, row in chunk:
            try:
                if isinstance(row, BrokenRow):
                    raise Unreadable(row.reason)
                samples.append(to_sample(row, path.name))
            except Unreadable as error:
                problem = str(error)
    if not samples:
        raise OperatorError(
            f"No row of the target {path} is a sample: {problem}.",
            fix="ingest it with --map, and give --set target_source=SOURCE instead",
        )
    return to_frame(samples)
