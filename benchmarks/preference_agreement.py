"""How often each quality signal and the classifier prefer the answer that GPT-4 preferred (AlpacaEval's preferences).

Half of the instructions teaches: the classifier learns there, and each signal its direction (whether more of it is
better). The other half judges. The first answer of every pair is one model's, and wins nine times in ten, so that to
recognise that model is nearly to agree. Hence two more comparisons: `sides`, the mean over pairs that the first and
that the second answer won; and `rivals`, two second answers to one instruction of which one beat the first answer and
the other did not.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measuring import missing

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from curation.corpus import Corpus

SIMILAR = 1.15
"""Answers whose characters differ by this factor at most are of similar length."""
DRAWS = 1000
"""Of the bootstrap over instructions."""
FEWEST = 100
"""Pairs of similar length without which no share of them is given."""
IFD_INSTRUCTIONS = 30
"""Of each half: all their answers are measured by a small causal LM."""


@dataclass(frozen=True)
class Pairs:
    """Answers to one instruction of which one is better; row i of every array is a pair."""

    instruction: np.ndarray
    """Number of the instruction."""
    first: np.ndarray
    """Row of the first answer in the frame of answers."""
    second: np.ndarray
    first_wins: np.ndarray
    """bool."""

    def where(self, mask: np.ndarray) -> Pairs:
        """Some of the pairs."""
        return Pairs(self.instruction[mask], self.first[mask], self.second[mask], self.first_wins[mask])


def run() -> None:
    """16,095 pairs on 805 instructions, in `preferences.parquet` of the folder `ALPACA_EVAL`; `ENCODERS` names more."""
    import polars as pl

    file = _folder() / "preferences.parquet"
    if not file.exists():
        missing("set ALPACA_EVAL to the folder that holds preferences.parquet of AlpacaEval")
        return
    judged = pl.read_parquet(file).filter(pl.col("preference") != 1.5)
    answers = _answers(judged)
    pairs = _pairs(judged, answers)
    rivals = _rivals(answers)
    teaches = answers["teaches"].to_numpy()
    with tempfile.TemporaryDirectory() as folder:
        signals = _signals(Path(folder), answers)
    chars = answers["response_chars"].to_numpy()
    for name, kind in (("pairs", pairs), ("pairs of rivals", rivals)):
        judging = kind.where(~teaches[kind.first])
        print(f"  {len(judging.first):,} {name} judge; {int(_similar(judging, chars).sum()):,} are of similar length")
    always = 100 * float(pairs.where(~teaches[pairs.first]).first_wins.mean())
    print(f"  always the first answer: {always:.1f} % of the pairs; no signal at all: 50 %")
    print("  agreement in %, with the 95 % interval over instructions; pairs that a signal leaves even count half")
    _print_table(signals, pairs, rivals, teaches, chars)
    _unseen_models(answers, signals, pairs, rivals, teaches)


def _folder() -> Path:
    given = os.environ.get("ALPACA_EVAL")
    return Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data" / "alpaca_eval"


# -------------------------------------------------------------------- answers and pairs


def _half(text: str, halves: str) -> bool:
    """Whether this text falls into the first half, by its hash."""
    return hashlib.sha256(f"{halves} {text}".encode()).digest()[0] < 128


def _answers(judged: pl.DataFrame) -> pl.DataFrame:
    """Every different answer once: id, instruction, response, generator, the share of its pairs it won, its half."""
    import polars as pl

    from curation.sample import Message, Sample

    sides = [
        judged.select(
            "instruction",
            pl.col(f"output_{side}").alias("response"),
            pl.col(f"generator_{side}").alias("generator"),
            won.cast(pl.Float64).alias("won"),
            pl.lit(side == 2).alias("rival"),
        )
        for side, won in ((1, pl.col("preference") < 1.5), (2, pl.col("preference") > 1.5))
    ]
    found = (
        pl.concat(sides)
        .group_by("instruction", "response", maintain_order=True)
        .agg(pl.col("won").mean(), pl.col("generator").first(), pl.col("rival").all())
    )
    ids = [
        Sample((Message("user", i), Message("assistant", r))).id
        for i, r in zip(found["instruction"], found["response"], strict=True)
    ]
    return found.with_columns(
        pl.Series("id", ids),
        pl.col("instruction").rank("dense").cast(pl.Int64).alias("number"),
        pl.Series("teaches", [_half(text, "instructions") for text in found["instruction"]]),
        pl.col("response").str.len_chars().cast(pl.Float64).alias("response_chars"),
    )


def _pairs(judged: pl.DataFrame, answers: pl.DataFrame) -> Pairs:
    import polars as pl

    rows = answers.select("instruction", "response", "number").with_row_index("row")
    joined = judged
    for side in (1, 2):
        names = {"response": f"output_{side}", "row": f"row_{side}", "number": f"number_{side}"}
        joined = joined.join(
            rows.rename(names), on=["instruction", f"output_{side}"], how="left", maintain_order="left"
        )
    won = (joined["preference"] < 1.5).to_numpy()
    return Pairs(
        joined["number_1"].to_numpy(),
        joined["row_1"].cast(pl.Int64).to_numpy(),
        joined["row_2"].cast(pl.Int64).to_numpy(),
        won,
    )


def _rivals(answers: pl.DataFrame) -> Pairs:
    """For each instruction every answer that beat the first one with every answer that did not."""
    import numpy as np
    import polars as pl

    rows = answers.with_row_index("row").filter("rival").select("row", "number", "won")
    winners = rows.filter(pl.col("won") == 1).select("number", pl.col("row").alias("winner"))
    both = winners.join(rows.filter(pl.col("won") == 0), on="number", maintain_order="left_right")
    # Which side the winner stands on is drawn by its row, so that no side is better.
    left = both["winner"].hash(seed=0).to_numpy() % 2 == 0
    winner, loser = both["winner"].cast(pl.Int64).to_numpy(), both["row"].cast(pl.Int64).to_numpy()
    return Pairs(both["number"].to_numpy(), np.where(left, winner, loser), np.where(left, loser, winner), left)


# -------------------------------------------------------------------- signals


def _signals(folder: Path, answers: pl.DataFrame) -> dict[str, np.ndarray]:
    """Name -> float64 (answers,), NaN where a signal could not be measured."""
    from curation.corpus import Corpus
    from curation.embedding import embed
    from curation.sample import Message, Sample, to_frame

    corpus = Corpus.create(folder / "corpus")
    texts = zip(answers["instruction"], answers["response"], strict=True)
    samples = [Sample((Message("user", i), Message("assistant", r))) for i, r in texts]
    corpus.add(to_frame(samples))
    embed(corpus, "lexical")
    _score_all(corpus)
    _ifd(corpus, folder, answers)
    found = answers.select("id").join(
        corpus.frame(["id", *_numeric(corpus)]), on="id", how="left", maintain_order="left"
    )
    signals = {name: found[name].cast(float).to_numpy().astype(float) for name in found.columns if name != "id"}
    for spec in ("lexical", *os.environ.get("ENCODERS", "").split()):
        signals |= _classified(corpus, spec, answers)
    return signals


def _score_all(corpus: Corpus) -> None:
    """Every scorer that needs neither a parameter nor a model nor labels."""
    from curation.errors import WinnowError
    from curation.scorers import SCORERS
    from curation.scoring import score

    for scorer in SCORERS:
        if scorer.name in ("classifier", "importance", "ifd"):
            continue  # taught below; a target is needed; measured on a part below
        if any(field.is_required() for field in scorer.model_fields.values()):
            continue
        try:
            score(corpus, scorer())
        except WinnowError as error:
            missing(f"{scorer.name}: {error.message}")


def _ifd(corpus: Corpus, folder: Path, answers: pl.DataFrame) -> None:
    """IFD by a model warmed up on answers of the first half, on all answers to some instructions of each half."""
    import polars as pl

    from curation.scorers import IFD
    from curation.scoring import score
    from curation.warm_up import WarmUpSettings, warm_up

    taught = answers.filter("teaches").sample(3000, seed=0)
    conversations = [
        [{"role": "user", "content": i}, {"role": "assistant", "content": r}]
        for i, r in zip(taught["instruction"], taught["response"], strict=True)
    ]
    warm_up(conversations, corpus.path / "models" / "warm-up", settings=WarmUpSettings(token_budget=100_000))
    numbers = answers.select("number", "teaches").unique(maintain_order=True).group_by("teaches", maintain_order=True)
    kept = numbers.head(IFD_INSTRUCTIONS)["number"].to_list()
    ids = answers.filter(pl.col("number").is_in(kept))["id"]
    score(corpus, IFD(), where="id IN (" + ", ".join(f"'{i}'" for i in ids) + ")")


def _numeric(corpus: Corpus) -> list[str]:
    kinds = corpus.score_columns()
    return [name for name, kind in kinds.items() if kind in ("DOUBLE", "BIGINT", "INTEGER", "BOOLEAN")]


def _classified(corpus: Corpus, spec: str, answers: pl.DataFrame) -> dict[str, np.ndarray]:
    """The classifier taught by all answers of the first half, and by the second answers of its pairs alone."""
    import polars as pl

    from curation.embedding import embed
    from curation.vectors import vectors_of

    report = embed(corpus, spec)
    vectors = vectors_of(corpus, report.name)
    place = {i: row for row, i in enumerate(vectors.ids)}
    matrix = vectors.matrix[[place[i] for i in answers["id"]]]
    frame = answers.with_columns(
        pl.Series("vector", matrix, dtype=pl.Array(pl.Float32, matrix.shape[1])),
        pl.lit(None, dtype=pl.List(pl.String)).alias("tags"),
    )
    seen = pl.Series([_half(name, "models") for name in answers["generator"]])
    kinds = {"all": answers["teaches"], "rivals": answers["teaches"] & answers["rival"]}
    kinds["rivals of half the models"] = kinds["rivals"] & seen
    return {f"classifier {report.name}, {kind}": _taught(frame, mask) for kind, mask in kinds.items()}


def _taught(frame: pl.DataFrame, teaches: pl.Series) -> np.ndarray:
    import polars as pl

    from curation.scorers.classifier import Classifier, train

    labelled = frame.with_columns(pl.when(teaches).then("won").alias("won"))
    taught = train(labelled, Classifier(score_column="won", at_least=0.5))
    assert taught.head is not None
    return taught.probabilities


# -------------------------------------------------------------------- agreement


def _agreement(values: np.ndarray, pairs: Pairs) -> np.ndarray:
    """1 where the better answer has more, 0 where it has less, 1/2 where neither has or one was not measured."""
    import numpy as np

    difference = np.nan_to_num(np.sign(values[pairs.first] - values[pairs.second]))
    result: np.ndarray = 0.5 + 0.5 * np.where(pairs.first_wins, difference, -difference)
    return result


def _mean_with_interval(agreed: np.ndarray, instruction: np.ndarray) -> tuple[float, float, float]:
    import numpy as np

    if not len(agreed):
        return np.nan, np.nan, np.nan
    codes = np.unique(instruction, return_inverse=True)[1]
    sums, sizes = np.bincount(codes, weights=agreed), np.bincount(codes)
    drawn = np.random.default_rng(0).multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=DRAWS)
    means = (drawn @ sums) / (drawn @ sizes)
    return float(agreed.mean()), float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def _direction(values: np.ndarray, pairs: Pairs) -> float:
    return 1.0 if _agreement(values, pairs).mean() >= 0.5 else -1.0


@dataclass(frozen=True)
class Line:
    """One signal on the judging half."""

    name: str
    less_is_better: bool
    judged: int
    """Pairs: all, or those on which both answers were measured where fewer than half of the answers were."""
    measured: float
    """Share of pairs that it tells apart, in which both answers were measured and differ."""
    pairs: tuple[float, float, float]
    similar: float
    sides: float
    rivals: tuple[float, float, float]
    rivals_similar: float


def _line(
    name: str, values: np.ndarray, pairs: Pairs, rivals: Pairs, teaches: np.ndarray, chars: np.ndarray
) -> Line | None:
    import numpy as np

    judging, judging_rivals = pairs.where(~teaches[pairs.first]), rivals.where(~teaches[rivals.first])
    known = np.isfinite(values)
    if not (known[judging.first] & known[judging.second]).any():
        return None
    # What is measured on a part of the answers is judged on that part.
    if known.mean() < 0.5:
        judging = judging.where(known[judging.first] & known[judging.second])
        judging_rivals = judging_rivals.where(known[judging_rivals.first] & known[judging_rivals.second])
    way = _direction(values, pairs.where(teaches[pairs.first]))
    agreed = _agreement(way * values, judging)
    rival_way = _direction(values, rivals.where(teaches[rivals.first]))
    rival_agreed = _agreement(rival_way * values, judging_rivals)
    sides = [agreed[judging.first_wins == side].mean() for side in (True, False)]
    return Line(
        name=name,
        less_is_better=way < 0,
        judged=len(agreed),
        measured=float((agreed != 0.5).mean()),
        pairs=_mean_with_interval(agreed, judging.instruction),
        similar=_of_similar(agreed, judging, chars),
        sides=float(np.mean(sides)),
        rivals=_mean_with_interval(rival_agreed, judging_rivals.instruction),
        rivals_similar=_of_similar(rival_agreed, judging_rivals, chars),
    )


def _of_similar(agreed: np.ndarray, pairs: Pairs, chars: np.ndarray) -> float:
    """Agreement on pairs of similar length; NaN where they are too few to say."""
    import numpy as np

    inside = agreed[_similar(pairs, chars)]
    return float(inside.mean()) if len(inside) >= FEWEST else np.nan


def _similar(pairs: Pairs, chars: np.ndarray) -> np.ndarray:
    import numpy as np

    ratio = np.maximum(chars, 1)[pairs.first] / np.maximum(chars, 1)[pairs.second]
    result: np.ndarray = np.abs(np.log(ratio)) <= np.log(SIMILAR)
    return result


def _print_table(
    signals: dict[str, np.ndarray], pairs: Pairs, rivals: Pairs, teaches: np.ndarray, chars: np.ndarray
) -> None:
    lines = [_line(name, values, pairs, rivals, teaches, chars) for name, values in signals.items()]
    baseline = _line("answer's characters alone", chars, pairs, rivals, teaches, chars)
    found = sorted((line for line in lines if line is not None), key=lambda line: -line.pairs[0])
    head = ("signal", "judged", "told", "pairs", "similar", "sides", "rivals", "similar")
    print("  {:<54} {:>6} {:>5}  {:<17} {:>7}  {:>5}  {:<17} {:>7}".format(*head))
    for line in (*([baseline] if baseline else []), *found):
        print(_row(line), flush=True)


def _row(line: Line) -> str:
    name = f"{line.name}{' (less is better)' if line.less_is_better else ''}"
    told = f"{line.judged:6,} {100 * line.measured:5.0f}  {_interval(line.pairs):<17} {_percent(line.similar):>7}"
    return (
        f"  {name:<54} {told}  {100 * line.sides:5.1f}  {_interval(line.rivals):<17} {_percent(line.rivals_similar):>7}"
    )


def _percent(value: float) -> str:
    return f"{100 * value:.1f}" if value == value else "-"


def _interval(values: Sequence[float]) -> str:
    mean, low, high = (100 * v for v in values)
    return f"{mean:4.1f} ({low:4.1f}-{high:4.1f})"


def _unseen_models(
    answers: pl.DataFrame, signals: dict[str, np.ndarray], pairs: Pairs, rivals: Pairs, teaches: np.ndarray
) -> None:
    """Rivals by models of which the head has seen no answer, beside the length on the same pairs."""
    import numpy as np

    unseen = np.array([not _half(name, "models") for name in answers["generator"]])
    mine = rivals.where(~teaches[rivals.first] & unseen[rivals.first] & unseen[rivals.second])
    chars = answers["response_chars"].to_numpy()
    print(f"  rivals by models of which no answer was seen, {len(mine.first):,} pairs:")
    sides = {"answer's characters alone": chars, **{n: v for n, v in signals.items() if n.startswith("classifier")}}
    for name, values in sides.items():
        agreed = _agreement(values, mine)
        similar = 100 * agreed[_similar(mine, chars)].mean()
        print(f"  {name:<60} {_interval(_mean_with_interval(agreed, mine.instruction))}  similar length {similar:4.1f}")
