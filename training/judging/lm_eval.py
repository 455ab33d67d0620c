"""The held-out rows as tasks of lm-evaluation-harness, with the command that runs them; nothing is downloaded.

FOLDER/winnow_loss.yaml    perplexity by byte of whole conversations, prompts included (the harness has none of answers)
FOLDER/winnow_choice.yaml  the right answer among four: its own, and those of three other held-out rows
FOLDER/*.jsonl             their rows

Other tasks, of the harness or the user's own, run from the same folder: `--tasks` takes their names.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import random
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curation.errors import WinnowError
from training.data.mix_folder import Example, MixFolder
from training.judging.answers import Prompt, held_out_prompts

TASKS = ("winnow_loss", "winnow_choice")
CHOICES = 4
MODULE = "lm_eval"


@dataclass(frozen=True)
class LmEval:
    """What was written, and what came of running it."""

    folder: str
    rows: int
    """Held-out rows in the tasks."""
    command: str
    """Runs the tasks on the trained model."""
    results: dict[str, dict[str, float]] | None
    """Task -> metric -> value; null where it did not run."""
    reason: str | None
    """Why there are no results."""
    weights: str | None = None
    """Hash of the model that the results are of."""


def write_tasks(
    mix: MixFolder, folder: Path, prepared: Callable[[Example], Example], render: Callable[[list[Any]], str]
) -> int:
    """Write the tasks; how many rows they have.

    Args:
        mix: whose eval.jsonl is asked.
        folder: made where there is none.
        prepared: turns a row into what the chat template takes.
        render: messages -> the text that an answer follows, as the model's chat template has it.

    Raises:
        WinnowError: fewer than four held-out rows have an answer.
    """
    rows = [row for row in held_out_prompts(mix, 1 << 30, prepared) if row.reference]
    answers = list(dict.fromkeys(str(row.reference) for row in rows))
    if len(answers) < CHOICES:
        raise WinnowError(
            f"{mix.path / 'eval.jsonl'} has {len(answers)} different answers, a choice of {CHOICES} needs as many.",
            fix="export a mix with more held-out samples",
        )
    folder.mkdir(parents=True, exist_ok=True)
    asked = [(row, render(list(row.messages))) for row in rows]
    _write_jsonl(folder / "winnow_loss.jsonl", [{"id": row.id, "text": f"{c}{row.reference}"} for row, c in asked])
    _write_jsonl(folder / "winnow_choice.jsonl", [_choice(row, context, answers) for row, context in asked])
    for name, fields in _tasks(folder).items():
        (folder / f"{name}.yaml").write_text(_yaml({"task": name, **fields}), encoding="utf-8")
    return len(rows)


def command(folder: Path, final: Path, base_model: str, device: str, dtype: str) -> list[str]:
    """The words that run the tasks on a model, or on the adapter in `final` with its base."""
    adapter = (final / "adapter_config.json").is_file()
    arguments = f"pretrained={base_model},peft={final}" if adapter else f"pretrained={final}"
    return [
        sys.executable, "-m", MODULE, "run", "--model", "hf", "--model_args", f"{arguments},dtype={dtype}",
        "--tasks", ",".join(TASKS), "--include_path", str(folder), "--device", device, "--batch_size", "8",
        "--output_path", str(folder / "results"),
    ]  # fmt: skip


def installed() -> bool:
    """Whether the harness is here; loads nothing."""
    return importlib.util.find_spec(MODULE) is not None


def run(words: Sequence[str], folder: Path) -> dict[str, dict[str, float]]:
    """Run the harness in a process of its own, offline; its numbers by task.

    Raises:
        WinnowError: it failed, or wrote no results.
    """
    before = set((folder / "results").rglob("results_*.json"))
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    log = folder / "lm_eval.log"
    with log.open("wb") as output:
        code = subprocess.run(
            list(words), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
        ).returncode
    written = sorted(set((folder / "results").rglob("results_*.json")) - before, key=lambda p: p.stat().st_mtime)
    if code or not written:
        raise WinnowError(f"lm-eval ended with status {code} and wrote no results.", fix=f"read {log}")
    return read_results(written[-1])


def read_results(path: Path) -> dict[str, dict[str, float]]:
    """Task -> metric -> value of a results file of the harness; metrics without the name of their filter."""
    results = json.loads(path.read_text(encoding="utf-8"))["results"]
    return {
        task: {
            name.partition(",")[0]: float(value)
            for name, value in found.items()
            if isinstance(value, int | float) and name != "sample_len"
        }
        for task, found in results.items()
    }


def as_line(words: Sequence[str]) -> str:
    """The command as one types it, with the program's own name."""
    return f"HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 {shlex.join(['lm_eval', *words[3:]])}"


def _choice(row: Prompt, context: str, answers: Sequence[str]) -> dict[str, Any]:
    """The row with three other answers, drawn by its id, in an order drawn by its id."""
    draw = random.Random(hashlib.sha256(row.id.encode()).hexdigest())
    choices = [str(row.reference), *draw.sample([a for a in answers if a != row.reference], CHOICES - 1)]
    draw.shuffle(choices)
    return {"id": row.id, "context": context, "choices": choices, "answer": choices.index(str(row.reference))}


def _tasks(folder: Path) -> dict[str, dict[str, Any]]:
    return {
        "winnow_loss": {
            **_data(folder / "winnow_loss.jsonl"),
            "output_type": "loglikelihood_rolling",
            "doc_to_text": "",
            "doc_to_target": "{{text}}",
            "metric_list": [
                {"metric": name, "aggregation": how, "higher_is_better": False}
                for name, how in (("byte_perplexity", "weighted_perplexity"), ("bits_per_byte", "bits_per_byte"))
            ],
        },
        "winnow_choice": {
            **_data(folder / "winnow_choice.jsonl"),
            "output_type": "multiple_choice",
            "doc_to_text": "{{context}}",
            "doc_to_choice": "{{choices}}",
            "doc_to_target": "{{answer}}",
            "target_delimiter": "",
            "metric_list": [
                {"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")
            ],
        },
    }


def _data(path: Path) -> dict[str, Any]:
    return {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(path.resolve())}},
        "test_split": "test",
    }


def _yaml(fields: dict[str, Any]) -> str:
    """JSON values line by line, which is YAML."""
    return "".join(f"{name}: {json.dumps(value, ensure_ascii=False)}\n" for name, value in fields.items())


def _write_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
