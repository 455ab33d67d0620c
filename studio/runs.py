"""Where runs lie, and what a run is given when the user says nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curation.errors import ModelError
from curation.names import checked_name

if TYPE_CHECKING:
    from training.config import TrainConfig

WARM_UP = "warm-up"
"""Folder of the corpus' own small model, below `models/`."""


def corpus_of(folder: Path) -> Path | None:
    """The corpus that a mix or run lies in, if it lies in one."""
    for parent in folder.expanduser().resolve().parents:
        if (parent / "corpus.duckdb").exists():
            return parent
    return None


def prepared(
    mix: Path, base_model: str | None, method: str, adapter: str | None, name: str | None, settings: Mapping[str, str]
) -> tuple[TrainConfig, Path]:
    """The configuration and the folder of a run; equal words, equal run.

    Raises:
        ModelError: no base model is named and the corpus has none of its own.
        OperatorError: a setting is wrong.
    """
    corpus = corpus_of(mix)
    config = training_config(corpus, mix, base_model, {"method": method, "adapter": adapter, **settings})
    mix_name = mix.expanduser().resolve().name
    digest = hashlib.sha256(config.model_dump_json(exclude_defaults=True).encode()).hexdigest()[:6]
    runs = corpus / "runs" if corpus else mix / "runs"
    return config, runs / checked_name("run", name or f"{mix_name}-{method}-{config.adapter}-{digest}")


def training_config(corpus: Path | None, mix: Path, base_model: str | None, fields: Mapping[str, Any]) -> TrainConfig:
    """How a run trains, with the corpus' own small model where none is named: all of its weights, not an adapter.

    Raises:
        ModelError: no base model is named and the corpus has none of its own.
        OperatorError: a field is wrong.
    """
    from training.config import TrainConfig

    model = base_model or _warm_up_model(corpus, mix)
    small = base_model is None or Path(base_model).name == WARM_UP
    adapter = fields.get("adapter") or ("full" if small else "lora")
    return TrainConfig.checked({"base_model": model, **fields, "adapter": adapter})


def _warm_up_model(corpus: Path | None, mix: Path) -> str:
    if corpus is not None and (corpus / "models" / WARM_UP / "config.json").exists():
        return str(corpus / "models" / WARM_UP)
    fix = f"winnow warm-up {corpus}" if corpus else f"winnow train {mix} --base-model PATH_OR_NAME"
    raise ModelError("No base model is named, and there is no warm-up model.", fix=fix)
