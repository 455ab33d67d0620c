"""What quality signals keep of a pool in which many models answer the same instructions, by GPT-4's preferences.

Each signal keeps one answer to every instruction, the one it ranks first, and, of all answers together, the tenth it
ranks highest. The worth of what it keeps is how often GPT-4 would have it over the baseline's answer (AlpacaEval's, to
the instructions that the preference head has not seen). Ties share: a signal that can't tell answers apart is worth
what a random draw is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.lift_data import encoded, judged_answers, teaches

if TYPE_CHECKING:
    import polars as pl

    from curation.corpus import Corpus

DRAWS = 2_000
"""Of the bootstrap over instructions, and of the random band."""
SHARE = 0.1
MODELS = "alpaca_eval/outputs.parquet"
IFD_INSTRUCTIONS = 150
"""Judging instructions whose answers the base model reads."""


@dataclass(frozen=True)
class Kept:
    """What one signal keeps; every worth is a share of won comparisons, 0..1."""

    signal: str
    instructions: int
    best: float
    """Of the first answer to each instruction."""
    low: float
    """2.5 % of the bootstrap over instructions."""
    high: float
    tenth: float
    """Of the tenth of all answers that it ranks highest."""
    chars: float
    """Mean characters of the first answers."""
    unmeasured: int
    """Answers it has no number for; they are ranked last."""


def shares(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """What part of the choice each answer is: 1 for the highest of its group, 1/n for each of n that are equally high.

    NaN ranks below everything; a group of nothing else is shared by all of it.
    """
    ranked = np.where(np.isnan(values), -np.inf, values)
    highest = np.full(int(group.max()) + 1, -np.inf)
    np.maximum.at(highest, group, ranked)
    chosen = ranked == highest[group]
    found: np.ndarray = chosen / np.bincount(group, weights=chosen)[group]
    return found


def top_share(values: np.ndarray, share: float) -> np.ndarray:
    """What part of each answer belongs to the highest `share` of all; those that tie at its end share its rest."""
    ranked = np.where(np.isnan(values), -np.inf, values)
    wanted = share * len(values)
    cut = np.sort(ranked)[::-1][int(np.ceil(wanted)) - 1]
    above, tied = ranked > cut, ranked == cut
    found: np.ndarray = above + tied * (wanted - above.sum()) / tied.sum()
    return found


def kept(signal: str, values: np.ndarray, answers: pl.DataFrame) -> Kept:
    """The worth of what a signal keeps of judged answers (`instruction`, `response`, `won`)."""
    group = answers["instruction"].rank("dense").to_numpy().astype(int) - 1
    won = answers["won"].to_numpy()
    part = shares(values, group)
    each = np.bincount(group, weights=part * won)
    drawn = np.random.default_rng(0).multinomial(len(each), np.full(len(each), 1 / len(each)), size=DRAWS)
    means = drawn @ each / len(each)
    top = top_share(values, SHARE)
    chars = answers["response"].str.len_chars().to_numpy()
    return Kept(
        signal=signal,
        instructions=len(each),
        best=float(each.mean()),
        low=float(np.quantile(means, 0.025)),
        high=float(np.quantile(means, 0.975)),
        tenth=float((top * won).sum() / top.sum()),
        chars=float((part * chars).sum() / len(each)),
        unmeasured=int(np.isnan(values).sum()),
    )


def random_band(answers: pl.DataFrame) -> tuple[float, float, float]:
    """Mean worth of one random answer to each instruction, and the 2.5 % and 97.5 % of so drawn choices."""
    by = answers.group_by("instruction", maintain_order=True).agg("won")["won"].to_list()
    rng = np.random.default_rng(0)
    means = np.mean([rng.choice(won, DRAWS) for won in by], axis=0)
    mean = float(np.mean([np.mean(won) for won in by]))
    return mean, float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def unjudged(values: np.ndarray, answers: pl.DataFrame) -> tuple[int, int, float]:
    """Of the first answers to each instruction: how many GPT-4 judged, how many not, and the worth of those it judged.

    Args:
        values: one per answer.
        answers: with nulls in `won`.
    """
    group = answers["instruction"].rank("dense").to_numpy().astype(int) - 1
    part = shares(values, group)
    won = answers["won"].fill_null(float("nan")).to_numpy()
    known = np.isfinite(won)
    weight = float(part[known].sum())
    worth = float((part[known] * won[known]).sum() / weight) if weight else float("nan")
    return round(weight), int(group.max()) + 1 - round(weight), worth


# -------------------------------------------------------------------- the pools and the signals


def judged_pool(data: Path) -> pl.DataFrame:
    """Second answers to the judging instructions: all of them have a preference."""
    return judged_answers(data).filter(~teaching())


def models_pool(data: Path) -> pl.DataFrame:
    """The answers of the 50 models to the judging instructions; `won` is null where GPT-4 was not asked."""
    import polars as pl

    judged = judged_answers(data).select("instruction", "generator", "won")
    frame = pl.read_parquet(data / MODELS).select("instruction", pl.col("output").alias("response"), "generator")
    unique = judged.unique(["instruction", "generator"], keep="first", maintain_order=True)
    joined = frame.join(unique, on=["instruction", "generator"], how="left", maintain_order="left")
    return joined.filter(~teaching())


def teaching() -> pl.Expr:
    """Whether the instruction taught the head."""
    import polars as pl

    return pl.col("instruction").map_elements(teaches, return_dtype=pl.Boolean)


def signals(answers: pl.DataFrame, corpus: Corpus, data: Path, encoder: str, embedding: str) -> dict[str, np.ndarray]:
    """Name -> float64 (answers,), higher is thought better; without those that the base model gives."""
    from curation.sample import Message, Sample, to_frame
    from curation.scorers import Heuristics, Length
    from curation.texts.linear_head import train_head

    samples = to_frame(
        [
            Sample((Message("user", i), Message("assistant", r)))
            for i, r in answers.select("instruction", "response").iter_rows()
        ]
    )
    flags = Heuristics().score(samples)
    taught = judged_answers(data).filter(teaching())
    head = train_head(
        encoded(corpus, taught, encoder, embedding), taught["better"].to_numpy(), taught["instruction"].to_list()
    )
    chars = answers["response"].str.len_chars().to_numpy().astype(float)
    lengths = Length().score(samples)["length_response_tokens"].cast(float).to_numpy()
    return {
        "longest (characters)": chars,
        "shortest (characters)": -chars,
        "longest (tokens)": lengths,
        "heuristics = 0": (flags["heuristics"].fill_null(9) == 0).to_numpy().astype(float),
        "fewest repetitions": -flags["repetition"].fill_null(float("nan")).to_numpy(),
        "taste (preference head; has seen these models)": head.predict(encoded(corpus, answers, encoder, embedding)),
    }


def base_model_signals(answers: pl.DataFrame, base: Path) -> dict[str, np.ndarray]:
    """IFD and perplexity by the base model, both ways up: which way is better is not known beforehand."""
    from curation.sample import Message, Sample, to_frame
    from curation.scorers import IFD

    samples = to_frame(
        [
            Sample((Message("user", i), Message("assistant", r)))
            for i, r in answers.select("instruction", "response").iter_rows()
        ]
    )
    found = IFD(model=f"hf:{base}", template="chatml").score(samples)
    ifd, loss = (found[c].fill_null(float("nan")).to_numpy() for c in ("ifd", "ifd_conditional_loss"))
    return {
        "highest ifd": ifd,
        "highest ifd (<= 1)": np.where(ifd <= 1, ifd, np.nan),
        "lowest ifd": -ifd,
        "highest perplexity": loss,
        "lowest perplexity (GRAPE)": -loss,
    }


def table(data: Path, corpus: Corpus, base: Path, encoder: str, embedding: str) -> list[str]:
    """Lines for the screen."""
    import polars as pl

    judged = judged_pool(data)
    few = sorted(judged["instruction"].unique())[:: max(1, judged["instruction"].n_unique() // IFD_INSTRUCTIONS)]
    part = judged.filter(pl.col("instruction").is_in(few[:IFD_INSTRUCTIONS]))
    lines = _section("all judging instructions", judged, signals(judged, corpus, data, encoder, embedding))
    lines += _section("those the base model reads", part, base_model_signals(part, base))
    return lines + _of_models(models_pool(data), corpus, data, encoder, embedding)


def _section(what: str, answers: pl.DataFrame, found: dict[str, np.ndarray]) -> list[str]:
    mean, low, high = random_band(answers)
    oracle = kept("best by GPT-4 (oracle)", answers["won"].to_numpy(), answers)
    rows = sorted((kept(n, v, answers) for n, v in found.items()), key=lambda k: -k.best)
    size = (
        f"{answers['generator'].n_unique()} judged models, {oracle.instructions} instructions, {len(answers):,} answers"
    )
    return [
        f"| {what}: {size} | first answer, % won | 95 % interval | first tenth, % won | characters | not measured |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        *(_line(row) for row in (oracle, *rows)),
        f"| random, band of {DRAWS:,} draws | {100 * mean:.1f} | {100 * low:.1f}-{100 * high:.1f} "
        f"| {100 * mean:.1f} | {answers['response'].str.len_chars().to_numpy().mean():,.0f} | 0 |",
        "",
    ]


def _line(row: Kept) -> str:
    return (
        f"| {row.signal} | {100 * row.best:.1f} | {100 * row.low:.1f}-{100 * row.high:.1f} | {100 * row.tenth:.1f} "
        f"| {row.chars:,.0f} | {row.unmeasured:,} |"
    )


def _of_models(answers: pl.DataFrame, corpus: Corpus, data: Path, encoder: str, embedding: str) -> list[str]:
    found = signals(answers, corpus, data, encoder, embedding)
    judged = answers.drop_nulls("won")
    lines = [
        f"| the {answers['generator'].n_unique()} models, {judged['generator'].n_unique()} of them judged: "
        f"{len(answers) - len(judged):,} of {len(answers):,} answers have no preference "
        "| kept and judged | kept, not judged | % won of the judged |",
        "| --- | ---: | ---: | ---: |",
    ]
    for name, values in found.items():
        known, unknown, worth = unjudged(values, answers)
        lines.append(f"| {name} | {known} | {unknown} | {100 * worth:.1f} |")
    group = answers["instruction"].n_unique()
    share = len(judged) / len(answers)
    lines.append(
        f"| random | {group * share:.0f} | {group * (1 - share):.0f} | {100 * judged['won'].to_numpy().mean():.1f} |"
    )
    return lines
