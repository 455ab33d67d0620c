"""The model card: what a stranger has to know of a model, from the run's own files."""

from __future__ import annotations

import json
from typing import Any

from training.config import TrainConfig
from training.runs.run_folder import RunFolder
from training.training import TrainReport

TITLES = {"adapter": "an adapter", "merged": "a model", "gguf": "a model for llama.cpp"}
LIBRARIES = {"adapter": "peft", "merged": "transformers", "gguf": "gguf"}


def model_card(report: TrainReport, run: RunFolder, kind: str, base: str) -> str:
    """Markdown with the metadata the hub reads. Licence and intended use are left to the one who publishes.

    Args:
        report: of the run.
        run: its folder, with manifest.json and evaluation.json where there are some.
        kind: what is exported.
        base: what the base model is called elsewhere.
    """
    config = TrainConfig.from_file(run.path / "config.json")
    manifest = run.read("manifest.json")
    parts = [
        _metadata(report, kind, base),
        f"# {run.path.name}\n\n{TITLES[kind].capitalize()} that Winnow trained from `{base}` by {report.method} "
        f"({report.adapter}).",
        "## Licence and intended use\n\n*To be filled in by whoever publishes this: the licence, which those of the "
        "base model and of the data have to allow, what it is meant for, and what it should not be used for.*",
        _section("Training", _training(report, config)),
        _section("Data", _data(report, manifest)),
        _section("Results", _results(report, run.read("evaluation.json"))),
        f"## Settings\n\n```json\n{_settings(config, base)}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _metadata(report: TrainReport, kind: str, base: str) -> str:
    named = base.count("/") == 1 and not base.startswith(".")
    lines = [
        *([f"base_model: {base}"] if named else []),
        f"library_name: {LIBRARIES[kind]}",
        "pipeline_tag: text-generation" if report.method != "reward" else "pipeline_tag: text-classification",
        f"tags: [winnow, trl, {report.method}]",
        "# license: to be filled in",
    ]
    return "---\n" + "\n".join(lines) + "\n---"


def _training(report: TrainReport, config: TrainConfig) -> list[tuple[str, Any]]:
    return [
        ("method", f"{report.method}, {report.adapter}"),
        ("steps", report.steps),
        ("sequences per step", config.batch_size * config.accumulation * config.processes),
        (
            "learning rate",
            f"{report.learning_rate:g} ({report.learning_rate_reason})" if report.learning_rate else None,
        ),
        ("loss at the end", _rounded(report.train_loss)),
        ("tokens per second", report.tokens_per_second),
        ("peak memory (GiB)", report.peak_memory_gib),
        ("device", report.device),
    ]


def _data(report: TrainReport, manifest: dict[str, Any]) -> list[tuple[str, Any]]:
    by_source = manifest.get("by_source") or {}
    scores = ", ".join(dict.fromkeys(str(s.get("name")) for s in manifest.get("scores") or ()))
    return [
        ("samples", report.rows),
        ("tokens", f"{report.tokens:,} in one pass, {report.loss_tokens:,} with loss"),
        ("cut at the longest length", report.truncated),
        *((f"left out: {reason}", count) for reason, count in report.dropped.items()),
        ("mix", manifest.get("name")),
        ("format", manifest.get("format")),
        *((f"from {source}", rows) for source, rows in by_source.items()),
        *((f"selection {part.get('selection')}", _chosen(part)) for part in manifest.get("parts") or ()),
        ("scores of the corpus", scores or None),
        ("manifest (SHA-256)", report.manifest_sha256),
    ]


def _chosen(part: dict[str, Any]) -> str:
    operator = part.get("operator") or {}
    settings = ", ".join(f"{k}={v}" for k, v in (operator.get("parameters") or {}).items() if v is not None)
    where = f", where {part['working_set']}" if part.get("working_set") else ""
    by = operator.get("name") or "a list of samples"
    return f"{part.get('rows')} rows by {by}{f' ({settings})' if settings else ''}{where}"


def _results(report: TrainReport, judged: dict[str, Any]) -> list[tuple[str, Any]]:
    overall = judged.get("overall") or {}
    measured = [(f"held-out loss, {name}", _rounded(overall.get(name))) for name in ("base", "trained", "random")]
    preference = judged.get("preference") or {}
    if not judged and report.held_out:
        ends = {"before": report.held_out[0], "after": report.held_out[-1]}
        measured = [(f"held-out loss {when}", _rounded(event.get("loss"))) for when, event in ends.items()]
    return [
        *measured,
        ("verdict", judged.get("verdict")),
        ("prefers chosen answers", _rounded(preference.get("trained"))),
        ("", None if measured and any(v for _, v in measured) else "It was not evaluated."),
    ]


def _settings(config: TrainConfig, base: str) -> str:
    fields = json.loads(config.model_dump_json(exclude_defaults=True)) | {"base_model": base}
    return json.dumps(fields, indent=2, ensure_ascii=False)


def _section(title: str, rows: list[tuple[str, Any]]) -> str:
    shown = [(name, value) for name, value in rows if value is not None]
    table = ["| | |", "| --- | --- |", *(f"| {_cell(name)} | {_cell(value)} |" for name, value in shown)]
    return f"## {title}\n\n" + "\n".join(table)


def _cell(value: Any) -> str:
    return " ".join(str(value).replace("|", "\\|").split())


def _rounded(value: Any) -> float | None:
    return round(value, 4) if isinstance(value, int | float) else None
