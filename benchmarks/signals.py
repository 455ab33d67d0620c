"""The quality signals on Alpaca, and data-juicer's eight common filters in the same run where it is installed.

`python -m benchmarks.signals --peer PYTHON` names the Python of an environment with py-data-juicer; both sides are
measured in seconds of processor time as well, because a busy machine stretches the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measuring import alpaca, missing

if TYPE_CHECKING:
    import polars as pl

    from curation.operators import Scorer

WIDE_OPEN = {"min_len": 0, "max_len": 10**9}
FILTERS: dict[str, dict[str, Any]] = {
    "text_length_filter": WIDE_OPEN,
    "alphanumeric_filter": {"tokenization": False, "min_ratio": 0.0, "max_ratio": 10**9},
    "character_repetition_filter": {"rep_len": 10, "min_ratio": 0.0, "max_ratio": 1.0},
    "word_repetition_filter": {"lang": "en", "tokenization": False, "rep_len": 10, "min_ratio": 0.0, "max_ratio": 1.0},
    "special_characters_filter": {"min_ratio": 0.0, "max_ratio": 1.0},
    "average_line_length_filter": WIDE_OPEN,
    "maximum_line_length_filter": WIDE_OPEN,
    "words_num_filter": {"lang": "en", "tokenization": False, "min_num": 0, "max_num": 10**9},
}
"""Wide open, so that every filter sees every row; only what they measure is compared."""
SAME = {
    "text_len": "chars",
    "alnum_ratio": "alphanumeric_ratio",
    "char_rep_ratio": "repeated_characters",
    "word_rep_ratio": "repeated_words",
    "special_char_ratio": "special_ratio",
    "avg_line_length": "mean_line_chars",
    "max_line_length": "max_line_chars",
    "num_words": "words",
}
"""data-juicer's name of each statistic -> ours."""


def run(peer: str | None = None) -> None:
    """The same eight statistics, every quality scorer by itself and together; then data-juicer."""
    file = alpaca()
    if file is None:
        missing("set ALPACA to the path of alpaca_data.json (52,002 rows)")
        return
    batch = _frame(file)
    from curation.texts.text_statistics import statistics_of

    statistics_of(batch["text"].head(10))
    ours, mine = _timed(lambda: statistics_of(batch["text"]))
    print(f"  {batch.height:,} rows")
    _line("the same eight statistics (and six more)", mine)
    _line("all quality scorers", _scorers(batch))
    print(f"  peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")
    peer = peer or os.environ.get("DATA_JUICER")
    if peer is None:
        missing("data-juicer: name the Python of an environment that has it (--peer, or DATA_JUICER)")
        return
    with tempfile.TemporaryDirectory() as folder:
        theirs, its = _data_juicer(peer, batch["text"], Path(folder))
    _line("data-juicer, eight filters, two processes", its)
    print(f"  ratio: {its[0] / mine[0]:.1f} x the time, {its[1] / mine[1]:.1f} x the processor time")
    _compare(ours, theirs)


def _frame(file: Path) -> pl.DataFrame:
    import polars as pl

    rows = json.loads(file.read_text(encoding="utf-8"))
    questions = ["\n\n".join(filter(None, (row["instruction"], row["input"]))) for row in rows]
    answers = [row["output"] for row in rows]
    texts = [f"{question}\n{answer}" for question, answer in zip(questions, answers, strict=True)]
    ids = [str(number) for number in range(len(rows))]
    return pl.DataFrame({"id": ids, "instruction": questions, "response": answers, "text": texts})


def _scorers(batch: pl.DataFrame) -> tuple[float, float]:
    from curation.scorers import Arithmetic, Heuristics, Language, Toxicity

    total = (0.0, 0.0)
    for scorer in (Heuristics(), Language(), Arithmetic(), Toxicity()):
        _scored(scorer, batch.head(10))  # models and tables are loaded once in a run
        _, seconds = _timed(lambda scorer=scorer: _scored(scorer, batch))  # type: ignore[misc]
        _line(f"  {scorer.name}", seconds)
        total = (total[0] + seconds[0], total[1] + seconds[1])
    return total


def _scored(scorer: Scorer, batch: pl.DataFrame) -> None:
    for start in range(0, batch.height, scorer.batch_rows):
        scorer.score(batch.slice(start, scorer.batch_rows))


def _data_juicer(python: str, texts: pl.Series, folder: Path) -> tuple[pl.DataFrame, tuple[float, float]]:
    import polars as pl

    rows = folder / "in.jsonl"
    recipe = {
        "project_name": "signals",
        "dataset_path": str(rows),
        "export_path": str(folder / "out.jsonl"),
        "np": 2,
        "use_cache": False,
        "keep_stats_in_res_ds": True,
        "process": [{name: settings} for name, settings in FILTERS.items()],
    }
    (folder / "recipe.yaml").write_text(json.dumps(recipe))  # JSON is YAML
    command = [str(Path(python).with_name("dj-process")), "--config", str(folder / "recipe.yaml")]
    texts.head(50).to_frame().write_ndjson(rows)  # its first run installs what it lacks
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    texts.to_frame().write_ndjson(rows)
    _, seconds = _timed(lambda: subprocess.run(command, cwd=folder, capture_output=True, check=True))
    stats = [json.loads(line)["__dj__stats__"] for line in (folder / "out_stats.jsonl").open(encoding="utf-8")]
    return pl.DataFrame({ours: [row[name] for row in stats] for name, ours in SAME.items()}), seconds


def _timed(measure: Callable[[], Any]) -> tuple[Any, tuple[float, float]]:
    """What it gives, and seconds by the clock and of the processor, children included."""
    begun, spent = time.perf_counter(), _processor()
    result = measure()
    return result, (time.perf_counter() - begun, _processor() - spent)


def _processor() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in used)


def _line(name: str, seconds: tuple[float, float]) -> None:
    print(f"  {name:<46} {seconds[0]:8.2f} s   {seconds[1]:8.2f} s of the processor", flush=True)


def _compare(ours: pl.DataFrame, theirs: pl.DataFrame) -> None:
    print(f"  {'mean of':<22} {'ours':>12} {'data-juicer':>12} {'rows within 1 %':>16}")
    for name in SAME.values():
        one, other = ours[name].fill_null(0).cast(float), theirs[name].cast(float)
        near = ((one - other).abs() <= 0.01 * other.abs().clip(lower_bound=1e-9) + 1e-9).mean()
        print(f"  {name:<22} {one.mean():12.5f} {other.mean():12.5f} {near:16.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Quality signals on Alpaca, beside data-juicer.")
    parser.add_argument("--peer", help="the Python of an environment with py-data-juicer")
    run(parser.parse_args(sys.argv[1:]).peer)
