"""What `selection_lift` reads: the pool, what is held out, what the base model learns, the scores that selectors need.

Rows are parted by a hash of their instruction, so that nothing that is evaluated is asked in the pool or by the base
model's data, and the same rows are held out on every machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from curation.corpus import Corpus

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

EACH = 240
"""Held-out samples of each source."""
TARGETS = 300
"""Samples of GSM8K's training part that the targeted selectors aim at."""
BASE_ROWS = {"t0": 9_000, "chinese": 4_500}
"""What the base model is trained on; about two million tokens. It knows English and Chinese, but neither mathematics
nor code: the loss on those tells what a selection brings, and the loss on Chinese what it makes the model forget.
(Trained on GSM8K and code too, it only forgot them: +0.28 nats on GSM8K after any 1 % of Alpaca.)"""
LONGEST_BASE = 1_200
"""Characters of a sample that the base model learns from; T0 quotes whole articles."""
FILES = {
    "alpaca": "alpaca_data.json",
    "chinese": "alpaca_zh_27k.json",
    "code": "code_alpaca_2k.json",
    "gsm8k": "gsm8k_test.jsonl",
    "gsm8k_train": "gsm8k_train.jsonl",
    "t0": "t0_55k.parquet",
}
JUDGED = "alpaca_eval/preferences.parquet"
SOURCES = ("gsm8k", "code", "alpaca_eval", "chinese")
"""Sources other than the pool's own that the tuned models are evaluated on."""
OWN = "alpaca"
WORDS_PER_SAMPLE = 8
RARE, COMMON = 10, 0.02
"""Words that fewer instructions have, or a larger share of them, are no tags."""


@dataclass(frozen=True)
class Parts:
    """Everything by its purpose; every frame has `instruction` and `response`."""

    pool: pl.DataFrame
    """All of Alpaca that is not held out."""
    held_out: dict[str, pl.DataFrame]
    """Source -> `EACH` samples."""
    base: pl.DataFrame
    targets: pl.DataFrame


def place(text: str, salt: str = "") -> str:
    """Where an instruction stands in the order of hashes; 16 hex digits."""
    return hashlib.sha256(f"{salt} {text.strip()}".encode("utf-8", "replace")).hexdigest()[:16]


def teaches(instruction: str) -> bool:
    """Whether AlpacaEval's answers to this instruction teach the preference head; the others judge and evaluate."""
    return place(instruction, "halves") < "8"


def parted(frame: pl.DataFrame, rows: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The first rows in the order of hashes, one for an instruction, and those that ask nothing of the kind."""
    import polars as pl

    ordered = frame.with_columns(pl.col("instruction").map_elements(place, return_dtype=pl.String).alias("place"))
    first = ordered.sort("place", maintain_order=True).unique("place", keep="first", maintain_order=True).head(rows)
    rest = ordered.join(first.select("place"), on="place", how="anti", maintain_order="left")
    return first.drop("place"), rest.drop("place")


def parts(data: Path) -> Parts:
    """Read the files and part them."""
    import polars as pl

    read = {name: _pairs(data / file) for name, file in FILES.items()}
    held: dict[str, pl.DataFrame] = {}
    for name in ("gsm8k", "code", "chinese", OWN):
        held[name], read[name] = parted(read[name], EACH)
    held["alpaca_eval"] = parted(best_answers(data), EACH)[0]
    asked = pl.concat([frame.select(pl.col("instruction").str.strip_chars()) for frame in held.values()]).unique()
    learnt = []
    for name, rows in BASE_ROWS.items():
        short = pl.col("instruction").str.len_chars() + pl.col("response").str.len_chars() <= LONGEST_BASE
        learnt.append(parted(_without(read[name], asked).filter(short), rows)[0])
    return Parts(
        pool=_without(read[OWN], asked),
        held_out={name: held[name] for name in (*SOURCES, OWN)},
        base=pl.concat(learnt),
        targets=parted(read["gsm8k_train"], TARGETS)[0],
    )


def _without(frame: pl.DataFrame, asked: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return frame.filter(~pl.col("instruction").str.strip_chars().is_in(asked["instruction"].implode()))


def _pairs(path: Path) -> pl.DataFrame:
    """id, instruction and response of every row of a file, as ingestion reads it; empty answers are left out."""
    import polars as pl

    from curation.files.reading import BrokenRow, read_chunks
    from curation.files.shapes import to_sample
    from curation.files.turns import Unreadable
    from curation.sample import to_frame

    samples = []
    for chunk in read_chunks(path):
        for _, row in chunk:
            try:
                if not isinstance(row, BrokenRow):
                    samples.append(to_sample(row, path.name))
            except Unreadable:
                continue
    frame = to_frame(samples).select(
        "id", "instruction", pl.col("response").str.replace("<|endoftext|>", "", literal=True)
    )
    return frame.filter(pl.col("response").str.strip_chars() != "").unique("id", keep="first", maintain_order=True)


def best_answers(data: Path) -> pl.DataFrame:
    """For each judging instruction of AlpacaEval the answer that GPT-4 likes best: the baseline's if none beats it."""
    import polars as pl

    judged = pl.read_parquet(data / JUDGED).sort("instruction", "preference", "generator_2")
    best = judged.group_by("instruction", maintain_order=True).last()
    answer = pl.when(pl.col("preference") > 1.5).then("output_2").otherwise("output_1")
    judging = best.filter(~pl.col("instruction").map_elements(teaches, return_dtype=pl.Boolean))
    return judging.select("instruction", answer.alias("response"))


# -------------------------------------------------------------------- the corpus and its scores


def corpus_of(found: Parts, folder: Path) -> Corpus:
    """A corpus with the pool (source `alpaca`) and the targets (source `target`)."""
    from curation.sample import Message, Sample, to_frame

    corpus = Corpus.create(folder / "corpus")
    if corpus.count():
        return corpus
    samples = [
        Sample((Message("user", i), Message("assistant", r)), source=source)
        for source, frame in ((OWN, found.pool), ("target", found.targets))
        for i, r in frame.select("instruction", "response").iter_rows()
    ]
    corpus.add(to_frame(samples))
    return corpus


def score_all(corpus: Corpus, base: Path, needs: Collection[str], workers: int) -> None:
    """The scores that selectors read, of which the base model's only those named; none is measured twice."""
    from curation.scorers import IFD, Heuristics, Importance, Length
    from curation.scoring import score

    for scorer in (Length(), Heuristics(), Importance(target_source="target")):
        score(corpus, scorer)
    for definition in ("loss-ratio", "perplexity-ratio"):
        ifd = IFD(model=f"hf:{base}", definition=definition, template="chatml")
        if not set(ifd.columns) & set(needs):
            continue
        score(corpus, ifd, where=f"source = '{OWN}'", engine="processes" if workers > 1 else "here", workers=workers)


def words(instructions: pl.Series) -> pl.Series:
    """Stand-in for tags: the rarest words of each instruction that enough others share; List(String).

    No substitute for what a tagging model says an instruction is about, but it needs none.
    """
    import polars as pl

    frame = pl.DataFrame({"text": instructions.str.slice(0, 400).str.to_lowercase()}).with_row_index("row")
    found = frame.select("row", pl.col("text").str.extract_all(r"\p{L}{3,}").list.unique().alias("word"))
    long = found.explode("word").drop_nulls()
    counts = long.group_by("word").len("rows")
    kept = long.join(counts, on="word").filter(pl.col("rows").is_between(RARE, max(RARE, COMMON * len(frame))))
    tags = (
        kept.sort("row", "rows", "word").group_by("row", maintain_order=True).agg(pl.col("word").head(WORDS_PER_SAMPLE))
    )
    joined = frame.select("row").join(tags, on="row", how="left", maintain_order="left")
    return joined["word"].fill_null(pl.Series([[]], dtype=pl.List(pl.String)))


def preference_head(corpus: Corpus, data: Path, encoder: str, embedding: str) -> np.ndarray:
    """Stand-in for a quality scorer: probability, for each vector of the embedding, that GPT-4 would like the answer.

    A linear head that has seen the judged answers to the teaching half of AlpacaEval's instructions: whether each was
    liked better than the others to the same instruction.
    """
    from curation.texts.linear_head import train_head
    from curation.vectors import vectors_of

    taught = judged_answers(data).filter("teaches")
    return train_head(
        encoded(corpus, taught, encoder, embedding),
        taught["better"].to_numpy(),
        taught["instruction"].to_list(),
    ).predict(vectors_of(corpus, embedding).matrix)


def encoded(corpus: Corpus, answers: pl.DataFrame, encoder: str, embedding: str) -> np.ndarray:
    """float32 (answers, dimensions): as the corpus' own samples were embedded."""
    from curation.language_models.encoders import open_encoder

    opened = open_encoder(encoder, folder=corpus.path / "embeddings" / embedding)
    texts = [f"{i}\n\n{r}" for i, r in answers.select("instruction", "response").iter_rows()]
    return opened.encode(texts)


def judged_answers(data: Path) -> pl.DataFrame:
    """Every judged second answer: instruction, response, generator, `won` (0..1), `better` than most to it, `teaches`.

    `won` is how sure GPT-4 is that it beats the baseline's answer: 0 not at all, 1 quite.
    """
    import polars as pl

    frame = pl.read_parquet(data / JUDGED).select(
        "instruction",
        pl.col("output_2").alias("response"),
        pl.col("generator_2").alias("generator"),
        (pl.col("preference") - 1).alias("won"),
    )
    median = pl.col("won").median().over("instruction")
    half = pl.col("instruction").map_elements(teaches, return_dtype=pl.Boolean)
    return frame.with_columns((pl.col("won") > median).alias("better"), half.alias("teaches"))
