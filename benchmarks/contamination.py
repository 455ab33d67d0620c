"""Decontamination: time, what is found of planted questions, and what is flagged of data that holds none."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measuring import alpaca, in_turn, missing, table

if TYPE_CHECKING:
    import polars as pl

    from curation.scorers import Contamination

SEEDS = 5


def run() -> None:
    """Alpaca and GSM8K train against GSM8K test, HumanEval and MT-Bench; their questions planted, whole and edited."""
    from curation.files.reading import read_chunks
    from curation.scorers import Contamination

    file = alpaca()
    folder = file.parent if file else Path()
    benchmarks = [folder / name for name in ("gsm8k_test.jsonl", "humaneval.jsonl", "mt_bench.jsonl")]
    if file is None or not all(path.exists() for path in benchmarks):
        missing("put gsm8k_test.jsonl, humaneval.jsonl and mt_bench.jsonl beside alpaca_data.json")
        return
    rows = [row for chunk in read_chunks(file) for _, row in chunk if isinstance(row, dict)]
    samples = frame([(f"{r['instruction']}\n\n{r['input']}".strip(), r["output"]) for r in rows])
    scorer = Contamination(benchmarks=tuple(map(str, benchmarks[:2])))

    def words() -> None:
        for side in ("instruction", "response"):
            samples[side].str.to_lowercase().str.extract_all(r"\p{Han}|[\p{L}\p{N}]+")

    scored = {"contamination of 52,002 rows": lambda: flagged(scorer, samples)}
    table(in_turn({"their words, split by polars": words, **scored}), "their words, split by polars")
    print(f"  Alpaca against GSM8K test and HumanEval: {flagged(scorer, samples)} of {samples.height:,} flagged")
    train = folder / "gsm8k_train.jsonl"
    if train.exists():
        pairs = frame([(r["question"], r["answer"]) for r in map(json.loads, train.open(encoding="utf-8"))])
        count = flagged(Contamination(benchmarks=(str(benchmarks[0]),)), pairs)
        print(f"  GSM8K train against test: {count} of {pairs.height:,} flagged ({count / pairs.height:.3%})")
    spare = sorted({word for row in rows[:3000] for word in row["instruction"].split() if word.isalpha()})
    for path in benchmarks:
        _planted(path, spare)


def _planted(path: Path, spare: list[str]) -> None:
    from curation.files.benchmark_files import questions_of
    from curation.scorers import Contamination

    scorer = Contamination(benchmarks=(str(path),))
    asked = [question.asked[0] for question in questions_of(str(path))]
    ways: dict[str, Callable[[str], str]] = {
        "whole": str,
        "inside another text": lambda text: f"Please help me with this one. {text} Think step by step.",
    }
    for name, way in ways.items():
        print(f"  {path.name}, {name}: {share(scorer, [way(text) for text in asked]):.1%} found")
    shares = []
    for seed in range(SEEDS):
        draw = random.Random(seed)
        shares.append(share(scorer, [edited(text, spare, draw) for text in asked]))
    print(f"  {path.name}, two words changed: {sum(shares) / SEEDS:.1%} found, {min(shares):.1%} with the worst seed")


def edited(text: str, spare: list[str], draw: random.Random) -> str:
    """The text with two of its words replaced by two of the spare ones."""
    parts = re.split(r"(\s+)", text)
    words = [place for place, part in enumerate(parts) if re.search(r"\w", part)]
    for place in draw.sample(words, min(2, len(words))):
        parts[place] = draw.choice(spare)
    return "".join(parts)


def frame(pairs: list[tuple[str, str]]) -> pl.DataFrame:
    """Samples as the scorer gets them."""
    import polars as pl

    return pl.DataFrame(pairs, schema={"instruction": pl.String, "response": pl.String}, orient="row")


def flagged(scorer: Contamination, samples: pl.DataFrame) -> int:
    """How many are contaminated, batch by batch as they are scored."""
    size = scorer.batch_rows
    batches = (samples.slice(start, size) for start in range(0, samples.height, size))
    return sum(int(scorer.score(batch)["contaminated"].sum()) for batch in batches)


def share(scorer: Contamination, instructions: list[str]) -> float:
    """Share of instructions that are found."""
    return flagged(scorer, frame([(text, "Let us see.") for text in instructions])) / len(instructions)
