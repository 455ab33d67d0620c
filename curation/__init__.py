"""The corpus, and everything that measures or chooses data."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Corpus": "corpus",
    "FeedbackRules": "feedback",
    "Message": "sample",
    "Mix": "mixing",
    "Part": "mixing",
    "Sample": "sample",
    "WinnowError": "errors",
    "arrivals": "arrivals",
    "compare": "comparing",
    "diff": "snapshots",
    "drop": "deciding",
    "edit": "deciding",
    "embed": "embedding",
    "export": "mixing",
    "hold_out": "selection",
    "ingest": "ingestion",
    "keep": "deciding",
    "lineage": "lineage",
    "normalize": "normalizing",
    "score": "scoring",
    "select": "selection",
    "snapshot": "snapshots",
    "tag": "deciding",
    "undo": "actions",
    "warm_up": "warm_up",
    "watch": "watching",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'curation' has no attribute {name!r}")
    return getattr(import_module(f"curation.{_HOMES[name]}"), name)
