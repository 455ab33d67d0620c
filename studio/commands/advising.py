"""`winnow advise`: what can be said of a training run before it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from studio.commands.performing import JSON, SETTINGS, pairs, perform
from studio.commands.tuning import ADAPTERS, METHODS


@click.command()
@click.argument("mix", type=click.Path(path_type=Path))
@click.option("--base-model", help="Path or name; the corpus' warm-up model if not given")
@click.option("--method", type=click.Choice(METHODS), default="sft", show_default=True)
@click.option("--adapter", type=click.Choice(ADAPTERS), help="Weights to train: lora; full for the small warm-up model")
@SETTINGS
@JSON
def advise(
    mix: Path, base_model: str | None, method: str, adapter: str | None, settings: tuple[str, ...], as_json: bool
) -> None:
    """Say whether training on the mix in folder MIX fits, what to set and how long it takes, with reasons."""
    from studio.runs import corpus_of, training_config
    from training.advice.advising import advise as verb
    from training.runs.measured import measured_pace

    corpus = corpus_of(mix)
    fields = {"method": method, "adapter": adapter, **pairs(settings, "--set")}
    config = training_config(corpus, mix, base_model, fields)
    measured = measured_pace((corpus or mix) / "runs", config)
    perform(None, as_json, lambda progress: verb(mix, config, measured=measured), show_advice)


def show_advice(advice: Any) -> None:
    """What was found, and a line for each suggestion."""
    from studio.commands.printing import print_facts, print_table

    print_facts(f"{advice.method}, {advice.adapter}", facts_of(advice))
    click.echo()
    rows = [{"set": f"{s.field}={worded(s.value)}", "because": s.reason} for s in advice.suggestions]
    print_table(rows, ["set", "because"])


def facts_of(advice: Any) -> dict[str, Any]:
    """The numbers of an advice as lines for people, each with where it comes from."""
    reasons, memory, machine = advice.reasons, advice.memory, advice.hardware
    parts = {name: getattr(memory, name) for name in ("weights", "gradients", "optimizer", "activations", "overhead")}
    return {
        "rows": f"{advice.rows:,}, and {advice.held_out:,} held out",
        "tokens in one pass": f"{advice.tokens_per_epoch:,} ({advice.tokens_counted})",
        "tokens of a sample": ", ".join(f"{name} {tokens:,}" for name, tokens in advice.length_quantiles.items()),
        "cut at max_length": f"{advice.cut:.1%}",
        "packed sequences are full": None if advice.fill is None else f"{advice.fill:.1%}",
        "parameters": _or_reason(advice.parameters, reasons["parameters"], "{:,}"),
        "memory": _or_reason(memory.total, reasons["memory"], "{:.2f} GiB"),
        "of it": ", ".join(f"{name} {part:.2f}" for name, part in parts.items() if part is not None) or None,
        "this machine": f"{machine.device or f'{machine.cores} CPU cores'}, {_gib(machine)}",
        "fits": {True: "yes", False: "no", None: "not known"}[advice.fits],
        "steps": advice.steps,
        "time": _or_reason(advice.seconds, reasons["seconds"], duration_of),
    }


def worded(value: Any) -> str:
    """A value as `--set` takes it."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def duration_of(seconds: float) -> str:
    """About so long."""
    if seconds < 90:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def _or_reason(value: Any, reason: str, form: Any) -> str:
    if value is None:
        return f"not known: {reason}"
    return f"{form(value) if callable(form) else form.format(value)} ({reason})"


def _gib(machine: Any) -> str:
    if machine.memory_gib is None:
        return str(machine.reason)
    free = f", {machine.free_gib:g} free" if machine.free_gib is not None else ""
    return f"{machine.memory_gib:g} GiB{free}"
